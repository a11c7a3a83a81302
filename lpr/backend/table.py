"""What came, as a table in the terminal: for `lpr-agent backend` and `lpr-agent demo`."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from lpr.backend.messages import DETECTED, ERROR, STATUS
from lpr.backend.store import Kept, StoredEvent

VISIBLE_ROWS = 15


class EventTable:
    """The newest events, and how many there were. Hand `add` to `Backend.on_event` and `render` to `rich.live.Live`."""

    def __init__(self, rows: int = VISIBLE_ROWS) -> None:
        self._rows = rows
        self._newest: deque[StoredEvent] = deque(maxlen=rows)
        self._status: StoredEvent | None = None
        self.detections = 0
        self.errors = 0
        self.statuses = 0
        self.repeats = 0

    def add(self, kept: Kept) -> None:
        """Take an event in; a repeat changes the row that is there."""
        event = kept.event
        if kept.duplicate:
            self.repeats += 1
            for place, shown in enumerate(self._newest):
                if shown.number == event.number:
                    self._newest[place] = event
            return
        if event.event_type == STATUS:
            self.statuses += 1
            self._status = event
            return
        self.errors += event.event_type == ERROR
        self.detections += event.event_type == DETECTED
        self._newest.append(event)

    def render(self, *, heading: Sequence[RenderableType] = ()) -> RenderableType:
        """The table as it stands, under the `heading` lines."""
        return Group(*heading, self._table(), self._summary())

    def _table(self) -> RenderableType:
        if not self._newest:
            return Text("nothing has come yet", style="dim")
        table = Table(expand=False, pad_edge=False, box=None, header_style="dim")
        for name, justify in (
            ("time", "left"),
            ("plate", "left"),
            ("conf", "right"),
            ("gate", "left"),
            ("action", "left"),
            ("vehicle", "left"),
            ("after", "right"),
            ("delivery", "left"),
        ):
            table.add_column(name, justify=justify, no_wrap=True)  # type: ignore[arg-type]
        for event in self._newest:
            table.add_row(*row(event))
        return table

    def _summary(self) -> RenderableType:
        parts = [f"{self.detections} plates", f"{self.errors} errors", f"{self.statuses} statuses"]
        if self.repeats:
            parts.append(f"{self.repeats} repeats")
        text = Text(", ".join(parts), style="dim")
        if self._status is not None:
            text.append(f"   agent {self._status.agent_id}: {status_words(self._status.data)}", style="dim")
        return text


def row(event: StoredEvent) -> tuple[Text, ...]:
    """One event as the cells of the table; also the words of the plain lines."""
    data = event.data
    if event.event_type == DETECTED:
        what = Text(_text(data.get("licensePlate")), style="bold")
    elif event.event_type == ERROR:
        what = Text(_text(data.get("errorCode")), style="red")
    else:
        what = Text(event.event_type, style="dim")
    confidence = data.get("confidence")
    details = _object(data.get("details"))
    return (
        Text(_local_time(event.received_at), style="dim"),
        what,
        Text(f"{confidence:.2f}" if isinstance(confidence, (int, float)) else ""),
        Text(_text(data.get("gateName") or data.get("gateId"))),
        Text(_text(data.get("action"))),
        Text(_text(data.get("vehicleType") or details.get("cameraId")), style="dim"),
        Text(_delay(event), style="dim"),
        _delivery(event),
    )


def line(event: StoredEvent) -> str:
    """One event as a plain line, where the output is no terminal."""
    return "  ".join(cell.plain for cell in row(event) if cell.plain)


def status_words(data: Any) -> str:
    """A `processing_status` in few words."""
    queue = _object(data.get("queue"))
    cameras = data.get("cameras")
    cameras = cameras if isinstance(cameras, list) else []
    running = sum(1 for camera in cameras if _object(camera).get("state") == "running")
    return f"{data.get('status')}, {running} of {len(cameras)} cameras running, {queue.get('pending', 0)} queued"


def _delivery(event: StoredEvent) -> Text:
    text = Text("live" if not event.replayed else "replayed", style="green" if not event.replayed else "yellow")
    if event.attempt > 1:
        text.append(f", attempt {event.attempt}", style="yellow")
    if event.repeats:
        text.append(f", came {event.repeats + 1} times", style="yellow")
    if event.remarks:
        more = f" (+{len(event.remarks) - 1})" if len(event.remarks) > 1 else ""
        text.append(f"  ! {event.remarks[0]}{more}", style="magenta")
    return text


def _delay(event: StoredEvent) -> str:
    """From the event's own time to its arrival here; empty where the agent's clock is ahead or unreadable."""
    try:
        happened, received = datetime.fromisoformat(event.timestamp), datetime.fromisoformat(event.received_at)
        seconds = (received - happened).total_seconds()
    except (ValueError, TypeError):
        return ""
    if seconds < 0:
        return ""
    if seconds < 10:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.0f} h"


def _local_time(moment: str) -> str:
    try:
        return datetime.fromisoformat(moment).astimezone().strftime("%H:%M:%S")
    except ValueError:
        return moment


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _object(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}
