"""The contract's names of events and commands, and its version."""

from __future__ import annotations

CONTRACT_VERSION = 1

PLATE_DETECTED = "license_plate_detected"
PROCESSING_STATUS = "processing_status"
ERROR = "error"
HELLO = "agent_hello"
"""Names of the events that the agent emits."""

START_PROCESSING = "start_processing"
STOP_PROCESSING = "stop_processing"
UPDATE_CONFIG = "update_config"
GET_STATUS = "get_status"
CAPTURE_SNAPSHOT = "capture_snapshot"
REPLAY_EVENTS = "replay_events"
COMMANDS = (START_PROCESSING, STOP_PROCESSING, UPDATE_CONFIG, GET_STATUS, CAPTURE_SNAPSHOT, REPLAY_EVENTS)
"""Names of the commands that the agent obeys."""

CAPABILITIES = ("images:base64", "images:binary", "images:none", *(f"command:{name}" for name in COMMANDS))
"""What `agent_hello` says that this agent can do."""

CLOCK_SYNCHRONISED = "clockSynchronised"
"""In a stored body, and false there: the times in it were taken from a clock that was not known to be right."""
