"""`lpr-agent check` on a camera: each of its streams opened as the agent opens it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from lpr.agent.pipeline import capture_settings
from lpr.capture.base import CameraSettings
from lpr.capture.reader import CameraChange, CameraReader
from lpr.cli.findings import Finding, fail, failed, ok, warn
from lpr.config import CameraConfig
from lpr.domain.errors import CaptureRefusedError, LprError
from lpr.domain.frame import Frame

CAMERA_WITHIN_S = 12.0
SECOND_STREAM_WITHIN_S = 8.0
RATE_MEASURED_S = 2.0
FLAT_PICTURE_SPREAD = 4.0
"""Grey levels; a covered lens or a camera that shows nothing stays below, a real night picture does not."""
SAME_SHAPE = 0.05
"""Width by height of two streams of one camera may differ by so much."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """What a stream or file showed: its first picture and when that came, or why none came.

    `rate` is pictures a second of a live source, None for files.
    """

    frame: Frame | None = None
    took_s: float = 0.0
    rate: float | None = None
    error: LprError | None = None


async def check_camera(camera: CameraConfig) -> Sequence[Finding]:
    """Open the camera or file as the agent does; the first picture, its size, and how many come a second."""
    topic = f"camera {camera.id}"
    if not camera.enabled:
        return [ok(topic, "not enabled: waits for a command")]
    analysed = await _look(capture_settings(camera), CAMERA_WITHIN_S)
    if camera.analyse_source is None:
        return [*_stream(topic, str(camera.source), analysed, CAMERA_WITHIN_S), *_rate(topic, camera, analysed)]
    findings = _stream(topic, "analyse_source", analysed, CAMERA_WITHIN_S)
    findings += _rate(topic, camera, analysed)
    if isinstance(analysed.error, CaptureRefusedError):
        return [*findings, warn(topic, "source was not tried", "one wrong login is enough: cameras lock accounts")]
    larger = await _look(capture_settings(camera, larger=True), SECOND_STREAM_WITHIN_S)
    findings += _stream(topic, "source", larger, SECOND_STREAM_WITHIN_S)
    if analysed.frame is not None and larger.frame is not None:
        findings += _pair(topic, analysed.frame, larger.frame)
    return findings


async def _look(settings: CameraSettings, within_s: float) -> Look:
    lost: asyncio.Future[LprError] = asyncio.get_running_loop().create_future()

    def changed(change: CameraChange) -> None:
        if change.error is not None and not lost.done():
            lost.set_result(change.error)

    started = time.perf_counter()
    async with CameraReader(replace(settings, fps=60), on_change=changed) as reader:
        first = asyncio.ensure_future(reader.next())
        either: list[asyncio.Future[Any]] = [first, lost]
        await asyncio.wait(either, timeout=within_s, return_when=asyncio.FIRST_COMPLETED)
        if frame := first.result() if first.done() else None:
            took_s = time.perf_counter() - started
            return Look(frame=frame, took_s=took_s, rate=await _measure(reader) if reader.info.live else None)
        first.cancel()
    # A broken file tells why at its end.
    return Look(error=lost.result() if lost.done() else None)


async def _measure(reader: CameraReader) -> float:
    """Pictures a second that really come."""
    before, started = reader.statistics().captured, time.perf_counter()
    await asyncio.sleep(RATE_MEASURED_S)
    return (reader.statistics().captured - before) / (time.perf_counter() - started)


def _stream(topic: str, name: str, look: Look, within_s: float) -> list[Finding]:
    """`name` is the address, or of two streams the key: their addresses differ in a sign or two."""
    lead = f"{name}: " if name in ("source", "analyse_source") else ""
    if look.error is not None:
        finding = failed(topic, look.error)
        return [replace(finding, message=lead + finding.message)]
    if look.frame is None:
        hint = "is the camera on, and does it send the stream that the path names?"
        return [fail(topic, f"{name} gave no picture within {within_s:g} s", hint)]
    words = f"{lead}{look.frame.width} x {look.frame.height}, first picture after {look.took_s:.1f} s"
    if look.rate is not None:
        words += f", {look.rate:.1f} a second"
    findings = [ok(topic, words)]
    if float(look.frame.image.std()) < FLAT_PICTURE_SPREAD:
        hint = "a covered lens, or a camera that shows nothing"
        findings.append(warn(topic, f"{lead}the picture is all of one colour", hint))
    return findings


def _rate(topic: str, camera: CameraConfig, look: Look) -> list[Finding]:
    if look.rate is None or look.rate >= camera.fps * 0.9:
        return []
    hint = "raise the frame rate in the camera's own settings, or lower fps"
    return [warn(topic, f"fewer pictures come than fps ({camera.fps:g}) wants", hint)]


def _pair(topic: str, analysed: Frame, larger: Frame) -> list[Finding]:
    """Whether two streams go together: one larger than the other, and of one view."""
    findings = []
    if larger.width <= analysed.width:
        words = f"source ({larger.width} x {larger.height}) is no larger than analyse_source"
        findings.append(warn(topic, words, "name the large stream in source and the small one in analyse_source"))
    shapes = [frame.width / frame.height for frame in (analysed, larger)]
    if abs(shapes[0] / shapes[1] - 1) > SAME_SHAPE:
        words = "the two streams are of different shapes, so that one may show less than the other"
        hint = "give both the same ratio in the camera's settings; roi and line are parts of analyse_source's picture"
        findings.append(warn(topic, words, hint))
    return findings
