"""The bench of delivery on a small scale: every figure is drawn from what really went over disk and line."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from lpr.agent.bench import delivery
from lpr.agent.bench.delivery import DeliveryOptions, _Station, measure_delivery
from lpr.backend.faults import Fault, FaultKind
from lpr.backend.server import Backend, BackendSettings
from lpr.domain.choices import ImageMode
from lpr.domain.errors import LinkError
from lpr.outbox.bench import sample_event


async def test_every_figure_is_measured_and_what_was_recorded_is_gone_at_the_end(tmp_path: Path) -> None:
    told: dict[str, list[float]] = {}
    options = DeliveryOptions(folder=tmp_path, seconds=2.0, backlog=40, live_per_s=20.0, recording_rounds=1)

    report = await measure_delivery(options, lambda what, done, total: told.setdefault(what, []).append(done / total))

    assert report.recording.ratio > 0
    assert [each.images for each in report.sending] == [ImageMode.BASE64, ImageMode.BINARY]
    for each in report.sending:
        # Stretches this short on a busy machine say that something went over the line, and no more.
        assert each.bare_per_s > 0
        assert each.relayed_per_s > 0
        assert min(each.bare_cpu_ms, each.relayed_cpu_ms) > 0
        assert each.ratio == each.relayed_per_s / each.bare_per_s
    draining = report.draining
    assert draining.backlog == 40
    assert draining.drained_per_s > 0
    assert draining.live_alone > 5
    assert draining.live_alone_ms > 0
    assert draining.live_beside_ms > 0
    assert draining.memory_bytes < 500_000_000
    for queue in ("base64", "binary", "draining"):
        left = sum(file.stat().st_size for file in (tmp_path / queue).glob("outbox.db*"))
        assert left < 2_000_000, "all was deleted"
    assert list(told) == [
        "recording",
        "sending base64",
        "sending binary",
        "live events",
        "recording a backlog",
        "draining",
    ]
    assert all(shares[-1] == 1.0 for shares in told.values())
    said = report.to_json()
    assert said["sending"]["binary"]["goal"] == 0.4
    assert said["draining"]["ratio"] == pytest.approx(draining.live_beside_ms / draining.live_alone_ms, abs=0.001)


async def test_no_server_is_said_and_holds_nothing_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(delivery, "UP_WITHIN_S", 0.2)
    async with _Station(tmp_path, "http://127.0.0.1:9", ImageMode.BASE64) as station:
        with pytest.raises(LinkError, match=r"no link to the bare server at http://127\.0\.0\.1:9"):
            async with station.connected():
                pytest.fail("nothing listens there")


async def test_a_server_that_acknowledges_no_more_ends_every_measurement(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def nobody_looks(_what: str, _done: float, _total: float) -> None:
        """The bar."""

    monkeypatch.setattr(delivery, "STANDS_STILL_S", 1.0)
    options = DeliveryOptions(folder=tmp_path, seconds=0.6, backlog=10, live_per_s=20.0, recording_rounds=1)
    events, words = [sample_event(1)], "has acknowledged nothing for 1 s"
    async with Backend(BackendSettings(port=0, faults=(Fault(FaultKind.SILENT),))) as mute, asyncio.timeout(60):
        with pytest.raises(LinkError, match=words):
            await delivery._measure_sending(tmp_path, mute.url, ImageMode.BASE64, 0.6, nobody_looks)
        with pytest.raises(LinkError, match=words):
            await delivery._measure_draining(options, mute.url, nobody_looks)
        async with _Station(tmp_path / "backlog", mute.url, ImageMode.BASE64) as station:
            await delivery._record_backlog(station, events, options.backlog, nobody_looks)
            async with station.connected():
                with pytest.raises(LinkError, match=words):
                    await delivery._live_while_draining(station, events, options, nobody_looks)


async def test_a_failure_while_live_events_come_ends_the_measurement(tmp_path: Path) -> None:
    async with _Station(tmp_path, "http://127.0.0.1:9", ImageMode.BASE64) as station:
        live = delivery._Live(station, [sample_event(1)], 1000.0)
        running = asyncio.create_task(live.run())
        async with asyncio.timeout(10):
            while not station.waiting_acks:  # noqa: ASYNC110 - that an event was recorded is announced to nobody here
                await asyncio.sleep(0)
        await station.outbox.close()
        for waiting in list(station.waiting_acks.values()):
            waiting.set_exception(LinkError("gone"))
        with pytest.raises(Exception, match=r"gone|closed"):
            await live.end(running)
