"""The generated module, and the way from its types to those of this package and back.

Nothing else touches the generated module, and none of its types is public: another bridge can take its place.
"""

from __future__ import annotations

import asyncio
import atexit
import dataclasses
import enum
import importlib
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime, timezone
from typing import Any, Generic, TypeVar

from . import content as c
from . import errors as e
from . import types as t

native: Any = importlib.import_module("im_sdk._native")

# The library's threads report back to Python: they must be gone before it is.
atexit.register(native.shutdown)

T = TypeVar("T")


def milliseconds(seconds: float) -> int:
    """Seconds of the public API as the milliseconds of the generated one."""
    return max(0, round(seconds * 1000))


def optional_milliseconds(seconds: float | None) -> int | None:
    """Seconds, if there are some."""
    return None if seconds is None else milliseconds(seconds)


def _time(ms: int | None) -> datetime | None:
    return datetime.fromtimestamp(ms / 1000, timezone.utc) if ms else None


def unix_ms(at: datetime | None) -> int | None:
    """A time as milliseconds since the Unix epoch."""
    return None if at is None else round(at.timestamp() * 1000)


# From generated types to public ones.

_TO_PYTHON: dict[type, Callable[[Any], Any]] = {}


def to_python(value: Any) -> Any:
    """A value of the generated module as one of this package."""
    convert = _TO_PYTHON.get(type(value))
    return value if convert is None else convert(value)


_TO_PYTHON[list] = lambda items: tuple([to_python(item) for item in items])
_TO_PYTHON[dict] = lambda items: {key: to_python(item) for key, item in items.items()}

# Public names whose generated ones count milliseconds, and how they are read.
_READ: dict[str, Callable[[Any], Any]] = {
    "sent_at": _time,
    "last_seen": _time,
    "muted_until": _time,
    "at": _time,
    "duration": lambda ms: ms / 1000,
    "retry_in": lambda ms: None if ms is None else ms / 1000,
}


# Public names that differ.
_NAMES = {"size": "bytes"}


def register(generated: Any, public: type) -> None:
    """Makes values of a generated class readable: field by field, by name."""
    getters: list[tuple[str, Callable[[Any], Any]]] = []
    for field in dataclasses.fields(public):
        read = _READ.get(field.name)
        getters.append((_NAMES.get(field.name, field.name), to_python) if read is None else (field.name + "_ms", read))

    def convert(value: Any) -> Any:
        return public(*[read(getattr(value, name)) for name, read in getters])

    _TO_PYTHON[generated] = convert


def register_enum(generated: Any, public: type[enum.Enum]) -> None:
    """Makes the values of an enumeration readable and writable, by name."""
    members = {member: public[member.name] for member in generated}
    _TO_PYTHON[generated] = members.__getitem__
    back = {public_member: member for member, public_member in members.items()}
    _TO_NATIVE[public] = back.__getitem__


# From public types to generated ones.

_TO_NATIVE: dict[type, Callable[[Any], Any]] = {}


def to_native(value: Any) -> Any:
    """A value of this package as one of the generated module."""
    convert = _TO_NATIVE.get(type(value))
    return value if convert is None else convert(value)


_TO_NATIVE[list] = _TO_NATIVE[tuple] = lambda items: [to_native(item) for item in items]

_WRITE: dict[str, Callable[[Any], Any]] = {
    "sent_at": lambda at: unix_ms(at) or 0,
    "last_seen": unix_ms,
    "muted_until": unix_ms,
    "duration": milliseconds,
}


def register_back(public: type, generated: Callable[..., Any]) -> None:
    """Makes values of a public class writable: field by field, by name."""
    getters: list[tuple[str, str, Callable[[Any], Any]]] = []
    for field in dataclasses.fields(public):
        write = _WRITE.get(field.name)
        if write is None:
            getters.append((_NAMES.get(field.name, field.name), field.name, to_native))
        else:
            getters.append((field.name + "_ms", field.name, write))

    def convert(value: Any) -> Any:
        return generated(**{name: write(getattr(value, field)) for name, field, write in getters})

    _TO_NATIVE[public] = convert


def register_both(generated: Any, public: type) -> None:
    """Makes a class readable and writable."""
    register(generated, public)
    register_back(public, generated)


def recipient(to: str | t.Recipient) -> Any:
    """A receiver; a plain string is a user."""
    return native.Recipient.USER(user=to) if isinstance(to, str) else to_native(to)


def conversation(of: str | t.Recipient | t.Inbox) -> Any:
    """A conversation; a plain string is one with a user."""
    if isinstance(of, str):
        return native.Conversation.USER(user=of)
    if isinstance(of, t.User):
        return native.Conversation.USER(user=of.user)
    if isinstance(of, t.Channel):
        return native.Conversation.CHANNEL(channel=of.channel)
    return native.Conversation.INBOX()


def as_content(said: str | c.Content | c.Body) -> Any:
    """A content; a plain string is a text."""
    if isinstance(said, str):
        said = c.Text(said)
    return to_native(said if isinstance(said, c.Content) else c.Content(said))


def history_range(of: t.HistoryRange | None) -> Any:
    """A part of a log; none is the newest."""
    if of is not None and of.before is not None:
        return native.HistoryRange.BEFORE(seq=of.before)
    if of is not None and of.after is not None:
        return native.HistoryRange.AFTER(seq=of.after)
    return native.HistoryRange.NEWEST()


def history_query(
    of: t.HistoryRange | None,
    before_message: int | None,
    after_message: int | None,
    since: datetime | None,
    until: datetime | None,
    kinds: Sequence[t.Kind],
) -> Any:
    """A query for entries of a conversation."""
    return native.HistoryQuery(
        range=history_range(of),
        before_message=before_message,
        after_message=after_message,
        since_ms=unix_ms(since),
        until_ms=unix_ms(until),
        kinds=to_native(list(kinds)),
    )


def search_query(
    text: str,
    within: str | t.Recipient | t.Inbox | None,
    kinds: Sequence[t.Kind],
    from_user: str | None,
    since: datetime | None,
    until: datetime | None,
    before: t.SearchPlace | None,
) -> Any:
    """A search. The generated class has a field whose name is a keyword of Python."""
    fields: dict[str, Any] = {
        "text": text,
        "conversation": None if within is None else conversation(within),
        "kinds": to_native(list(kinds)),
        "since_ms": unix_ms(since),
        "until_ms": unix_ms(until),
        "before": to_native(before),
    }
    fields["_from" if "_from" in native.Search.__init__.__kwdefaults__ else "from"] = from_user
    return native.Search(**fields)


def _register_all() -> None:
    enumerations: list[tuple[Any, type[enum.Enum]]] = [
        (native.Terminal, t.Terminal),
        (native.Transport, t.Transport),
        (native.State, t.State),
        (native.ResetReason, t.ResetReason),
        (native.RoomLeftCause, t.RoomLeftCause),
        (native.CallStep, t.CallStep),
        (native.SendState, t.SendState),
        (native.RefusalKind, e.RefusalKind),
    ]
    for generated, enumeration in enumerations:
        register_enum(generated, enumeration)

    both: list[tuple[Any, type]] = [
        (native.Media, c.Media),
        (native.ForwardSource, c.ForwardSource),
        (native.ForwardedEntry, c.ForwardedEntry),
        (native.Quote, c.Quote),
        (native.Amended, c.Amended),
        (native.Content, c.Content),
        (native.Position, t.Position),
        (native.ReceivedMessage, t.Message),
        (native.MessageRef, t.MessageRef),
        (native.ReadMark, t.ReadMark),
        (native.ConversationChange, t.ConversationChange),
        (native.SearchPlace, t.SearchPlace),
    ]
    for generated, public in both:
        register_both(generated, public)
    readable: list[tuple[Any, type]] = [
        (native.Published, t.PublishResult),
        (native.SendFailure, t.SendFailure),
        (native.ConversationState, t.ConversationState),
        (native.ListedConversation, t.ListedConversation),
        (native.ConversationPage, t.ConversationPage),
        (native.Recalled, t.Recalled),
        (native.Unread, t.Unread),
        (native.Readers, t.Readers),
        (native.ReadReceipt, t.ReadReceipt),
        (native.HistoryPage, t.HistoryPage),
        (native.FoundPage, t.FoundPage),
        (native.TerminalPresence, t.TerminalPresence),
        (native.UserPresence, t.UserPresence),
        (native.JoinedRoom, t.JoinedRoom),
        (native.Reaction, t.ShownReaction),
        (native.ShownMessage, t.ShownMessage),
        (native.ReceivedSignal, t.SignalReceived),
    ]
    for generated, public in readable:
        register(generated, public)

    # Bodies: those of one record are that record.
    body = native.Body
    wrapped: list[tuple[Any, Any, type, str]] = [
        (body.IMAGE, native.Image, c.Image, "image"),
        (body.FILE, native.File, c.File, "file"),
        (body.VOICE, native.Voice, c.Voice, "voice"),
        (body.VIDEO, native.Video, c.Video, "video"),
        (body.LOCATION, native.Location, c.Location, "location"),
        (body.CARD, native.Card, c.Card, "card"),
    ]
    for variant, generated, public, name in wrapped:
        _register_wrapped(variant, generated, public, name)
    variants: list[tuple[Any, type]] = [
        (body.TEXT, c.Text),
        (body.FORWARDED, c.Forwarded),
        (body.NOTICE, c.Notice),
        (body.CHANGE, c.Change),
        (body.CUSTOM, c.Custom),
        (body.UNKNOWN, c.UnknownBody),
        (native.ChangeKind.RECALL, c.Recall),
        (native.ChangeKind.EDIT, c.Edit),
        (native.ChangeKind.DELETE_FOR_ME, c.DeleteForMe),
        (native.ChangeKind.REACTION, c.Reaction),
        (native.ChangeKind.PIN, c.Pin),
        (native.ChangeKind.UNKNOWN, c.UnknownChange),
        (native.Recipient.USER, t.User),
        (native.Recipient.CHANNEL, t.Channel),
        (native.Signal.TYPING, t.Typing),
        (native.Signal.CALL, t.CallSignal),
        (native.Signal.CUSTOM, t.CustomSignal),
        (native.Signal.UNKNOWN, t.UnknownSignal),
    ]
    for variant, public in variants:
        register_both(variant, public)
    register(native.Conversation.USER, t.User)
    register(native.Conversation.CHANNEL, t.Channel)
    register(native.Conversation.INBOX, t.Inbox)

    event = native.Event
    events: list[tuple[Any, type]] = [
        (event.CONNECTED, t.Connected),
        (event.DISCONNECTED, t.Disconnected),
        (event.UP_TO_DATE, t.UpToDate),
        (event.RESET, t.Reset),
        (event.CONVERSATIONS_CHANGED, t.ConversationsChanged),
        (event.CHANNEL_READ, t.ChannelRead),
        (event.PRESENCE, t.PresenceChanged),
        (event.ROOM_LEFT, t.RoomLeft),
        (event.PUBLISHED, t.Published),
        (event.PUBLISH_FAILED, t.PublishFailed),
        (event.STOPPED, t.Stopped),
        (event.UNKNOWN, t.UnknownEvent),
    ]
    for variant, public in events:
        register(variant, public)
    _TO_PYTHON[event.MESSAGE] = lambda value: to_python(value.message)
    _TO_PYTHON[event.SIGNAL] = lambda value: to_python(value.signal)

    _TO_PYTHON[native.HistoryRange.NEWEST] = lambda _: t.HistoryRange()
    _TO_PYTHON[native.HistoryRange.BEFORE] = lambda value: t.HistoryRange(before=value.seq)
    _TO_PYTHON[native.HistoryRange.AFTER] = lambda value: t.HistoryRange(after=value.seq)
    _TO_NATIVE[t.Kind] = _kind


def _kind(kind: t.Kind) -> Any:
    if kind.number is not None:
        return native.Kind.NUMBER(number=kind.number)
    return native.Kind.CUSTOM(name=kind.name or "")


def _register_wrapped(variant: Any, generated: Any, public: type, name: str) -> None:
    register_both(generated, public)
    write = _TO_NATIVE[public]
    _TO_PYTHON[variant] = lambda value: to_python(getattr(value, name))
    _TO_NATIVE[public] = lambda value: variant(**{name: write(value)})


_register_all()


# Errors.


def _simple(public: type[e.ImError]) -> Callable[[Any], Exception]:
    return lambda error: public(error.code(), error.reason)


def _refusable(public: Any) -> Callable[[Any], Exception]:
    def convert(error: Any) -> Exception:
        kind = getattr(error, "kind", None)
        retry_after = getattr(error, "retry_after_ms", None)
        retryable = getattr(error, "is_retryable", None)
        exception: Exception = public(
            error.code(),
            error.reason,
            True if retryable is None else retryable(),
            kind=to_python(kind),
            rule_code=getattr(error, "rule_code", 0),
            retry_after=None if retry_after is None else retry_after / 1000,
        )
        return exception

    return convert


_ERRORS: list[tuple[Any, Callable[[Any], Exception]]] = [
    (native.OpenError, _simple(e.OpenError)),
    (native.SendError, _simple(e.SendError)),
    (native.MarkError, _simple(e.MarkError)),
    (native.InvalidContent, lambda error: e.InvalidContent("invalid", error.reason)),
    (native.PublishError, _refusable(e.PublishError)),
    (native.RequestError, _refusable(e.RequestError)),
    (native.BackendError, lambda error: e.BackendError(error.code, error.reason, error.retryable)),
]

_NATIVE_ERRORS = tuple(generated for generated, _ in _ERRORS)


def public_error(error: Exception) -> Exception:
    """An exception of the generated module as one of this package."""
    return next(convert(error) for generated, convert in _ERRORS if isinstance(error, generated))


async def call(awaitable: Awaitable[Any]) -> Any:
    """Waits for a call that changes nothing by being cancelled."""
    try:
        return await awaitable
    except _NATIVE_ERRORS as error:
        raise public_error(error) from None


def call_sync(function: Callable[..., Any], *arguments: Any) -> Any:
    """Makes a call that does not wait."""
    try:
        return function(*arguments)
    except _NATIVE_ERRORS as error:
        raise public_error(error) from None


async def call_whole(awaitable: Awaitable[Any]) -> Any:
    """Waits for a call that goes on if the waiting is cancelled: what it does is done once, and wholly."""
    task = asyncio.ensure_future(call(awaitable))
    task.add_done_callback(_seen)
    return await asyncio.shield(task)


def _seen(task: asyncio.Future[Any]) -> None:
    # An error that nobody waits for any more is no news.
    if not task.cancelled():
        task.exception()


class Puller(Generic[T]):
    """Pulls batches, one call at a time. A taker that is cancelled takes nothing with it: what has been pulled is for the next one."""

    def __init__(self, pull: Callable[[], Awaitable[Sequence[T]]]) -> None:
        self.ready: deque[T] = deque()
        self._pull = pull
        self._task: asyncio.Future[Sequence[T]] | None = None
        self._ended = False
        self._error: BaseException | None = None

    async def wait(self) -> bool:
        """Waits until something is ready. False: nothing will be any more."""
        while not self.ready:
            if self._error is not None:
                raise self._error
            if self._ended:
                return False
            if self._task is None:
                self._task = asyncio.ensure_future(self._pull())
                self._task.add_done_callback(self._pulled)
            # Unlike awaiting the task, this does not cancel it.
            await asyncio.wait([self._task])
        return True

    def _pulled(self, task: asyncio.Future[Sequence[T]]) -> None:
        self._task = None
        if task.cancelled():
            return
        error = task.exception()
        if error is not None:
            self._error = error
            return
        batch = task.result()
        self.ready.extend(batch)
        self._ended = not batch

    async def take(self, most: int) -> list[T]:
        """What is ready, at least one and at most that many, waiting if need be. Empty: nothing will be any more."""
        if not await self.wait():
            return []
        ready = self.ready
        if most >= len(ready):
            taken = list(ready)
            ready.clear()
            return taken
        return [ready.popleft() for _ in range(max(1, most))]


class Iterator(Generic[T]):
    """An asynchronous iterator over what a puller pulls. Several share it: each item goes to one of them."""

    def __init__(self, puller: Puller[T]) -> None:
        self._puller = puller
        self._ready = puller.ready

    def __aiter__(self) -> Iterator[T]:
        return self

    async def __anext__(self) -> T:
        if not self._ready and not await self._puller.wait():
            raise StopAsyncIteration
        return self._ready.popleft()
