"""What the back-end asks for: one command at a time, in order, each always answered.

The inbox reads, checks and queues; what a command does is the handler's. A command id is remembered, on disk, *before*
the command runs: a repeat, also after a crash in the middle, is answered `duplicate` and not done again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, TypeAlias

import structlog

from lpr import wire
from lpr.domain.commands import CommandReply, CommandRequest, ReplyStatus
from lpr.domain.errors import LprError, ProtocolError
from lpr.link.files import SeenCommands
from lpr.metrics import Metrics
from lpr.wire import ReplyCode

MAX_STRANGE = 32
"""Names of events that are no commands, of which the log says something."""
MAX_WAITING = 128
"""Commands that wait for their turn; one more is answered `BUSY` at once. A back-end that sends where a slider stands
while it moves sends a hundred in a moment, and the last one must not be the one that is refused."""

LOGGED_A_MINUTE = 60
"""Commands of which the log has a line; of what is beyond it tells the number. A back-end in a loop sends thousands."""

Handler: TypeAlias = Callable[[CommandRequest], Awaitable[CommandReply]]
"""Does what a command says. An `LprError` that it raises is the answer; anything else is a fault of this program."""

log = structlog.get_logger(__name__)


class CommandInbox:
    """`submit` is given to the relay; `run` is a task of the agent."""

    def __init__(
        self,
        handler: Handler,
        *,
        seen: SeenCommands | None = None,
        server_now: Callable[[], datetime] | None = None,
        metrics: Metrics | None = None,
        max_waiting: int = MAX_WAITING,
    ) -> None:
        """`server_now` tells the time by the clock that sets `expiresAt`, the back-end's; this machine's if None."""
        self._handler = handler
        self._seen = seen if seen is not None else SeenCommands()
        self._server_now = server_now if server_now is not None else lambda: datetime.now(UTC)
        self._metrics = metrics
        self._waiting: asyncio.Queue[tuple[CommandRequest, asyncio.Future[CommandReply]]] = asyncio.Queue(max_waiting)
        self._closed = False
        self._strange: set[str] = set()
        self._log_minute_s, self._logged, self._unlogged = float("-inf"), 0, 0

    async def submit(self, name: str, args: Sequence[object]) -> Mapping[str, Any]:
        """Take one command as it came from the wire; returns its answer, which is also given where it is nonsense."""
        reply = await self._reply(name, args)
        if self._metrics is not None:
            self._metrics.command(name if name in wire.COMMANDS else "unknown", reply.status)
        self._log(name[: wire.MAX_TEXT], reply)
        return wire.reply_dict(reply)

    def _log(self, name: str, reply: CommandReply) -> None:
        """Every command, but of events that are none only the first of each name: a back-end may have a lot to say to
        others in the same namespace.
        """
        if name not in wire.COMMANDS:
            if name in self._strange or len(self._strange) >= MAX_STRANGE:
                return
            self._strange.add(name)
        if self._may_log():
            log.info("command answered", name=name, status=reply.status.value, message=reply.message[: wire.MAX_TEXT])

    def _may_log(self) -> bool:
        now_s = asyncio.get_running_loop().time()
        if now_s - self._log_minute_s >= 60.0:
            if self._unlogged:
                log.warning(
                    "more commands came in a minute than are logged", logged=self._logged, others=self._unlogged
                )
            self._log_minute_s, self._logged, self._unlogged = now_s, 0, 0
        if self._logged >= LOGGED_A_MINUTE:
            self._unlogged += 1
            return False
        self._logged += 1
        return True

    async def run(self) -> None:
        """Obey commands until cancelled; what then waits is answered with an error."""
        try:
            while True:
                request, answer = await self._waiting.get()
                try:
                    reply = await self._obey(request)
                except BaseException:
                    _resolve(answer, _error(request, ReplyCode.FAILED, "the agent failed on this command; see its log"))
                    raise
                _resolve(answer, reply)
        finally:
            self.close()

    def close(self) -> None:
        """Obey nothing any more: what waits, and what still comes while the link stands, is answered with an error."""
        self._closed = True
        while not self._waiting.empty():
            request, answer = self._waiting.get_nowait()
            _resolve(answer, _stopping(request))

    async def _reply(self, name: str, args: Sequence[object]) -> CommandReply:
        try:
            request = wire.parse_command(name, args)
        except ProtocolError as error:
            return wire.refusal(name, args, error)
        if self._closed:
            return _stopping(request)
        answer: asyncio.Future[CommandReply] = asyncio.get_running_loop().create_future()
        try:
            self._waiting.put_nowait((request, answer))
        except asyncio.QueueFull:
            return _error(request, ReplyCode.BUSY, f"{self._waiting.maxsize} commands are waiting; send it again later")
        return await answer

    async def _obey(self, request: CommandRequest) -> CommandReply:
        if request.expires_at is not None and self._server_now() >= request.expires_at:
            return _answer(request, ReplyStatus.EXPIRED, ReplyCode.EXPIRED, f"it expired at {request.expires_at}")
        if request.command_id is not None:
            if request.command_id in self._seen:
                return _answer(request, ReplyStatus.DUPLICATE, None, "this commandId was taken before; not done again")
            try:
                await self._seen.add(request.command_id)
            except LprError as error:
                # Better done, and perhaps done twice, than a gate that obeys nobody because its disk is full.
                log.warning("command id not kept", error=error.message, hint=error.hint)
        try:
            reply = await self._handler(request)
        except LprError as error:
            return _error(request, ReplyCode.FAILED, error.message)
        return replace(reply, command_id=request.command_id)


def _answer(request: CommandRequest, status: ReplyStatus, code: ReplyCode | None, message: str) -> CommandReply:
    return CommandReply(status=status, command_id=request.command_id, code=code, message=message)


def _error(request: CommandRequest, code: ReplyCode, message: str) -> CommandReply:
    return _answer(request, ReplyStatus.ERROR, code, message)


def _stopping(request: CommandRequest) -> CommandReply:
    return _error(request, ReplyCode.FAILED, "the agent is stopping")


def _resolve(answer: asyncio.Future[CommandReply], reply: CommandReply) -> None:
    """The one who asked may be gone: its connection, and with it the waiting call, may have ended."""
    if not answer.done():
        answer.set_result(reply)


async def obey_nothing(name: str, _args: object) -> dict[str, Any]:
    """Every command's answer where nobody is there to obey: the `on_command` of measurements."""
    return {"status": "error", "message": f"a measurement obeys no commands, {name} neither"}
