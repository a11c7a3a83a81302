"""`lpr-agent check`: each check against a world that is right or wrong, and the answer as a whole."""

from __future__ import annotations

import asyncio
import json
import socket
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from lpr.cli import checks
from lpr.cli.camera_checks import check_camera
from lpr.cli.checks import Check
from lpr.cli.findings import Finding, Verdict, fail, ok, warn
from lpr.config import AgentConfig
from lpr.domain.errors import VisionError
from tests.cli.conftest import Answer
from tests.cli.helpers import config, free_port, verdicts
from tests.rtsp.proxy import FaultyLine
from tests.rtsp.server import StartServer

Run = Callable[..., Answer]


class TestPage:
    def test_a_free_port_is_good(self, tmp_path: Path) -> None:
        findings = checks.check_port(config(tmp_path, web={"port": free_port()}))
        assert verdicts(findings) == [Verdict.OK]

    def test_a_port_in_use_fails(self, tmp_path: Path) -> None:
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            (finding,) = checks.check_port(config(tmp_path, web={"port": taken.getsockname()[1]}))
        assert finding.verdict is Verdict.FAIL
        assert "ss -ltnp" in (finding.hint or "")

    def test_a_host_that_is_not_this_machine_fails(self, tmp_path: Path) -> None:
        (finding,) = checks.check_port(config(tmp_path, web={"host": "192.0.2.1", "port": free_port()}))
        assert (finding.verdict, finding.hint) == (Verdict.FAIL, "set web.host")

    def test_a_page_for_the_whole_network_is_warned_of(self, tmp_path: Path) -> None:
        (finding,) = checks.check_port(config(tmp_path, web={"host": "0.0.0.0", "port": free_port()}))  # noqa: S104
        assert finding.verdict is Verdict.WARN

    def test_no_page_is_fine(self, tmp_path: Path) -> None:
        assert verdicts(checks.check_port(config(tmp_path, web={"enabled": False}))) == [Verdict.OK]


class TestVision:
    async def test_the_shipped_networks_pass_their_self_test(self, tmp_path: Path) -> None:
        device, models = await checks.check_vision(config(tmp_path, vision={"device": "CPU", "input": "fast"}))
        assert "CPU (" in device.message
        assert "self-test passed on CPU, fast input" in models.message

    async def test_a_device_that_is_not_there_fails_beside_one_that_is(self, tmp_path: Path) -> None:
        camera = {"source": "usb:0", "gate": {"id": "G"}}
        cameras = [{"id": "A", **camera, "device": "CPU"}, {"id": "B", **camera, "device": "NPU.7"}]
        _, first, second = await checks.check_vision(config(tmp_path, cameras=cameras, vision={"input": "fast"}))
        assert first.verdict is not Verdict.FAIL
        assert (second.verdict, "NPU.7" in second.message) == (Verdict.FAIL, True)

    async def test_cameras_that_want_more_than_the_device_can_do_are_warned_of(self, tmp_path: Path) -> None:
        camera = {"source": "usb:0", "gate": {"id": "G"}, "fps": 30}
        cameras = [{"id": f"CAM_{number}", **camera} for number in range(32)]
        _, models = await checks.check_vision(config(tmp_path, cameras=cameras, vision={"input": "fast"}))
        assert models.verdict is Verdict.WARN
        assert "960 frames a second wanted" in models.message


class TestCamera:
    @staticmethod
    def clip(path: Path, *, spread: int) -> Path:
        writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 10, (320, 240))
        noise = np.random.default_rng(1)
        for _ in range(10):
            writer.write(noise.integers(100, 100 + spread, (240, 320, 3), np.uint8))
        writer.release()
        return path

    async def test_a_clip_shows_its_first_picture(self, tmp_path: Path) -> None:
        source = str(self.clip(tmp_path / "a.avi", spread=100))
        (finding,) = await check_camera(config(tmp_path, source=source).cameras[0])
        assert finding.verdict is Verdict.OK
        assert "320 x 240" in finding.message

    async def test_a_covered_lens_is_warned_of(self, tmp_path: Path) -> None:
        source = str(self.clip(tmp_path / "a.avi", spread=1))
        findings = await check_camera(config(tmp_path, source=source).cameras[0])
        assert verdicts(findings) == [Verdict.OK, Verdict.WARN]

    async def test_a_missing_file_and_a_camera_that_is_off_fail(self, tmp_path: Path) -> None:
        for source in (str(tmp_path / "gone.mp4"), f"rtsp://user:s3cret@127.0.0.1:{free_port()}/x"):
            (finding,) = await check_camera(config(tmp_path, source=source).cameras[0])
            assert finding.verdict is Verdict.FAIL
            assert "s3cret" not in str(finding)

    async def two_streams(self, tmp_path: Path, rtsp: StartServer, source: str, smaller: str) -> Sequence[Finding]:
        """What is said of a camera whose streams have these sizes."""
        server = rtsp(paths=(f"main:{source}", f"sub:{smaller}"), fps=10)
        streams = {"source": server.url("main"), "analyse_source": server.url("sub")}
        camera = {"id": "CAM_001", **streams, "gate": {"id": "G"}}
        return await check_camera(config(tmp_path, cameras=[camera]).cameras[0])

    @pytest.mark.rtsp
    async def test_a_camera_that_sends_fewer_pictures_than_are_wanted_is_told(
        self, tmp_path: Path, rtsp: StartServer
    ) -> None:
        (camera,) = config(tmp_path, source=rtsp(fps=5).url()).cameras
        good, slow = await check_camera(camera)
        assert (good.verdict, slow.verdict) == (Verdict.OK, Verdict.WARN)
        assert slow.message == "fewer pictures come than fps (8) wants"
        assert "a second" in good.message

    @pytest.mark.rtsp
    async def test_both_streams_of_a_camera_are_tried(self, tmp_path: Path, rtsp: StartServer) -> None:
        small, large = await self.two_streams(tmp_path, rtsp, "640x480", "320x240")
        assert (small.verdict, small.message[:25]) == (Verdict.OK, "analyse_source: 320 x 240")
        assert (large.verdict, large.message[:17]) == (Verdict.OK, "source: 640 x 480")

    @pytest.mark.rtsp
    async def test_streams_that_are_swapped_or_of_different_shapes_are_warned_of(
        self, tmp_path: Path, rtsp: StartServer
    ) -> None:
        *_, swapped, shapes = await self.two_streams(tmp_path, rtsp, "320x240", "640x360")
        assert (swapped.verdict, shapes.verdict) == (Verdict.WARN, Verdict.WARN)
        assert "is no larger than analyse_source" in swapped.message
        assert "of different shapes" in shapes.message

    @pytest.mark.rtsp
    async def test_a_login_that_one_stream_refuses_is_not_tried_on_the_other(
        self, tmp_path: Path, rtsp: StartServer
    ) -> None:
        server = rtsp(paths=("main", "sub"), login=("an", "right"))
        with FaultyLine(server.port, keep_words=True) as line:
            wrong = {"port": line.port, "login": ("an", "wr0ng")}
            camera = {"source": server.url("main", **wrong), "analyse_source": server.url("sub", **wrong)}
            cameras = [{"id": "CAM_001", **camera, "gate": {"id": "G"}}]
            refused, not_tried = await check_camera(config(tmp_path, cameras=cameras).cameras[0])
        assert (refused.verdict, not_tried.verdict) == (Verdict.FAIL, Verdict.WARN)
        assert "analyse_source: " in refused.message
        assert "source was not tried" in not_tried.message
        assert line.words.count(b"Authorization:") <= 2
        assert "wr0ng" not in str((refused, not_tried))

    async def test_a_camera_that_is_switched_off_is_left_alone(self, tmp_path: Path) -> None:
        camera = config(tmp_path).cameras[0].model_copy(update={"enabled": False})
        assert verdicts(await check_camera(camera)) == [Verdict.OK]


class TestClock:
    @pytest.mark.parametrize(("kept", "verdict"), [(True, Verdict.OK), (False, Verdict.WARN), (None, Verdict.WARN)])
    async def test_the_kernel_tells_whether_the_clock_is_kept(
        self, monkeypatch: pytest.MonkeyPatch, kept: bool | None, verdict: Verdict
    ) -> None:
        monkeypatch.setattr(checks, "kernel_synchronised", lambda: kept)
        assert verdicts(await checks.check_clock()) == [verdict]


class TestAll:
    async def test_findings_come_in_their_order_however_long_each_takes(self) -> None:
        first_may_end = asyncio.Event()

        async def slow() -> Sequence[Finding]:
            await first_may_end.wait()
            return [ok("slow", "")]

        async def quick() -> Sequence[Finding]:
            first_may_end.set()
            return [ok("quick", "")]

        found = [findings[0].topic async for findings in checks.run_checks([("slow", slow), ("quick", quick)])]
        assert found == ["slow", "quick"]

    async def test_a_check_that_hangs_fails_in_bounded_time(self) -> None:
        async def hangs() -> Sequence[Finding]:
            await asyncio.Event().wait()
            return []

        (findings,) = [each async for each in checks.run_checks([("hangs", hangs)], within_s=0.05)]
        assert verdicts(findings) == [Verdict.FAIL]

    async def test_an_error_of_ours_is_a_finding(self) -> None:
        async def fails() -> Sequence[Finding]:
            raise VisionError("no networks", hint="install them")

        (findings,) = [each async for each in checks.run_checks([("vision", fails)])]
        assert findings == [fail("vision", "no networks", "install them")]


def scripted(monkeypatch: pytest.MonkeyPatch, *findings: Finding) -> None:
    async def check() -> Sequence[Finding]:
        return findings

    def checks_of(config: AgentConfig) -> list[Check]:
        return [("scripted", check)]

    monkeypatch.setattr(checks, "checks_of", checks_of)


def test_every_camera_and_part_is_checked(tmp_path: Path) -> None:
    topics = [topic for topic, _ in checks.checks_of(config(tmp_path))]
    assert topics == ["clock", "disk", "log", "page", "back-end", "camera CAM_001", "vision"]


def test_all_well_ends_with_0(run: Run, config_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scripted(monkeypatch, ok("disk", "good"))
    answer = run("check")
    assert (answer.code, answer.err) == (0, "")
    assert answer.out.splitlines() == [
        "ok   configuration   lpr-agent.yaml, 1 camera",
        "ok   disk            good",
        "all well",
    ]


def test_a_warning_does_not_fail(run: Run, config_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scripted(monkeypatch, warn("clock", "unkept", "keep it"))
    answer = run("check")
    assert answer.code == 0
    assert "→ keep it" in answer.out
    assert "0 failed, 1 to look at" in answer.out


def test_a_failure_ends_with_1_and_says_what_to_do(
    run: Run, config_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scripted(monkeypatch, fail("back-end", "[not] there", "start it"))
    answer = run("check")
    assert answer.code == 1
    assert "fail back-end        [not] there" in answer.out
    assert "→ start it" in answer.out


def test_a_wrong_configuration_is_a_finding_and_ends_with_2(run: Run, config_file: Path) -> None:
    config_file.write_text("agent: {}\n")
    answer = run("check", "--json")
    document = json.loads(answer.out)
    assert (answer.code, document["ok"]) == (2, False)
    assert "agent.id is missing" in document["checks"][0]["message"]


def test_json_is_one_document_with_every_finding(run: Run, config_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scripted(monkeypatch, ok("disk", "good"), fail("page", "taken", "free it"))
    answer = run("check", "--json")
    document = json.loads(answer.out)
    assert (answer.code, document["ok"]) == (1, False)
    assert document["checks"][-1] == {"topic": "page", "verdict": "fail", "message": "taken", "hint": "free it"}


def test_a_finding_is_a_value() -> None:
    assert replace(ok("a", "b"), topic="c") == ok("c", "b")


@pytest.mark.rtsp
def test_what_the_decoder_says_does_not_stand_between_the_lines(tmp_path: Path, rtsp: StartServer) -> None:
    server = rtsp(login=("an", "right"))
    path = tmp_path / "agent.yaml"
    path.write_text(
        f"agent: {{id: gate, data_dir: {tmp_path / 'data'}}}\n"
        "backend: {url: 'http://127.0.0.1:9'}\n"
        "web: {enabled: false}\n"
        f"cameras: [{{id: CAM_001, source: '{server.url(login=('an', 'wr0ng'))}', gate: {{id: G}}}}]\n",
        "utf-8",
    )
    path.chmod(0o600)
    done = subprocess.run(
        [sys.executable, "-m", "lpr.cli", "check", "-c", str(path)],
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=120,
        check=False,
    )
    assert done.returncode == 1
    assert "refuses this user name or password (401 Unauthorized)" in done.stdout
    assert done.stderr == ""
