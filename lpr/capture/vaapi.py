"""Who decodes a network stream: an Intel GPU where there is one that can, software everywhere else.

A GPU that does not do what it should must never cost a camera: what fails there and is not the camera's fault leads to
software, for as long as the camera is not started anew, with a warning that says so. ffmpeg that gives no picture at
all is given up at once; one that dies again and again soon after its start, at the third time.
"""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
import time
from pathlib import Path

import structlog

from lpr.capture.base import CameraSettings, ConnectionHistory, FrameSource
from lpr.capture.ffmpeg import FfmpegSource, HardwareDecodeError, NoPictureError
from lpr.capture.network import NetworkSource, check
from lpr.domain.address import StreamAddress
from lpr.domain.choices import Decoder
from lpr.domain.errors import CaptureError, CaptureResizedError
from lpr.domain.frame import Image

RENDER_NODES = Path("/dev/dri")
DRM_CLASS = Path("/sys/class/drm")

HARDWARE_FAILURES_MOST = 3

_INTEL = "0x8086"
_ASK_FFMPEG_WITHIN_S = 10.0

_log = structlog.get_logger("capture")


class VaapiSource:
    """A stream on the GPU where that works, in software where it does not, with a warning that says so."""

    def __init__(self, settings: CameraSettings, address: StreamAddress, history: ConnectionHistory) -> None:
        self._settings = settings
        self._address = address
        self._history = history
        self._software = NetworkSource(settings, address, history)
        self._source: FrameSource = self._software
        self._opened_s = 0.0

    @property
    def live(self) -> bool:
        """Always."""
        return True

    @property
    def description(self) -> str:
        """The address without its password."""
        return self._address.masked

    def open(self) -> None:
        """Open on the GPU, or in software. Raises `CaptureError` where the camera gives no picture either way."""
        device = None if self._history.software_only else self._device()
        if device is None or not self._open_hardware(device):
            self._source = self._software
            self._source.open()

    def grab(self) -> float | None:
        """As the source that was opened has it."""
        try:
            return self._source.grab()
        except (HardwareDecodeError, CaptureResizedError) as error:
            # A stream that seems to change its size again and again, soon after its start, is not decoded well.
            if self._source is not self._software:
                self._count_failure(error, lasted_s=time.monotonic() - self._opened_s)
            raise

    def retrieve(self) -> Image:
        """The picture grabbed last."""
        return self._source.retrieve()

    def close(self) -> None:
        """Let go of whichever was opened."""
        self._source.close()

    def interrupt(self) -> None:
        """Make a blocked call return, where the source can."""
        self._source.interrupt()

    def _open_hardware(self, device: Path) -> bool:
        if self._history.refused:
            check(self._address, self._settings.limits.open_timeout_s / 2)
        self._source = FfmpegSource(self._settings, self._address, device=device)
        try:
            self._source.open()
        except HardwareDecodeError as error:
            self._source.close()
            self._give_up_hardware(error.message)
        except NoPictureError as error:
            self._source.close()
            # It may be the camera: a whole box of them is not sent to software because a switch was started anew.
            self._count_failure(error, lasted_s=0.0)
            if not self._history.software_only:
                raise
        else:
            self._opened_s = time.monotonic()
            return True
        return False

    def _device(self) -> Path | None:
        device, why_not = vaapi_device()
        if device is None:
            self._history.software_only = True
            if self._settings.decoder is Decoder.VAAPI or intel_render_node() is not None:
                self._give_up_hardware(why_not)
        return device

    def _count_failure(self, error: CaptureError, *, lasted_s: float) -> None:
        failures = 1 if lasted_s > self._settings.limits.steady_after_s else self._history.hardware_failures + 1
        self._history.hardware_failures = failures
        if failures >= HARDWARE_FAILURES_MOST:
            self._give_up_hardware(f"it broke {failures} times in a row; the last time: {error.message}")

    def _give_up_hardware(self, reason: str) -> None:
        self._history.software_only = True
        _log.warning(
            "decoding_in_software",
            camera=self._settings.camera_id,
            reason=reason,
            hint="A GPU needs ffmpeg, intel-media-va-driver and the group `render`; `decoder: software` does without.",
        )


@functools.cache
def vaapi_device() -> tuple[Path | None, str]:
    """The render node of an Intel GPU that this machine's ffmpeg can use, or None and why not; looked up once."""
    device = intel_render_node()
    if device is None:
        return None, f"this machine has no Intel GPU that decodes (no Intel render node in {RENDER_NODES})"
    if not os.access(device, os.R_OK | os.W_OK):
        return None, f"this user must not use {device}: put it into the group `render`"
    program = shutil.which("ffmpeg")
    if program is None:
        return None, "ffmpeg is not installed: apt-get install ffmpeg intel-media-va-driver"
    try:
        known = subprocess.run(  # noqa: S603  # the system's own ffmpeg
            [program, "-hide_banner", "-hwaccels"],
            capture_output=True,
            text=True,
            check=False,
            timeout=_ASK_FFMPEG_WITHIN_S,
        )
    except OSError as error:
        return None, f"{program} cannot be started: {error.strerror}"
    except subprocess.TimeoutExpired:
        return None, f"{program} hangs"
    if "vaapi" not in known.stdout.split():
        said = known.stderr.strip().splitlines()
        why = f" (it says: {said[-1]})" if known.returncode and said else ""
        return None, f"{program} does not know VA-API{why}"
    return device, ""


def intel_render_node() -> Path | None:
    """The first Intel GPU of this machine, or None."""
    for node in sorted(RENDER_NODES.glob("renderD*")) if RENDER_NODES.is_dir() else []:
        try:
            vendor = (DRM_CLASS / node.name / "device" / "vendor").read_text().strip()
        except OSError:
            continue
        if vendor == _INTEL:
            return node
    return None
