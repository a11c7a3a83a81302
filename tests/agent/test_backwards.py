"""The sample clip played backwards: who came in, goes out; each vehicle once, right."""

from __future__ import annotations

import asyncio
from pathlib import Path

import cv2

from lpr.agent.service import Agent
from lpr.backend.server import Backend, BackendSettings
from lpr.cli.sample import expected_texts, sample_clip
from tests.agent.helpers import make_config

SIDE = (960, 540)
"""Half of the clip's: large enough for its plates, and quick to write."""


def backwards(clip: Path, target: Path) -> Path:
    """Every second frame of `clip`, the last one first."""
    capture, frames = cv2.VideoCapture(str(clip)), []
    fps = capture.get(cv2.CAP_PROP_FPS)
    while capture.grab():
        found, frame = capture.retrieve()
        assert found
        frames.append(cv2.resize(frame, SIDE, interpolation=cv2.INTER_AREA))
    capture.release()
    writer = cv2.VideoWriter(str(target), cv2.VideoWriter.fourcc(*"mp4v"), fps / 2, SIDE)
    for frame in frames[::-2]:
        writer.write(frame)
    writer.release()
    return target


async def test_backwards_every_entry_is_an_exit(tmp_path: Path) -> None:
    clip = backwards(sample_clip(), tmp_path / "backwards.mp4")
    camera = {"id": "CAM_001", "source": str(clip), "gate": {"id": "G"}, "action": "auto", "pace": "fast", "fps": 6}
    async with Backend(BackendSettings(port=0, database=tmp_path / "backend.db")) as backend:
        agent = Agent(make_config(tmp_path / "data", camera, backend=backend.url))
        await asyncio.wait_for(agent.run(), 120)
        events = await backend.events(event_type="license_plate_detected")

    assert sorted(event.data["plate"]["text"] for event in events) == sorted(expected_texts(sample_clip()))
    actions = {event.data["vehicleType"]: set[str]() for event in events}
    for event in events:
        actions[event.data["vehicleType"]].add(event.data["action"])
    assert actions == {"car": {"exit"}, "motorcycle": {"entry"}}
