"""The line with nothing behind it: it answers everything, and leaves no process behind."""

from __future__ import annotations

import asyncio
import gc
import sys
from typing import Any

import psutil
import pytest

from lpr.backend import bare
from lpr.backend.bare import BareLine, bare_server
from lpr.domain.errors import BackendError


def bare_processes() -> list[psutil.Process]:
    return [child for child in psutil.Process().children() if "lpr.backend.bare" in child.cmdline()]


async def test_everything_is_acknowledged_with_so_many_in_flight_and_the_server_ends_with_the_block() -> None:
    sent: dict[str, Any] = {"eventId": "e-1", "data": {"processedImage": b"\xff\xd8", "text": "Cổng"}}
    async with bare_server() as url, BareLine(url) as line:
        assert len(bare_processes()) == 1
        assert await line.emit_for(0.3, "license_plate_detected", [sent], window=8) >= 8
        answered: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        await line._client.emit("error", sent, namespace=bare.NAMESPACE, callback=answered.set_result)
        assert await asyncio.wait_for(answered, 10) == {"status": "ok", "eventId": "e-1"}
    assert bare_processes() == []


async def test_answers_that_come_when_the_measurement_was_ended_are_nothing(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with bare_server() as url, BareLine(url) as line:
        emitting = asyncio.create_task(line.emit_for(30, "error", [{"eventId": "e-1"}], window=8))
        await asyncio.sleep(0.1)
        emitting.cancel()
        await asyncio.wait([emitting])
        answered: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        await line._client.emit("error", {"eventId": "e-2"}, namespace=bare.NAMESPACE, callback=answered.set_result)
        await asyncio.wait_for(answered, 10)
        gc.collect()
    assert "never retrieved" not in caplog.text


async def test_a_server_that_does_not_answer_is_said() -> None:
    with pytest.raises(BackendError, match=r"cannot connect to http://127\.0\.0\.1:9"):
        async with BareLine("http://127.0.0.1:9"):
            pytest.fail("nothing listens there")


async def test_a_server_that_does_not_start_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/bin/true")
    with pytest.raises(BackendError, match="did not start"):
        async with bare_server():
            pytest.fail("it gave no address")
