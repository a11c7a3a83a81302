"""The back-end's name looked up where a name server that is silent holds up nobody else.

asyncio looks names up in the threads that it has for everything, of which there are six on two cores. A lookup that
nobody answers keeps one for up to a minute, each attempt to connect begins another, and a program that ends waits for
all of them. Here each has a thread of its own that nobody waits for, and what it finds in the end is remembered: a name
server that takes longer than an attempt to connect has been asked by the next one.
"""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from aiohttp.abc import ResolveResult
from aiohttp.resolver import ThreadedResolver

from lpr.link.route import Route


class NameResolver(ThreadedResolver):
    """aiohttp's own, but for the threads and the memory. To be made in the event loop. Where an address is remembered,
    the name server is waited for `patience_s`.
    """

    def __init__(self, route: Route, patience_s: float) -> None:
        lookups: Any = _Lookups()  # a loop as far as this resolver uses one
        super().__init__(loop=lookups)
        self._route = route
        self._patience_s = patience_s

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """Addresses of a host, in the order in which they are to be tried. Raises `OSError` where none is known."""
        lookup = asyncio.create_task(self._look_up(host, port, family), name="name-lookup")
        # It is not ended with the attempt that began it.
        _under_way.add(lookup)
        lookup.add_done_callback(_ended)
        remembered = self._route.remembered(host, port)
        await asyncio.wait({lookup}, timeout=self._patience_s if remembered else None)
        try:
            found = lookup.result() if lookup.done() else remembered
        except OSError:
            if not remembered:
                raise
            found = remembered
        return self._route.in_turn(found)

    async def _look_up(self, host: str, port: int, family: socket.AddressFamily) -> Sequence[ResolveResult]:
        found = await super().resolve(host, port, family)
        self._route.found(host, port, found)
        return found


_under_way: set[asyncio.Task[Any]] = set()


def _ended(lookup: asyncio.Task[Any]) -> None:
    _under_way.discard(lookup)
    if not lookup.cancelled():
        lookup.exception()  # looked at, so that asyncio does not complain where nobody waits for it any more


class _Lookups:
    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()

    async def getaddrinfo(self, host: str, port: int, *, flags: int, **options: Any) -> Any:
        if host == "localhost":
            # Else ::1 is left out where the machine has no other IPv6 address, and Node may listen at ::1 alone.
            flags &= ~socket.AI_ADDRCONFIG
        return await self._in_a_thread(socket.getaddrinfo, host, port, flags=flags, **options)

    async def getnameinfo(self, *args: Any, **options: Any) -> Any:
        return await self._in_a_thread(socket.getnameinfo, *args, **options)

    async def _in_a_thread(self, look_up: Any, *args: Any, **options: Any) -> Any:
        found: asyncio.Future[Any] = self._loop.create_future()

        def run() -> None:
            try:
                outcome, error = look_up(*args, **options), None
            except (OSError, ValueError) as failure:  # ValueError: a name that can be none
                outcome, error = None, failure
            with suppress(RuntimeError):  # the loop has ended meanwhile
                self._loop.call_soon_threadsafe(_settle, found, outcome, error)

        threading.Thread(target=run, name="name-lookup", daemon=True).start()
        return await found


def _settle(found: asyncio.Future[Any], outcome: Any, error: Exception | None) -> None:
    if found.done():
        return
    if error is not None:
        found.set_exception(error)
    else:
        found.set_result(outcome)
