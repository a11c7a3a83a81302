"""Pictures and clips on disk, one by one or a folder of them."""

from __future__ import annotations

import re
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path

from lpr.capture.base import FrameSource
from lpr.capture.opencv import OpenCvCapture
from lpr.capture.timing import RisingTime
from lpr.domain.errors import CaptureError, ConfigError, ImageError
from lpr.domain.frame import Image
from lpr.domain.secrets import mask_secrets
from lpr.imaging import BEGINNING_BYTES, decode_image, is_video

IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".bmp", ".webp", ".tif", ".tiff", ".gif", ".avif",
                            ".jp2", ".heic", ".heif"})  # fmt: skip
"""HEIC cannot be read: a phone's photographs are named rather than passed over in silence."""
CLIP_SUFFIXES = frozenset({".mp4", ".mkv", ".avi", ".mov", ".m4v", ".ts", ".mpg", ".mpeg", ".webm", ".wmv", ".flv",
                           ".3gp", ".mts", ".m2ts", ".asf", ".mjpeg", ".mjpg", ".h264", ".264", ".h265", ".265",
                           ".hevc", ".dav", ".vob", ".ogv", ".3g2", ".m2v"})  # fmt: skip

GAP_BETWEEN_SCENES_S = 5.0
"""Two clips, or a clip and the picture after it, show nothing of each other: their times lie this far apart."""

_ADDRESS = re.compile(r"[a-z][a-z0-9+.-]+:/|usb:", re.IGNORECASE)
_CUT_OFF_S = 0.5


class PictureSource:
    """One still picture: one frame."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._image: Image | None = None
        self._given = False

    @property
    def live(self) -> bool:
        """Never."""
        return False

    @property
    def description(self) -> str:
        """The path."""
        return str(self._path)

    def open(self) -> None:
        """Nothing: a broken picture is named when it is its turn."""

    def grab(self) -> float | None:
        """0 for the one picture, then None. Raises `CaptureError` where it cannot be read."""
        if self._given:
            return None
        self._given = True
        try:
            self._image = decode_image(self._path.read_bytes())
        except OSError as error:
            raise CaptureError(f"{self._path} cannot be read: {error.strerror}") from error
        except ImageError as error:
            raise CaptureError(f"{self._path} cannot be read: {error.message}", hint=error.hint) from error
        return 0.0

    def retrieve(self) -> Image:
        """The picture."""
        if self._image is None:
            raise CaptureError(f"{self._path} has not been read")
        return self._image

    def close(self) -> None:
        """Let go of the picture."""
        self._image = None

    def interrupt(self) -> None:
        """A picture is read in a moment."""


class ClipSource:
    """One video file, on its own time line. A clip that breaks off gives its pictures first and its error then."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._capture = OpenCvCapture(str(path))
        self._time = RisingTime(0)
        self._at_s = 0.0
        self._frames = 0
        self._expected_s = 0.0
        self._period_s = 0.04
        self._ended = False

    @property
    def live(self) -> bool:
        """Never."""
        return False

    @property
    def description(self) -> str:
        """The path."""
        return str(self._path)

    def open(self) -> None:
        """Open the file. Raises `CaptureError` where it is missing or is no clip."""
        try:
            size = self._path.stat().st_size
        except OSError as error:
            raise CaptureError(f"{self._path} cannot be read: {error.strerror}") from error
        if size == 0:
            raise CaptureError(f"{self._path} is empty (0 bytes)")
        if not self._capture.open(str(self._path.resolve()), "CAP_FFMPEG", {"CAP_PROP_N_THREADS": 1}):
            raise CaptureError(
                f"{self._path} cannot be opened as a video: it is damaged, not complete, or of an unknown kind",
                hint="A recording that was cut off while it was written often lacks its index; copy it again.",
            )
        fps, frames = self._capture.get("CAP_PROP_FPS"), self._capture.get("CAP_PROP_FRAME_COUNT")
        if 0 < fps < 1000:
            self._period_s = 1 / fps
            self._expected_s = max(0.0, frames) / fps
        self._time = RisingTime(fps)

    def grab(self) -> float | None:
        """Seconds from the clip's first picture; None at its end. Raises `CaptureError` where it breaks off early."""
        if self._ended:
            return None
        if self._capture.grab():
            self._frames += 1
            if self._frames == 1:
                self._expect_from(self._capture.get("CAP_PROP_PTS") * self._period_s)
            self._at_s = self._time.next(self._capture.get("CAP_PROP_POS_MSEC") / 1000)
            return self._at_s
        self._ended = True
        reached_s = self._at_s + self._period_s
        if not self._frames:
            raise CaptureError(
                f"{self._path} holds no picture that can be decoded (codec {self._capture.codec})",
                hint="H.264, H.265 and MJPEG can be read: convert it.",
            )
        if self._expected_s - reached_s > max(_CUT_OFF_S, 0.03 * self._expected_s):
            raise CaptureError(
                f"{self._path} breaks off after {reached_s:.1f} of {self._expected_s:.1f} s: damaged or not complete"
            )
        return None

    def retrieve(self) -> Image:
        """The picture grabbed last."""
        return self._capture.retrieve()

    def close(self) -> None:
        """Close the file."""
        self._capture.close()

    def interrupt(self) -> None:
        """A disk answers by itself."""

    def _expect_from(self, begins_s: float) -> None:
        """A piece of a longer Matroska recording may say when it ends, and not how long it takes."""
        if begins_s < self._expected_s:
            self._expected_s -= max(0.0, begins_s)


class SequenceSource:
    """Files one after the other on one time line, `picture_s` from still picture to still picture.

    A file that cannot be read raises `CaptureError` when it is its turn; the next `grab` goes on with the next file.
    """

    def __init__(self, paths: Sequence[Path], description: str, *, picture_s: float, repeat: bool = False) -> None:
        self._paths = paths
        self._description = description
        self._picture_s = picture_s
        self._repeat = repeat
        self._waiting: Iterator[Path] = iter(())
        self._current: FrameSource | None = None
        self._begins_s = 0.0
        self._at_s: float | None = None
        self._round_gave_pictures = False

    @property
    def live(self) -> bool:
        """Never."""
        return False

    @property
    def description(self) -> str:
        """The folder or file."""
        return self._description

    def open(self) -> None:
        """Start from the first file."""
        self._waiting = iter(self._paths)

    def grab(self) -> float | None:
        """Seconds on the common time line; None after the last file. Raises `CaptureError`, naming the broken file."""
        while True:
            source = self._current or self._next_file()
            if source is None:
                return None
            try:
                position_s = source.grab()
            except CaptureError:
                self._finish_file()
                raise
            if position_s is not None:
                self._round_gave_pictures = True
                self._at_s = self._begins_s + position_s
                return self._at_s
            self._finish_file()

    def retrieve(self) -> Image:
        """The picture grabbed last."""
        if self._current is None:
            raise CaptureError(f"no picture of {self._description} has been read")
        return self._current.retrieve()

    def close(self) -> None:
        """Close the file that is being read."""
        self._finish_file()
        self._waiting = iter(())

    def interrupt(self) -> None:
        """A disk answers by itself."""

    def _next_file(self) -> FrameSource | None:
        path = next(self._waiting, None)
        if path is None:
            # Nothing readable in the whole round: another one would find nothing either.
            if not self._repeat or not self._round_gave_pictures:
                return None
            self._round_gave_pictures = False
            self._waiting = iter(self._paths)
            path = next(self._waiting)
        still = path.suffix.lower() in IMAGE_SUFFIXES and not is_clip(path)
        source: FrameSource = PictureSource(path) if still else ClipSource(path)
        if self._at_s is not None:
            self._begins_s = self._at_s + (self._picture_s if still else GAP_BETWEEN_SCENES_S)
        try:
            source.open()
        except CaptureError:
            source.close()
            raise
        self._current = source
        return source

    def _finish_file(self) -> None:
        source, self._current = self._current, None
        if source is not None:
            source.close()


def is_clip(path: Path) -> bool:
    """Whether a file is a clip, by its name or, whatever its name ends in, by how it begins."""
    if path.suffix.lower() in CLIP_SUFFIXES:
        return True
    try:
        with path.open("rb") as file:
            return is_video(file.read(BEGINNING_BYTES))
    except OSError:  # it is named when it is its turn
        return False


def media_files(path: Path) -> list[Path]:
    """The pictures and clips of a folder in natural order (2 before 10), or the one file itself.

    Raises `ConfigError` where the path is missing, is a device or a pipe, or is a folder that holds none. A file is
    taken whatever its name ends in.
    """
    try:
        if not path.is_dir():
            _refuse_what_is_no_file(path, path.stat().st_mode)
            return [path]
        found = [entry for entry in path.iterdir() if entry.suffix.lower() in IMAGE_SUFFIXES | CLIP_SUFFIXES]
        # A link that leads nowhere is named when it is its turn; a folder or pipe named like a picture is none.
        found = [entry for entry in found if entry.is_file() or not entry.exists()]
    except FileNotFoundError as error:
        if _ADDRESS.match(str(path)):
            raise ConfigError(
                f"{mask_secrets(as_written(path))} is the address of a camera, not a file",
                hint="`lpr-agent check` tries the cameras of the configuration, `lpr-agent run` reads them.",
            ) from error
        raise ConfigError(
            f"there is no file or folder '{path}'",
            hint="Is it spelt like this, upper and lower case too? In a configuration a path starts at that file's"
            " folder.",
        ) from error
    except OSError as error:
        raise ConfigError(f"'{path}' cannot be read: {error.strerror}") from error
    if not found:
        kinds = ", ".join(sorted(suffix[1:] for suffix in IMAGE_SUFFIXES | CLIP_SUFFIXES))
        raise ConfigError(
            f"the folder '{path}' holds no picture and no clip",
            hint=f"Looked for in the folder itself, not in folders below: {kinds}.",
        )
    return sorted((entry for entry in found if not entry.name.startswith(".")), key=_natural)


def _refuse_what_is_no_file(path: Path, mode: int) -> None:
    """What never ends, or waits for somebody who writes, would be read for ever. Raises `ConfigError`."""
    if stat.S_ISREG(mode):
        return
    if stat.S_ISCHR(mode) or stat.S_ISBLK(mode):
        raise ConfigError(
            f"'{path}' is a device, not a picture or clip",
            hint="`lpr-agent run` reads cameras: one at USB is `source: usb:0` in the configuration.",
        )
    kind = "pipe" if stat.S_ISFIFO(mode) else "socket"
    raise ConfigError(f"'{path}' is a {kind}, not a file", hint="Save what comes out of it to a file first.")


def _natural(path: Path) -> list[tuple[int, str]]:
    return [(int(part), "") if part.isdigit() else (-1, part.casefold()) for part in re.split(r"(\d+)", path.name)]


def as_written(path: Path) -> str:
    """The path's text; an address that was taken for a path has lost one of its two slashes."""
    return re.sub(r"^(\w+):/(?!/)", r"\1://", str(path))
