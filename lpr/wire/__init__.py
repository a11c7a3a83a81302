"""Domain events and commands <-> the contract's JSON. Every name that the back-end sees is in this package.

names.py      names of events and commands
events.py     outwards, once: `event_body` fixes type, time, data and identity of an event. The outbox stores it in the
              transaction that stores the event; no retry, restart or upgrade alters it
queue.py      the same for what the queue says about itself
messages.py   outwards, at every attempt: `message` adds what belongs to one: `delivery`, the pictures in the form that
              this back-end takes, and the bounding box in pixels of the picture that is really sent
answers.py    inwards: `parse_ack` answers for any value at all
commands.py   inwards: `parse_command` raises `ProtocolError` in words that the back-end's developer can act on
joining.py    how the agent introduces itself, and what the back-end wishes of a connection
values.py     values that JSON can hold: numbers are finite, text is Unicode
"""

from lpr.wire.answers import (
    MAX_RETRY_AFTER_MS,
    Ack,
    Duplicate,
    Rejected,
    Retry,
    SoftFailure,
    Stored,
    Unreadable,
    parse_ack,
)
from lpr.wire.commands import (
    ReplyCode,
    camel_case,
    command_id_of,
    parse_command,
    refusal,
    reply_dict,
    snake_case,
    snake_case_changes,
)
from lpr.wire.events import event_body, event_data, event_type, moved_body, status_data
from lpr.wire.joining import MIN_MESSAGE_BYTES, HelloAnswer, auth, hello, parse_hello_answer, parse_server_time
from lpr.wire.messages import Base64Text, Delivery, base64_size, from_json, message, message_size, to_json
from lpr.wire.names import CLOCK_SYNCHRONISED, COMMANDS, ERROR, HELLO, PLATE_DETECTED, PROCESSING_STATUS
from lpr.wire.queue import (
    Overflow,
    SequenceRanges,
    corrupt_details,
    disk_low_details,
    near_full_details,
    overflow_details,
    parse_overflow_details,
)
from lpr.wire.values import MAX_TEXT, parse_moment

__all__ = [
    "CLOCK_SYNCHRONISED",
    "COMMANDS",
    "ERROR",
    "HELLO",
    "MAX_RETRY_AFTER_MS",
    "MAX_TEXT",
    "MIN_MESSAGE_BYTES",
    "PLATE_DETECTED",
    "PROCESSING_STATUS",
    "Ack",
    "Base64Text",
    "Delivery",
    "Duplicate",
    "HelloAnswer",
    "Overflow",
    "Rejected",
    "ReplyCode",
    "Retry",
    "SequenceRanges",
    "SoftFailure",
    "Stored",
    "Unreadable",
    "auth",
    "base64_size",
    "camel_case",
    "command_id_of",
    "corrupt_details",
    "disk_low_details",
    "event_body",
    "event_data",
    "event_type",
    "from_json",
    "hello",
    "message",
    "message_size",
    "moved_body",
    "near_full_details",
    "overflow_details",
    "parse_ack",
    "parse_command",
    "parse_hello_answer",
    "parse_moment",
    "parse_overflow_details",
    "parse_server_time",
    "refusal",
    "reply_dict",
    "snake_case",
    "snake_case_changes",
    "status_data",
    "to_json",
]
