"""How the agent introduces itself, and what the back-end wishes of a connection."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from lpr.domain.choices import ImageMode
from lpr.wire.names import CAPABILITIES, CONTRACT_VERSION
from lpr.wire.values import finite_number, kind_of, parse_moment, short_text

MIN_MESSAGE_BYTES, MAX_MESSAGE_BYTES = 16_384, 100_000_000
"""Bounds of a believable `maxMessageBytes`; outside of them the answer is nonsense and is passed over."""
MAX_REPLAY_PER_SECOND = 10_000.0


def auth(*, token: str | None, agent_id: str, boot_id: str, epoch: int, version: str) -> dict[str, Any]:
    """The `auth` object of a connection; `epoch` grows by one at every connection."""
    return {
        "token": token or "",
        "agentId": agent_id,
        "bootId": boot_id,
        "epoch": epoch,
        "version": version,
        "contract": CONTRACT_VERSION,
    }


def hello(*, agent_id: str, version: str, capabilities: Sequence[str] = CAPABILITIES) -> dict[str, Any]:
    """The argument of `agent_hello`."""
    return {
        "agentId": agent_id,
        "version": version,
        "contract": CONTRACT_VERSION,
        "capabilities": list(capabilities),
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class HelloAnswer:
    """What a back-end wishes for this connection; None where it said nothing (readable) about it.

    `problems` says in words what was passed over, for the log.
    """

    max_message_bytes: int | None = None
    images: ImageMode | None = None
    replay_per_second: float | None = None
    server_time: datetime | None = None
    problems: tuple[str, ...] = ()


def parse_hello_answer(args: Sequence[object]) -> HelloAnswer:
    """The answer to `agent_hello`; never raises: a field that makes no sense leaves its default in force."""
    first = args[0] if args else None
    if first is None:
        return HelloAnswer()
    if not isinstance(first, Mapping):
        return HelloAnswer(problems=(f"the answer is {kind_of(first)}, it must be an object",))
    problems: list[str] = []

    def field(name: str, must_be: str, read: Callable[[Any], Any]) -> Any:
        if first.get(name) is None:
            return None
        value = read(first[name])
        if value is None:
            problems.append(f"{name} must be {must_be}, it is {short_text(first[name])!r}")
        return value

    return HelloAnswer(
        max_message_bytes=field(
            "maxMessageBytes", f"a number from {MIN_MESSAGE_BYTES} to {MAX_MESSAGE_BYTES}", _believable_bytes
        ),
        images=field("images", "base64, binary or none", _image_mode),
        replay_per_second=field("replayPerSecond", f"a number from 0 to {MAX_REPLAY_PER_SECOND:g}", _believable_rate),
        server_time=field("serverTime", "a time of this century", parse_server_time),
        problems=tuple(problems),
    )


def parse_server_time(value: object) -> datetime | None:
    """The back-end's clock from the answer to a hello or an event; None where it tells none that can be believed."""
    moment = parse_moment(value)
    return moment if moment is not None and 2000 <= moment.year < 2100 else None


def _believable_bytes(value: object) -> int | None:
    number = finite_number(value)
    return int(number) if number is not None and MIN_MESSAGE_BYTES <= number <= MAX_MESSAGE_BYTES else None


def _believable_rate(value: object) -> float | None:
    number = finite_number(value)
    return number if number is not None and 0 <= number <= MAX_REPLAY_PER_SECOND else None


def _image_mode(value: object) -> ImageMode | None:
    return ImageMode(value) if isinstance(value, str) and value in list(ImageMode) else None
