"""How the agent introduces itself, and what it takes of any answer to that."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lpr import wire
from lpr.domain.choices import ImageMode
from tests.wire.samples import ANYTHING


def test_auth_and_hello_are_the_contracts() -> None:
    assert wire.auth(token="t", agent_id="a", boot_id="b", epoch=3, version="0.1.0") == {
        "token": "t",
        "agentId": "a",
        "bootId": "b",
        "epoch": 3,
        "version": "0.1.0",
        "contract": 1,
    }
    assert wire.auth(token=None, agent_id="a", boot_id="b", epoch=1, version="0")["token"] == ""
    hello = wire.hello(agent_id="a", version="0.1.0")
    assert hello["contract"] == 1
    assert "command:update_config" in hello["capabilities"]


def test_an_answer_to_hello_sets_what_it_names() -> None:
    answer = wire.parse_hello_answer(
        [{"maxMessageBytes": 500_000, "images": "binary", "replayPerSecond": 20, "serverTime": "2026-11-23T01:02:03Z"}]
    )
    assert answer == wire.HelloAnswer(
        max_message_bytes=500_000,
        images=ImageMode.BINARY,
        replay_per_second=20.0,
        server_time=datetime(2026, 11, 23, 1, 2, 3, tzinfo=UTC),
    )


@pytest.mark.parametrize("args", [[], [None], [{}]])
def test_no_answer_to_hello_leaves_the_defaults(args: list[object]) -> None:
    assert wire.parse_hello_answer(args) == wire.HelloAnswer()


def test_nonsense_in_a_hello_is_passed_over_with_words() -> None:
    answer = wire.parse_hello_answer([{"maxMessageBytes": 3, "images": "png", "replayPerSecond": "fast"}])
    assert answer.max_message_bytes is None
    assert answer.images is None
    assert answer.replay_per_second is None
    assert len(answer.problems) == 3
    assert "images must be base64, binary or none" in answer.problems[1]


@pytest.mark.parametrize("value", [wire.MIN_MESSAGE_BYTES, 100_000_000])
def test_a_bound_of_what_is_believed_is_believed(value: int) -> None:
    answer = wire.parse_hello_answer([{"maxMessageBytes": value, "replayPerSecond": 0}])
    assert (answer.max_message_bytes, answer.replay_per_second, answer.problems) == (value, 0.0, ())


@pytest.mark.parametrize("value", ["yesterday", "1970-01-01", "2100-01-01", 1e300, {}])
def test_a_time_that_cannot_be_is_passed_over_with_words(value: object) -> None:
    answer = wire.parse_hello_answer([{"serverTime": value}])
    assert answer.server_time is None
    assert "serverTime must be a time of this century" in answer.problems[0]


@given(st.lists(ANYTHING, max_size=2))
def test_no_hello_at_all_breaks_the_reader(args: list[object]) -> None:
    answer = wire.parse_hello_answer(args)
    assert answer.max_message_bytes is None or answer.max_message_bytes >= wire.MIN_MESSAGE_BYTES
