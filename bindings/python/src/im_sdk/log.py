"""The library's log, in Python's."""

from __future__ import annotations

import logging
from typing import Any

from ._bridge import native

__all__ = ["log_to"]

_LEVELS = {"ERROR": logging.ERROR, "WARN": logging.WARNING, "INFO": logging.INFO, "DEBUG": logging.DEBUG, "TRACE": 5}


class _Sink(native.LogSink):  # type: ignore[misc]
    def __init__(self, logger: logging.Logger) -> None:
        self._logger = logger

    def log(self, record: Any) -> None:
        level = _LEVELS[record.level.name]
        if self._logger.isEnabledFor(level):
            fields = " ".join(f"{name}={value}" for name, value in sorted(record.fields.items()))
            extra = {"im_target": record.target, "im_fields": record.fields}
            text = f"{record.message} {fields}" if fields else record.message
            self._logger.log(level, "%s", text, extra=extra)


def log_to(logger: logging.Logger | None, level: int = logging.INFO) -> bool:
    """Sends the library's log to a logger, from that level on; None: nowhere, which is how it begins. It is one log for the process.

    The library calls the logger on a thread of its own. Returns False if other Rust code in this process has taken its log before.
    """
    names = [name for name, number in _LEVELS.items() if number >= level]
    generated = native.LogLevel[names[-1] if names else "ERROR"]
    taken: bool = native.set_log_sink(generated, None if logger is None else _Sink(logger))
    return taken
