from __future__ import annotations

import asyncio
import contextlib
import re
import socket
from dataclasses import replace
from typing import Any

import aiohttp
import numpy as np
import pytest

from lpr.domain.errors import WebError
from lpr.domain.events import CameraState, QueueStatus
from lpr.domain.geometry import Box, Quad
from lpr.imaging import decode_image
from lpr.metrics import Metrics, Stage
from lpr.testing.status import FakeStatusSource
from lpr.web import draw
from lpr.web.server import MAX_CONNECTIONS, create_app, serve
from lpr.web.source import DeliveryState, LinkView, SeenPlate

Client = Any


async def read_json(http: Client, address: str, *, status: int = 200) -> Any:
    async with http.get(address) as answer:
        assert answer.status == status
        assert answer.content_type == "application/json"
        return await answer.json()


async def test_the_page_and_all_that_it_names_come_from_here(http: Client) -> None:
    async with http.get("/") as answer:
        assert answer.content_type == "text/html"
        page = await answer.text()
    named = re.findall(r'(?:href|src)="([^"#][^"]*)"', page)
    assert {"/static/page.js", "/static/page.css", "/static/icon.svg"} <= set(named)
    for address in {*named, "/static/labels.en.js", "/static/labels.vi.js"}:
        async with http.get(address) as answer:
            assert answer.status == 200, address
            assert "//" not in address
    async with http.get("/static/page.css") as answer:
        assert "url(" not in await answer.text()


async def test_text_travels_compressed_to_whoever_takes_it_so(http: Client, source: FakeStatusSource) -> None:
    for number in range(40):
        source.add_passage(f"p-{number}", "29A-123.45")
    sizes = {}
    for encoding in ("gzip", "identity"):
        async with http.get("/api/status", headers={"Accept-Encoding": encoding}) as answer:
            assert len((await answer.json())["passages"]) == 40
            sizes[encoding] = int(answer.headers["Content-Length"])
    assert sizes["gzip"] * 5 < sizes["identity"]


async def test_files_are_answered_with_304_when_they_are_known(http: Client) -> None:
    async with http.get("/static/page.js") as answer:
        tag = answer.headers["ETag"]
    async with http.get("/static/page.js", headers={"If-None-Match": tag}) as answer:
        assert (answer.status, await answer.read()) == (304, b"")


@pytest.mark.parametrize("name", ["..%2fserver.py", "server.py", "%2e%2e/%2e%2e/metrics.py", "page.js%00"])
async def test_nothing_but_the_pages_own_files_is_given_out(http: Client, name: str) -> None:
    async with http.get(f"/static/{name}") as answer:
        assert answer.status == 404


async def test_status_tells_cameras_link_queue_and_times(
    http: Client, source: FakeStatusSource, metrics: Metrics
) -> None:
    source.add_camera("CAM_001", name="Camera Gate 1")
    source.change(queue=QueueStatus(pending=3, bytes=300_000, oldest_age_s=12.34, dead_letters=0))
    metrics.stage(Stage.DETECT, 7.25)
    status = await read_json(http, "/api/status")
    assert status["agentId"] == "gate-nuc-01"
    (camera,) = status["cameras"]
    assert (camera["id"], camera["gateName"], camera["state"]) == ("CAM_001", "Cổng chính", "running")
    assert status["link"]["up"] is True
    assert status["queue"] == {"pending": 3, "bytes": 300_000, "oldestAgeSeconds": 12.3, "deadLetters": 0}
    assert status["stages"] == {"detect": 7.25}
    assert status["problems"] == []


async def test_numbers_that_json_does_not_have_become_zero(http: Client, source: FakeStatusSource) -> None:
    source.change(cpu_percent=float("nan"), uptime_s=float("inf"))
    status = await read_json(http, "/api/status")
    assert (status["cpuPercent"], status["uptimeSeconds"]) == (0.0, 0.0)


async def test_passages_come_newest_first_and_bounded(http: Client, source: FakeStatusSource) -> None:
    for number in range(60):
        source.add_passage(f"passage-{number}", f"29A-{number:03}.45", delivery=DeliveryState.WAITING)
    listed = await read_json(http, "/api/passages")
    assert len(listed) == 40
    assert (listed[0]["id"], listed[0]["plate"], listed[0]["delivery"]) == ("passage-59", "29A-059.45", "waiting")
    assert len(await read_json(http, "/api/passages?limit=2")) == 2
    assert len(await read_json(http, "/api/passages?limit=0")) == 1
    assert len(await read_json(http, "/api/passages?limit=999999")) == 60
    for nonsense in ("all", "-1", "9" * 5000, "²"):
        await read_json(http, f"/api/passages?limit={nonsense}", status=400)


async def test_a_passages_crop_is_given_and_a_forgotten_one_is_404(http: Client, source: FakeStatusSource) -> None:
    source.add_passage("passage-1", "59-X1 123.45", rows=2)
    async with http.get("/passages/passage-1.jpg") as answer:
        assert answer.content_type == "image/jpeg"
        assert await answer.read() == source.crops["passage-1"]
    async with http.get("/passages/passage-9.jpg") as answer:
        assert answer.status == 404


# Pictures of cameras


async def test_a_cameras_picture_is_scaled_and_drawn_upon_and_the_frame_is_not(
    http: Client, source: FakeStatusSource
) -> None:
    source.add_camera("CAM_001", region=((0.0, 0.5), (1.0, 0.5), (1.0, 1.0), (0.0, 1.0)))
    frame = source.pictures["CAM_001"].frame.image
    before = frame.copy()
    async with http.get("/cameras/CAM_001.jpg?width=400") as answer:
        assert answer.content_type == "image/jpeg"
        assert answer.headers["Cache-Control"] == "no-store"
        shown = decode_image(await answer.read())
    assert shown.shape == (270, 480, 3)
    assert np.array_equal(frame, before)
    outside, original = shown[20, 240].astype(int), before[53, 640].astype(int)
    assert np.abs(outside - original // 2).max() < 8, "what lies outside the region is dimmed"
    edge = shown[round(460 * 480 / 1280), round(640 * 480 / 1280)].astype(int)
    assert edge[1] > edge[0] + 40, "the plate has a green frame"


@pytest.mark.parametrize(("asked", "width"), [("", 960), ("?width=1", 480), ("?width=961", 1280), ("?width=x", 960)])
async def test_pictures_come_in_few_widths_and_never_larger_than_the_frame(
    http: Client, source: FakeStatusSource, asked: str, width: int
) -> None:
    source.add_camera("CAM_001")
    async with http.get(f"/cameras/CAM_001.jpg{asked}") as answer:
        assert decode_image(await answer.read()).shape[1] == width


async def test_a_camera_without_a_picture_or_without_existence_is_404(http: Client, source: FakeStatusSource) -> None:
    source.add_camera("CAM_001", seconds_ago=None, state=CameraState.CONNECTING)
    for camera_id in ("CAM_001", "CAM_999", "%3Cscript%3E", "a%2Fb"):
        async with http.get(f"/cameras/{camera_id}.jpg") as answer:
            assert answer.status == 404
            assert answer.content_type == "text/plain"


async def test_an_id_with_unusual_letters_is_found(http: Client, source: FakeStatusSource) -> None:
    source.add_camera("Cổng/1 #?")
    async with http.get("/cameras/C%E1%BB%95ng%2F1%20%23%3F.jpg") as answer:
        assert answer.status == 200


async def test_many_who_look_at_one_frame_cost_one_drawing(
    http: Client, source: FakeStatusSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[int] = []
    real = draw.draw_jpeg

    def counted(picture: Any, width: int) -> bytes:
        drawn.append(width)
        return real(picture, width)

    monkeypatch.setattr(draw, "draw_jpeg", counted)
    source.add_camera("CAM_001")

    async def look() -> bytes:
        async with http.get("/cameras/CAM_001.jpg?width=900") as answer:
            return bytes(await answer.read())

    pictures = await asyncio.gather(*(look() for _ in range(6)))
    assert len(set(pictures)) == 1
    assert drawn == [960]
    source.pictures["CAM_001"] = replace(
        source.pictures["CAM_001"], frame=replace(source.pictures["CAM_001"].frame, number=1)
    )
    await look()
    assert drawn == [960, 960]


@pytest.mark.parametrize("at", [(0.0, 0.0), (1200.0, 700.0), (-400.0, -300.0), (5000.0, 5000.0)])
def test_a_plate_at_or_beyond_the_edge_is_drawn_without_complaint(source: FakeStatusSource, at: Any) -> None:
    source.add_camera("CAM_001")
    plate = SeenPlate(Quad.of_box(Box(*at, 200.0, 60.0)), "29-MĐ1 234.56", 0.9)
    picture = replace(source.pictures["CAM_001"], plates=(plate,))
    assert decode_image(draw.draw_jpeg(picture, 960)).shape == (540, 960, 3)


# Health and metrics


async def test_healthz_is_200_while_the_agent_works_and_names_what_is_not_well(
    http: Client, source: FakeStatusSource
) -> None:
    source.add_camera("CAM_001")
    assert await read_json(http, "/healthz") == {"status": "ok", "reasons": []}
    source.add_camera("CAM_002", name="Cổng phụ", state=CameraState.LOST, detail="no answer from 192.168.1.102")
    source.change(link=LinkView(up=False, words="no answer from api.example.vn"))
    health = await read_json(http, "/healthz")
    assert health["status"] == "degraded"
    assert health["reasons"] == [
        {
            "code": "camera_lost",
            "subject": "CAM_002",
            "message": "Cổng phụ is lost: no answer from 192.168.1.102.",
        },
        {"code": "link_down", "subject": "back-end", "message": "Back-end: no answer from api.example.vn."},
    ]
    source.change(cameras=source.view.cameras[1:])
    health = await read_json(http, "/healthz", status=503)
    assert health["status"] == "failing"
    assert [each["code"] for each in health["reasons"]] == ["no_pictures", "camera_lost", "link_down"]


async def test_metrics_are_prometheus_text(http: Client, metrics: Metrics) -> None:
    metrics.frames_captured("CAM_001")
    async with http.get("/metrics") as answer:
        assert answer.headers["Content-Type"].startswith("text/plain; version=")
        assert 'lpr_frames_captured_total{camera="CAM_001"} 1.0' in await answer.text()


# Who may look, opening and closing


async def test_a_foreign_name_that_points_here_is_not_answered(http: Client) -> None:
    for host in ("evil.example", "evil.example:8090", "127.0.0.1.evil.example", "192.168.1.5:8090"):
        async with http.get("/api/status", headers={"Host": host}) as answer:
            assert answer.status == 421
    for host in ("localhost:8090", "127.0.0.1", "[::1]:8090"):
        async with http.get("/api/status", headers={"Host": host}) as answer:
            assert answer.status == 200


async def test_served_to_the_network_any_name_is_answered(source: FakeStatusSource, metrics: Metrics) -> None:
    from aiohttp.test_utils import TestClient, TestServer

    async with (
        TestClient(TestServer(create_app(source, metrics))) as http,
        http.get("/api/status", headers={"Host": "gate.lan"}) as answer,
    ):
        assert answer.status == 200


async def test_every_answer_forbids_what_the_page_does_not_need(http: Client) -> None:
    for address in ("/", "/api/status", "/metrics", "/nowhere"):
        async with http.get(address) as answer:
            assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
            assert answer.headers["X-Content-Type-Options"] == "nosniff"


# What belongs to the scene


async def forget(http: Client, text: str, camera: str = "CAM_001", **headers: str) -> int:
    form = {"text": text}
    async with http.post(
        f"/cameras/{camera}/standing/forget", data=form, headers=headers, allow_redirects=False
    ) as answer:
        if answer.status == 303:
            assert answer.headers["Location"] == "/#standing"
        return int(answer.status)


def own_origin(http: Client) -> str:
    return str(http.make_url("/")).rstrip("/")


async def test_standing_texts_are_listed_with_a_picture_of_their_place(http: Client, source: FakeStatusSource) -> None:
    source.add_camera("CAM_001", name="Camera Gate 1")
    source.add_standing("CAM_001", "59-X1 123.45", camera_name="Camera Gate 1")
    (listed,) = (await read_json(http, "/api/status"))["standing"]
    assert (listed["cameraId"], listed["cameraName"]) == ("CAM_001", "Camera Gate 1")
    assert (listed["text"], listed["display"]) == ("59X112345", "59-X1 123.45")
    async with http.get("/cameras/CAM_001/standing.jpg?text=59X112345") as answer:
        assert answer.content_type == "image/jpeg"
        shown = decode_image(await answer.read())
    assert shown.shape[1] == 480
    middle = shown[shown.shape[0] // 2 - 4 : shown.shape[0] // 2 + 4]
    assert middle.max() > 180, "the plate's ground is in the middle"
    assert middle.min() < 80, "and so are its letters"
    for camera, text in (("CAM_001", "other"), ("CAM_009", "59X112345")):
        async with http.get(f"/cameras/{camera}/standing.jpg?text={text}") as answer:
            assert answer.status == 404


async def test_a_place_outside_of_what_the_camera_sees_now_has_no_picture(
    http: Client, source: FakeStatusSource
) -> None:
    source.add_camera("CAM_001")
    source.add_standing("CAM_001", "59-X1 123.45")
    source.texts[0] = replace(source.texts[0], place=Box(5000, 5000, 100, 30))
    async with http.get("/cameras/CAM_001/standing.jpg?text=59X112345") as answer:
        assert answer.status == 404


async def test_a_form_of_our_own_page_forgets_one_text_and_leads_back(http: Client, source: FakeStatusSource) -> None:
    source.add_standing("CAM_001", "59-X1 123.45")
    source.add_standing("CAM_001", "Cổng")
    source.add_standing("CAM_002", "59-X1 123.45")
    assert await forget(http, "59X112345", Origin=own_origin(http)) == 303
    assert source.forgotten == [("CAM_001", "59X112345")]
    assert [(each.camera_id, each.text) for each in source.texts] == [("CAM_001", "Cổng"), ("CAM_002", "59X112345")]
    # Pressed twice, or gone meanwhile.
    assert await forget(http, "59X112345", Origin=own_origin(http)) == 303
    assert len(source.forgotten) == 1


@pytest.mark.parametrize(
    "origin", ["", "null", "http://evil.example", "http://127.0.0.1", "http://localhost:1", "file://", "//", "http://["]
)
async def test_a_form_from_anywhere_else_is_refused_and_forgets_nothing(
    http: Client, source: FakeStatusSource, origin: str
) -> None:
    source.add_standing("CAM_001", "59-X1 123.45")
    assert await forget(http, "59X112345", **({"Origin": origin} if origin else {})) == 403
    assert source.forgotten == []


async def test_forgetting_needs_a_post_and_a_form_of_sensible_size(http: Client, source: FakeStatusSource) -> None:
    source.add_standing("CAM_001", "59-X1 123.45")
    async with http.get("/cameras/CAM_001/standing/forget?text=59X112345") as answer:
        assert answer.status in (404, 405)
    assert await forget(http, "x" * 100_000, Origin=own_origin(http)) == 413
    assert source.forgotten == []


async def test_nothing_else_can_be_changed_here(http: Client) -> None:
    for address in ("/", "/api/status", "/cameras/CAM_001.jpg"):
        async with http.post(address) as answer:
            assert answer.status == 405


async def test_a_port_in_use_is_said_in_words_with_a_remedy(source: FakeStatusSource, metrics: Metrics) -> None:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        port = holder.getsockname()[1]
        with pytest.raises(WebError, match=rf"127\.0\.0\.1:{port}") as caught:
            async with serve(source, metrics, port=port):
                pass
    assert "web.port" in (caught.value.hint or "")


@pytest.mark.parametrize("host", ["192.0.2.1", "no-such-host.invalid"])
async def test_an_address_that_is_not_ours_is_said_in_words(
    source: FakeStatusSource, metrics: Metrics, host: str
) -> None:
    with pytest.raises(WebError, match=host):
        async with serve(source, metrics, host=host, port=0):
            pass


async def test_connections_that_are_kept_open_are_bounded_and_those_within_are_served(
    source: FakeStatusSource, metrics: Metrics
) -> None:
    async with serve(source, metrics, port=0) as page:
        kept = [await asyncio.open_connection("127.0.0.1", page.port) for _ in range(MAX_CONNECTIONS)]
        reader, writer = await asyncio.open_connection("127.0.0.1", page.port)
        with contextlib.suppress(ConnectionError):
            assert await reader.read() == b""
        writer.close()
        first_reader, first = kept[0]
        first.write(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        assert (await first_reader.readline()).startswith(b"HTTP/1.1 ")
        assert b'"status"' in await first_reader.read()
        async with aiohttp.ClientSession() as session, session.get(page.url) as answer:
            assert answer.status == 200, "there is room for one again"
        for _, each in kept:
            each.close()


async def test_closing_does_not_wait_for_those_who_look(source: FakeStatusSource, metrics: Metrics) -> None:
    loop = asyncio.get_running_loop()
    async with aiohttp.ClientSession() as session:
        async with serve(source, metrics, port=0) as page:
            assert page.url == f"http://127.0.0.1:{page.port}/"
            async with session.get(page.url) as answer:
                assert answer.status == 200
            began = loop.time()
        assert loop.time() - began < 5
        with pytest.raises(aiohttp.ClientError):
            await session.get(page.url)
