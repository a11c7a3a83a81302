"""The local page over HTTP, from a `StatusSource` and the `Metrics`.

    GET /                       the page
    GET /api/status             the agent, its cameras, link, queue and problems
    GET /api/passages?limit=    the newest passages
    GET /cameras/ID.jpg?width=  newest picture of a camera, plates framed
    GET /passages/ID.jpg        the plate of a passage
    GET /cameras/ID/standing.jpg?text=   where a standing text is seen
    POST /cameras/ID/standing/forget     a form with `text`: report it again
    GET /healthz                200 where the agent does its work, else 503; what is not well either way
    GET /metrics                Prometheus text

The one thing that can be changed here is what counts as part of the scene, and only a page that came from here may ask
for it. Nothing is answered with a secret in it. The page is served to this machine only, unless the configuration says
otherwise; then it still asks nobody for a name, so that belongs behind a VPN or proxy.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import math
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from importlib import resources
from ipaddress import ip_address
from typing import Any, Final

import structlog
from aiohttp import web

from lpr.domain.clock import isoformat_ms
from lpr.domain.errors import ImageError, WebError, reason_of
from lpr.metrics import Metrics, Stage
from lpr.web.health import problems, works
from lpr.web.source import CameraPicture, CameraView, PassageView, StandingView, StatusSource, StatusView

PICTURE_WIDTHS: Final = (480, 960, 1600)
"""Widths that a picture may be asked in: few, so that several lookers share one drawing."""
MAX_PASSAGES: Final = 200
PAGE_PASSAGES: Final = 40
MAX_FORM_BYTES: Final = 4096
MAX_CONNECTIONS: Final = 100
"""A browser keeps six; whoever comes beyond is hung up on."""
CLOSE_GRACE_S: Final = 1.0
"""How long closing waits for answers that are being given."""

_STATIC_TYPES: Final = {"html": "text/html", "css": "text/css", "js": "text/javascript", "svg": "image/svg+xml"}
_HEADERS: Final = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    # Not `no-referrer`: browsers then keep back the origin of our own forms, too.
    "Referrer-Policy": "same-origin",
}

log = structlog.get_logger("web")

_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass(frozen=True, slots=True)
class ServedPage:
    """Where the page is being served."""

    host: str
    port: int

    @property
    def url(self) -> str:
        """The address to open in a browser on this machine."""
        host = "127.0.0.1" if self.host in ("0.0.0.0", "") else "::1" if self.host == "::" else self.host  # noqa: S104
        return f"http://[{host}]:{self.port}/" if ":" in host else f"http://{host}:{self.port}/"


@asynccontextmanager
async def serve(
    source: StatusSource, metrics: Metrics, *, host: str = "127.0.0.1", port: int = 8090
) -> AsyncIterator[ServedPage]:
    """Serve the page inside the block; `port` 0 takes a free one. Raises `WebError` where it cannot be listened on."""
    runner = web.AppRunner(
        create_app(source, metrics, only_local=_is_loopback(host)), access_log=None, shutdown_timeout=CLOSE_GRACE_S
    )
    await runner.setup()
    try:
        try:
            listener = await asyncio.get_running_loop().create_server(_door(runner), host, port)
        except OSError as error:
            raise WebError(
                f"the local page cannot be served on {host}:{port}: {reason_of(error)}",
                hint="set web.host and web.port to an address of this machine and a port that no other program holds",
            ) from error
        try:
            yield ServedPage(host, listener.sockets[0].getsockname()[1])
        finally:
            listener.close()
    finally:
        await runner.cleanup()


def _door(runner: web.AppRunner) -> Callable[[], asyncio.BaseProtocol]:
    """Lets in as many as there may be, and hangs up on the rest: whoever opens connections and keeps them (a scanner,
    telephones that left) must not take the handles that the cameras, the queue and the link need.
    """
    server: Any = runner.server
    return lambda: server() if len(server.connections) < MAX_CONNECTIONS else _TurnedAway()


class _TurnedAway(asyncio.Protocol):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        transport.close()


def create_app(source: StatusSource, metrics: Metrics, *, only_local: bool = False) -> web.Application:
    """The page as an aiohttp application. `only_local` answers only to names of this machine.

    Without that a page on the internet could have its own name point at 127.0.0.1 and read the cameras through the
    visitor's browser (DNS rebinding).
    """
    app = web.Application(middlewares=[_host_guard] if only_local else [], client_max_size=MAX_FORM_BYTES)
    app.on_response_prepare.append(_add_headers)
    page = _Page(source, metrics)
    app.router.add_get("/", page.index)
    app.router.add_get("/static/{name}", page.static)
    app.router.add_get("/favicon.ico", page.icon)
    app.router.add_get("/api/status", page.status)
    app.router.add_get("/api/passages", page.passages)
    app.router.add_get("/cameras/{id:.+}/standing.jpg", page.standing_picture)
    app.router.add_post("/cameras/{id:.+}/standing/forget", page.forget_standing)
    app.router.add_get("/cameras/{id:.+}.jpg", page.camera_picture)
    app.router.add_get("/passages/{id:.+}.jpg", page.passage_picture)
    app.router.add_get("/healthz", page.health)
    app.router.add_get("/metrics", page.metrics)
    return app


class _Page:
    """The handlers and what they share."""

    def __init__(self, source: StatusSource, metrics: Metrics) -> None:
        self._source = source
        self._metrics = metrics
        self._files = _static_files()
        self._drawings: dict[tuple[str, int], _Drawing] = {}

    async def index(self, request: web.Request) -> web.Response:
        return _file(request, self._files["page.html"])

    async def static(self, request: web.Request) -> web.Response:
        found = self._files.get(request.match_info["name"])
        if found is None:
            raise web.HTTPNotFound
        return _file(request, found)

    async def icon(self, request: web.Request) -> web.Response:
        return _file(request, self._files["icon.svg"])

    async def status(self, _request: web.Request) -> web.Response:
        status = self._source.status()
        body = status_json(status)
        body["stages"] = {
            stage.value: round(times.p50_ms, 2) for stage in Stage if (times := self._metrics.percentiles(stage)).count
        }
        body["passages"] = [passage_json(each) for each in self._source.passages(PAGE_PASSAGES)]
        body["standing"] = [standing_json(each) for each in self._source.standing()]
        return _json(body)

    async def passages(self, request: web.Request) -> web.Response:
        text = request.query.get("limit", str(PAGE_PASSAGES))
        if not text.isdecimal() or len(text) > 6:
            return _json({"error": f"limit must be a whole number from 1 to {MAX_PASSAGES}"}, 400)
        limit = min(max(1, int(text)), MAX_PASSAGES)
        return _json([passage_json(each) for each in self._source.passages(limit)])

    async def camera_picture(self, request: web.Request) -> web.Response:
        camera_id = request.match_info["id"]
        picture = self._source.camera_picture(camera_id)
        if picture is None:
            raise web.HTTPNotFound(text=f"no picture of camera {camera_id} yet")
        return _jpeg(await self._drawn(camera_id, picture, _picture_width(request.query.get("width"))))

    async def passage_picture(self, request: web.Request) -> web.Response:
        crop = self._source.passage_crop(request.match_info["id"])
        if crop is None:
            raise web.HTTPNotFound(text="the picture of this passage is no longer held here")
        return _jpeg(crop, keep_s=3600)

    async def standing_picture(self, request: web.Request) -> web.Response:
        camera_id, text = request.match_info["id"], request.query.get("text", "")
        picture = self._source.camera_picture(camera_id)
        found = next(
            (each for each in self._source.standing() if (each.camera_id, each.text) == (camera_id, text)), None
        )
        if picture is None or found is None:
            raise web.HTTPNotFound(text="there is no picture of this now")
        from lpr.web.draw import draw_place

        jpeg = await asyncio.to_thread(draw_place, picture, found.place)
        if jpeg is None:
            raise web.HTTPNotFound(text="it stands outside of what the camera sees now")
        return _jpeg(jpeg)

    async def forget_standing(self, request: web.Request) -> web.Response:
        _came_from_here(request)
        text = str((await request.post()).get("text", ""))
        if not await self._source.forget_standing(request.match_info["id"], text):
            log.info("nothing to forget", camera=request.match_info["id"], text=text[:40])
        # Gone already is as good as gone now: somebody else may have pressed the button, or it may have moved.
        raise web.HTTPSeeOther("/#standing")

    async def health(self, _request: web.Request) -> web.Response:
        found = problems(self._source.status())
        reasons = [{"code": each.code, "subject": each.subject, "message": each.message} for each in found]
        if not works(found):
            return _json({"status": "failing", "reasons": reasons}, 503)
        return _json({"status": "degraded" if found else "ok", "reasons": reasons})

    async def metrics(self, _request: web.Request) -> web.Response:
        from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

        text = generate_latest(self._metrics.registry)
        return web.Response(body=text, headers={"Content-Type": CONTENT_TYPE_LATEST})

    async def _drawn(self, camera_id: str, picture: CameraPicture, width: int) -> bytes:
        """The drawing of this frame; lookers who ask for the same one while it is being made wait for it together."""
        key = (camera_id, width)
        drawing = self._drawings.get(key)
        if drawing is None or drawing.picture.frame is not picture.frame:
            from lpr.web.draw import draw_jpeg

            task = asyncio.ensure_future(asyncio.to_thread(draw_jpeg, picture, width))
            drawing = self._drawings[key] = _Drawing(picture, task)
        try:
            # Shielded: the one who asked first may go away while others still wait.
            return await asyncio.shield(drawing.jpeg)
        except ImageError as error:
            raise web.HTTPServiceUnavailable(text=str(error)) from error


@dataclass(frozen=True, slots=True)
class _Drawing:
    picture: CameraPicture
    jpeg: asyncio.Future[bytes]


@dataclass(frozen=True, slots=True)
class _File:
    body: bytes
    content_type: str
    tag: str


def _static_files() -> dict[str, _File]:
    files = {}
    for entry in resources.files("lpr.web").joinpath("static").iterdir():
        kind = _STATIC_TYPES.get(entry.name.rpartition(".")[2])
        if kind is not None:
            body = entry.read_bytes()
            files[entry.name] = _File(body, kind, hashlib.sha256(body).hexdigest()[:16])
    return files


def _file(request: web.Request, file: _File) -> web.Response:
    # Asked for again every time, and mostly answered with 304: after an upgrade nobody sees half of the old page.
    headers = {"ETag": f'"{file.tag}"', "Cache-Control": "no-cache"}
    if any(tag.value == file.tag for tag in request.if_none_match or ()):
        return web.Response(status=304, headers=headers)
    charset = "utf-8" if file.content_type.startswith("text/") else None
    return _compressed(web.Response(body=file.body, content_type=file.content_type, charset=charset, headers=headers))


def _json(value: object, status: int = 200) -> web.Response:
    return _compressed(
        web.Response(
            text=json.dumps(value, ensure_ascii=False, allow_nan=False),
            status=status,
            content_type="application/json",
            charset="utf-8",
            headers={"Cache-Control": "no-store"},
        )
    )


def _compressed(response: web.Response) -> web.Response:
    """For whoever takes it so: over a mobile line the status, asked for each second, would leave pictures no room."""
    response.enable_compression()
    return response


def _jpeg(data: bytes, *, keep_s: int = 0) -> web.Response:
    cache = f"private, max-age={keep_s}, immutable" if keep_s else "no-store"
    return web.Response(body=data, content_type="image/jpeg", headers={"Cache-Control": cache})


def _picture_width(text: str | None) -> int:
    """The offered width that is nearest above the one asked for; the middle one where none or nonsense is asked."""
    if text is None or not text.isdecimal() or len(text) > 5:
        return PICTURE_WIDTHS[1]
    return next((width for width in PICTURE_WIDTHS if width >= int(text)), PICTURE_WIDTHS[-1])


# What the page and programs read


def status_json(status: StatusView) -> dict[str, Any]:
    """JSON values of a status, with what is not well under `problems`."""
    return {
        "agentId": status.agent_id,
        "version": status.version,
        "state": status.state.value,
        "uptimeSeconds": _finite(status.uptime_s, 0),
        "device": status.device,
        "cpuPercent": _finite(status.cpu_percent, 1),
        "memoryPercent": _finite(status.memory_percent, 1),
        "link": {"up": status.link.up, "words": status.link.words, "since": _moment(status.link.since)},
        "queue": {
            "pending": status.queue.pending,
            "bytes": status.queue.bytes,
            "oldestAgeSeconds": _finite(status.queue.oldest_age_s, 1),
            "deadLetters": status.queue.dead_letters,
        },
        "clock": {
            "synchronised": status.clock.synchronised,
            "offsetMs": None if status.clock.offset_ms is None else _finite(status.clock.offset_ms, 1),
        },
        "cameras": [camera_json(camera) for camera in status.cameras],
        "problems": [
            {"code": each.code, "subject": each.subject, "message": each.message} for each in problems(status)
        ],
    }


def camera_json(camera: CameraView) -> dict[str, Any]:
    """JSON values of a camera."""
    return {
        "id": camera.camera_id,
        "name": camera.name,
        "gateName": camera.gate_name,
        "state": camera.state.value,
        "decodedFps": _finite(camera.decoded_fps, 1),
        "analysedFps": _finite(camera.analysed_fps, 1),
        "frameAgeSeconds": None if camera.frame_age_s is None else _finite(camera.frame_age_s, 2),
        "lastFrameAt": _moment(camera.last_frame_at),
        "passages": camera.passages,
        "detail": camera.detail,
        "limp": camera.limp,
        "blind": camera.blind,
    }


def passage_json(passage: PassageView) -> dict[str, Any]:
    """JSON values of a passage."""
    return {
        "id": passage.passage_id,
        "cameraId": passage.camera_id,
        "gateName": passage.gate_name,
        "plate": passage.plate,
        "outcome": passage.outcome.value,
        "confidence": _finite(passage.confidence, 3),
        "action": passage.action.value,
        "vehicleType": passage.vehicle_type.value,
        "kind": passage.kind,
        "province": passage.province,
        "at": _moment(passage.occurred_at),
        "delivery": passage.delivery.value,
    }


def standing_json(standing: StandingView) -> dict[str, Any]:
    """JSON values of a text that belongs to a scene."""
    return {
        "cameraId": standing.camera_id,
        "cameraName": standing.camera_name,
        "text": standing.text,
        "display": standing.display,
        "since": _moment(standing.since),
        "lastSeen": _moment(standing.last_seen),
    }


def _moment(moment: datetime | None) -> str | None:
    return None if moment is None else isoformat_ms(moment)


def _finite(value: float, digits: int) -> float:
    return round(float(value), digits) if math.isfinite(value) else 0.0


# Who may look


def _came_from_here(request: web.Request) -> None:
    """Only a page of ours may send a form: browsers name the page's origin with every one, and no page can make it up.

    With either scheme: a proxy may speak TLS for us.
    """
    host = request.headers.get("Host", "")
    if request.headers.get("Origin") not in (f"http://{host}", f"https://{host}"):
        raise web.HTTPForbidden(text="this can be asked for from the agent's own page only")


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


@web.middleware
async def _host_guard(request: web.Request, handler: _Handler) -> web.StreamResponse:
    if not _is_loopback(request.url.host or ""):
        raise web.HTTPMisdirectedRequest(text="this page answers to localhost only")
    return await handler(request)


async def _add_headers(_request: web.Request, response: web.StreamResponse) -> None:
    for name, value in _HEADERS.items():
        response.headers.setdefault(name, value)
