"""A decided passage becomes the event that is stored."""

from dataclasses import replace
from pathlib import Path

import pytest

from lpr import wire
from lpr.agent.evidence import plate_detected, plate_unreadable
from lpr.agent.pipeline import capture_settings
from lpr.domain.events import ErrorCode, Weather
from lpr.domain.geometry import Box
from lpr.domain.passage import PassageOutcome
from lpr.domain.plate import PlateColour
from lpr.imaging import decode_image
from tests.agent.helpers import CAMERA, make_config, make_passage


def test_the_event_says_when_the_frame_was_captured_not_when_it_was_decided(tmp_path: Path) -> None:
    passage, camera = make_passage(), make_config(tmp_path).cameras[0]

    event = plate_detected(passage, camera, weather=Weather(condition="nắng"), max_message_bytes=900_000)

    assert event.occurred_at == passage.best_frame.captured_at
    assert event.processing_ms == pytest.approx(50, abs=0.01)
    assert (event.gate_name, event.camera_host) == ("Cổng chính", "192.168.1.100")
    assert event.weather == Weather(condition="nắng")


@pytest.mark.parametrize("colour", list(PlateColour))
def test_the_event_tells_the_plates_colour(tmp_path: Path, colour: PlateColour) -> None:
    """A lorry's yellow plate and a private car's white one bear the same text."""
    passage = replace(make_passage(), colour=colour)
    event = plate_detected(passage, make_config(tmp_path).cameras[0], weather=None, max_message_bytes=900_000)
    assert wire.event_data(event)["plate"]["colour"] == colour.value


def test_the_box_is_in_pixels_of_the_picture_that_is_sent(tmp_path: Path) -> None:
    """Noise of 1920 x 1080 must be scaled to fit; the box goes with it."""
    passage = make_passage(width=1920, height=1080, box=Box(960, 540, 240, 52))

    event = plate_detected(passage, make_config(tmp_path).cameras[0], weather=None, max_message_bytes=300_000)

    assert event.original_image is not None
    scale = event.original_image.width / 1920
    assert scale < 1
    assert event.bounding_box.x == pytest.approx(960 * scale)
    assert event.bounding_box.width == pytest.approx(240 * scale)


@pytest.mark.parametrize("max_bytes", [40_000, 120_000, 900_000])
def test_both_pictures_fit_a_base64_message(tmp_path: Path, max_bytes: int) -> None:
    event = plate_detected(
        make_passage(width=1920, height=1080),
        make_config(tmp_path).cameras[0],
        weather=None,
        max_message_bytes=max_bytes,
    )

    scene = len(event.original_image.data) if event.original_image else 0
    assert (len(event.plate_image.data) + scene) * 4 / 3 < max_bytes


def test_a_box_beyond_the_frame_is_cut_at_its_edge(tmp_path: Path) -> None:
    passage = make_passage(box=Box(-20, 340, 60, 40))

    event = plate_detected(passage, make_config(tmp_path).cameras[0], weather=None, max_message_bytes=900_000)

    assert event.bounding_box.x == 0
    assert event.original_image is not None
    assert event.bounding_box.bottom <= event.original_image.height


def test_the_crop_is_never_scaled(tmp_path: Path) -> None:
    passage = make_passage()

    event = plate_detected(passage, make_config(tmp_path).cameras[0], weather=None, max_message_bytes=30_000)

    assert decode_image(event.plate_image.data).shape == passage.best_read.crop.shape


def test_an_unreadable_vehicle_is_an_error_with_the_best_guess_and_both_pictures(tmp_path: Path) -> None:
    passage = make_passage(outcome=PassageOutcome.UNREADABLE)

    error = plate_unreadable(passage, make_config(tmp_path).cameras[0], max_message_bytes=900_000)

    assert error.code is ErrorCode.PLATE_UNREADABLE
    assert error.details["bestGuess"] == "29A12345"
    assert error.plate_image is not None
    assert error.original_image is not None


@pytest.mark.parametrize(
    ("source", "host"),
    [
        ("rtsp://u:p@10.0.0.5:554/s", "10.0.0.5"),
        ("usb:0", ""),
        ("/clips/gate.mp4", ""),
        ("http://cam.local/mjpg", "cam.local"),
    ],
)
def test_the_event_names_the_host_of_the_camera_without_its_password(tmp_path: Path, source: str, host: str) -> None:
    camera = make_config(tmp_path, {**CAMERA, "source": source}).cameras[0]

    event = plate_detected(make_passage(), camera, weather=None, max_message_bytes=900_000)

    assert event.camera_host == host


def test_the_camera_itself_is_given_its_password(tmp_path: Path) -> None:
    """Addresses print masked everywhere; a masked one opens no camera."""
    camera = make_config(tmp_path).cameras[0]

    assert "se:cret@" in capture_settings(camera).source
    assert "se:cret" not in repr(capture_settings(camera))
