"""Errors. Each has a ``code`` that stays the same over versions and languages, and a ``reason`` for people."""

from __future__ import annotations

import enum

__all__ = [
    "BackendError",
    "ImError",
    "InvalidContent",
    "MarkError",
    "OpenError",
    "PublishError",
    "RefusalKind",
    "RequestError",
    "SendError",
    "TokenDenied",
    "TokenUnavailable",
]


class RefusalKind(enum.Enum):
    """Why a publish, or a request, was refused."""

    RULE = "rule"
    """The back end's rules say no."""
    UNAVAILABLE = "unavailable"
    """No back end is listening, or it did not answer in time."""
    INVALID = "invalid"
    """The publish makes no sense."""
    TOO_MANY = "too_many"
    """Too many wait for their results, or come too fast."""
    NO_BACKEND = "no_backend"
    """No back end listened, so nothing was done."""
    NUMBER_USED = "number_used"
    """The number of the publish was used for another one, as after a store was restored from a backup."""
    INTERNAL = "internal"
    """The back end failed."""
    UNKNOWN = "unknown"
    """A kind that this version does not know."""


class ImError(Exception):
    """The base of all errors of this package."""

    code: str
    """A name that stays the same over versions and languages, such as ``timed_out``."""
    reason: str
    """What happened, for people."""
    retryable: bool
    """Whether the same may succeed if it is tried again, and cannot be done twice by that."""

    def __init__(self, code: str, reason: str, retryable: bool = False) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason
        self.retryable = retryable

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.code!r}, {self.reason!r})"


class OpenError(ImError):
    """A client could not be opened, or its configuration makes no sense."""


class SendError(ImError):
    """A send was not taken. Nothing was sent, and nothing will be."""


class MarkError(ImError):
    """Nothing was set in a conversation."""


class InvalidContent(ImError):
    """A content, or what names a message, makes no sense."""


class _Refusable(ImError):
    kind: RefusalKind | None
    """Why it was refused, if it was refused."""
    rule_code: int
    """Where a rule refused it: the application's own code, 0 or more, or a negative one of the SDK. Else 0."""
    retry_after: float | None
    """In how many seconds the same may be tried again, where the back end says so."""

    def __init__(
        self,
        code: str,
        reason: str,
        retryable: bool = False,
        *,
        kind: RefusalKind | None = None,
        rule_code: int = 0,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(code, reason, retryable)
        self.kind = kind
        self.rule_code = rule_code
        self.retry_after = retry_after


class PublishError(_Refusable):
    """A send has failed. With the code ``unconfirmed`` it is not known whether it arrived."""


class RequestError(_Refusable):
    """There is no answer to a request. Asking again is always safe."""


class BackendError(ImError):
    """A back end could not do something, or does not know whether it was done."""


class TokenUnavailable(Exception):
    """Raised by an application's token function that has none at the moment: it is asked again, with backoff."""


class TokenDenied(Exception):
    """Raised by an application's token function when there will be no token: the client stops."""
