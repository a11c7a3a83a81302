"""`lpr-agent check`: each check against a world that is right or wrong, and the answer as a whole."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import socket
import ssl
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import cv2
import numpy as np
import pytest

from lpr.backend.server import Backend, BackendSettings
from lpr.cli import checks
from lpr.cli.camera_checks import check_camera
from lpr.cli.checks import Check
from lpr.cli.findings import Finding, Verdict, fail, ok, warn
from lpr.config import AgentConfig, config_from
from lpr.domain.clock import isoformat_ms
from lpr.domain.errors import VisionError
from lpr.outbox.files import DirectoryLock
from tests.cli.conftest import Answer
from tests.rtsp.proxy import FaultyLine
from tests.rtsp.server import StartServer

Run = Callable[..., Answer]
Mount = Callable[[str], Path]


def config(tmp_path: Path, *, source: str = "usb:0", **sections: object) -> AgentConfig:
    values: dict[str, object] = {
        "agent": {"id": "gate", "data_dir": str(tmp_path / "data")},
        "backend": {"url": "http://127.0.0.1:9"},
        "outbox": {"min_free_disk": 0, "max_bytes": "1 MiB"},
        "cameras": [{"id": "CAM_001", "source": source, "gate": {"id": "GATE_001"}}],
    }
    return config_from(values | sections)


@pytest.fixture
def mounted(tmp_path: Path) -> Iterator[Mount]:
    """Mounts a file system of its own where `config` has its data."""
    folder = tmp_path / "data"

    def _mount(options: str) -> Path:
        folder.mkdir()
        command = ["mount", "-t", "tmpfs", "-o", options, "lpr-test", str(folder)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            pytest.skip(f"no file system can be mounted here: {done.stderr.strip()}")
        return folder

    yield _mount
    if folder.is_mount():
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def verdicts(findings: Sequence[Finding]) -> list[Verdict]:
    return [finding.verdict for finding in findings]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class TestLog:
    def log(self, tmp_path: Path, file: Path) -> Sequence[Finding]:
        return checks.check_log(config(tmp_path, log={"file": str(file)}))

    def test_without_a_file_there_is_nothing_to_say(self, tmp_path: Path) -> None:
        assert checks.check_log(config(tmp_path)) == []

    def test_a_file_that_can_be_made_is_good_and_is_not_made(self, tmp_path: Path) -> None:
        assert verdicts(self.log(tmp_path, tmp_path / "agent.log")) == [Verdict.OK]
        assert list(tmp_path.iterdir()) == []

    def test_a_folder_that_is_not_there_or_a_folder_in_its_place_fails(self, tmp_path: Path) -> None:
        [finding] = self.log(tmp_path, tmp_path / "nowhere" / "agent.log")
        assert (finding.verdict, finding.message) == (Verdict.FAIL, f"log.file: there is no folder {tmp_path}/nowhere")
        assert verdicts(self.log(tmp_path, tmp_path)) == [Verdict.FAIL]

    @pytest.mark.skipif(os.getuid() == 0, reason="root may write anywhere")
    def test_a_folder_of_somebody_else_fails(self, tmp_path: Path) -> None:
        (tmp_path / "log").mkdir(mode=0o500)
        assert verdicts(self.log(tmp_path, tmp_path / "log" / "agent.log")) == [Verdict.FAIL]


class TestDisk:
    def test_a_good_disk_is_measured_and_left_as_it_was(self, tmp_path: Path) -> None:
        (tmp_path / "data").mkdir()
        findings = checks.check_disk(config(tmp_path))
        assert Verdict.FAIL not in verdicts(findings) or checks.filesystem_of(tmp_path) == "tmpfs"
        assert "a durable write of one event takes" in findings[-1].message
        assert list((tmp_path / "data").iterdir()) == []

    def test_a_directory_that_is_not_there_is_not_made(self, tmp_path: Path) -> None:
        findings = checks.check_disk(config(tmp_path))
        assert any("is not there yet" in finding.message for finding in findings)
        assert not (tmp_path / "data").exists()

    def test_too_little_room_fails(self, tmp_path: Path) -> None:
        findings = checks.check_disk(config(tmp_path, outbox={"min_free_disk": "1000 TiB"}))
        assert any(finding.verdict is Verdict.FAIL and "min_free_disk" in finding.message for finding in findings)

    def test_a_queue_that_promises_more_than_there_is_warns(self, tmp_path: Path) -> None:
        findings = checks.check_disk(config(tmp_path, outbox={"min_free_disk": 0, "max_bytes": "1000 TiB"}))
        assert any(finding.verdict is Verdict.WARN and "can grow to" in finding.message for finding in findings)

    def test_a_file_in_its_place_fails(self, tmp_path: Path) -> None:
        (tmp_path / "data").write_text("x")
        assert "is no folder" in checks.check_disk(config(tmp_path))[0].message

    def test_a_disk_that_is_mounted_read_only_is_called_so(self, mounted: Mount, tmp_path: Path) -> None:
        mounted("ro")
        findings = checks.check_disk(config(tmp_path))
        assert [finding.verdict for finding in findings] == [Verdict.FAIL]
        assert "mounted read-only" in findings[0].message
        assert "dmesg" in (findings[0].hint or "")

    def test_a_full_disk_is_not_called_broken(self, mounted: Mount, tmp_path: Path) -> None:
        disk = mounted("size=64k")
        with suppress(OSError), (disk / "somebody-elses").open("wb", buffering=0) as file:
            while True:
                file.write(b"x" * 4096)
        last = checks.check_disk(config(tmp_path))[-1]
        assert (last.verdict, last.hint) == (Verdict.FAIL, "make room")
        assert "No space left" in last.message

    @pytest.mark.skipif(os.getuid() == 0, reason="root may write anywhere")
    def test_a_directory_of_somebody_else_fails(self, tmp_path: Path) -> None:
        (tmp_path / "data").mkdir(mode=0o500)
        assert Verdict.FAIL in verdicts(checks.check_disk(config(tmp_path)))

    @pytest.mark.skipif(os.getuid() != 0, reason="needs root, who may give files away")
    def test_what_root_left_in_the_folder_of_the_agents_user_fails(self, tmp_path: Path) -> None:
        data = tmp_path / "data"
        data.mkdir()
        os.chown(data, 65534, -1)
        (data / "outbox.seq").touch()
        os.chown(data / "outbox.seq", 65534, -1)
        assert Verdict.FAIL not in verdicts(checks.check_disk(config(tmp_path))[:1])
        (data / "outbox.db").touch()
        finding = checks.check_disk(config(tmp_path))[0]
        assert finding.verdict is Verdict.FAIL
        user = checks.user_name(65534)
        assert finding.message == f"{data} belongs to {user}, and not all that is in it: outbox.db"
        assert finding.hint == f"sudo chown -R {user} {data}"

    @pytest.mark.skipif(os.getuid() == 0, reason="root may write anywhere")
    def test_a_file_that_cannot_be_written_fails(self, tmp_path: Path) -> None:
        (tmp_path / "data").mkdir()
        (tmp_path / "data" / "outbox.db").touch(mode=0o444)
        assert "holds what you cannot write: outbox.db" in checks.check_disk(config(tmp_path))[0].message

    def test_a_folder_that_nobody_can_even_look_at_is_no_crash(self, tmp_path: Path) -> None:
        deep = tmp_path / ("x" * 300) / "data"
        findings = checks.check_disk(config(tmp_path, agent={"id": "gate", "data_dir": str(deep)}))
        assert "is not there yet" in findings[0].message

    def test_an_agent_at_work_is_named(self, tmp_path: Path) -> None:
        (tmp_path / "data").mkdir()
        lock = DirectoryLock(tmp_path / "data")
        try:
            assert f"process {os.getpid()}" in checks.check_disk(config(tmp_path))[0].message
        finally:
            lock.release()

    @pytest.mark.parametrize(("kind", "verdict"), [("tmpfs", Verdict.FAIL), ("overlay", Verdict.WARN)])
    def test_what_does_not_last_is_told(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, verdict: Verdict
    ) -> None:
        monkeypatch.setattr(checks, "filesystem_of", lambda place: kind)
        assert verdict in verdicts(checks.check_disk(config(tmp_path)))

    def test_the_kind_of_a_file_system_is_the_kernels_word(self) -> None:
        assert checks.filesystem_of(Path("/proc/self")) == "proc"


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


class TestBackend:
    async def test_a_back_end_that_takes_us_is_good(self, tmp_path: Path) -> None:
        async with Backend(BackendSettings(port=0, token="abcdef")) as backend:
            epochs: set[int] = set()
            backend.on_change(lambda: epochs.update(agent.epoch for agent in backend.agents))
            findings = await checks.check_backend(config(tmp_path, backend={"url": backend.url, "token": "abcdef"}))
            assert epochs == {0}, "an agent at work stays the live one"
            assert await backend.events() == []
        assert verdicts(findings) == [Verdict.OK, Verdict.OK]
        assert "namespace /ai entered with a token; it answers agent_hello" in findings[1].message

    async def test_a_file_of_ours_that_is_no_certificate_is_told_though_nobody_answers(self, tmp_path: Path) -> None:
        (tmp_path / "ca.pem").write_text("junk")
        backend = {"url": "https://127.0.0.1:9", "ca_file": str(tmp_path / "ca.pem")}
        [finding] = await checks.check_backend(config(tmp_path, backend=backend))
        assert "ca.pem cannot be used" in finding.message

    async def test_a_refused_token_fails_after_what_worked(self, tmp_path: Path) -> None:
        async with Backend(BackendSettings(port=0, token="abcdef")) as backend:
            findings = await checks.check_backend(config(tmp_path, backend={"url": backend.url, "token": "wr0ng"}))
        assert verdicts(findings) == [Verdict.OK, Verdict.FAIL]
        assert "token" in (findings[1].hint or "")
        assert "wr0ng" not in str(findings)

    @pytest.mark.parametrize(("ahead_s", "words"), [(60, "ahead of"), (-60, "behind"), (3, "")])
    async def test_a_clock_that_is_not_ours_is_warned_of(self, tmp_path: Path, ahead_s: float, words: str) -> None:
        hello = {"serverTime": isoformat_ms(datetime.now(UTC) + timedelta(seconds=ahead_s))}
        async with Backend(BackendSettings(port=0, hello=hello)) as backend:
            findings = await checks.check_backend(config(tmp_path, backend={"url": backend.url}))
        warned = " ".join(finding.message for finding in findings if finding.verdict is Verdict.WARN)
        assert re.fullmatch(rf"its clock is (59|60|61) s {words} this machine's" if words else "", warned)

    async def test_nobody_listening_fails(self, tmp_path: Path) -> None:
        findings = await checks.check_backend(config(tmp_path, backend={"url": f"http://127.0.0.1:{free_port()}"}))
        assert verdicts(findings) == [Verdict.FAIL]
        assert "nobody listens" in findings[0].message

    async def test_a_name_that_does_not_exist_fails(self, tmp_path: Path) -> None:
        findings = await checks.check_backend(config(tmp_path, backend={"url": "http://nowhere.invalid"}))
        assert verdicts(findings) == [Verdict.FAIL]
        assert "nowhere.invalid" in findings[0].message

    async def test_a_port_that_speaks_no_tls_fails(self, tmp_path: Path) -> None:
        async with Backend(BackendSettings(port=0)) as backend:
            url = backend.url.replace("http://", "https://")
            findings = await checks.check_backend(config(tmp_path, backend={"url": url}))
        assert verdicts(findings) == [Verdict.OK, Verdict.FAIL]
        assert "TLS" in findings[1].message


@pytest.mark.skipif(shutil.which("openssl") is None, reason="no openssl to make certificates with")
class TestCertificate:
    @staticmethod
    def certificate(folder: Path, *, days: int, name: str = "localhost") -> tuple[Path, Path]:
        """A self-signed certificate, which is its own authority, and its key."""
        certificate, key = folder / "cert.pem", folder / "key.pem"
        command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", str(days)]
        command += ["-subj", f"/CN={name}", "-addext", f"subjectAltName=DNS:{name}"]
        command += ["-keyout", str(key), "-out", str(certificate)]
        subprocess.run(command, check=True, capture_output=True, timeout=60)
        return certificate, key

    async def look(self, tmp_path: Path, *, days: int, name: str = "localhost", trusted: bool = True) -> Finding:
        """What the check says of a server that shows such a certificate."""
        certificate, key = self.certificate(tmp_path, days=days, name=name)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)

        async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            if await reader.read(1):
                writer.write(b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n")
            writer.close()

        async with await asyncio.start_server(hang_up, "127.0.0.1", 0, ssl=context) as server:
            url = f"https://localhost:{server.sockets[0].getsockname()[1]}"
            backend = {"url": url} | ({"ca_file": str(certificate)} if trusted else {})
            findings = await checks.check_backend(config(tmp_path, backend=backend))
        # No socket.io server is behind it: what counts is the line before that is found out.
        assert findings[0].verdict is Verdict.OK
        return findings[1]

    async def test_a_trusted_certificate_tells_its_days(self, tmp_path: Path) -> None:
        finding = await self.look(tmp_path, days=100)
        assert finding.verdict is Verdict.OK
        assert "valid for another 99 days" in finding.message

    async def test_one_that_ends_soon_is_warned_of(self, tmp_path: Path) -> None:
        assert (await self.look(tmp_path, days=3)).verdict is Verdict.WARN

    async def test_one_of_an_unknown_authority_fails(self, tmp_path: Path) -> None:
        finding = await self.look(tmp_path, days=100, trusted=False)
        assert finding.verdict is Verdict.FAIL
        assert "ca_file" in (finding.hint or "")

    async def test_one_of_another_name_fails(self, tmp_path: Path) -> None:
        finding = await self.look(tmp_path, days=100, name="elsewhere.example")
        assert (finding.verdict, "is not trusted" in finding.message) == (Verdict.FAIL, True)


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
