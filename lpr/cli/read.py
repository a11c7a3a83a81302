"""`lpr-agent read`: plates in photographs, clips and folders of them."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lpr.cli import exits
from lpr.cli.options import JsonOption, json_line
from lpr.domain.errors import ConfigError

if TYPE_CHECKING:
    from lpr.cli.reading import Failure, Reading, ReadOptions, SeenPlate
    from lpr.cli.screen import Screen
    from lpr.vision.plate_reader import PlateReader

_BAR_FROM = 4
"""Less work than this is done before a bar could be read."""


class DetailChoice(StrEnum):
    """How finely a picture is looked at."""

    FAST = "fast"
    FAR = "far"


def register(app: typer.Typer) -> None:
    """Add the command to the program."""
    app.command("read")(read)


def read(
    paths: Annotated[list[Path], typer.Argument(metavar="PATH…", help="Photographs, clips, folders of either.")],
    as_json: JsonOption = False,
    save: Annotated[
        Path | None, typer.Option("--save", metavar="DIR", help="Write the pictures there, with the plates drawn in.")
    ] = None,
    fps: Annotated[float, typer.Option(min=0.1, max=60, help="Frames of a clip to look at, a second.")] = 8.0,
    every_frame: Annotated[
        bool, typer.Option("--every-frame", help="A line for each frame of a clip, not for each passing vehicle.")
    ] = False,
    min_confidence: Annotated[float, typer.Option(min=0, max=1, help="Leave plates below this out.")] = 0.1,
    device: Annotated[str, typer.Option(help="Inference device: AUTO, CPU, GPU, NPU.")] = "AUTO",
    detail: Annotated[
        DetailChoice, typer.Option(help="far finds smaller plates, and takes longer.")
    ] = DetailChoice.FAR,
) -> None:
    """Read the plates in photographs and clips.

    A clip gives a line for each vehicle that passes, as the agent would report it. With --json each line is an object
    with "image" and "plates" (each with "box": x, y, width, height, "text" and "confidence"), for clips also with "at"
    and "until", in seconds from the start. A file that cannot be read is named, the others are read, and the exit code
    is 1.
    """
    from lpr import logging
    from lpr.capture.decoder_log import DecoderMessages
    from lpr.cli.reading import ReadOptions

    logging.quiet()
    options = ReadOptions(fps=fps, min_confidence=min_confidence, every_frame=every_frame)
    output = _Output(as_json=as_json, save=save)
    # What a decoder says of a broken file says less than we do.
    with DecoderMessages():
        all_read = asyncio.run(_read(paths, options, output, device=device, detail=detail))
    if not all_read:
        raise typer.Exit(exits.FAILED)


async def _read(
    paths: Sequence[Path], options: ReadOptions, output: _Output, *, device: str, detail: DetailChoice
) -> bool:
    """Whether every file could be read."""
    from lpr.cli.reading import Failure, MediaFile, amount_of, files_of, read_files
    from lpr.cli.screen import Screen

    found = list(files_of(paths))
    files = [each for each in found if isinstance(each, MediaFile)]
    with Screen(unit="pictures") as screen:
        for failure in found:
            if isinstance(failure, Failure):
                output.failed(failure, screen)
        if files:
            async with _plate_reader(device, detail) as reader:
                amounts = [await asyncio.to_thread(amount_of, file, options) for file in files]
                if sum(amounts) >= _BAR_FROM:
                    screen.begin(sum(amounts), "reading")
                outcomes = read_files(files, reader, options, lambda file: screen.advance(1, file.path.name))
                async for outcome in outcomes:
                    if isinstance(outcome, Failure):
                        output.failed(outcome, screen)
                    else:
                        await asyncio.to_thread(output.save, outcome)
                        output.show(outcome, screen)
    return output.failures == 0


@asynccontextmanager
async def _plate_reader(device: str, detail: DetailChoice) -> AsyncIterator[PlateReader]:
    from lpr.vision.vision import Detail, Vision, VisionOptions

    # A camera gets many looks at a vehicle, a photograph only one: make it three, each cut a little differently.
    async with Vision(VisionOptions(views=3)) as vision:
        yield await vision.reader(device, Detail(detail.value))


class _Output:
    """What is printed and written of each reading."""

    def __init__(self, *, as_json: bool, save: Path | None) -> None:
        self.failures = 0
        self._as_json = as_json
        self._folder = save
        self._names: Counter[str] = Counter()
        self._hints: set[str] = set()
        if save is not None:
            try:
                save.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise ConfigError(f"--save: {save} cannot be made: {error.strerror}") from None

    def failed(self, failure: Failure, screen: Screen) -> None:
        """Name the file and what is wrong with it."""
        self.failures += 1
        message, hint = failure.error.message, failure.error.hint
        screen.error(message if failure.name in message else f"{failure.name}: {message}")
        if hint and hint not in self._hints:
            self._hints.add(hint)
            screen.hint(hint)
        if self._as_json:
            screen.line(json_line({"image": failure.name, "plates": [], "error": message}))

    def show(self, reading: Reading, screen: Screen) -> None:
        """Print the reading."""
        if self._as_json:
            screen.line(json_line(_as_json(reading)))
        else:
            for line in _as_lines(reading):
                screen.line(line)

    def save(self, reading: Reading) -> None:
        """Write the picture with its plates drawn in, under a name that tells file, time and plate."""
        if self._folder is None:
            return
        from lpr.drawing import AMBER, GREEN, Mark, draw_marks
        from lpr.imaging import encode_jpeg

        marks = [
            Mark(plate.corners, f"{plate.plate.display} {plate.plate.confidence:.2f}", GREEN if plate.sure else AMBER)
            for plate in reading.plates
        ]
        path = self._folder / self._name_for(reading)
        try:
            path.write_bytes(encode_jpeg(draw_marks(reading.image, marks)).data)
        except OSError as error:
            raise ConfigError(f"--save: {path} cannot be written: {error.strerror}") from None

    def _name_for(self, reading: Reading) -> str:
        """Never the name of the picture itself, which may lie in the same folder; a number where one comes again."""
        stem = reading.file.path.stem
        if reading.at_s is not None:
            stem += f"-{reading.at_s:07.2f}s-{reading.plates[0].plate.text or 'unread'}"
        self._names[stem] += 1
        again = f"-{self._names[stem]}" if self._names[stem] > 1 else ""
        return f"{stem}{again}.plates.jpg"


def _as_json(reading: Reading) -> dict[str, Any]:
    shown: dict[str, Any] = {"image": reading.file.name}
    if reading.at_s is not None and reading.until_s is not None:
        shown |= {"at": round(reading.at_s, 3), "until": round(reading.until_s, 3)}
    return {**shown, "plates": [_plate_json(plate) for plate in reading.plates]}


def _plate_json(seen: SeenPlate) -> dict[str, Any]:
    box, plate = seen.corners.box, seen.plate
    return {
        "box": [round(side, 1) for side in (box.x, box.y, box.width, box.height)],
        "text": plate.text,
        "confidence": round(plate.confidence, 4),
        "display": plate.display,
        "sure": seen.sure,
        "valid": plate.valid,
        "kind": plate.kind,
        "rows": plate.rows,
        "colour": seen.colour.value,
        "vehicle": plate.vehicle_type.value,
        "province": plate.province,
        "corners": [[round(x, 1), round(y, 1)] for x, y in seen.corners.points],
    }


def _as_lines(reading: Reading) -> list[str]:
    if not reading.plates:
        return [f"{reading.file.name}  no plate"]
    when = f"  {_clock(reading.at_s)}" if reading.at_s is not None else ""
    return [f"{reading.file.name}{when}  {_plate_line(plate)}" for plate in reading.plates]


def _plate_line(seen: SeenPlate) -> str:
    box, plate = seen.corners.box, seen.plate
    where = f"{box.width:.0f} x {box.height:.0f} at {box.x:.0f}, {box.y:.0f}"
    doubts = [] if seen.sure else ["unsure"]
    if not plate.valid:
        doubts.append("no known format")
    return f"{plate.display:14} {plate.confidence:4.2f}  {where}" + (f"  ({', '.join(doubts)})" if doubts else "")


def _clock(seconds: float) -> str:
    return f"{int(seconds) // 60:02d}:{seconds % 60:05.2f}"
