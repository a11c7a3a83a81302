"""Many cameras at once: the real agent on streams made of the sample clip, and the figures drawn from it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from lpr.agent.bench import at_work
from lpr.agent.bench.at_work import CamerasAtWork
from lpr.agent.bench.load import CameraLoad, LoadReport, Spread, measure_load, spread
from lpr.agent.bench.soak import soak
from lpr.agent.bench.streams import LoadOptions, Streams, load_config
from lpr.backend.server import Backend, BackendSettings
from lpr.capture.base import CameraSettings
from lpr.capture.looped import LoopedClip
from lpr.cli.sample import sample_clip
from lpr.domain.errors import CaptureError, ConfigError, OutboxLockedError

QUICK = Spread(p50=40.0, p95=80.0, worst=120.0)


@pytest.fixture
async def backend(tmp_path: Path) -> AsyncIterator[Backend]:
    async with Backend(BackendSettings(port=0, database=tmp_path / "backend.db")) as running:
        yield running


def options(folder: Path, url: str = "http://127.0.0.1:9", cameras: int = 1) -> LoadOptions:
    # The fast input, and few frames: what is tried here is the measuring.
    return LoadOptions(clip=sample_clip(), folder=folder, backend_url=url, cameras=cameras, fps=4.0, detail="fast")


def camera_load(**changes: object) -> CameraLoad:
    usual = CameraLoad(
        camera_id="bench-1",
        decoded_fps=25.0,
        taken_fps=8.0,
        analysed_fps=6.0,
        skipped_share=0.25,
        age=QUICK,
        decoded_age=QUICK,
        dropped=0,
        stale=0,
        held_back=0,
        lost=0,
        decode_cpu=0.1,
    )
    return replace(usual, **changes)  # type: ignore[arg-type]


def report_of(*cameras: CameraLoad) -> LoadReport:
    return LoadReport(
        device="CPU",
        cores=2,
        seconds=60.0,
        asked_fps=8.0,
        cameras=cameras,
        age=QUICK,
        cpu=0.8,
        other_cpu=0.1,
        cpu_by_duty={"decoding": 0.4, "networks": 0.4},
        memory=400 << 20,
        handles=30,
        threads=20,
        events=10,
        acked=10,
        to_ack=QUICK,
        stage_ms={"detect": 9.0},
    )


async def test_cameras_at_work_are_measured_one_by_one(tmp_path: Path, backend: Backend) -> None:
    told: list[float] = []
    async with CamerasAtWork(options(tmp_path, backend.url, cameras=2)) as work:
        report = await measure_load(work, seconds=2.0, warm_up_s=0.0, progress=lambda done, _total: told.append(done))
        # A machine that is busy with other things may not come to look at each camera in the first two seconds.
        async with asyncio.timeout(60):
            while not all(camera.taken_fps > 0 and camera.analysed_fps > 0 for camera in report.cameras):
                report = await measure_load(work, seconds=2.0, warm_up_s=0.0)
        looks = [look async for look in soak(work, seconds=1.0, every_s=0.5)]

    assert [camera.camera_id for camera in report.cameras] == ["bench-1", "bench-2"]
    for camera in report.cameras:
        assert 0 < camera.taken_fps <= 5.0
        assert camera.decoded_fps > camera.taken_fps, "many more are decoded than looked at"
        assert camera.analysed_fps <= camera.taken_fps + 1.0
        assert 0 < camera.decoded_age.p50 <= camera.age.p50, "a picture is made before it has been decoded"
        assert camera.lost == 0
    assert report.device == "CPU"
    assert report.seconds == pytest.approx(2.0, abs=1.5)
    assert 0 < report.cpu <= report.cores
    assert report.cpu_per_camera == report.cpu / 2
    assert {"event loop", "decoding", "networks"} <= set(report.cpu_by_duty)
    assert report.memory > 50 << 20
    assert told[-1] == 2.0

    assert len(looks) == 2
    assert looks[-1].at_s == pytest.approx(1.0, abs=1.0)
    assert all(look.handles > 3 and look.threads > 3 and look.lost == 0 for look in looks)
    drifts = [look.drift_ms for look in looks if look.drift_ms is not None]
    assert drifts
    assert all(drift > -5.0 for drift in drifts), "no picture is captured before it was made"


async def test_a_camera_that_shows_nothing_is_named(
    tmp_path: Path, backend: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(at_work, "FIRST_PICTURES_WITHIN_S", 0.3)
    wrong = replace(options(tmp_path, backend.url), clip=tmp_path / "missing.mp4")
    with pytest.raises(CaptureError, match=r"bench-1: .*missing\.mp4"):
        async with CamerasAtWork(wrong):
            pytest.fail("no camera showed a picture")


async def test_what_the_agent_cannot_open_is_said(tmp_path: Path, backend: Backend) -> None:
    async with CamerasAtWork(options(tmp_path, backend.url)):
        with pytest.raises(OutboxLockedError):
            async with CamerasAtWork(options(tmp_path, backend.url)):
                pytest.fail("two agents had one data directory")


def test_every_camera_has_a_gate_of_its_own_and_reports_each_round(tmp_path: Path) -> None:
    cameras = load_config(options(tmp_path, cameras=4)).cameras
    assert len({camera.gate.id for camera in cameras}) == 4
    assert {camera.repeat_after.total_seconds() for camera in cameras} == {0.0}
    assert {camera.fps for camera in cameras} == {4.0}


def test_real_cameras_take_the_place_of_the_clip(tmp_path: Path) -> None:
    wanted = replace(options(tmp_path), sources=("rtsp://127.0.0.1/one", "rtsp://127.0.0.1/two"))
    config = load_config(wanted)
    assert [camera.source.reveal() for camera in config.cameras] == list(wanted.sources)
    source = Streams(wanted, ["bench-1", "bench-2"]).open(
        CameraSettings(camera_id="bench-1", source=wanted.sources[0]), 0
    )
    assert not isinstance(source, LoopedClip)


def test_an_address_that_is_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError):
        load_config(replace(options(tmp_path), sources=("gopher://camera",)))


def test_times_are_told_by_their_middle_their_tail_and_the_worst() -> None:
    assert spread([float(number) for number in range(1, 101)]) == Spread(p50=50.0, p95=95.0, worst=100.0)
    assert spread([]) == Spread(p50=0.0, p95=0.0, worst=0.0)


def test_goals_that_are_met_leave_nothing_to_say() -> None:
    assert report_of(camera_load(), camera_load(camera_id="bench-2")).shortfalls == ()


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"age": Spread(p50=100.0, p95=301.0, worst=900.0)}, "bench-1: frames are 301 ms old at p95"),
        ({"taken_fps": 5.25}, "bench-1: 5.2 of 8 frames a second"),
        ({"lost": 2}, "bench-1: lost 2 times"),
    ],
)
def test_every_goal_that_is_missed_is_said(changes: dict[str, object], said: str) -> None:
    shortfalls = report_of(camera_load(**changes), camera_load(camera_id="bench-2")).shortfalls
    assert len(shortfalls) == 1
    assert shortfalls[0].startswith(said)


def test_the_report_becomes_json(tmp_path: Path) -> None:
    values = report_of(camera_load()).to_json()
    assert values["cpuPerCamera"] == 0.8
    assert values["cameras"][0]["frameAgeMs"] == {"p50": 40.0, "p95": 80.0, "worst": 120.0}
    assert values["cameras"][0]["skippedShare"] == 0.25
    assert values["shortfalls"] == []
