"""`lpr-agent read`, with networks that read by rule: a bright rectangle is a plate, its brightness says which."""

from __future__ import annotations

import json
import math
import re
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path

import cv2
import numpy as np
import pytest

from lpr.cli.reading import HELD_S, MOST_HELD, MediaFile, Reading, _InTurn
from lpr.domain.errors import VisionError
from lpr.domain.frame import Image
from lpr.domain.geometry import Box, Quad
from lpr.domain.plate import PlateColour
from lpr.plates.alphabet import ALPHABET, BLANK, CLASSES
from lpr.vision.base import Detection, Recognition
from lpr.vision.plate_reader import PlateReader
from tests.cli.conftest import Answer

Run = Callable[..., Answer]

SURE, UNSURE, BROKEN = 250, 200, 150
"""Brightness of a plate that is read well, one that is read badly, and one that breaks the network."""
TEXT = "51K12345"


class BrightRectangle:
    """Finds the bright rectangle of a picture."""

    min_confidence = 0.35

    async def detect(self, image: Image, min_confidence: float | None = None) -> tuple[Detection, ...]:
        rows, columns = np.nonzero(image[:, :, 0] > 120)
        if not len(rows):
            return ()
        box = Box(
            float(columns.min()),
            float(rows.min()),
            float(columns.max() - columns.min() + 1),
            float(rows.max() - rows.min() + 1),
        )
        return (Detection(box, Quad.of_box(box), 0.99),)


class Brightness:
    """Says `TEXT`, as surely as the crop is bright."""

    crop_size = (96, 32)
    crop_margin = 0.0

    async def read(self, crops: Sequence[Image]) -> tuple[Recognition, ...]:
        return tuple(self._read(float(crop.mean())) for crop in crops)

    def _read(self, brightness: float) -> Recognition:
        if abs(brightness - BROKEN) < 25:
            raise VisionError("the device hangs", hint="try another one")
        sure = 0.9999 if brightness > 225 else 0.93
        spread = np.full((10, CLASSES), (1 - sure) / (CLASSES - 1), np.float32)
        for slot in range(10):
            spread[slot, ALPHABET.index(TEXT[slot]) if slot < len(TEXT) else BLANK] = sure
        return Recognition(spread, 0.01, {PlateColour.WHITE: 1.0}, 0.99)


@pytest.fixture(autouse=True)
def _scripted_networks(monkeypatch: pytest.MonkeyPatch) -> None:
    @asynccontextmanager
    async def plate_reader(device: str, detail: str) -> AsyncIterator[PlateReader]:
        with ThreadPoolExecutor(2) as workers:
            yield PlateReader(BrightRectangle(), Brightness(), workers)

    monkeypatch.setattr("lpr.cli.read._plate_reader", plate_reader)


def picture(brightness: int | None = SURE, *, left: int = 40) -> Image:
    image = np.full((240, 320, 3), 40, np.uint8)
    if brightness is not None:
        image[100:130, left : left + 120] = brightness
    return image


def write(path: Path, image: Image) -> Path:
    assert cv2.imwrite(str(path), image)
    return path


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    """Four seconds at 10 a second: nothing, a plate that crosses the picture from 1 s to 3 s, nothing."""
    path = tmp_path / "gate.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 10, (320, 240))
    for number in range(40):
        writer.write(picture(SURE if 10 <= number < 30 else None, left=10 + 8 * (number - 10)))
    writer.release()
    return path


def test_a_photograph_gives_a_line_a_plate(run: Run, tmp_path: Path) -> None:
    write(tmp_path / "a.png", picture())
    answer = run("read", "a.png")
    assert (answer.code, answer.err) == (0, "")
    assert answer.out == "a.png  51K-123.45     1.00  120 x 30 at 40, 100\n"


def test_json_lines_have_the_form_that_scores_are_made_of(run: Run, tmp_path: Path) -> None:
    write(tmp_path / "a.png", picture())
    write(tmp_path / "b.png", picture(None))
    first, second = map(json.loads, run("read", "a.png", "b.png", "--json").out.splitlines())
    (plate,) = first["plates"]
    assert (first["image"], plate["box"], plate["text"]) == ("a.png", [40.0, 100.0, 120.0, 30.0], TEXT)
    assert 0.99 < plate["confidence"] <= 1.0
    assert plate["sure"] is True
    assert second == {"image": "b.png", "plates": []}


def test_a_folder_is_read_in_natural_order(run: Run, tmp_path: Path) -> None:
    folder = tmp_path / "photos"
    folder.mkdir()
    for number in (10, 9, 1):
        write(folder / f"{number}.jpg", picture(None))
    answer = run("read", "photos")
    assert [line.split()[0] for line in answer.out.splitlines()] == ["photos/1.jpg", "photos/9.jpg", "photos/10.jpg"]


def test_one_broken_file_among_many_is_named_and_the_others_are_read(run: Run, tmp_path: Path) -> None:
    write(tmp_path / "a.png", picture())
    (tmp_path / "b.png").write_bytes(b"no picture")
    (tmp_path / "c.png").write_bytes(b"")
    (tmp_path / "d.mp4").write_bytes(b"no clip")
    write(tmp_path / "e.png", picture())
    answer = run("read", "a.png", "b.png", "c.png", "d.mp4", "gone.png", "e.png")
    assert answer.code == 1
    assert [line.split()[0] for line in answer.out.splitlines()] == ["a.png", "e.png"]
    for name in ("b.png", "c.png", "d.mp4", "gone.png"):
        assert any(line.startswith("error: ") and name in line for line in answer.err.splitlines()), name
    assert "Traceback" not in answer.err


def test_a_broken_file_has_its_json_line_too(run: Run, tmp_path: Path) -> None:
    (tmp_path / "b.png").write_bytes(b"no picture")
    answer = run("read", "b.png", "--json")
    line = json.loads(answer.out)
    assert (answer.code, line["image"], line["plates"]) == (1, "b.png", [])
    assert line["error"]


def test_a_network_that_fails_is_not_taken_for_a_broken_file(run: Run, tmp_path: Path) -> None:
    write(tmp_path / "a.png", picture(BROKEN))
    answer = run("read", "a.png")
    assert (answer.code, answer.err) == (1, "error: the device hangs\nhint: try another one\n")


def test_unsure_plates_are_marked_and_may_be_left_out(run: Run, tmp_path: Path) -> None:
    write(tmp_path / "a.png", picture(UNSURE))
    assert run("read", "a.png").out.endswith("(unsure)\n")
    assert run("read", "a.png", "--min-confidence", "0.9").out == "a.png  no plate\n"


def test_a_telephone_number_is_no_sure_plate_however_well_it_is_read(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.modules[__name__], "TEXT", "38383838")
    write(tmp_path / "taxi.png", picture())
    assert run("read", "taxi.png").out.endswith("(unsure, no known format)\n")
    (plate,) = json.loads(run("read", "taxi.png", "--json").out)["plates"]
    assert (plate["sure"], plate["confidence"] > 0.99) == (False, True)


def test_a_clip_gives_a_line_a_passage_with_its_time(run: Run, clip: Path) -> None:
    (line,) = map(json.loads, run("read", clip, "--json", "--fps", "10").out.splitlines())
    (plate,) = line["plates"]
    assert (line["image"], plate["text"], plate["sure"]) == (str(clip), TEXT, True)
    assert line["at"] == pytest.approx(1.0, abs=0.15)
    assert line["until"] == pytest.approx(2.9, abs=0.15)
    assert run("read", "gate.avi").out.startswith("gate.avi  00:01.0")


def test_where_nothing_moves_a_clip_is_looked_at_once_a_second(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks: list[Image] = []

    async def detect(_self: object, image: Image, min_confidence: float | None = None) -> tuple[Detection, ...]:
        looks.append(image)
        return ()

    monkeypatch.setattr(BrightRectangle, "detect", detect)
    writer = cv2.VideoWriter(str(tmp_path / "night.avi"), cv2.VideoWriter.fourcc(*"MJPG"), 10, (320, 240))
    for _ in range(50):
        writer.write(picture(None))
    writer.release()
    run("read", "night.avi")
    assert len(looks) == 5


def test_every_frame_gives_a_line_a_frame_that_shows_a_plate(run: Run, clip: Path) -> None:
    lines = [json.loads(line) for line in run("read", clip, "--json", "--fps", "10", "--every-frame").out.splitlines()]
    assert len(lines) == 20
    assert [line["at"] for line in lines] == pytest.approx([1 + number / 10 for number in range(20)], abs=0.05)


def passage(came_s: float, left_s: float) -> Reading:
    return Reading(MediaFile(Path("gate.mp4"), "gate.mp4"), picture(), (), came_s, left_s)


def test_passages_of_a_clip_are_told_in_the_order_in_which_they_came_but_not_at_any_price() -> None:
    turn = _InTurn()
    bike, van, car, parked = passage(3, 4), passage(9, 10), passage(1, 6), passage(8, 99)
    assert turn.next([bike], 5, in_sight_since_s=1) == []
    assert turn.next([car], 7, in_sight_since_s=8) == [car, bike]
    assert turn.next([van], 12, in_sight_since_s=8) == []
    assert turn.next([], 10 + HELD_S, in_sight_since_s=8) == [van]
    assert turn.next([parked], math.inf, in_sight_since_s=math.inf) == [parked]
    many = [passage(number, number + 1) for number in range(100, 100 + MOST_HELD + 2)]
    assert turn.next(many, many[-1].until_s or 0, in_sight_since_s=50) == many[:2]


@pytest.mark.parametrize("more", [(), ("--every-frame",)])
def test_a_clip_in_which_nothing_passes_says_so(run: Run, tmp_path: Path, more: tuple[str, ...]) -> None:
    writer = cv2.VideoWriter(str(tmp_path / "night.avi"), cv2.VideoWriter.fourcc(*"MJPG"), 10, (320, 240))
    for _ in range(10):
        writer.write(picture(None))
    writer.release()
    assert run("read", "night.avi", *more).out == "night.avi  no plate\n"
    assert json.loads(run("read", "night.avi", "--json", *more).out) == {"image": "night.avi", "plates": []}


@pytest.mark.parametrize("name", ["recording", "recording.part", "recording.jpg"])
def test_a_clip_is_read_as_one_whatever_it_is_called(run: Run, clip: Path, name: str) -> None:
    clip.rename(clip.with_name(name))
    assert run("read", name).out.startswith(f"{name}  00:01.0")


def test_a_gif_that_plays_is_a_clip_and_one_that_does_not_is_a_picture(run: Run, tmp_path: Path) -> None:
    shots = [picture(SURE if 10 <= number < 30 else None, left=10 + 8 * (number - 10)) for number in range(40)]
    playing = cv2.Animation()
    playing.frames, playing.durations = shots, np.full(len(shots), 100)
    assert cv2.imwriteanimation(str(tmp_path / "playing.gif"), playing)
    still = write(tmp_path / "still.gif", shots[20])
    # OpenCV marks every GIF as one that plays, others do not.
    still.write_bytes(re.sub(rb"\x21\xff\x0bNETSCAPE2\.0\x03\x01..\0", b"", still.read_bytes(), flags=re.DOTALL))
    assert run("read", "playing.gif").out.startswith("playing.gif  00:01.")
    assert run("read", "still.gif").out.startswith(f"still.gif  {TEXT[:3]}-")


def test_save_writes_the_pictures_with_plates_drawn_and_spares_the_originals(
    run: Run, tmp_path: Path, clip: Path
) -> None:
    original = write(tmp_path / "a.jpg", picture()).read_bytes()
    assert run("read", "a.jpg", clip, "--save", ".").code == 0
    assert (tmp_path / "a.jpg").read_bytes() == original
    drawn = cv2.imread(str(tmp_path / "a.plates.jpg"))
    assert drawn is not None
    green = (drawn[:, :, 1].astype(int) - drawn[:, :, 2]) > 60
    assert green.sum() > 500
    assert [path.name for path in tmp_path.glob("gate-*.jpg")] == [f"gate-0001.00s-{TEXT}.plates.jpg"]


def test_two_pictures_of_one_name_are_both_saved(run: Run, tmp_path: Path) -> None:
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        write(tmp_path / folder / "a.png", picture())
    run("read", "one", "two", "--save", "out")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["a-2.plates.jpg", "a.plates.jpg"]


def test_a_folder_that_cannot_be_written_is_a_wrong_argument(run: Run, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    write(tmp_path / "a.png", picture())
    answer = run("read", "a.png", "--save", "file/out")
    assert (answer.code, "--save" in answer.err) == (2, True)


def test_vietnamese_file_names_come_through(run: Run, tmp_path: Path) -> None:
    (tmp_path / "Cổng chính.png").write_bytes(cv2.imencode(".png", picture())[1].tobytes())
    assert json.loads(run("read", "Cổng chính.png", "--json").out)["image"] == "Cổng chính.png"


@pytest.mark.parametrize("options", [(), ("--json",)])
def test_the_address_of_a_camera_is_no_picture_and_its_password_is_not_printed(
    run: Run, options: tuple[str, ...]
) -> None:
    answer = run("read", "rtsp://an:s3cr3t@camera/live", "usb:0", "usb:1", *options)
    assert answer.code == 1
    assert "error: rtsp://an:***@camera/live is the address of a camera" in answer.err
    assert "error: usb:0 is the address of a camera" in answer.err
    assert answer.err.count("hint: `lpr-agent check` tries the cameras of the configuration") == 1
    assert "s3cr3t" not in answer.out + answer.err


def test_what_the_decoder_says_of_a_broken_clip_is_not_printed_beside_our_own_words(tmp_path: Path) -> None:
    (tmp_path / "bad.mp4").write_text("junk")
    done = subprocess.run(
        [sys.executable, "-m", "lpr.cli", "read", str(tmp_path / "bad.mp4")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    error, hint = done.stderr.splitlines()
    assert hint.startswith("hint: ")
    assert error.startswith(f"error: {tmp_path}/bad.mp4 cannot be opened as a video")
