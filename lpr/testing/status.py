"""A `StatusSource` that says what a test (or a person looking at the page) wants it to say."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np

from lpr.domain.clock import Instant
from lpr.domain.events import AgentState, CameraState, ClockStatus, QueueStatus
from lpr.domain.frame import Frame, Image
from lpr.domain.geometry import Box, Point, Quad
from lpr.domain.passage import Action, PassageOutcome
from lpr.domain.plate import VehicleType
from lpr.imaging import encode_jpeg
from lpr.web.source import (
    CameraPicture,
    CameraView,
    DeliveryState,
    LinkView,
    PassageView,
    SeenPlate,
    StandingView,
    StatusView,
)


class FakeStatusSource:
    """All of it can be set: `view`, `views_of_passages`, `pictures` and `crops` are what the page is told."""

    def __init__(self, *, agent_id: str = "gate-nuc-01") -> None:
        self.view = StatusView(
            agent_id=agent_id,
            version="0.1.0",
            state=AgentState.PROCESSING,
            uptime_s=15_780.0,
            device="CPU",
            link=LinkView(up=True, words="connected to api.example.vn", since=datetime.now(UTC) - timedelta(hours=3)),
            queue=QueueStatus(pending=0, bytes=0, oldest_age_s=0.0, dead_letters=0),
            clock=ClockStatus(synchronised=True, offset_ms=12.0),
            cpu_percent=38.0,
            memory_percent=41.0,
        )
        self.views_of_passages: list[PassageView] = []
        self.pictures: dict[str, CameraPicture] = {}
        self.crops: dict[str, bytes] = {}
        self.texts: list[StandingView] = []
        self.forgotten: list[tuple[str, str]] = []

    def status(self) -> StatusView:
        """What `view` is."""
        return self.view

    def passages(self, limit: int) -> Sequence[PassageView]:
        """The newest of `views_of_passages`, which are in the order of adding."""
        return self.views_of_passages[::-1][:limit]

    def camera_picture(self, camera_id: str) -> CameraPicture | None:
        """What `pictures` holds."""
        return self.pictures.get(camera_id)

    def passage_crop(self, passage_id: str) -> bytes | None:
        """What `crops` holds."""
        return self.crops.get(passage_id)

    def standing(self) -> Sequence[StandingView]:
        """What `texts` holds."""
        return self.texts

    async def forget_standing(self, camera_id: str, text: str) -> bool:
        """Takes it out of `texts` and notes it in `forgotten`."""
        kept = [each for each in self.texts if (each.camera_id, each.text) != (camera_id, text)]
        found = len(kept) < len(self.texts)
        self.texts = kept
        if found:
            self.forgotten.append((camera_id, text))
        return found

    def change(self, **fields: Any) -> None:
        """Set fields of the `StatusView`."""
        self.view = replace(self.view, **fields)

    def add_camera(
        self,
        camera_id: str,
        *,
        name: str = "",
        gate_name: str = "Cổng chính",
        state: CameraState = CameraState.RUNNING,
        detail: str = "",
        limp: str = "",
        blind: str = "",
        seconds_ago: float | None = 0.1,
        plate: str = "59-X1 123.45",
        region: tuple[Point, ...] = (),
    ) -> None:
        """One more camera, with a drawn picture unless `seconds_ago` is None."""
        last = None if seconds_ago is None else datetime.now(UTC) - timedelta(seconds=seconds_ago)
        running = state is CameraState.RUNNING
        camera = CameraView(
            camera_id=camera_id,
            name=name or camera_id,
            gate_name=gate_name,
            state=state,
            decoded_fps=25.0 if running else 0.0,
            analysed_fps=8.0 if running else 0.0,
            frame_age_s=seconds_ago,
            last_frame_at=last,
            passages=len(self.view.cameras) * 7 + 3,
            detail=detail,
            limp=limp,
            blind=blind,
        )
        self.change(cameras=(*self.view.cameras, camera))
        if last is not None:
            self.pictures[camera_id] = drawn_gate(camera_id, plate, Instant(last, 0.0), region)

    def add_standing(self, camera_id: str, display: str, *, hours: float = 5.0, camera_name: str = "") -> None:
        """A text that has stood in the drawn picture of `camera_id` for `hours`."""
        now = datetime.now(UTC)
        self.texts.append(
            StandingView(
                camera_id=camera_id,
                camera_name=camera_name or camera_id,
                text="".join(filter(str.isalnum, display)),
                display=display,
                place=Box(510, 460, 260, 60),
                since=now - timedelta(hours=hours),
                last_seen=now,
            )
        )

    def add_passage(
        self,
        passage_id: str,
        plate: str,
        *,
        outcome: PassageOutcome = PassageOutcome.READ,
        delivery: DeliveryState = DeliveryState.DELIVERED,
        action: Action = Action.ENTRY,
        confidence: float = 0.97,
        gate_name: str = "Cổng chính",
        seconds_ago: float = 0.0,
        rows: int = 1,
    ) -> None:
        """One more passage, the newest, with a drawn crop."""
        self.views_of_passages.append(
            PassageView(
                passage_id=passage_id,
                camera_id="CAM_001",
                gate_name=gate_name,
                plate=plate,
                outcome=outcome,
                confidence=confidence,
                action=action,
                vehicle_type=VehicleType.MOTORCYCLE if rows == 2 else VehicleType.CAR,
                occurred_at=datetime.now(UTC) - timedelta(seconds=seconds_ago),
                delivery=delivery,
                kind="motorcycle" if rows == 2 else "car",
                province="TP. Hồ Chí Minh",
            )
        )
        self.crops[passage_id] = encode_jpeg(drawn_plate(plate, rows)).data


def drawn_plate(text: str, rows: int = 1) -> Image:
    """A plate as a plain drawing: 260 x 60 pixels with one row, 140 x 105 with two (the text split at its space)."""
    import cv2

    lines = text.split(" ", 1) if rows == 2 else [text]
    width, height = (260, 60) if len(lines) == 1 else (140, 105)
    plate = np.full((height, width, 3), (228, 232, 230), np.uint8)
    cv2.rectangle(plate, (2, 2), (width - 3, height - 3), (40, 40, 40), 2)
    for row, line in enumerate(lines):
        plain = line.replace("Đ", "D")
        (text_width, text_height), _ = cv2.getTextSize(plain, cv2.FONT_HERSHEY_SIMPLEX, 1.1, 3)
        middle = height * (2 * row + 1) // (2 * len(lines))
        place = ((width - text_width) // 2, middle + text_height // 2)
        cv2.putText(plate, plain, place, cv2.FONT_HERSHEY_SIMPLEX, 1.1, (30, 30, 30), 3, cv2.LINE_AA)
    return plate


def drawn_gate(camera_id: str, text: str, at: Instant, region: tuple[Point, ...] = ()) -> CameraPicture:
    """A 1280 x 720 drawing of a lane with one plate in it."""
    import cv2

    rows = np.linspace(150, 60, 720, dtype=np.float32)[:, None, None]
    image = np.broadcast_to(rows, (720, 1280, 3)).astype(np.uint8).copy()
    cv2.fillPoly(image, [np.array([[500, 250], [780, 250], [1250, 719], [30, 719]], np.int32)], (82, 80, 78))
    cv2.rectangle(image, (430, 270), (850, 560), (120, 70, 40), cv2.FILLED)
    cv2.rectangle(image, (470, 290), (810, 390), (60, 50, 45), cv2.FILLED)
    plate = drawn_plate(text)
    left, top = 510, 460
    image[top : top + plate.shape[0], left : left + plate.shape[1]] = plate
    corners = Quad.of_box(Box(left, top, plate.shape[1], plate.shape[0]))
    return CameraPicture(Frame(camera_id, 0, image, at), (SeenPlate(corners, text, 0.97),), region)
