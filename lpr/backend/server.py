"""The small back-end on its port: socket.io for agents, HTTP for people.

`async with Backend(BackendSettings(port=0)) as backend:` listens inside the block. Point an agent at `backend.url`;
then `await backend.wait_for(3)` returns three stored detections, and `await backend.command("get_status")` asks it.
"""

from __future__ import annotations

from types import TracebackType
from typing import Final, Self

from aiohttp import web

from lpr.backend.hub import AgentHub, BackendSettings
from lpr.backend.pages import add_routes
from lpr.domain.errors import BackendError, reason_of

CLOSE_GRACE_S: Final = 2.0
"""How long closing waits for requests that are being answered."""


class Backend(AgentHub):
    """The server as an async context manager; it is listening inside the block."""

    def __init__(self, settings: BackendSettings | None = None) -> None:
        super().__init__(settings)
        self._runner: web.AppRunner | None = None
        self._port = 0

    async def __aenter__(self) -> Self:
        """Open the store and listen. Raises `BackendError` where the port is taken or the file fails."""
        await self.store.open()
        try:
            await self._listen()
        except BaseException:
            await self.close()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Let the agents go, stop listening, close the store. May be called twice."""
        runner, self._runner = self._runner, None
        if runner is not None:
            await self.hang_up()
            await self.socketio.shutdown()
            await runner.cleanup()
        await self.store.close()

    async def _listen(self) -> None:
        app = web.Application()
        self.socketio.attach(app)
        add_routes(app, self)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=CLOSE_GRACE_S)
        await self._runner.setup()
        host, port = self.settings.host, self.settings.port
        try:
            site = web.TCPSite(self._runner, host, port)
            await site.start()
        except OSError as error:
            raise BackendError(
                f"the back-end cannot listen on {host}:{port}: {reason_of(error)}",
                hint="another program may hold the port; choose a free one with --port",
            ) from error
        self._port = self._runner.addresses[0][1]

    @property
    def port(self) -> int:
        """The port that is listened on."""
        return self._port

    @property
    def url(self) -> str:
        """Where agents and browsers find this back-end."""
        host = "127.0.0.1" if self.settings.host in ("0.0.0.0", "::", "") else self.settings.host  # noqa: S104
        return f"http://[{host}]:{self._port}" if ":" in host else f"http://{host}:{self._port}"


__all__ = ["Backend", "BackendSettings"]
