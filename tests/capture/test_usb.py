"""Cameras on USB, up to the device: no test machine has one, so what V4L2 does with it is not shown here."""

from __future__ import annotations

from pathlib import Path

import pytest

from lpr.capture import usb
from lpr.capture.opencv import OpenCvCapture
from lpr.capture.source import open_source
from lpr.domain.errors import CaptureError
from tests.capture.helpers import camera

NAME = "usb-Acme_Gate_Camera_SN0042-video-index0"


@pytest.fixture
def by_id(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder in which the system names cameras by maker, model and serial number."""
    folder = tmp_path / "by-id"
    folder.mkdir()
    monkeypatch.setattr(usb, "_BY_ID", folder)
    monkeypatch.setattr(usb, "_DEVICES", tmp_path)
    return folder


def plug(by_id: Path, name: str, number: int) -> Path:
    """The camera is there, as the `number`-th device."""
    device = by_id.parent / f"video{number}"
    device.touch()
    link = by_id / name
    link.unlink(missing_ok=True)
    link.symlink_to(device)
    return link


def test_a_camera_by_its_name_is_found_under_whatever_number_it_has_now(
    by_id: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[str | int] = []

    def note(_capture: OpenCvCapture, target: str | int, *_more: object) -> bool:
        opened.append(target)
        return False

    monkeypatch.setattr(OpenCvCapture, "open", note)
    for number in (0, 2):
        link = plug(by_id, NAME, number)
        with pytest.raises(CaptureError, match="cannot be opened as a camera"):
            usb.UsbSource(link).open()
    assert opened == [str(by_id.parent / "video0"), str(by_id.parent / "video2")]


def test_one_that_was_pulled_out_is_named_with_those_that_are_there(by_id: Path) -> None:
    link = plug(by_id, NAME, 0)
    other = plug(by_id, "usb-Other-video-index0", 1)
    link.unlink()
    with pytest.raises(CaptureError, match=NAME) as raised:
        usb.UsbSource(link).open()
    assert raised.value.hint == f"There are: usb:{other}"


def test_a_machine_that_has_none_says_so(by_id: Path) -> None:
    with pytest.raises(CaptureError) as raised:
        open_source(camera("usb:7")).open()
    assert "/dev/video7 is not there" in str(raised.value)
    assert "shows no camera device at all" in (raised.value.hint or "")


def test_without_names_the_numbers_are_listed(by_id: Path) -> None:
    (by_id.parent / "video0").touch()
    by_id.rmdir()
    with pytest.raises(CaptureError) as raised:
        open_source(camera("usb:7")).open()
    assert raised.value.hint == f"There are: usb:{by_id.parent / 'video0'}"


def test_a_file_that_is_no_device_is_refused(by_id: Path) -> None:
    for path in (plug(by_id, NAME, 0), Path("/dev/null")):
        source = usb.UsbSource(path)
        with pytest.raises(CaptureError, match="cannot be opened as a camera"):
            source.open()
        source.close()
