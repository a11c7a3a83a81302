"""Messages that fit: whatever is recorded, what is emitted is within the limit, and the plate crop as it was."""

from __future__ import annotations

import base64
import sys
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lpr import wire
from lpr.domain.choices import ImageMode, PayloadShape
from lpr.domain.clock import Instant
from lpr.domain.events import Jpeg
from lpr.link.packing import Bearable, Packing, TooLarge, attempt, bare, fits_as_it_is, largest_size, pack
from lpr.outbox.base import Entry
from tests.link.model import ticket
from tests.link.parts import detection, instant, picture


def entry(original: Jpeg | None, *, note: str = "") -> Entry:
    event = detection(original=original)
    body = wire.event_body(event, event_id="e-1", agent_id="a", boot_id="b", sequence=1)
    body["data"]["gateName"] = f"Cổng chính{note}"
    pictures = [image for image in (event.plate_image, event.original_image) if image is not None]
    size = len(wire.to_json(body).encode()) + sum(len(image.data) for image in pictures)
    return Entry(
        ticket=ticket("e-1", size=size),
        body=body,
        plate_image=event.plate_image,
        original_image=event.original_image,
    )


DELIVERY = wire.Delivery(attempt=1, replayed=False, sent_at=instant().wall, age_ms=14.0)


@pytest.mark.parametrize("images", list(ImageMode))
@pytest.mark.parametrize("payload", list(PayloadShape))
@pytest.mark.parametrize("limit", [20_000, 60_000, 250_000, 900_000])
def test_no_message_exceeds_the_limit(images: ImageMode, payload: PayloadShape, limit: int) -> None:
    packed = pack(entry(picture(1600, 900, noise=True)), DELIVERY, Packing(images, payload, limit))
    assert isinstance(packed, dict)
    assert _on_the_wire(packed) <= limit


@settings(max_examples=15, deadline=None)
@given(limit=st.integers(17_000, 400_000), note=st.integers(0, 10_000), images=st.sampled_from(list(ImageMode)))
def test_no_message_exceeds_any_limit_whatever_its_text(limit: int, note: int, images: ImageMode) -> None:
    packed = pack(
        entry(picture(640, 480, noise=True), note="ổ" * note), DELIVERY, Packing(images, PayloadShape.MESSAGE, limit)
    )
    if isinstance(packed, TooLarge):
        assert packed.size_bytes > limit
    else:
        assert _on_the_wire(packed) <= limit


def test_what_fits_is_sent_as_it_was_recorded() -> None:
    original = picture(640, 480)
    recorded = entry(original)
    packing = Packing(ImageMode.BASE64, PayloadShape.MESSAGE, 900_000)
    assert fits_as_it_is(recorded, packing)
    packed = _dict(pack(recorded, DELIVERY, packing))
    assert base64.b64decode(packed["data"]["originalImage"]) == original.data
    assert packed["data"]["boundingBox"] == {"x": 100, "y": 80, "width": 60, "height": 40}


def test_a_scaled_scene_keeps_the_crop_and_scales_the_box() -> None:
    recorded = entry(picture(1600, 900, noise=True))
    packed = _dict(pack(recorded, DELIVERY, Packing(ImageMode.BINARY, PayloadShape.MESSAGE, 60_000)))
    assert recorded.plate_image is not None
    assert packed["data"]["processedImage"] == recorded.plate_image.data
    assert 0 < len(packed["data"]["originalImage"]) < 60_000
    assert packed["data"]["boundingBox"]["width"] < 60


def test_a_damaged_scene_that_is_too_large_is_left_out_and_that_is_said() -> None:
    recorded = entry(Jpeg(b"\xff" * 100_000, 640, 480))
    packed = _dict(pack(recorded, DELIVERY, Packing(ImageMode.BASE64, PayloadShape.MESSAGE, 60_000)))
    assert packed["data"]["originalImage"] == ""
    assert packed["data"]["originalImageOmitted"] == "damaged"


def test_a_scene_is_scaled_to_what_the_connection_bears_and_nothing_else_gives_way() -> None:
    recorded = entry(picture(1600, 900, noise=True))
    packed = _dict(pack(recorded, DELIVERY, Packing(ImageMode.BASE64, PayloadShape.MESSAGE, 900_000, 60_000)))
    assert 40_000 < _on_the_wire(packed) <= 60_000
    bears_next_to_nothing = Packing(ImageMode.BASE64, PayloadShape.MESSAGE, 900_000, 1_000)
    assert _dict(pack(recorded, DELIVERY, bears_next_to_nothing))["data"]["originalImageOmitted"] == "too_large"


def test_what_a_connection_bears_is_half_of_what_broke_it_for_a_day() -> None:
    bearable = Bearable()
    assert bearable.at(0.0) == sys.maxsize
    assert bearable.broke(100_000, 10.0) == bearable.at(11.0) == 50_000
    assert bearable.broke(100, 20.0) == wire.MIN_MESSAGE_BYTES
    assert bearable.at(20.0 + 24 * 3600) == sys.maxsize


def test_a_bare_event_says_why_and_weighs_what_it_weighed() -> None:
    recorded = entry(picture(1600, 900, noise=True))
    packing = Packing(ImageMode.BASE64, PayloadShape.MESSAGE, 60_000)
    packed = _dict(pack(bare(recorded), DELIVERY, packing))
    assert packed["data"]["originalImage"] == ""
    assert packed["data"]["processedImage"] != ""
    assert packed["data"]["originalImageOmitted"] == "link_lost"
    assert largest_size(recorded, packing) == 60_000
    assert largest_size(bare(recorded), packing) == 0
    assert largest_size(recorded, replace(packing, images=ImageMode.NONE)) == 0


def test_without_pictures_nothing_is_omitted() -> None:
    recorded = entry(picture(1600, 900, noise=True))
    packed = _dict(pack(recorded, DELIVERY, Packing(ImageMode.NONE, PayloadShape.DATA, 20_000)))
    assert packed["originalImage"] == ""
    assert "originalImageOmitted" not in packed


def test_the_age_is_taken_on_the_clock_that_never_jumps() -> None:
    body = {"timestamp": "2026-11-23T01:02:03.000Z"}
    recorded = ticket("e", at=100.0, recorded_at=instant().wall + timedelta(milliseconds=40))
    a_clock_that_was_set = Instant(instant().wall + timedelta(days=3650), 102.5)
    delivery = attempt(recorded, body, 3, a_clock_that_was_set, replayed=True)
    assert (delivery.attempt, delivery.replayed, delivery.age_ms) == (3, True, pytest.approx(2540))


def test_the_age_of_an_event_of_an_earlier_run_is_taken_on_the_wall_and_never_negative() -> None:
    body = {"timestamp": "2026-11-23T01:02:03.000Z"}
    recorded = ticket("e", at=None)
    later = Instant(instant().wall + timedelta(seconds=60), 5.0)
    earlier = Instant(instant().wall - timedelta(days=1), 5.0)
    assert attempt(recorded, body, 1, later, replayed=True).age_ms == pytest.approx(60_000)
    assert attempt(recorded, body, 1, earlier, replayed=True).age_ms == 0


def _dict(packed: dict[str, Any] | TooLarge) -> dict[str, Any]:
    assert isinstance(packed, dict)
    return packed


def _on_the_wire(message: dict[str, Any]) -> int:
    """All that travels, as python-socketio writes it."""
    from socketio.packet import Packet

    encoded = Packet(2, data=["license_plate_detected", message], namespace="/ai", id=123_456).encode()
    parts = encoded if isinstance(encoded, list) else [encoded]
    return sum(len(part if isinstance(part, bytes) else part.encode()) + 1 for part in parts)
