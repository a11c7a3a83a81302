"""Changes made at run time: whole or not at all, kept, and never in the way of a start."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lpr.config import AgentConfig, RuntimeOverrides, apply_changes, effective_config, load_config, merge_changes
from lpr.config.model import CameraConfig
from lpr.config.overrides import _WHY_CAMERA_FIXED, CAMERA_KEYS, WHY_FIXED
from lpr.domain.errors import ConfigError, ProtocolError
from lpr.domain.passage import Action
from lpr.wire import snake_case_changes


@pytest.fixture
def config(good: Path) -> AgentConfig:
    return load_config(good, {})


def complaint(config: AgentConfig, changes: dict[str, object]) -> str:
    with pytest.raises(ConfigError) as caught:
        apply_changes(config, changes)
    return str(caught.value)


def test_changes_make_a_new_configuration_and_leave_the_old_one(config: AgentConfig) -> None:
    changed = apply_changes(
        config,
        {
            "cameras": {
                "CAM_001": {
                    "fps": 3,
                    "roi": [[0, 0], [1, 0], [1, 1]],
                    "gate_name": "Cổng sau",
                    "default_action": "exit",
                    "min_confidence": None,
                    "repeat_after": 30,
                }
            },
            "weather": {"temperature": 31.5},
        },
    )
    camera = changed.cameras[0]
    assert (camera.fps, camera.gate.name, camera.default_action) == (3.0, "Cổng sau", Action.EXIT)
    assert camera.repeat_after.total_seconds() == 30
    assert camera.source == config.cameras[0].source
    assert changed.weather.temperature == 31.5
    assert config.cameras[0].fps == 8.0
    assert changed.cameras[1] == config.cameras[1]


def test_one_mistake_among_good_changes_changes_nothing(config: AgentConfig) -> None:
    said = complaint(config, {"cameras": {"CAM_001": {"fps": 3}, "CAM-2": {"fps": 300}}})
    assert said == "cameras.CAM-2.fps must be at most 30.0, not 300"


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"cameras": {"CAM_001": {"fp": 3}}}, "cameras.CAM_001.fp is no known key; did you mean `fps`?"),
        ({"cameras": {"CAM_001": {"source": "usb:1"}}}, "cameras.CAM_001.source cannot be changed while"),
        ({"cameras": {"CAM_001": {"gate": {"id": "X"}}}}, "only gate_name may change"),
        ({"cameras": {"CAM_001": {"gate_name": 7}}}, "cameras.CAM_001.gate_name must be text"),
        ({"cameras": {"CAM_001": {"roi": [[0, 0]]}}}, "cameras.CAM_001.roi must have at least 3 points"),
        ({"cameras": {"CAM_001": {"fps": "8"}}}, "cameras.CAM_001.fps must be a number"),
        ({"cameras": {"CAM_001": {"fps": float("nan")}}}, "cameras.CAM_001.fps must be"),
        ({"cameras": {"CAM_001": {"enabled": 1}}}, "cameras.CAM_001.enabled must be true or false"),
        ({"cameras": {"CAM_001": {"action": "out"}}}, "cameras.CAM_001.action must be entry, exit or auto"),
        ({"cameras": {"CAM_009": {"fps": 3}}}, "cameras.CAM_009 is no camera; there are CAM_001, CAM-2"),
        ({"cameras": {"CAM_001": 3}}, "cameras.CAM_001 must be an object with keys such as"),
        ({"cameras": [{"id": "CAM_001"}]}, "cameras must be an object with a camera's id for each key"),
        ({"backend": {"url": "http://x"}}, "backend cannot be changed while the agent runs"),
        ({"wether": {}}, "wether is no known key; did you mean `weather`?"),
        ({"weather": {"temperature": "hot"}}, "weather.temperature must be a number"),
        ({"weather": {"wind": 3}}, "weather.wind is no known key"),
        ({"weather": 3}, "weather must be an object with condition, temperature, humidity, or null"),
    ],
)
def test_a_wrong_change_is_refused_and_names_its_field(
    config: AgentConfig, changes: dict[str, object], words: str
) -> None:
    assert words in complaint(config, changes)


def test_every_key_may_be_changed_or_says_why_not() -> None:
    changeable = {path[0] for path in CAMERA_KEYS.values()} - {"gate"}
    assert changeable | set(_WHY_CAMERA_FIXED) == set(CameraConfig.model_fields)
    assert {"cameras", "weather"} | set(WHY_FIXED) == set(AgentConfig.model_fields)


def test_the_weather_is_changed_key_by_key_and_cleared_whole(config: AgentConfig) -> None:
    warm = apply_changes(apply_changes(config, {"weather": {"condition": "nắng"}}), {"weather": {"humidity": 70}})
    assert (warm.weather.condition, warm.weather.humidity) == ("nắng", 70)
    assert apply_changes(warm, {"weather": None}).weather.as_weather() is None


def test_the_newer_change_wins_key_by_key() -> None:
    older = {"cameras": {"A": {"fps": 1, "roi": [1]}}, "weather": {"humidity": 1}}
    newer = {"cameras": {"A": {"fps": 2}, "B": {"fps": 3}}, "weather": None}
    assert merge_changes(older, newer) == {
        "cameras": {"A": {"fps": 2, "roi": [1]}, "B": {"fps": 3}},
        "weather": None,
    }


def test_kept_changes_hold_at_the_next_start(config: AgentConfig) -> None:
    overrides = RuntimeOverrides(config.agent.data_dir)
    overrides.keep({"cameras": {"CAM_001": {"fps": 3}}})
    overrides.keep({"cameras": {"CAM_001": {"gate_name": "Cổng sau"}}})
    in_force, warnings = effective_config(config)
    assert (in_force.cameras[0].fps, in_force.cameras[0].gate.name, warnings) == (3.0, "Cổng sau", [])
    assert "Cổng sau" in overrides.path.read_text("utf-8")
    assert [path.name for path in config.agent.data_dir.iterdir()] == ["overrides.json"]


GOOD_CHANGES = st.fixed_dictionaries(
    {},
    optional={
        "cameras": st.fixed_dictionaries(
            {},
            optional={
                camera_id: st.fixed_dictionaries(
                    {},
                    optional={
                        "fps": st.sampled_from([3, 5]),
                        "roi": st.sampled_from([None, [], [[0, 0], [1, 0], [1, 1]]]),
                        "min_confidence": st.sampled_from([None, 0.5]),
                        "gate_name": st.sampled_from([None, "", "A"]),
                        "gate": st.fixed_dictionaries({"name": st.sampled_from(["B", "C"])}),
                        "direction": st.none()
                        | st.fixed_dictionaries(
                            {},
                            optional={
                                "towards": st.sampled_from(["entry", "exit"]),
                                "line": st.sampled_from([None, [[0, 0.5], [1, 0.5]]]),
                            },
                        ),
                    },
                )
                for camera_id in ("CAM_001", "CAM-2")
            },
        ),
        "weather": st.none()
        | st.fixed_dictionaries(
            {}, optional={"condition": st.sampled_from([None, "mưa"]), "humidity": st.sampled_from([None, 70])}
        ),
    },
)


@given(st.lists(GOOD_CHANGES, max_size=4))
@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_restart_brings_what_was_in_force(config: AgentConfig, commands: list[dict[str, Any]]) -> None:
    file = apply_changes(
        config, {"weather": {"condition": "nắng"}, "cameras": {"CAM_001": {"direction": {"towards": "exit"}}}}
    )
    in_force, overrides = file, RuntimeOverrides(config.agent.data_dir)
    for changes in commands:
        in_force = apply_changes(in_force, changes)
        overrides.keep(changes)
    assert effective_config(file) == (in_force, [])
    overrides.path.unlink(missing_ok=True)


def test_without_kept_changes_the_file_is_in_force(config: AgentConfig) -> None:
    assert effective_config(config) == (config, [])


def test_a_change_for_a_camera_that_is_gone_does_not_undo_the_others(config: AgentConfig) -> None:
    changes = {"cameras": {"GONE": {"fps": 1}, "CAM_001": {"fps": 3, "roi": "x"}}, "weather": {"humidity": 9}}
    RuntimeOverrides(config.agent.data_dir).keep(changes)
    in_force, warnings = effective_config(config)
    assert (in_force.cameras[0].fps, in_force.cameras[0].roi, in_force.weather.humidity) == (3.0, None, 9)
    assert len(warnings) == 2
    assert "GONE" in warnings[0]
    assert "roi" in warnings[1]


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff\xfe", b"null"])
def test_a_damaged_file_is_set_aside_and_stops_nothing(config: AgentConfig, content: bytes) -> None:
    overrides = RuntimeOverrides(config.agent.data_dir)
    overrides.path.parent.mkdir()
    overrides.path.write_bytes(content)
    in_force, warnings = effective_config(config)
    assert in_force == config
    assert "set aside as overrides.json.damaged" in warnings[0]
    assert overrides.path.with_name("overrides.json.damaged").read_bytes() == content
    assert effective_config(config) == (config, [])


def test_a_command_that_only_looks_leaves_a_damaged_file(config: AgentConfig) -> None:
    overrides = RuntimeOverrides(config.agent.data_dir)
    overrides.path.parent.mkdir()
    overrides.path.write_text("{")
    _, warnings = effective_config(config, set_aside=False)
    assert "is damaged" in warnings[0]
    assert overrides.path.read_text() == "{"


def test_a_write_that_fails_leaves_the_older_changes(config: AgentConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    overrides = RuntimeOverrides(config.agent.data_dir)
    overrides.keep({"weather": {"humidity": 1}})

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(ConfigError, match="No space left on device"):
        overrides.keep({"weather": {"humidity": 2}})
    assert json.loads(overrides.path.read_text()) == {"weather": {"humidity": 1}}


SCALARS = st.one_of(
    st.none(), st.booleans(), st.integers(), st.just(10**400), st.floats(), st.text(max_size=8), st.just("x" * 100_000),
    st.sampled_from(["entry", "5 s", "-1 s", "1e400 s", "99999999999999 d", "nan"]),
)  # fmt: skip
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner, max_size=4),
    max_leaves=8,
)
KEYS = st.sampled_from([*CAMERA_KEYS, "minConfidence", "gateName", "gate", "source", "id", ""])
CAMERAS = st.dictionaries(st.sampled_from(["CAM_001", "CAM_X", ""]), st.dictionaries(KEYS, VALUES) | VALUES, max_size=2)
WEATHER = st.dictionaries(st.sampled_from(["condition", "temperature", "humidity", "rain"]), VALUES, max_size=3)


@given(st.fixed_dictionaries({}, optional={"cameras": CAMERAS | VALUES, "weather": WEATHER | VALUES, "agent": VALUES}))
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_update_config_at_all_ends_in_anything_but_a_change_or_a_refusal(
    config: AgentConfig, changes: dict[str, Any]
) -> None:
    """What a command raises beside a refusal ends the agent: a back-end that repeats it would blind the gate."""
    overrides, refused = RuntimeOverrides(config.agent.data_dir), ""
    try:
        snake = snake_case_changes(changes)
        apply_changes(config, snake)
        overrides.keep(snake)
    except (ConfigError, ProtocolError) as error:
        refused = str(error)
    assert len(refused) < 5_000
    if not refused:
        apply_changes(config, overrides.read()[0])
        overrides.path.unlink()
