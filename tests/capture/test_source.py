"""What the configuration may name, and what is said where it names nothing."""

from __future__ import annotations

from dataclasses import replace

import pytest

from lpr.capture.base import ConnectionHistory
from lpr.capture.network import PATIENT_OPTIONS, QUICK_OPTIONS, NetworkSource
from lpr.capture.source import describe_source, open_source
from lpr.domain.address import SourceKind
from lpr.domain.choices import Decoder
from lpr.domain.errors import ConfigError
from tests.capture.helpers import camera


@pytest.mark.parametrize(
    ("text", "kind", "live", "host"),
    [
        ("rtsp://an:secret@192.168.1.100:554/stream", SourceKind.NETWORK, True, "192.168.1.100"),
        ("https://cam.lan/mjpg", SourceKind.NETWORK, True, "cam.lan"),
        ("usb:0", SourceKind.USB, True, ""),
        ("usb:/dev/v4l/by-id/usb-Cam-index0", SourceKind.USB, True, ""),
        ("clips/gate.mp4", SourceKind.FILES, False, ""),
        ("/srv/Cổng chính", SourceKind.FILES, False, ""),
    ],
)
def test_a_source_is_known_by_its_text(text: str, kind: SourceKind, live: bool, host: str) -> None:
    info = describe_source(text)
    assert (info.kind, info.live, info.host) == (kind, live, host)
    assert "secret" not in info.description


@pytest.mark.parametrize("text", ["", "  ", "ftp://an:secret@cam/x", "rtsp://", "usb:", "usb:front", "rtmp://cam/x"])
def test_a_text_that_names_no_source_is_refused_with_a_hint_and_without_its_password(text: str) -> None:
    with pytest.raises(ConfigError) as raised:
        describe_source(text)
    assert raised.value.hint
    assert "secret" not in f"{raised.value} {raised.value.hint}"


def test_every_second_try_in_vain_is_a_patient_one() -> None:
    options = []
    for tries in range(3):
        history = ConnectionHistory(fruitless=tries)
        source = open_source(replace(camera(), decoder=Decoder.SOFTWARE), history)
        assert isinstance(source, NetworkSource)
        options.append(source._options())
    quick, patient = (f"rtsp_transport;tcp|{options_}" for options_ in (QUICK_OPTIONS, PATIENT_OPTIONS))
    assert options == [quick, patient, quick]


def test_a_file_that_is_not_there_is_named() -> None:
    with pytest.raises(ConfigError, match=r"no/such/clip\.mp4"):
        open_source(camera("no/such/clip.mp4"))
