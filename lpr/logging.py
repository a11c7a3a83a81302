"""The log: readable lines at a terminal, JSON elsewhere, UTF-8 in any locale, and never a secret in it.

structlog writes through the standard library's loggers, so that socketio, aiohttp and our own lines take one way out.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import queue
import sys
import threading
from collections.abc import Iterable, Mapping, MutableMapping
from datetime import UTC, datetime
from logging.handlers import WatchedFileHandler
from pathlib import Path
from typing import Any, TextIO

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from lpr.domain.clock import isoformat_ms
from lpr.domain.errors import ConfigError, reason_of
from lpr.domain.secrets import MASK, mask_secrets

# These tell every packet at `info`; what matters of them our own link says.
_CHATTY = ("socketio", "engineio", "aiohttp.access", "asyncio", "urllib3")
_SECRET_KEYS = frozenset({"token", "password", "secret", "authorization"})
_MIN_SECRET_LENGTH = 4
"""A shorter secret would blot out half of the log and is none."""

LINES_WAITING = 10_000
"""For a reader of the log that stands still, in memory; what comes beyond is counted, and the count is logged."""
LAST_LINES_S = 2.0
"""At the end, for lines that still wait."""

_SYSLOG_PRIORITIES = ((logging.CRITICAL, 2), (logging.ERROR, 3), (logging.WARNING, 4), (logging.INFO, 6))


def get_logger(name: str) -> structlog.stdlib.BoundLogger:
    """The logger of a module: `log.info("camera lost", camera_id=…, reason=…)`."""
    return structlog.stdlib.get_logger(name)


def is_kept() -> bool:
    """Whether there is a log that somebody keeps: whether `configure` has run, and not only `quiet`."""
    formatters = (handler.formatter for handler in logging.getLogger().handlers)
    return any(isinstance(formatter, _Formatter) and formatter.kept for formatter in formatters)


def quiet() -> None:
    """For commands that answer a person at once: what the parts log stays out of the answer, errors go to stderr."""
    handler = _stream_handler(sys.stderr, SecretMask(), as_console=True, kept=False)
    _install([handler], "error")
    _route_structlog()


def configure(
    *,
    level: str = "info",
    format: str = "auto",  # noqa: A002 - the key's name in the configuration
    file: Path | None = None,
    secrets: Iterable[str] = (),
    stream: TextIO | None = None,
    in_thread: bool = False,
) -> None:
    """Set the log up, anew where it was set up before.

    With `in_thread` lines are written in a thread of their own: a journal that does not read, or a disk that stalls,
    then holds up nobody who has something to say.

    `level` is debug, info, warning or error; `format` is auto, console or json. `secrets` are masked wherever they
    appear, besides everything that looks like a password in an address. `stream` is stderr where not given; `file`
    gets JSON lines too and may be rotated from outside. Raises `ConfigError` where the file cannot be opened.
    """
    stream = stream if stream is not None else sys.stderr
    reconfigure = getattr(stream, "reconfigure", None)
    if reconfigure is not None:
        # LANG=C must not turn `Cổng chính` into question marks or, worse, an exception in a handler.
        reconfigure(encoding="utf-8", errors="backslashreplace")
    mask = SecretMask(secrets)
    as_console = format == "console" or (format == "auto" and stream.isatty())
    handlers: list[logging.Handler] = [_stream_handler(stream, mask, as_console=as_console)]
    if file is not None:
        handlers.append(_file_handler(file, mask))
    _install([_Beside(handlers)] if in_thread else handlers, level)
    _route_structlog()


def end() -> bool:
    """Write what waits; false where nobody reads the log, and who waits for that would wait for ever."""
    beside = [handler for handler in logging.getLogger().handlers if isinstance(handler, _Beside)]
    for handler in beside:
        handler.close()
    return not any(handler.is_stuck for handler in beside)


def _route_structlog() -> None:
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *_COMMON,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,
    )


class SecretMask:
    """A structlog processor that hides secrets in every text of an event, however deep it lies."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        # The longest first: one secret may hold another.
        self._known = sorted({secret for secret in secrets if len(secret) >= _MIN_SECRET_LENGTH}, key=len, reverse=True)

    def __call__(self, logger: WrappedLogger, method: str, event: EventDict) -> EventDict:
        """The event without secrets. `logger` and `method` are structlog's way of calling."""
        return {key: self._masked(key, value) for key, value in event.items()}

    def _masked(self, key: object, value: Any) -> Any:
        if value is None or isinstance(value, bool | int | float):
            return value
        if str(key).lower() in _SECRET_KEYS:
            return MASK
        if isinstance(value, Mapping):
            return {str(inner): self._masked(inner, item) for inner, item in value.items()}
        if isinstance(value, list | tuple | set | frozenset):
            return [self._masked("", item) for item in value]
        # Anything else is printed in the end, so it is turned to text here, where it can be looked through.
        return mask_secrets(str(value), self._known)


class _Formatter(structlog.stdlib.ProcessorFormatter):
    """structlog's formatter, with the priority that journald takes from the line's beginning where it reads us."""

    def __init__(self, *, for_journal: bool, kept: bool, **keywords: Any) -> None:
        super().__init__(**keywords)
        self.kept = kept
        self._for_journal = for_journal

    def format(self, record: logging.LogRecord) -> str:
        text = super().format(record)
        if not self._for_journal:
            return text
        priority = next((number for least, number in _SYSLOG_PRIORITIES if record.levelno >= least), 7)
        # Each line is an entry of its own in the journal.
        return "\n".join(f"<{priority}>{line}" for line in text.splitlines())


def _add_time(logger: WrappedLogger, method: str, event: EventDict) -> EventDict:
    record = event.get("_record")  # of a library's line, which is laid out only when it is written
    moment = datetime.now(UTC) if record is None else datetime.fromtimestamp(record.created, UTC)
    event["time"] = isoformat_ms(moment)
    return event


_COMMON: list[Processor] = [
    structlog.contextvars.merge_contextvars,
    structlog.stdlib.add_log_level,
    structlog.stdlib.add_logger_name,
    structlog.stdlib.PositionalArgumentsFormatter(),
    _add_time,
    structlog.processors.StackInfoRenderer(),
]


def _to_json(event: MutableMapping[str, Any], **_: Any) -> str:
    first = {key: event.pop(key) for key in ("time", "level", "logger", "event") if key in event}
    return json.dumps({**first, **event}, ensure_ascii=False, default=str)


def _formatter(
    mask: SecretMask, *, as_console: bool, colours: bool = False, for_journal: bool = False, kept: bool = True
) -> _Formatter:
    renderer: Processor = (
        structlog.dev.ConsoleRenderer(
            colors=colours, timestamp_key="time", exception_formatter=structlog.dev.plain_traceback
        )
        if as_console
        else structlog.processors.JSONRenderer(serializer=_to_json)
    )
    return _Formatter(
        for_journal=for_journal,
        kept=kept,
        foreign_pre_chain=_COMMON,
        processors=[
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            structlog.processors.format_exc_info,
            mask,
            renderer,
        ],
    )


def _stream_handler(stream: TextIO, mask: SecretMask, *, as_console: bool, kept: bool = True) -> logging.Handler:
    handler = logging.StreamHandler(stream)
    colours = as_console and stream.isatty() and "NO_COLOR" not in os.environ
    journal = not as_console and _is_journal(stream)
    handler.setFormatter(_formatter(mask, as_console=as_console, colours=colours, for_journal=journal, kept=kept))
    return handler


class _LogFile(WatchedFileHandler):
    """A file that may be rotated from outside. A disk that is full or a folder that is gone stops nobody's work.

    That is said once, to the other handlers, and so is its end; what could not be written is in those alone.
    """

    _failed = _told = False

    def emit(self, record: logging.LogRecord) -> None:
        """Write `record`, or note that it could not be written."""
        self._failed = False
        try:
            super().emit(record)
        except OSError:  # from looking whether it was rotated
            self.handleError(record)
        if self._told and not self._failed:
            self._told = False
            self._tell(logging.INFO, f"the log's file {self.baseFilename} can be written again")

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - logging's own name
        """Called where an error is being handled; `logging` would print a page for each line."""
        error = sys.exc_info()[1]
        if not isinstance(error, OSError):
            super().handleError(record)
            return
        self._failed = True
        if not self._told:
            self._told = True
            self._tell(logging.ERROR, f"the log's file {self.baseFilename} cannot be written: {reason_of(error)}")

    def close(self) -> None:
        """Close it, with what could not be written."""
        with contextlib.suppress(OSError):
            super().close()

    def _tell(self, level: int, words: str) -> None:
        _tell_all((handler for handler in logging.getLogger().handlers if handler is not self), level, words)


class _Beside(logging.Handler):
    """Hands records to `handlers` in a thread of its own, in order."""

    def __init__(self, handlers: Iterable[logging.Handler]) -> None:
        super().__init__()
        self._handlers = list(handlers)
        self.formatter = self._handlers[0].formatter
        # Not a `Queue`: what is thrown away in the middle of a `put` may have something to say itself, in the same
        # thread, and would wait for the end of that `put` for ever.
        self._records: queue.SimpleQueue[logging.LogRecord | None] = queue.SimpleQueue()
        self._left_out = 0
        self._thread = threading.Thread(target=self._write, name="log", daemon=True)
        self._thread.start()

    def emit(self, record: logging.LogRecord) -> None:
        """Leave `record` to the thread, unless too many wait there."""
        if self._records.qsize() < LINES_WAITING:
            self._records.put(record)
        else:
            self._left_out += 1

    @property
    def is_stuck(self) -> bool:
        """After `close`: whether lines could not be written."""
        return self._thread.is_alive()

    def close(self) -> None:
        """Write what waits; not for ever, where nobody reads it."""
        self._records.put(None)
        self._thread.join(LAST_LINES_S)
        if not self._thread.is_alive():
            for handler in self._handlers:
                handler.close()
        super().close()

    def _write(self) -> None:
        while (record := self._records.get()) is not None:
            for handler in self._handlers:
                handler.handle(record)
            if self._left_out and self._records.empty():
                left_out, self._left_out = self._left_out, 0
                _tell_all(self._handlers, logging.WARNING, f"{left_out} lines were left out: the log was not written")


def _tell_all(handlers: Iterable[logging.Handler], level: int, words: str) -> None:
    record = logging.LogRecord("lpr", level, __file__, 0, words, None, None)
    for handler in handlers:
        handler.handle(record)


def _file_handler(file: Path, mask: SecretMask) -> logging.Handler:
    try:
        handler = _LogFile(file, encoding="utf-8", errors="backslashreplace")
    except OSError as error:
        raise ConfigError(
            f"log.file: {file} cannot be opened for writing: {error.strerror}",
            hint="make its folder, owned by the user that runs lpr-agent, or leave log.file out",
        ) from None
    handler.setFormatter(_formatter(mask, as_console=False))
    return handler


def _install(handlers: list[logging.Handler], level: str) -> None:
    root = logging.getLogger()
    for old in list(root.handlers):
        if isinstance(old.formatter, _Formatter):
            root.removeHandler(old)
            old.close()
    for handler in handlers:
        root.addHandler(handler)
    number = logging.getLevelNamesMapping()[level.upper()]
    root.setLevel(number)
    for name in _CHATTY:
        logging.getLogger(name).setLevel(logging.DEBUG if number <= logging.DEBUG else max(number, logging.WARNING))
    logging.captureWarnings(True)
    threading.excepthook = _log_thread_failure


def _log_thread_failure(failure: threading.ExceptHookArgs) -> None:
    if failure.exc_type is SystemExit or failure.exc_value is None:
        return
    name = failure.thread.name if failure.thread else "?"
    get_logger("lpr.threads").critical("a thread died", thread=name, exc_info=failure.exc_value)


def _is_journal(stream: TextIO) -> bool:
    """Whether systemd's journal is at the other end: it names the device and inode that it reads from."""
    named = os.environ.get("JOURNAL_STREAM", "")
    try:
        status = os.fstat(stream.fileno())
    except (OSError, ValueError):
        return False
    return named == f"{status.st_dev}:{status.st_ino}"
