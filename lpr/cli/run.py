"""`lpr-agent run`: the agent itself; this is what the service starts."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from lpr.cli.options import ConfigOption

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lpr.agent.service import Agent
    from lpr.capture.decoder_log import DecoderMessages
    from lpr.config import AgentConfig, LoadedConfig


def register(app: typer.Typer) -> None:
    """Add the command to the program."""
    app.command("run")(run)


def run(config: ConfigOption = None) -> None:
    """Watch the cameras and deliver what passes, until stopped.

    SIGTERM and Ctrl-C end it in good order: open passages are recorded, and what the back-end has not acknowledged
    waits on disk. SIGHUP reads the configuration anew; a bad one is refused and the old one stays in force. Over files
    alone it ends by itself when they have been played and everything is acknowledged.
    """
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

    give_frames_back()
    settings = config.log
    logging.configure(
        level=settings.level.value,
        format=settings.format.value,
        file=settings.file,
        secrets=config.secrets(),
    )
    log = logging.get_logger("agent")
    for warning in (*loaded.warnings, *warnings):
        log.warning(warning)
    log.info("starting", config=str(loaded.file), agent=config.agent.id, cameras=len(config.cameras))
    asyncio.run(_serve(Agent(config, decoder_says=decoders.recent), loaded.file))


async def _serve(agent: Agent, file: Path) -> None:
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, agent.stop)
    reloads: set[asyncio.Task[None]] = set()

    def reload() -> None:
        task = loop.create_task(_reload(agent, file))
        reloads.add(task)
        task.add_done_callback(reloads.discard)

    loop.add_signal_handler(signal.SIGHUP, reload)
    await agent.run()


async def _reload(agent: Agent, file: Path) -> None:
    from lpr import logging
    from lpr.config import load
    from lpr.domain.errors import ConfigError, LprError

    log = logging.get_logger("agent")
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
