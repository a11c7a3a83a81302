"""What `lpr-agent check` says of the disk and the log's file, good ones and bad ones."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path

import pytest

from lpr.cli import disk_checks
from lpr.cli.findings import Finding, Verdict
from lpr.cli.users import user_name
from lpr.outbox.files import DirectoryLock
from tests.cli.helpers import config, verdicts

Mount = Callable[[str], Path]


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


class TestLog:
    def log(self, tmp_path: Path, file: Path) -> Sequence[Finding]:
        return disk_checks.check_log(config(tmp_path, log={"file": str(file)}))

    def test_without_a_file_there_is_nothing_to_say(self, tmp_path: Path) -> None:
        assert disk_checks.check_log(config(tmp_path)) == []

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
        findings = disk_checks.check_disk(config(tmp_path))
        assert Verdict.FAIL not in verdicts(findings) or disk_checks.filesystem_of(tmp_path) == "tmpfs"
        assert "a durable write of one event takes" in findings[-1].message
        assert list((tmp_path / "data").iterdir()) == []

    def test_a_directory_that_is_not_there_is_not_made(self, tmp_path: Path) -> None:
        findings = disk_checks.check_disk(config(tmp_path))
        assert any("is not there yet" in finding.message for finding in findings)
        assert not (tmp_path / "data").exists()

    def test_too_little_room_fails(self, tmp_path: Path) -> None:
        findings = disk_checks.check_disk(config(tmp_path, outbox={"min_free_disk": "1000 TiB"}))
        assert any(finding.verdict is Verdict.FAIL and "min_free_disk" in finding.message for finding in findings)

    def test_a_queue_that_promises_more_than_there_is_warns(self, tmp_path: Path) -> None:
        findings = disk_checks.check_disk(config(tmp_path, outbox={"min_free_disk": 0, "max_bytes": "1000 TiB"}))
        assert any(finding.verdict is Verdict.WARN and "can grow to" in finding.message for finding in findings)

    def test_a_file_in_its_place_fails(self, tmp_path: Path) -> None:
        (tmp_path / "data").write_text("x")
        assert "is no folder" in disk_checks.check_disk(config(tmp_path))[0].message

    def test_a_disk_that_is_mounted_read_only_is_called_so(self, mounted: Mount, tmp_path: Path) -> None:
        mounted("ro")
        findings = disk_checks.check_disk(config(tmp_path))
        assert [finding.verdict for finding in findings] == [Verdict.FAIL]
        assert "mounted read-only" in findings[0].message
        assert "dmesg" in (findings[0].hint or "")

    def test_a_full_disk_is_not_called_broken(self, mounted: Mount, tmp_path: Path) -> None:
        disk = mounted("size=64k")
        with suppress(OSError), (disk / "somebody-elses").open("wb", buffering=0) as file:
            while True:
                file.write(b"x" * 4096)
        last = disk_checks.check_disk(config(tmp_path))[-1]
        assert (last.verdict, last.hint) == (Verdict.FAIL, "make room")
        assert "No space left" in last.message

    @pytest.mark.skipif(os.getuid() == 0, reason="root may write anywhere")
    def test_a_directory_of_somebody_else_fails(self, tmp_path: Path) -> None:
        (tmp_path / "data").mkdir(mode=0o500)
        assert Verdict.FAIL in verdicts(disk_checks.check_disk(config(tmp_path)))

    @pytest.mark.skipif(os.getuid() != 0, reason="needs root, who may give files away")
    def test_what_root_left_in_the_folder_of_the_agents_user_fails(self, tmp_path: Path) -> None:
        data = tmp_path / "data"
        data.mkdir()
        os.chown(data, 65534, -1)
        (data / "outbox.seq").touch()
        os.chown(data / "outbox.seq", 65534, -1)
        assert Verdict.FAIL not in verdicts(disk_checks.check_disk(config(tmp_path))[:1])
        (data / "outbox.db").touch()
        finding = disk_checks.check_disk(config(tmp_path))[0]
        assert finding.verdict is Verdict.FAIL
        user = user_name(65534)
        assert finding.message == f"{data} belongs to {user}, and not all that is in it: outbox.db"
        assert finding.hint == f"sudo chown -R {user} {data}"

    @pytest.mark.skipif(os.getuid() == 0, reason="root may write anywhere")
    def test_a_file_that_cannot_be_written_fails(self, tmp_path: Path) -> None:
        (tmp_path / "data").mkdir()
        (tmp_path / "data" / "outbox.db").touch(mode=0o444)
        assert "holds what you cannot write: outbox.db" in disk_checks.check_disk(config(tmp_path))[0].message

    def test_a_folder_that_nobody_can_even_look_at_is_no_crash(self, tmp_path: Path) -> None:
        deep = tmp_path / ("x" * 300) / "data"
        findings = disk_checks.check_disk(config(tmp_path, agent={"id": "gate", "data_dir": str(deep)}))
        assert "is not there yet" in findings[0].message

    def test_an_agent_at_work_is_named(self, tmp_path: Path) -> None:
        (tmp_path / "data").mkdir()
        lock = DirectoryLock(tmp_path / "data")
        try:
            assert f"process {os.getpid()}" in disk_checks.check_disk(config(tmp_path))[0].message
        finally:
            lock.release()

    @pytest.mark.parametrize(("kind", "verdict"), [("tmpfs", Verdict.FAIL), ("overlay", Verdict.WARN)])
    def test_what_does_not_last_is_told(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, verdict: Verdict
    ) -> None:
        monkeypatch.setattr(disk_checks, "filesystem_of", lambda place: kind)
        assert verdict in verdicts(disk_checks.check_disk(config(tmp_path)))

    def test_the_kind_of_a_file_system_is_the_kernels_word(self) -> None:
        assert disk_checks.filesystem_of(Path("/proc/self")) == "proc"
