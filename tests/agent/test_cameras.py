"""The agent on real cameras that go wrong: what the back-end is told of it, and what the log says."""

from __future__ import annotations

import asyncio
import json
import signal
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from lpr.backend.server import Backend, BackendSettings
from lpr.backend.store import StoredEvent
from tests.agent.test_process import ended, start
from tests.rtsp.server import StartServer

pytestmark = pytest.mark.rtsp

NOTICED_WITHIN_S = 6.0


def write_config(folder: Path, url: str, *cameras: dict[str, Any]) -> Path:
    """A configuration file over these cameras, with the log as JSON and in full."""
    path = folder / "agent.yaml"
    with path.open("w", encoding="utf-8") as file:
        YAML().dump(
            {
                "agent": {"id": "gate-nuc-01", "data_dir": str(folder / "data")},
                "backend": {"url": url},
                "outbox": {"min_free_disk": 0},
                "cameras": list(cameras),
                "web": {"enabled": False},
                "log": {"format": "json", "level": "debug"},
            },
            file,
        )
    path.chmod(0o600)
    return path


def camera(camera_id: str, source: str, **more: Any) -> dict[str, Any]:
    return {"id": camera_id, "source": source, "gate": {"id": "GATE_001"}, "fps": 4, **more}


def of_camera(events: Sequence[StoredEvent], camera_id: str) -> list[StoredEvent]:
    return [event for event in events if event.data["details"].get("cameraId") == camera_id]


async def until_told(backend: Backend, camera_id: str, code: str, *, within_s: float = 60.0) -> StoredEvent:
    """The newest error of this code about this camera, waited for."""
    async with asyncio.timeout(within_s):
        while True:
            told = of_camera(await backend.events(event_type="error"), camera_id)
            if told and told[-1].data["errorCode"] == code:
                return told[-1]
            await asyncio.sleep(0.05)


async def test_a_lost_camera_is_told_once_with_its_last_response_and_once_when_it_is_back(
    tmp_path: Path, rtsp: StartServer
) -> None:
    broken, whole, locked = rtsp(), rtsp(), rtsp(login=("an", "right"))
    async with Backend(BackendSettings(port=0, database=tmp_path / "backend.db")) as backend:
        path = write_config(
            tmp_path,
            backend.url,
            camera("BROKEN", broken.url()),
            camera("WHOLE", whole.url()),
            camera("LOCKED", locked.url(login=("an", "wr0ng@p/ss"))),
        )
        agent = await start(path)
        try:
            refused = await until_told(backend, "LOCKED", "CAMERA_DISCONNECTED")
            await until_running(backend, "BROKEN")
            await asyncio.sleep(0.5)
            killed_at = datetime.now(UTC)
            await asyncio.to_thread(broken.kill)
            lost = await until_told(backend, "BROKEN", "CAMERA_DISCONNECTED")
            await asyncio.sleep(2.5)
            await asyncio.to_thread(broken.start)
            await until_told(backend, "BROKEN", "CAMERA_RECOVERED")
        finally:
            agent.send_signal(signal.SIGTERM)
            code, log = await ended(agent)
        errors = await backend.events(event_type="error")

    assert code == 0, log
    assert [event.data["errorCode"] for event in of_camera(errors, "BROKEN")] == [
        "CAMERA_DISCONNECTED",
        "CAMERA_RECOVERED",
    ]
    told_after_s = (datetime.fromisoformat(lost.data["timestamp"]) - killed_at).total_seconds()
    assert 0 <= told_after_s <= NOTICED_WITHIN_S
    last = datetime.fromisoformat(lost.data["details"]["lastResponse"])
    assert abs((last - killed_at).total_seconds()) < 1.0
    assert "cannot be reached" in lost.data["message"] or "ended the stream" in lost.data["message"]
    assert of_camera(errors, "WHOLE") == []
    assert len(of_camera(errors, "LOCKED")) == 1
    assert refused.data["details"]["lastResponse"] is None
    assert "refuses this user name or password" in refused.data["message"]
    # What the decoder itself said of it is in the log, and the password nowhere.
    lines = [json.loads(line) for line in log.splitlines() if line.startswith("{")]
    said = [text for line in lines if line["event"] == "decoder_said" for text in line["lines"]]
    assert any(text.startswith("[rtsp @") and "401 (Unauthorized)" in text for text in said), said
    for secret in ("wr0ng", "p/ss", "wr0ng%40p%2Fss"):
        assert secret not in log
        assert secret not in str(refused.data)


async def until_running(backend: Backend, camera_id: str) -> None:
    async with asyncio.timeout(60):
        while True:
            statuses = await backend.events(event_type="processing_status")
            states = {each["cameraId"]: each["state"] for each in statuses[-1].data["cameras"]} if statuses else {}
            if states.get(camera_id) == "running":
                return
            await asyncio.sleep(0.05)
