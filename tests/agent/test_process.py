"""The agent as the service manager sees it: a process with a configuration file, signals and exit codes."""

from __future__ import annotations

import asyncio
import json
import re
import signal
import sys
from asyncio.subprocess import PIPE, Process
from datetime import UTC, datetime
from pathlib import Path

from ruamel.yaml import YAML

from lpr.backend.server import Backend, BackendSettings
from lpr.cli.sample import expected_texts, sample_clip
from tests.agent.test_service import DETECTED, clip_camera, until

PROGRAM = (sys.executable, "-m", "lpr.cli")
NOBODY = "http://127.0.0.1:9"


def write_config(folder: Path, url: str, **camera: object) -> Path:
    """A configuration file over the sample clip; the page is off, the log is JSON."""
    path = folder / "agent.yaml"
    with path.open("w", encoding="utf-8") as file:
        YAML().dump(
            {
                "agent": {"id": "gate-nuc-01", "data_dir": str(folder / "data")},
                "backend": {"url": url},
                "outbox": {"min_free_disk": 0},
                "cameras": [{**clip_camera(pace="realtime"), **camera}],
                "web": {"enabled": False},
                "log": {"format": "json"},
            },
            file,
        )
    return path


async def start(path: Path) -> Process:
    return await asyncio.create_subprocess_exec(*PROGRAM, "run", "-c", str(path), stdout=PIPE, stderr=PIPE)


async def ended(process: Process, timeout_s: float = 60) -> tuple[int, str]:
    """Exit code and log."""
    _, log = await asyncio.wait_for(process.communicate(), timeout_s)
    assert process.returncode is not None
    return process.returncode, log.decode("utf-8")


async def queued(path: Path) -> dict[str, int]:
    """`lpr-agent queue status --json`, asked beside the running agent."""
    asked = await asyncio.create_subprocess_exec(*PROGRAM, "queue", "status", "-c", str(path), "--json", stdout=PIPE)
    answer, _ = await asked.communicate()
    status: dict[str, int] = json.loads(answer)
    return status


async def test_sigterm_ends_a_running_agent_in_good_order(tmp_path: Path) -> None:
    async with Backend(BackendSettings(port=0, database=tmp_path / "backend.db")) as backend:
        path = write_config(tmp_path, backend.url)
        agent = await start(path)
        await backend.wait_for(1, timeout_s=60)

        agent.send_signal(signal.SIGTERM)
        code, log = await ended(agent)

        assert code == 0, log
        assert "Traceback" not in log
        stored = await backend.events()
        assert (await queued(path))["pending"] == 0
        assert stored[-1].data["status"] == "idle"


async def test_a_log_file_that_cannot_be_opened_does_not_leave_the_gate_blind(tmp_path: Path) -> None:
    async with Backend(BackendSettings(port=0, database=tmp_path / "backend.db")) as backend:
        path = write_config(tmp_path, backend.url)
        path.write_text(path.read_text("utf-8").replace("format: json", f"file: {tmp_path}/nowhere/agent.log"), "utf-8")
        agent = await start(path)
        await backend.wait_for(1, timeout_s=60)
        agent.send_signal(signal.SIGTERM)
        code, log = await ended(agent)

    assert code == 0, log
    assert "working without the log's file" in log
    assert f"{tmp_path}/nowhere/agent.log cannot be opened for writing: No such file or directory" in log


async def test_kill_9_in_the_middle_loses_nothing_that_was_recorded(tmp_path: Path) -> None:
    path = write_config(tmp_path, NOBODY)
    agent = await start(path)
    async with asyncio.timeout(60):
        while '"passage"' not in (line := (await agent.stderr.readline()).decode() if agent.stderr else ""):
            assert line, "the agent ended before a passage was recorded"
    # The memory of what passed is written right after the commit.
    await until((tmp_path / "data" / "tracking.json").exists)
    agent.kill()
    await ended(agent)
    waiting = (await queued(path))["pending"]
    assert waiting >= 1

    async with Backend(BackendSettings(port=0, database=tmp_path / "backend.db")) as backend:
        again = await start(write_config(tmp_path, backend.url, pace="fast"))
        code, log = await ended(again, 120)

        assert code == 0, log
        detected = await backend.events(event_type=DETECTED)
        texts = [event.data["plate"]["text"] for event in detected]
        assert set(texts) == set(expected_texts(sample_clip()))
        # The vehicle of the first run is not reported again by the second, which sees it within a minute.
        assert len(texts) == len(set(texts))
        replayed = [event for event in detected if event.replayed]
        assert replayed
        assert (await queued(path))["pending"] == 0


async def test_a_reload_takes_what_is_good_and_refuses_what_is_not(tmp_path: Path) -> None:
    async with Backend(BackendSettings(port=0, database=tmp_path / "backend.db")) as backend:
        path = write_config(tmp_path, backend.url)
        agent = await start(path)
        await backend.wait_for_agent(timeout_s=60)
        await backend.wait_for(1, event_type="processing_status", timeout_s=60)
        good = path.read_text("utf-8")

        path.write_text(good.replace("fps: 4", "fpss: 4"), encoding="utf-8")
        agent.send_signal(signal.SIGHUP)
        [refused] = await backend.wait_for(1, event_type="error", timeout_s=30)
        path.write_text(good.replace("fps: 4", "fps: 6"), encoding="utf-8")
        agent.send_signal(signal.SIGHUP)
        await backend.wait_for(1, timeout_s=60)

        agent.send_signal(signal.SIGTERM)
        code, log = await ended(agent)

        assert code == 0, log
        assert refused.data["errorCode"] == "CONFIG_REJECTED"
        assert "fpss" in refused.data["message"]
        assert "fps" in refused.data["message"]


def catches(process: Process, number: signal.Signals) -> bool:
    """Whether a process has a handler for a signal, as the kernel tells."""
    caught = re.search(r"^SigCgt:\s*(\w+)$", Path(f"/proc/{process.pid}/status").read_text("ascii"), re.MULTILINE)
    return caught is not None and bool(int(caught[1], 16) >> (number - 1) & 1)


async def test_a_reload_that_is_asked_for_while_it_starts_ends_nothing_and_is_done_when_it_has(tmp_path: Path) -> None:
    async with Backend(BackendSettings(port=0, database=tmp_path / "backend.db")) as backend:
        agent = await start(write_config(tmp_path, backend.url))
        await until(lambda: catches(agent, signal.SIGHUP))
        asked_at = datetime.now(UTC)
        agent.send_signal(signal.SIGHUP)
        await backend.wait_for(1, event_type="processing_status", timeout_s=60)
        agent.send_signal(signal.SIGTERM)
        code, log = await ended(agent)

    assert code == 0, log
    lines = [json.loads(line) for line in log.splitlines()]
    events = {line["event"]: datetime.fromisoformat(line["time"]) for line in lines}
    assert asked_at < events["starting"]
    assert events["configuration taken anew"] > events["starting"]


async def test_no_configuration_says_where_it_was_looked_for_and_how_to_make_one(tmp_path: Path) -> None:
    process = await asyncio.create_subprocess_exec(
        *PROGRAM, "run", "-c", str(tmp_path / "absent.yaml"), stdout=PIPE, stderr=PIPE
    )
    code, log = await ended(process)

    assert code == 2
    assert "absent.yaml" in log
    assert "Traceback" not in log


async def test_a_camera_that_is_a_missing_file_is_told_and_ends_nothing_else(tmp_path: Path) -> None:
    async with Backend(BackendSettings(port=0, database=tmp_path / "backend.db")) as backend:
        path = write_config(tmp_path, backend.url, source=str(tmp_path / "absent.mp4"))
        code, log = await ended(await start(path))

        errors = await backend.events(event_type="error")
        assert code == 0, log
        assert [event.data["errorCode"] for event in errors] == ["CAMERA_DISCONNECTED"]
        assert "absent.mp4" in errors[0].data["message"]
        assert "Traceback" not in log
