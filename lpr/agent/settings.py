"""What the parts need of the configuration, in their own words."""

from __future__ import annotations

import structlog

import lpr
from lpr.config import AckRule, AgentConfig, CameraConfig, DetectorInput
from lpr.domain.errors import ConfigError
from lpr.link.base import DeliveryLimits, LinkSettings
from lpr.outbox.limits import OutboxLimits
from lpr.vision.vision import Detail

WIDE_REGION = 0.5
"""Share of the frame's width from which a region needs the finer detector input."""

log = structlog.get_logger("agent")


def outbox_limits(config: AgentConfig) -> OutboxLimits:
    """What the queue may hold, and for how long."""
    limits = config.outbox
    return OutboxLimits(
        max_bytes=limits.max_bytes,
        max_age_s=limits.max_age.total_seconds(),
        min_free_disk=limits.min_free_disk,
        keep_delivered_s=limits.keep_delivered.total_seconds(),
    )


def link_settings(config: AgentConfig, *, boot_id: str) -> LinkSettings:
    """What the link needs of the configuration."""
    backend = config.backend

    def token() -> str | None:
        try:
            return backend.read_token()
        except ConfigError as error:
            # Read anew at every attempt: a file that is missing now may be there at the next one.
            log.error("token cannot be read", error=error.message, hint=error.hint)
            return None

    return LinkSettings(
        url=str(backend.url),
        agent_id=config.agent.id,
        boot_id=boot_id,
        version=lpr.__version__,
        namespace=backend.namespace,
        path=backend.path.strip("/"),
        token=token,
        ca_file=backend.ca_file,
        client_cert_file=backend.client_cert,
        client_key_file=backend.client_key,
        images=backend.images,
        payload=backend.payload,
        strict_acks=backend.ack is AckRule.STRICT,
        max_message_bytes=backend.max_message_bytes,
        limits=DeliveryLimits(window=backend.window),
    )


def detail_of(config: AgentConfig, camera: CameraConfig) -> Detail:
    """How finely a camera's frames are looked at: a narrow region needs no more than the fast input."""
    match config.vision.input:
        case DetectorInput.FAST:
            return Detail.FAST
        case DetectorInput.FAR:
            return Detail.FAR
        case _:
            xs = [x for x, _ in camera.roi or ((0.0, 0.0), (1.0, 0.0))]
            return Detail.FAR if max(xs) - min(xs) > WIDE_REGION else Detail.FAST


def same_pictures(one: CameraConfig, other: CameraConfig) -> bool:
    """Whether going from one to the other needs neither another stream nor another network."""
    keys = ("source", "analyse_source", "decoder", "transport", "pace", "device")
    return all(getattr(one, key) == getattr(other, key) for key in keys) and one.gate.id == other.gate.id
