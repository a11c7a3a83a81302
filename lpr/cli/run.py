"""`lpr-agent run`: the agent itself; this is what the service starts."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from lpr.cli.options import ConfigOption
from lpr.domain.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lpr.agent.service import Agent
    from lpr.capture.decoder_log import DecoderMessages
    from lpr.config import AgentConfig, LoadedConfig


_early_reloads: list[None] = []
"""Filled by whoever sends SIGHUP before the agent is there to reload."""


def register(app: typer.Typer) -> None:
    """Add the command to the program."""
    app.command("run")(run)


def run(config: ConfigOption = None) -> None:
    """Watch the cameras and deliver what passes, until stopped.

    SIGTERM and Ctrl-C end it in good order: open passages are recorded, and what the back-end has not acknowledged
    waits on disk. SIGHUP reads the configuration anew; a bad one is refused and the old one stays in force. Over files
    alone it ends by itself when they have been played and everything is acknowledged.
    """
    # A reload that is asked for before there is an agent would end the program, and for good: systemd takes it for an
    # end in good order.
    signal.signal(signal.SIGHUP, lambda *_: _early_reloads.append(None))
    # The agent's parts take a second to import; `--help` must not.
    from lpr.capture.decoder_log import DecoderMessages
    from lpr.config import effective_config, load

    loaded = load(config)
    effective, warnings = effective_config(loaded.config)
    # Before the log is opened, which would write into the pipe else.
    with DecoderMessages() as decoders:
        _start(loaded, effective, warnings, decoders)


def _start(loaded: LoadedConfig, config: AgentConfig, warnings: Sequence[str], decoders: DecoderMessages) -> None:
    from lpr import logging
    from lpr.agent.heap import give_frames_back
    from lpr.agent.service import Agent
    from lpr.cli.handles import allow_more
    from lpr.cli.users import user_name, whose_folder_root_writes_in

    give_frames_back()
    trouble = _open_log(config)
    log = logging.get_logger("agent")
    if trouble is not None:
        log.error("working without the log's file", error=trouble.message, hint=trouble.hint)
    if (few_handles := allow_more()) is not None:
        log.warning(few_handles.message, hint=few_handles.hint)
    if (owner := whose_folder_root_writes_in(config.agent.data_dir)) is not None:
        log.warning(
            "this is root, in a folder of another user's: an agent of that user's cannot write what it leaves",
            folder=str(config.agent.data_dir),
            owner=user_name(owner),
            hint=f"afterwards: sudo chown -R {user_name(owner)} {config.agent.data_dir}",
        )
    for warning in (*loaded.warnings, *warnings):
        log.warning(warning)
    log.info("starting", config=str(loaded.file), agent=config.agent.id, cameras=len(config.cameras))
    asyncio.run(_serve(Agent(config, decoder_says=decoders.recent), loaded.file))
    if not logging.end():
        os._exit(0)  # Python itself would wait for the log


def _open_log(config: AgentConfig) -> ConfigError | None:
    """Log to the standard error, and to the file where there is to be one. What is wrong with that is returned.

    A folder that is missing or full must not leave a gate blind.
    """
    from lpr import logging

    settings = config.log
    format_, level, secrets = settings.format.value, settings.level.value, tuple(config.secrets())
    try:
        logging.configure(level=level, format=format_, file=settings.file, secrets=secrets, in_thread=True)
    except ConfigError as error:
        logging.configure(level=level, format=format_, secrets=secrets, in_thread=True)
        return error
    return None


async def _serve(agent: Agent, file: Path) -> None:
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, agent.stop)
    reloads: set[asyncio.Task[None]] = set()
    started = asyncio.Event()

    def reload() -> None:
        task = loop.create_task(_reload(agent, file, started))
        reloads.add(task)
        task.add_done_callback(reloads.discard)

    loop.add_signal_handler(signal.SIGHUP, reload)
    if _early_reloads:
        reload()  # the file may have been read before it was changed
    await agent.run(ready=started.set)


async def _reload(agent: Agent, file: Path, started: asyncio.Event) -> None:
    from lpr import logging
    from lpr.config import load
    from lpr.domain.errors import LprError

    log = logging.get_logger("agent")
    await started.wait()
    try:
        loaded = await asyncio.to_thread(load, file)
    except ConfigError as error:
        log.error("configuration refused; the old one stays in force", error=error.message, hint=error.hint)
        await agent.config_refused(error)
        return
    for warning in loaded.warnings:
        log.warning(warning)
    try:
        await agent.reload(loaded.config)
    except LprError as error:
        log.error("a camera could not follow the new configuration", error=error.message, hint=error.hint)
        return
    log.info("configuration taken anew", config=str(file))
