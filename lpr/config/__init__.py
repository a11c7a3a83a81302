"""The agent's configuration: one YAML file, overridden by environment and credentials, changed at run time.

config = load_config(path)                      # ConfigError lists every mistake
config, warnings = effective_config(config)     # with what update_config changed in earlier runs
config = apply_changes(config, changes)         # whole or not at all
RuntimeOverrides(config.agent.data_dir).keep(changes)
"""

from lpr.config.addresses import SourceAddress
from lpr.config.loading import LoadedConfig, config_from, find_config, load, load_config
from lpr.config.model import (
    AckRule,
    AgentConfig,
    BackendConfig,
    CameraConfig,
    DetectorInput,
    DirectionConfig,
    GateConfig,
    IdentityConfig,
    LogConfig,
    LogFormat,
    LogLevel,
    OutboxConfig,
    Precision,
    TrackingConfig,
    VisionConfig,
    WeatherConfig,
    WebConfig,
)
from lpr.config.overrides import (
    CAMERA_KEYS,
    WHY_FIXED,
    Changes,
    RuntimeOverrides,
    apply_changes,
    effective_config,
    merge_changes,
)
from lpr.config.quantities import format_duration, format_size, parse_duration, parse_size, readable_size

__all__ = [
    "CAMERA_KEYS",
    "WHY_FIXED",
    "AckRule",
    "AgentConfig",
    "BackendConfig",
    "CameraConfig",
    "Changes",
    "DetectorInput",
    "DirectionConfig",
    "GateConfig",
    "IdentityConfig",
    "LoadedConfig",
    "LogConfig",
    "LogFormat",
    "LogLevel",
    "OutboxConfig",
    "Precision",
    "RuntimeOverrides",
    "SourceAddress",
    "TrackingConfig",
    "VisionConfig",
    "WeatherConfig",
    "WebConfig",
    "apply_changes",
    "config_from",
    "effective_config",
    "find_config",
    "format_duration",
    "format_size",
    "load",
    "load_config",
    "merge_changes",
    "parse_duration",
    "parse_size",
    "readable_size",
]
