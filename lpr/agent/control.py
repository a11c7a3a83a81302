"""The back-end's commands carried out, and an answer for each: what was done, or which field was wrong and why."""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from typing import Any, Protocol, assert_never

from lpr.config import CAMERA_KEYS, CameraConfig
from lpr.domain.commands import (
    CameraSelection,
    CaptureSnapshot,
    CommandReply,
    CommandRequest,
    EventRange,
    GetStatus,
    ReplayEvents,
    ReplyStatus,
    StartProcessing,
    StopProcessing,
    UpdateConfig,
)
from lpr.domain.errors import CaptureError, ConfigError, LprError, ProtocolError
from lpr.domain.events import Jpeg, ProcessingStatus
from lpr.wire import ReplyCode, camel_case, snake_case_changes, status_data


class Operations(Protocol):
    """What a command may do to the agent; `Agent` is the one that can."""

    def select(self, selection: CameraSelection) -> tuple[str, ...]:
        """Ids of the cameras meant. Raises `ConfigError` where one of the names is not configured."""
        ...

    async def start_cameras(self, camera_ids: tuple[str, ...]) -> None:
        """Start analysing these; those that run go on."""
        ...

    async def stop_cameras(self, camera_ids: tuple[str, ...]) -> None:
        """Stop these; returns when their capture threads have ended and their open passages are recorded."""
        ...

    async def change_config(self, changes: Mapping[str, Any]) -> tuple[str, ...]:
        """Validate as a whole, keep on disk, apply; returns the ids of the cameras that changed.

        Raises `ConfigError` on any mistake, and then nothing has changed.
        """
        ...

    async def snapshot(self, camera_id: str) -> Jpeg:
        """A camera's newest frame. `ConfigError` where no camera has that id, `CaptureError` where it has no frame."""
        ...

    def current_status(self) -> ProcessingStatus:
        """The agent in numbers, now."""
        ...

    async def replay(self, events: EventRange) -> int:
        """Send delivered events in this range again, of those that are kept; says how many. Raises `OutboxError`."""
        ...


class CommandHandler:
    """One command in, one reply out. What failed becomes a reply, never an exception."""

    def __init__(self, agent: Operations) -> None:
        self._agent = agent

    async def handle(self, request: CommandRequest) -> CommandReply:
        """Carry out `request`. Cancelling leaves the command done or not begun, as far as it had come."""
        try:
            message, data = await self._carry_out(request)
        except LprError as error:
            text = f"{error.message} ({error.hint})" if error.hint else error.message
            code = _code_of(error, request)
            return CommandReply(status=ReplyStatus.ERROR, command_id=request.command_id, code=code, message=text)
        return CommandReply(status=ReplyStatus.OK, command_id=request.command_id, message=message, data=data)

    async def _carry_out(self, request: CommandRequest) -> tuple[str, dict[str, Any] | None]:
        command = request.command
        match command:
            case StartProcessing():
                camera_ids = self._agent.select(command.cameras)
                await self._agent.start_cameras(camera_ids)
                return f"processing: {', '.join(camera_ids)}", {"cameraIds": list(camera_ids)}
            case StopProcessing():
                camera_ids = self._agent.select(command.cameras)
                await self._agent.stop_cameras(camera_ids)
                return f"stopped: {', '.join(camera_ids)}", {"cameraIds": list(camera_ids)}
            case UpdateConfig():
                changed = await self._agent.change_config(snake_case_changes(command.changes))
                return "applied and kept", {"cameraIds": list(changed)}
            case GetStatus():
                return "", status_data(self._agent.current_status())
            case CaptureSnapshot():
                jpeg = await self._agent.snapshot(command.camera_id)
                picture = base64.b64encode(jpeg.data).decode("ascii")
                return "", {
                    "cameraId": command.camera_id,
                    "image": picture,
                    "width": jpeg.width,
                    "height": jpeg.height,
                }
            case ReplayEvents():
                count = await self._agent.replay(command.events)
                return f"{count} event(s) will be sent again", {"replayed": count}
            case _:  # pragma: no cover - mypy proves that there is no other command
                assert_never(command)


def in_the_wires_names(error: ConfigError) -> ConfigError:
    """A refused `update_config` with its keys as the back-end sent them: `minConfidence`, where the file has
    `min_confidence`.
    """
    return ConfigError(_FILES_NAME.sub(lambda name: camel_case(name[0]), error.message), hint=error.hint)


_FILES_NAME = re.compile(
    rf"\b({'|'.join(name for name in (*CAMERA_KEYS, *CameraConfig.model_fields) if '_' in name)})\b"
)


def _code_of(error: LprError, request: CommandRequest) -> ReplyCode:
    if isinstance(error, ProtocolError):
        return ReplyCode.INVALID_DATA
    if isinstance(error, ConfigError):
        changes_config = isinstance(request.command, UpdateConfig)
        return ReplyCode.CONFIG_REJECTED if changes_config else ReplyCode.UNKNOWN_CAMERA
    return ReplyCode.NO_FRAME if isinstance(error, CaptureError) else ReplyCode.FAILED
