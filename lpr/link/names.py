"""The back-end's name looked up where a name server that is silent holds up nobody else.

asyncio looks names up in the threads that it has for everything, of which there are six on two cores. A lookup that
nobody answers keeps one for up to a minute, each attempt to connect begins another, and a program that ends waits for
all of them. Here each has a thread of its own that nobody waits for.
"""

from __future__ import annotations

import asyncio
import socket
import threading
from contextlib import suppress
from typing import Any

from aiohttp.resolver import ThreadedResolver


class NameResolver(ThreadedResolver):
    """aiohttp's own, but for the threads. To be made in the event loop."""

    def __init__(self) -> None:
        lookups: Any = _Lookups()  # a loop as far as this resolver uses one
        super().__init__(loop=lookups)


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
