"""From a decided passage to the event that is stored: pictures compressed, boxes in the pixels that are sent."""

from __future__ import annotations

from datetime import datetime

from lpr.config import CameraConfig
from lpr.domain.clock import Instant
from lpr.domain.events import ErrorCode, ErrorRaised, Jpeg, PlateDetected, Severity, Weather
from lpr.domain.passage import Passage
from lpr.imaging import encode_jpeg, encode_jpeg_within

CROP_QUALITY = 92
"""The crop is what a person checks a read by, and it is small."""
MESSAGE_OVERHEAD_BYTES = 16_384
"""What a message holds beside its pictures, with room to spare; the link measures and fits the real message."""
BASE64_RATIO = 4 / 3


def plate_detected(
    passage: Passage, camera: CameraConfig, *, weather: Weather | None, max_message_bytes: int
) -> PlateDetected:
    """The event of a passage that was read.

    Compresses two pictures (a few ms to tens of ms: call it in a worker thread). The scene is made small enough that
    a base64 message stays under `max_message_bytes`, so that it need not be compressed again when it is sent.
    """
    crop, scene = _pictures(passage, max_message_bytes)
    frame = passage.best_frame
    box = passage.best_read.box.clipped(frame.width, frame.height)
    return PlateDetected(
        occurred_at=frame.captured_at,
        passage_id=passage.passage_id,
        gate_id=camera.gate.id,
        gate_name=camera.gate.name,
        camera_id=camera.id,
        camera_name=camera.name,
        camera_host=camera.source.host,
        action=passage.action,
        plate=passage.plate,
        vehicle_type=passage.vehicle_type,
        bounding_box=box.scaled(scene.width / frame.width) if scene else box,
        plate_image=crop,
        original_image=scene,
        processing_ms=max(0.0, passage.decided_at.seconds_since(frame.captured_at) * 1000),
        # All times of an event are told by one wall clock, whenever it was set while the vehicle was in sight.
        first_seen_at=_wall_beside(frame.captured_at, passage.first_seen),
        last_seen_at=_wall_beside(frame.captured_at, passage.last_seen),
        frames_read=passage.frames_read,
        weather=weather,
        colour=passage.colour,
    )


def plate_unreadable(passage: Passage, camera: CameraConfig, *, max_message_bytes: int) -> ErrorRaised:
    """The event of a vehicle that passed and could not be read well enough: best guess and pictures in its details."""
    crop, scene = _pictures(passage, max_message_bytes)
    return ErrorRaised(
        occurred_at=passage.best_frame.captured_at,
        code=ErrorCode.PLATE_UNREADABLE,
        message=f"A vehicle passed {camera.gate.name} and its plate could not be read with certainty",
        severity=Severity.MEDIUM,
        gate_id=camera.gate.id,
        details={
            "cameraId": camera.id,
            "passageId": passage.passage_id,
            "bestGuess": passage.plate.text,
            "bestGuessDisplay": passage.plate.display,
            "confidence": round(passage.plate.confidence, 4),
            "action": passage.action.value,
            "framesRead": passage.frames_read,
        },
        plate_image=crop,
        original_image=scene,
    )


def _wall_beside(known: Instant, other: Instant) -> datetime:
    """When `other` was, by the wall clock as it stood at `known`."""
    return known.plus(other.seconds_since(known)).wall


def _pictures(passage: Passage, max_message_bytes: int) -> tuple[Jpeg, Jpeg | None]:
    crop = encode_jpeg(passage.best_read.crop, quality=CROP_QUALITY)
    room = int((max_message_bytes - MESSAGE_OVERHEAD_BYTES) / BASE64_RATIO) - len(crop.data)
    return crop, encode_jpeg_within(passage.best_frame.image, room) if room > 0 else None
