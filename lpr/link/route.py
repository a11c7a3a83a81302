"""What is remembered of the way to one back-end, from one connection to the next.

**Names.** An address that was found is good for a day where the name server gives no answer, or none in time: that it
is away says nothing of the back-end.

**Addresses.** Of several the library takes whichever lets it in first, and that may lead to a machine that is sick, or
over a line that carries little (an IPv6 tunnel, mostly). After an attempt that failed, or a connection that took
nothing, another one comes first.

**Proxy.** Where the environment names one (`HTTPS_PROXY`), it and the direct way are tried in turn, the direct one
first: a network may let nobody out but through its proxy, and a proxy may know nothing of the machine next door.

**Segments.** A line may swallow full packets without a word where something on it carries only smaller ones (a tunnel,
a VPN, a mobile network, and a firewall that lets nobody say so). Small ones pass, so that a connection can be made; the
first picture never arrives. After a connection that got stuck, packets are kept small for an hour: that costs next to
nothing.
"""

from __future__ import annotations

import time
import urllib.request
from collections.abc import Callable, Sequence
from urllib.parse import urlsplit

from aiohttp.abc import ResolveResult

FOUND_FOR_S = 24 * 3600.0
"""So long an address is used that the name server no longer tells."""
SMALL_FOR_S = 3600.0
SMALL_SEGMENT_BYTES = 1200
"""With its headers it passes wherever IPv6 may go (1280 bytes)."""


def proxy_of(url: str) -> str | None:
    """The proxy that the environment names for an https address, unless its `NO_PROXY` names the host too; None also
    where what it names is no HTTP proxy's address.
    """
    parts = urlsplit(url)
    if parts.scheme not in ("https", "wss") or urllib.request.proxy_bypass(parts.hostname or ""):
        return None
    named = urllib.request.getproxies_environment().get("https", "").strip()
    address = named if "://" in named else f"http://{named}"
    try:
        named_parts = urlsplit(address)
        usable = named_parts.scheme == "http" and named_parts.hostname and named_parts.port != 0
    except ValueError:
        return None
    return address if usable else None


class Route:
    """Of one back-end. `proxy` is the address of one that may stand before it; `now` tells seconds on a monotonic
    clock.
    """

    def __init__(self, proxy: str | None = None, now: Callable[[], float] = time.monotonic) -> None:
        self._ways = (None, proxy) if proxy is not None else (None,)
        self._now = now
        self._found: dict[tuple[str, int], tuple[float, Sequence[ResolveResult]]] = {}
        self._way = self._address = 0
        self._small_until_s = float("-inf")

    def found(self, host: str, port: int, addresses: Sequence[ResolveResult]) -> None:
        """The name server told these."""
        self._found[host, port] = self._now(), addresses

    def remembered(self, host: str, port: int) -> Sequence[ResolveResult]:
        """What it told last; empty where that was nothing, or too long ago."""
        found_at_s, addresses = self._found.get((host, port), (float("-inf"), ()))
        return addresses if self._now() - found_at_s < FOUND_FOR_S else ()

    def in_turn(self, addresses: Sequence[ResolveResult]) -> list[ResolveResult]:
        """All of them, the one to be tried first at the head."""
        first = self._address % max(1, len(addresses))
        return [*addresses[first:], *addresses[:first]]

    def failed(self) -> None:
        """No connection could be made."""
        self._way = (self._way + 1) % len(self._ways)
        self._address += self._way == 0

    def took_nothing(self) -> None:
        """A connection was made, and ended without an answer to any event."""
        self._address += 1

    def stuck(self) -> None:
        """What was sent did not arrive, or nothing came back."""
        self._small_until_s = self._now() + SMALL_FOR_S

    @property
    def proxy(self) -> str | None:
        """Through which the next connection is to be made; None is directly."""
        return self._ways[self._way]

    @property
    def segment_bytes(self) -> int | None:
        """The largest segment that may be sent and asked for; None is what the line's ends agree on."""
        return SMALL_SEGMENT_BYTES if self._now() < self._small_until_s else None
