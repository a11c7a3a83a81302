"""The page in a real browser: what a person sees, not what the code means to show."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from lpr.domain.events import CameraState, QueueStatus
from lpr.domain.passage import PassageOutcome
from lpr.metrics import Metrics
from lpr.testing.status import FakeStatusSource
from lpr.web.server import serve
from lpr.web.source import DeliveryState, LinkView

playwright = pytest.importorskip("playwright.async_api", reason="playwright is not installed")

CHROMIUM = Path("/usr/bin/chromium")
ARGUMENTS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
WAIT_MS = 15_000
SCRIPT = "<script>window.hacked = true</script><img src=x onerror='window.hacked = true'>"

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(not CHROMIUM.exists(), reason=f"{CHROMIUM} is not installed"),
]


@pytest.fixture
async def browser() -> AsyncIterator[Any]:
    async with playwright.async_playwright() as driver:
        opened = await driver.chromium.launch(executable_path=str(CHROMIUM), args=ARGUMENTS)
        yield opened
        await opened.close()


@pytest.fixture
async def context(browser: Any) -> AsyncIterator[Any]:
    opened = await browser.new_context(
        viewport={"width": 1280, "height": 800}, locale="en-GB", timezone_id="Asia/Ho_Chi_Minh"
    )
    opened.set_default_timeout(WAIT_MS)
    yield opened
    await opened.close()


async def test_a_browser_that_speaks_vietnamese_is_answered_so_and_a_link_changes_it(browser: Any) -> None:
    source = FakeStatusSource()
    source.add_camera("CAM_001", name="Camera cổng chính", state=CameraState.LOST, detail="no answer")
    source.change(queue=QueueStatus(pending=12_345, bytes=1_130_000_000, oldest_age_s=95.0, dead_letters=2))
    source.add_passage("p-1", "29-MĐ1 234.56", rows=2)
    context = await browser.new_context(locale="vi-VN")
    page = await context.new_page()
    async with serve(source, Metrics(), port=0) as served:
        await page.goto(served.url)
        for words in (
            "Mất tín hiệu Camera cổng chính: no answer.",
            "Máy chủ từ chối 2 sự kiện",
            "12.345 sự kiện chờ gửi, 1,13 GB",
            "29-MĐ1 234.56",
            "Đã gửi",
        ):
            await page.get_by_text(words).first.wait_for()
        assert await page.evaluate("document.documentElement.lang") == "vi"

        await page.get_by_role("link", name="English").click()
        await page.get_by_text("12,345 events wait, 1.13 GB").wait_for()
        await page.goto(served.url)
        await page.get_by_text("Camera cổng chính is lost: no answer.", exact=True).wait_for()
        assert await page.evaluate("document.documentElement.lang") == "en"
    await context.close()


async def test_each_language_has_every_word_of_the_others(context: Any) -> None:
    shape = """async (language) => {
        const { labels, locale } = await import(`/static/labels.${language}.js`);
        const keys = (value, path) => typeof value === "object"
            ? Object.entries(value).flatMap(([key, inner]) => keys(inner, `${path}.${key}`))
            : [`${path} ${typeof value}`];
        return [...keys(labels, ""), typeof locale].sort();
    }"""
    page = await context.new_page()
    async with serve(FakeStatusSource(), Metrics(), port=0) as served:
        await page.goto(served.url)
        english, vietnamese = [await page.evaluate(shape, language) for language in ("en", "vi")]
    assert len(english) > 60
    assert english == vietnamese


async def test_a_phone_shows_the_last_vehicle_and_the_lost_camera_without_scrolling(context: Any) -> None:
    source = FakeStatusSource()
    for number in range(8):
        source.add_camera(f"CAM_{number}", gate_name=f"Cổng {number % 2}")
    lost = replace(source.view.cameras[5], state=CameraState.LOST)
    source.add_passage("p-1", "59-X1 123.45", rows=2, gate_name="Cổng 1")
    page = await context.new_page()
    await page.set_viewport_size({"width": 360, "height": 740})
    async with serve(source, Metrics(), port=0) as served:
        await page.goto(served.url)
        await page.locator("#passages li").wait_for()
        source.change(cameras=(*source.view.cameras[:5], lost, *source.view.cameras[6:]))
        await page.locator("figure.lost").wait_for()
        for seen in ("#passages .plate", "#passages .free", "figure.lost .state"):
            box = await page.locator(seen).bounding_box()
            assert 0 <= box["x"] <= 360 - box["width"], seen
            assert box["y"] + box["height"] <= 740, seen
        assert await page.evaluate("document.documentElement.scrollWidth") == 360

        # Where all cameras stand at one gate its name is told by each camera, and not by each vehicle.
        source.change(cameras=source.view.cameras[::2])
        await page.locator("#passages .free").wait_for(state="hidden")


async def test_a_page_that_stays_open_follows_an_upgrade(context: Any) -> None:
    source = FakeStatusSource()
    page = await context.new_page()
    async with serve(source, Metrics(), port=0) as served:
        await page.goto(served.url)
        await page.get_by_text("No camera is configured").wait_for()
        await page.evaluate("window.old = true")
        async with page.expect_navigation():
            source.change(version="0.2.0")
        await page.get_by_text("0.2.0").wait_for()
        assert await page.evaluate("window.old") is None


async def test_a_person_sees_the_gate_live_and_is_told_what_is_wrong(context: Any) -> None:
    source = FakeStatusSource()
    page = await context.new_page()
    complaints: list[str] = []
    asked: set[str] = set()
    page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("request", lambda request: asked.add(re.sub(r"^(https?://[^/]+).*", r"\1", request.url)))

    async def sees(text: str) -> None:
        await page.get_by_text(text).first.wait_for()

    async with serve(source, Metrics(), port=0) as served:
        await page.goto(served.url)

        # Nothing configured, nothing passed.
        await sees("No camera is configured")
        await sees("No vehicle has passed yet")

        # Two cameras come, one of them named by somebody unkind; pictures arrive and move on.
        source.add_camera("CAM_001", name="Camera Gate 1", gate_name="Cổng chính")
        source.add_camera("CAM/2 #?", name=SCRIPT, gate_name="Cổng phụ", plate="29-MĐ1 234.56")
        await sees("Camera Gate 1")
        await sees(SCRIPT)
        await page.locator("figure .shot img").nth(1).wait_for()
        first = await page.locator("figure .shot img").first.get_attribute("src")
        now = datetime.now(UTC)
        cameras = (replace(source.view.cameras[0], last_frame_at=now), source.view.cameras[1])
        source.change(cameras=cameras)
        await page.wait_for_function(
            "old => document.querySelector('figure .shot img').getAttribute('src') !== old", arg=first
        )
        assert await page.evaluate("document.querySelector('figure .shot img').naturalWidth") > 400

        # A vehicle passes; its delivery is seen to change.
        source.add_passage("p-1", "59-X1 123.45", rows=2, delivery=DeliveryState.WAITING, gate_name="Cổng chính")
        await sees("59-X1 123.45")
        await page.locator(".fate .waiting").wait_for()
        source.views_of_passages[0] = replace(source.views_of_passages[0], delivery=DeliveryState.DELIVERED)
        await page.locator(".fate .delivered").wait_for()
        source.add_passage("p-2", "59?", outcome=PassageOutcome.UNREADABLE, confidence=0.4)
        await sees("Not readable")
        await sees("best guess 59?")
        assert await page.locator("#passages li").count() == 2
        assert await page.locator("#passages li").first.locator(".plate").inner_text() == "Not readable"
        await page.wait_for_function("[...document.querySelectorAll('.crop img')].every(image => image.naturalWidth)")

        # A camera and the link are lost, then found again.
        lost = replace(cameras[0], state=CameraState.LOST, detail="no answer from 192.168.1.100")
        source.change(
            cameras=(lost, cameras[1]),
            link=LinkView(up=False, words="no answer from api.example.vn"),
            queue=QueueStatus(pending=4, bytes=410_000, oldest_age_s=95.0, dead_letters=0),
        )
        await sees("Camera Gate 1 is lost: no answer from 192.168.1.100.")
        await sees("Back-end: no answer from api.example.vn.")
        await sees("Not connected")
        await sees("4 events wait, 410 kB")
        source.change(cameras=cameras, link=LinkView(up=True, words="connected", since=now))
        await page.locator("#problems").wait_for(state="hidden")

        # A sign has stood there for hours: it is shown where it stands, and a button has it reported again.
        source.add_standing("CAM_001", "30A-111.22", camera_name="Camera Gate 1")
        source.add_standing("CAM/2 #?", SCRIPT)
        await sees("Part of the scene")
        entries = page.locator("#standing li")
        assert await entries.count() == 2
        await page.wait_for_function(
            "[...document.querySelectorAll('#standing img')].every(image => image.naturalWidth === 480)"
        )
        await entries.first.get_by_role("button", name="Report it again").click()
        await page.wait_for_url(f"{served.url}#standing")
        await sees("CAM/2 #?, there since")
        assert await entries.count() == 1
        assert source.forgotten == [("CAM_001", "30A11122")]
        await page.locator("#standing button").focus()
        await page.keyboard.press("Enter")
        await page.locator("#standing").wait_for(state="hidden")
        assert len(source.forgotten) == 2
        assert await page.evaluate("window.hacked") is None

        # One goes on without its larger stream, and says so in a line that does not break the page.
        limp = "goes on with the pictures of its smaller stream: rtsp://admin:***@192.168.1.101/" + "x" * 90
        source.change(cameras=(replace(cameras[0], limp=limp), cameras[1]))
        await page.locator("figcaption .limp").first.wait_for()
        await page.locator("#problems.mild").wait_for()
        await page.set_viewport_size({"width": 360, "height": 740})
        assert await page.evaluate("document.documentElement.scrollWidth") == 360
        await page.set_viewport_size({"width": 1280, "height": 800})
        source.change(cameras=cameras)
        await page.locator("#problems").wait_for(state="hidden")

        # A camera is enlarged by a click and by the keyboard.
        await page.locator(".shot").first.click()
        await page.locator("figure.wide").wait_for()
        assert await page.locator(".shot").first.get_attribute("aria-pressed") == "true"
        await page.keyboard.press("Enter")
        await page.locator("figure.wide").wait_for(state="detached")

        # On a phone nothing is wider than the screen.
        await page.set_viewport_size({"width": 360, "height": 740})
        assert await page.evaluate("document.documentElement.scrollWidth") == 360
        assert complaints == []

    # The agent has gone: the page says so and keeps what it showed.
    await sees("No contact with the agent since")
    await sees("59-X1 123.45")
    assert await page.evaluate("window.hacked") is None
    assert asked == {served.url.rstrip("/")}
