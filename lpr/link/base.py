"""What the rest of the agent knows of the link: settings, state, and the `Transport` behind which the network is.

Every wait at this border has a name in `LinkDeadlines`; tests shrink them there and nowhere else.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Any, Protocol, TypeAlias

from lpr.domain.choices import ImageMode, PayloadShape


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkDeadlines:
    """Seconds that the link waits, each for one thing.

    `connect_s` covers name, TCP, TLS, upgrade and namespace together. `ack_s` is the time for an answer beyond what
    the bytes in flight need on the slowest uplink seen; no growth takes it over `dead_s`, so that a dead connection is
    found within 15 s. An idle connection is asked for a sign of life every `probe_s` and given `probe_answer_s`.
    """

    connect_s: float = 10.0
    hello_s: float = 2.0
    ack_s: float = 8.0
    dead_s: float = 12.0
    probe_s: float = 5.0
    probe_answer_s: float = 7.0
    disconnect_s: float = 2.0
    progress_s: float = 1.0
    """How often the transport is asked how far the bytes have come, while something is in flight."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveryLimits:
    """Bounds of what is in flight and in memory; what happens at each is written in `delivery.py`."""

    window: int = 8
    """Events in flight. Measured: eight is where throughput flattens."""
    live_queue: int = 256
    """Live events kept in memory; what comes beyond waits on disk and is fetched like the backlog."""
    page: int = 64
    """Tickets fetched from the outbox at a time."""
    deferred: int = 1000
    """Events that the back-end put off and that are remembered with their time; beyond, paging pauses."""
    histories: int = 4096
    """Events of which attempts and losses are remembered."""
    in_flight_s: float = 4.0
    """Bytes in flight are held to what the uplink carries in this time, so that a live event need not wait longer."""
    first_retry_s: float = 1.0
    max_retry_s: float = 60.0
    soft_failures: int = 10
    losses_before_alone: int = 2
    losses_alone: int = 3
    alone_pause_s: float = 5.0
    """Pause before an event that took the link down alone is tried again; doubles each time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Backoff:
    """Waits between attempts to connect, in seconds: full jitter under a bound that grows from `first_s` to `max_s`."""

    first_s: float = 0.5
    max_s: float = 30.0
    refused_first_s: float = 60.0
    refused_max_s: float = 600.0
    quick_refused_s: float = 30.0
    """For so long refusals of a token that worked before are taken for a back-end that is still starting."""
    thrown_out_within_s: float = 10.0
    """A connection that the back-end ends so soon, one after another, is made again ever later..."""
    thrown_out_max_s: float = 5.0
    """...but after this time."""
    token_poll_s: float = 5.0
    """How often the token is looked at while a refused one waits: a new one is tried at once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkSettings:
    """One back-end and how to speak with it. `token` is called at every attempt, so a rotated file is picked up."""

    url: str
    agent_id: str
    boot_id: str
    version: str
    namespace: str = "/ai"
    path: str = "socket.io"
    token: Callable[[], str | None] = lambda: None
    ca_file: Path | None = None
    client_cert_file: Path | None = None
    client_key_file: Path | None = None
    images: ImageMode = ImageMode.BASE64
    payload: PayloadShape = PayloadShape.MESSAGE
    strict_acks: bool = False
    max_message_bytes: int = 900_000
    deadlines: LinkDeadlines = field(default_factory=LinkDeadlines)
    limits: DeliveryLimits = field(default_factory=DeliveryLimits)
    backoff: Backoff = field(default_factory=Backoff)


@dataclass(frozen=True, slots=True)
class Progress:
    """How far the bytes of a connection have come: acknowledged by the peer's TCP in all, and still on this side.

    `heard_s_ago`: when the peer's program, not its kernel alone, last gave a sign of life; None where nobody can tell.
    """

    acked_bytes: int
    pending_bytes: int
    heard_s_ago: float | None = None


MESSAGE_TOO_LARGE = "a message was larger than the back-end, or a proxy before it, takes (close code 1009)"
"""The reason of an end that the other side has named so."""
THROWN_OUT = "the back-end disconnected us"
"""The reason of an end that the back-end's own program wanted."""

OnAck: TypeAlias = Callable[[Sequence[object]], None]
"""Called with the arguments of the back-end's answer, at most once an emit."""
OnCommand: TypeAlias = Callable[[str, Sequence[object]], Awaitable[Mapping[str, Any]]]
"""Called with a command's name and arguments; what it returns is the answer."""
OnDisconnect: TypeAlias = Callable[[str], None]
"""Called once, with the reason, when a connection that was made has ended."""


class Transport(Protocol):
    """One connection, used once: made, connected, lost or closed, thrown away.

    Foreign exceptions end here. Handlers are set before `connect` and called in the event loop.
    """

    def on_command(self, handler: OnCommand) -> None:
        """What to do with every event that the back-end emits."""
        ...

    def on_disconnect(self, handler: OnDisconnect) -> None:
        """Whom to tell that the connection has ended, whatever ended it (`close` excepted)."""
        ...

    async def connect(self, auth: Mapping[str, Any]) -> None:
        """Connect to the namespace within `connect_s`. Raises `LinkRefusedError` where the back-end said no, else
        `LinkError`; both say what to do. Nothing is left open after a failure or a cancellation.
        """
        ...

    async def emit(self, name: str, message: Mapping[str, Any], on_ack: OnAck) -> None:
        """Hand an event to the socket; `on_ack` may never be called. Raises `LinkError` where the link is gone."""
        ...

    def takes_bytes(self) -> int | None:
        """The largest message that the other side said it takes when we connected; None where it said nothing."""
        ...

    def progress(self) -> Progress | None:
        """How far the bytes have come, or None where this transport cannot tell."""
        ...

    def abort(self, reason: str) -> None:
        """Cut the connection now, without a farewell; `on_disconnect` follows. Harmless on one that has ended."""
        ...

    async def close(self) -> None:
        """Say farewell and close within `disconnect_s`; nothing is left open. Harmless on one that has ended."""
        ...


TransportFactory: TypeAlias = Callable[[], Transport]


class LinkPhase(StrEnum):
    """Where the link stands."""

    STOPPED = "stopped"
    CONNECTING = "connecting"
    UP = "up"
    WAITING = "waiting"
    """The last attempt or connection failed; the next attempt is due at `next_attempt_at`."""
    REFUSED = "refused"
    """The back-end said no: the next attempt is a slow one, or comes with a new token. Or we do not trust it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkState:
    """The link in numbers and words, for the page, the status and the metrics.

    `failed_attempts` counts since the last connection. `rtt_ms` is the time from handing an event to the socket to its
    answer: the newest, None before the first. `clock_offset_ms` is the back-end's clock minus ours, where it told.
    """

    phase: LinkPhase
    url: str
    connected_since: datetime | None
    next_attempt_at: datetime | None
    rtt_ms: float | None
    connections: int
    failed_attempts: int
    last_error: str | None
    remedy: str | None
    complaint: str | None
    """What is wrong with the back-end's answers, so that events do not leave; None where nothing is."""
    clock_offset_ms: float | None
    in_flight: int
    sent: int
    acked: int
    duplicates: int
    put_off: int
    rejected: int
    unanswered: int
    """Attempts that got no answer, or none that could be read."""
