"""What `lpr-agent check` tries of the back-end: name, TCP, certificate, namespace, token, hello."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

from lpr import wire
from lpr.agent.settings import link_settings
from lpr.agent.timekeeping import SKEW_MS
from lpr.cli.findings import Finding, failed, ok, warn
from lpr.config import AgentConfig
from lpr.domain.errors import LinkError, LinkUntrustedError
from lpr.link.base import LinkSettings
from lpr.link.explain import explain
from lpr.link.route import Route, proxy_of
from lpr.link.socketio_transport import SocketIoTransport, tls_context

HELLO_WITHIN_S = 2.0
CERTIFICATE_WARNING_DAYS = 14
HAPPY_EYEBALLS_S = 0.25
"""How long one address of a name is tried alone."""


async def check_backend(config: AgentConfig) -> Sequence[Finding]:
    """Name, TCP, certificate, namespace, token and hello, each as far as the one before it carried."""
    settings = link_settings(config, boot_id=str(uuid.uuid4()))
    findings: list[Finding] = []
    secure = settings.url.lower().startswith("https")
    try:
        if secure:
            # What is wrong with our own files is told though the back-end may be away.
            await asyncio.to_thread(tls_context, settings)
        route = Route()
        try:
            findings.append(await _reach(settings))
            if secure:
                findings.append(await _certificate(settings))
        except LinkError as error:
            # Where it was reached, a proxy would change nothing.
            if (proxy := proxy_of(settings.url)) is None or isinstance(error, LinkUntrustedError):
                raise
            findings.append(warn("back-end", f"{error.message}; not directly, that is", error.hint))
            route = Route(proxy)
            route.failed()
        findings += await _join(settings, route)
    except LinkError as error:
        findings.append(failed("back-end", error))
    return findings


def _host_and_port(settings: LinkSettings) -> tuple[str, int]:
    parts = urlsplit(settings.url)
    return parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)


async def _reach(settings: LinkSettings) -> Finding:
    host, port = _host_and_port(settings)
    started = time.perf_counter()
    try:
        async with asyncio.timeout(settings.deadlines.connect_s):
            # As the agent does: of two addresses one may be dead (an IPv6 that leads nowhere, mostly).
            _, writer = await asyncio.open_connection(host, port, happy_eyeballs_delay=HAPPY_EYEBALLS_S)
    except TimeoutError:
        raise LinkError(
            f"{host}:{port} does not answer", hint="a firewall drops what is sent there, or the machine is off"
        ) from None
    except OSError as error:
        raise explain(error, settings) from error
    took_ms = (time.perf_counter() - started) * 1000
    address = writer.get_extra_info("peername")[0]
    await _close(writer)
    return ok("back-end", f"{host}:{port} ({address}) answers after {took_ms:.0f} ms")


async def _certificate(settings: LinkSettings) -> Finding:
    host, port = _host_and_port(settings)
    try:
        async with asyncio.timeout(settings.deadlines.connect_s):
            context = await asyncio.to_thread(tls_context, settings)
            _, writer = await asyncio.open_connection(host, port, ssl=context, happy_eyeballs_delay=HAPPY_EYEBALLS_S)
    except TimeoutError:
        raise LinkError(
            f"{host}:{port} is silent instead of speaking TLS", hint="does this port speak https?"
        ) from None
    except OSError as error:
        raise explain(error, settings) from error
    ends = str(writer.get_extra_info("peercert")["notAfter"])
    await _close(writer)
    left = datetime.strptime(ends, "%b %d %H:%M:%S %Y %Z").replace(tzinfo=UTC) - datetime.now(UTC)
    message = f"certificate trusted, valid for another {left.days} days"
    if left.days < CERTIFICATE_WARNING_DAYS:
        return warn("back-end", message, "have it renewed there")
    return ok("back-end", message)


async def _close(writer: asyncio.StreamWriter) -> None:
    writer.close()
    with suppress(OSError, TimeoutError):
        async with asyncio.timeout(1):
            await writer.wait_closed()


async def _join(settings: LinkSettings, route: Route) -> Sequence[Finding]:
    """Connect as the agent does, with epoch 0: an agent at work stays the live one for the back-end."""
    transport = SocketIoTransport(settings, route)
    token = settings.token()
    names = {"agent_id": settings.agent_id, "version": settings.version}
    try:
        await transport.connect(wire.auth(token=token, boot_id=settings.boot_id, epoch=0, **names))
        answer = await _hello(transport, wire.hello(**names))
    finally:
        await transport.close()
    entered = f"namespace {settings.namespace} entered {'with' if token else 'without'} a token"
    if route.proxy is not None:
        entered += ", through the proxy that HTTPS_PROXY names"
    if answer is None:
        return [ok("back-end", f"{entered}; it does not answer agent_hello, which is allowed")]
    findings = [ok("back-end", f"{entered}; it answers agent_hello")]
    findings += [warn("back-end", f"in its answer to agent_hello {problem}") for problem in answer.problems]
    if answer.server_time is not None:
        away_s = (answer.server_time - datetime.now(UTC)).total_seconds()
        if abs(away_s) * 1000 > SKEW_MS:
            words = f"its clock is {abs(away_s):.0f} s {'ahead of' if away_s > 0 else 'behind'} this machine's"
            findings.append(warn("back-end", words, "one of the two is wrong; see the clock's line"))
    return findings


async def _hello(transport: SocketIoTransport, hello: Mapping[str, Any]) -> wire.HelloAnswer | None:
    """The back-end's answer to `agent_hello`, or None where it gives none in time."""
    answered: asyncio.Future[Sequence[object]] = asyncio.get_running_loop().create_future()

    def answer(arguments: Sequence[object]) -> None:
        if not answered.done():
            answered.set_result(arguments)

    await transport.emit("agent_hello", hello, answer)
    await asyncio.wait([answered], timeout=HELLO_WITHIN_S)
    return wire.parse_hello_answer(answered.result()) if answered.done() else None
