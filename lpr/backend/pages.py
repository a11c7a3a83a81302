"""HTTP beside socket.io: what came as JSON and as a plain page, faults and commands from the outside.

Requests that change something must be sent as `application/json`: no foreign page that a browser shows can do that
without asking first, and we answer no such question.
"""

from __future__ import annotations

import html
import json
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Final

from aiohttp import web

from lpr.backend.faults import parse_fault
from lpr.backend.hub import AgentHub, CommandTimeoutError
from lpr.backend.messages import DETECTED, ERROR, STATUS
from lpr.backend.store import StoredEvent
from lpr.domain.errors import ConfigError, LinkError

BACKEND: Final = web.AppKey("backend", AgentHub)
PAGE_EVENTS: Final = 50
MAX_EVENTS: Final = 10_000
"""Events in one answer of `GET /events`."""


def add_routes(app: web.Application, backend: AgentHub) -> None:
    """Serve `backend` on `app`."""
    app[BACKEND] = backend
    app.router.add_get("/", _page)
    app.router.add_get("/events", _events)
    app.router.add_get(r"/events/{number:\d{1,15}}/{picture:plate|original}.jpg", _picture)
    app.router.add_get("/agents", _agents)
    app.router.add_get("/faults", _faults)
    app.router.add_post("/faults", _set_faults)
    app.router.add_post("/commands/{name}", _command)


def _json(value: object, status: int = 200) -> web.Response:
    text = json.dumps(value, ensure_ascii=False)
    return web.Response(text=text, status=status, content_type="application/json", charset="utf-8")


async def _events(request: web.Request) -> web.Response:
    query = request.query
    try:
        after, limit = int(query.get("after", 0)), int(query.get("limit", 1000))
    except ValueError:
        return _json({"error": "after and limit must be whole numbers"}, 400)
    events = await request.app[BACKEND].events(
        event_type=query.get("type"),
        agent_id=query.get("agentId"),
        after=after,
        limit=max(0, min(limit, MAX_EVENTS)),
        newest_first=query.get("order") == "newest",
    )
    return _json([_with_picture_addresses(event) for event in events])


def _with_picture_addresses(event: StoredEvent) -> dict[str, Any]:
    pictures = {
        "processedImage": f"/events/{event.number}/plate.jpg" if event.plate_image_bytes else None,
        "originalImage": f"/events/{event.number}/original.jpg" if event.original_image_bytes else None,
    }
    return {**event.to_json(), **pictures}


async def _picture(request: web.Request) -> web.Response:
    plate, original = await request.app[BACKEND].store.pictures(int(request.match_info["number"]))
    picture = plate if request.match_info["picture"] == "plate" else original
    if picture is None:
        raise web.HTTPNotFound
    return web.Response(
        body=picture,
        content_type="image/jpeg",
        headers={"Cache-Control": "private, max-age=3600", "X-Content-Type-Options": "nosniff"},
    )


async def _agents(request: web.Request) -> web.Response:
    backend = request.app[BACKEND]
    return _json(
        [
            {**agent.to_json(), "missingSequences": await backend.store.missing_sequences(agent.agent_id)}
            for agent in backend.agents
        ]
    )


async def _faults(request: web.Request) -> web.Response:
    return _json({"faults": [str(fault) for fault in request.app[BACKEND].faults.faults]})


async def _set_faults(request: web.Request) -> web.Response:
    body = await _object_of(request)
    faults = body.get("faults")
    if not isinstance(faults, list) or not all(isinstance(each, str) for each in faults):
        return _json({"error": 'must be {"faults": ["slow", "retry:0.3", …]}; an empty list ends them'}, 400)
    try:
        request.app[BACKEND].faults.replace([parse_fault(each) for each in faults])
    except ConfigError as error:
        return _json({"error": error.message}, 400)
    return await _faults(request)


async def _command(request: web.Request) -> web.Response:
    data = await _object_of(request)
    name = request.match_info["name"]
    try:
        answer = await request.app[BACKEND].command(name, data, agent_id=request.query.get("agentId"))
    except CommandTimeoutError as error:
        return _json({"error": error.message}, HTTPStatus.GATEWAY_TIMEOUT)
    except LinkError as error:
        return _json({"error": error.message}, HTTPStatus.SERVICE_UNAVAILABLE)
    return _json(answer)


async def _object_of(request: web.Request) -> Mapping[str, Any]:
    """The request's JSON object, empty where there is no body; refuses what a foreign page could have sent."""
    token = request.app[BACKEND].settings.token
    if token is not None and request.headers.get("Authorization") != f"Bearer {token}":
        raise _refusal(web.HTTPUnauthorized, "this back-end has a token: send Authorization: Bearer …")
    if request.content_type != "application/json":
        raise _refusal(web.HTTPUnsupportedMediaType, "send Content-Type: application/json")
    text = await request.text()
    try:
        value = json.loads(text) if text.strip() else {}
    except ValueError as error:
        raise _refusal(web.HTTPBadRequest, f"the body is no JSON: {error}") from None
    if not isinstance(value, dict):
        raise _refusal(web.HTTPBadRequest, "the body must be a JSON object")
    return value


def _refusal(kind: type[web.HTTPError], message: str) -> web.HTTPException:
    return kind(text=json.dumps({"error": message}, ensure_ascii=False), content_type="application/json")


# The page: plain on purpose, it needs no script and reloads itself.

_STYLE = """
:root { color-scheme: light dark; --line: #8883; --dim: #667; --good: #18794e; --warn: #955500; --bad: #b62f35; }
@media (prefers-color-scheme: dark) { :root { --dim: #99a; --good: #4cc38a; --warn: #eba83f; --bad: #f2777a; } }
body { font: 15px/1.5 -apple-system, "Segoe UI", Roboto, "Noto Sans", system-ui, sans-serif;
  margin: 0 auto; max-width: 62rem; padding: 1.5rem 1rem 4rem; }
h1 { font-size: 1.15rem; margin: 0; } p { margin: .2rem 0; } .dim { color: var(--dim); }
table { border-collapse: collapse; width: 100%; margin-top: 1.2rem; }
th { text-align: left; font-weight: 500; color: var(--dim); font-size: .82rem; }
th, td { padding: .5rem .7rem .5rem 0; border-bottom: 1px solid var(--line); vertical-align: middle; }
td.plate { font: 600 1.05rem ui-monospace, monospace; white-space: nowrap; }
img { height: 3rem; max-width: 9rem; object-fit: contain; border-radius: 4px; display: block; }
.warn { color: var(--warn); } .bad { color: var(--bad); } .good { color: var(--good); }
"""


async def _page(request: web.Request) -> web.Response:
    backend = request.app[BACKEND]
    counts = await backend.store.counts()
    events = [
        event for event in await backend.events(limit=PAGE_EVENTS * 2, newest_first=True) if event.event_type != STATUS
    ][:PAGE_EVENTS]
    agents = ", ".join(html.escape(agent.agent_id) for agent in backend.agents)
    connected = (
        f'<span class="good">{agents} connected</span>' if agents else '<span class="bad">no agent connected</span>'
    )
    faults = ", ".join(str(fault) for fault in backend.faults.faults)
    rows = "".join(_row(event) for event in events)
    table = (
        "<table><tr><th>Received</th><th>Plate</th><th>Picture</th><th>Frame</th><th>Gate</th><th>Confidence</th>"
        f"<th>Delivery</th></tr>{rows}</table>"
    )
    body = (
        "<!doctype html><html lang=en><head><meta charset=utf-8><title>lpr-agent back-end</title>"
        '<meta name=viewport content="width=device-width, initial-scale=1"><meta http-equiv=refresh content=3>'
        f"<style>{_STYLE}</style></head><body><h1>Small back-end</h1><p>{connected}</p>"
        f"<p class=dim>{counts.get(DETECTED, 0)} plates, {counts.get(ERROR, 0)} errors, "
        f"{counts.get(STATUS, 0)} statuses in {html.escape(backend.store.where)}</p>"
        + (f"<p class=warn>faults in force: {html.escape(faults)}</p>" if faults else "")
        + (table if events else "<p class=dim>Nothing has come yet.</p>")
        + "</body></html>"
    )
    return web.Response(
        text=body,
        content_type="text/html",
        headers={"Content-Security-Policy": "default-src 'none'; img-src 'self'; style-src 'unsafe-inline'"},
    )


def _row(event: StoredEvent) -> str:
    data = event.data
    if event.event_type == DETECTED:
        what = f"<td class=plate>{_escaped(data.get('licensePlate'))}</td>"
    else:
        what = f'<td class=bad title="{_escaped(data.get("message"))}">{_escaped(data.get("errorCode"))}</td>'
    confidence = data.get("confidence")
    delivery = ("replayed" if event.replayed else "live") + (f", attempt {event.attempt}" if event.attempt > 1 else "")
    if event.repeats:
        delivery += f", came {event.repeats + 1} times"
    remarks = f"<br><span class=warn>{_escaped('; '.join(event.remarks))}</span>" if event.remarks else ""
    return (
        f"<tr><td>{_escaped(event.received_at[11:19])}</td>{what}"
        f"<td>{_image(event, 'plate', event.plate_image_bytes)}</td>"
        f"<td>{_image(event, 'original', event.original_image_bytes)}</td>"
        f"<td>{_escaped(data.get('gateName') or data.get('gateId'))}<br>"
        f"<span class=dim>{_escaped(data.get('action'))}</span></td>"
        f"<td>{f'{confidence:.2f}' if isinstance(confidence, (int, float)) else ''}</td>"
        f"<td class=dim>{delivery}{remarks}</td></tr>"
    )


def _image(event: StoredEvent, which: str, size: int) -> str:
    if not size:
        return ""
    address = f"/events/{event.number}/{which}.jpg"
    return f'<a href="{address}"><img src="{address}" alt="{which}" loading="lazy"></a>'


def _escaped(value: object) -> str:
    return "" if value is None else html.escape(str(value))
