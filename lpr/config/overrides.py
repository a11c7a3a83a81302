"""What the back-end changed at run time: validated as a whole, kept in the data directory, laid over the file.

Rules:

1. Changes apply whole or not at all: `apply_changes` gives a new configuration or raises naming the field.
2. Only what the agent can change without a restart may be changed; `WHY_FIXED` says why of the rest.
3. What is kept is only what was changed, so that the file stays in force for everything else.
4. A kept change that fits no more (its camera is gone, its value is no longer allowed) is passed over with a warning;
   a damaged file is set aside. Neither ever stops the agent.
5. One change after another gives the same as both merged, or a restart would bring back what a newer one had replaced:
   `_canonical` gives each change the one form of which that is true.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TypeAlias

from pydantic import ValidationError

from lpr.config.document import Problem
from lpr.config.model import AgentConfig, CameraConfig, DirectionConfig, WeatherConfig
from lpr.config.problems import config_error, problems_of
from lpr.config.schema import nearest
from lpr.domain.errors import ConfigError
from lpr.durable import replace_file

Changes: TypeAlias = Mapping[str, Any]
"""A partial configuration in snake_case; cameras go by their ids: `{"cameras": {"CAM_001": {"fps": 5}}}`."""

FILE_NAME = "overrides.json"

CAMERA_KEYS: Mapping[str, tuple[str, ...]] = {
    "name": ("name",),
    "gate_name": ("gate", "name"),
    "action": ("action",),
    "default_action": ("default_action",),
    "direction": ("direction",),
    "roi": ("roi",),
    "fps": ("fps",),
    "min_confidence": ("min_confidence",),
    "enabled": ("enabled",),
    "emit": ("emit",),
    "repeat_after": ("repeat_after",),
}
"""What may be changed of a camera, and where it stands in the configuration."""

WHY_FIXED: Mapping[str, str] = {
    "agent": "the back-end recognises repeats by the agent's id, and its queue lies in data_dir",
    "backend": "the order to change the link would travel over that link: a mistake would cut the agent off",
    "outbox": "the queue's limits protect what waits in it",
    "vision": "the networks are compiled at the start",
    "tracking": "vehicles in sight are counted by it",
    "web": "the page listens from the start",
    "log": "the log is opened at the start",
}
_WHY_CAMERA_FIXED: Mapping[str, str] = {
    "id": "events and the page name the camera by it",
    "source": "an address that is sent may hold a password, and a wrong one blinds the gate",
    "analyse_source": "an address that is sent may hold a password, and a wrong one blinds the gate",
    "gate": "only gate_name may change: the id ties the camera to the back-end's gate",
    "device": "the networks are compiled for it at the start",
    "decoder": "the stream is opened with it",
    "transport": "the stream is opened with it",
    "pace": "the file is opened with it",
}


def apply_changes(config: AgentConfig, changes: Changes) -> AgentConfig:
    """A new configuration with `changes` in it; `config` stays as it is.

    Raises `ConfigError` naming every field that is unknown, cannot be changed at run time, or has a wrong value.
    """
    data, changes = config.model_dump(), _canonical(changes)
    problems = [*_put_cameras(data["cameras"], changes.get("cameras", {})), *_put_weather(data, changes)]
    problems += [
        Problem((key,), f"cannot be changed while the agent runs: {WHY_FIXED[key]}; change the file and restart")
        if key in WHY_FIXED
        else Problem((key,), _unknown(key, ("cameras", "weather")))
        for key in map(str, changes)
        if key not in ("cameras", "weather")
    ]
    if problems:
        raise config_error("", problems)
    try:
        return AgentConfig.model_validate(data)
    except ValidationError as error:
        raise config_error("", [_by_camera_id(problem, config) for problem in problems_of(error)]) from None


def merge_changes(older: Changes, newer: Changes) -> dict[str, Any]:
    """Both together, key by key; the newer one wins. A list or a null replaces what was there."""
    merged = dict(older)
    for key, value in newer.items():
        below = merged.get(key)
        both = isinstance(below, Mapping) and isinstance(value, Mapping)
        merged[key] = merge_changes(below, value) if both and below is not None else value
    return merged


class RuntimeOverrides:
    """The changes kept in `data_dir`. Reads and writes a file: call it from a thread where the loop must not wait."""

    def __init__(self, data_dir: Path) -> None:
        self.path = data_dir / FILE_NAME

    def read(self, *, set_aside: bool = True) -> tuple[dict[str, Any], list[str]]:
        """The kept changes, and warnings. A damaged file counts as empty.

        It is renamed to `overrides.json.damaged` where `set_aside` is true; a command that only looks leaves it.
        """
        try:
            changes = json.loads(self.path.read_text("utf-8"))
        except FileNotFoundError:
            return {}, []
        except OSError as error:
            return {}, [f"changes made at run time are not in force: {self.path} cannot be read: {error.strerror}"]
        except ValueError:  # no JSON, or no UTF-8
            return {}, [self._damaged("is damaged", set_aside=set_aside)]
        if not isinstance(changes, dict):
            return {}, [self._damaged("holds no changes", set_aside=set_aside)]
        return changes, []

    def effective(self, base: AgentConfig, *, set_aside: bool = True) -> tuple[AgentConfig, list[str]]:
        """`base` with the kept changes over it, and warnings for those that fit no more. Never raises."""
        changes, warnings = self.read(set_aside=set_aside)
        try:
            return apply_changes(base, changes), warnings
        except ConfigError:
            pass  # one of them is wrong: the others must still hold, so they are tried one by one
        config = base
        for single in _one_by_one(changes):
            try:
                config = apply_changes(config, single)
            except ConfigError as error:
                warnings.append(f"a change made at run time is not in force any more: {error}")
        return config, warnings

    def keep(self, changes: Changes) -> None:
        """Add `changes`, already validated, to those kept; on disk for good when this returns. Raises `ConfigError`."""
        kept, _ = self.read()
        merged = merge_changes(_canonical(kept), _canonical(changes))
        text = json.dumps(merged, ensure_ascii=False, indent=2, allow_nan=False)
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            replace_file(self.path, text + "\n")
        except OSError as error:
            raise ConfigError(
                f"the change cannot be kept: {self.path} cannot be written: {error.strerror}",
                hint="the agent's user must own agent.data_dir, and the disk must have room",
            ) from error

    def _damaged(self, why: str, *, set_aside: bool) -> str:
        if not set_aside:
            return f"changes made at run time are not in force: {self.path} {why}"
        aside = self.path.with_name(f"{FILE_NAME}.damaged")
        try:
            self.path.replace(aside)
        except OSError as error:
            return f"changes made at run time are lost: {self.path} {why} and cannot be set aside: {error.strerror}"
        return f"changes made at run time are lost: {self.path} {why}; it was set aside as {aside.name}"


def effective_config(base: AgentConfig, *, set_aside: bool = True) -> tuple[AgentConfig, list[str]]:
    """`base` with what its data directory keeps of run-time changes over it, and warnings. Never raises."""
    return RuntimeOverrides(base.agent.data_dir).effective(base, set_aside=set_aside)


def _canonical(changes: Changes) -> dict[str, Any]:
    """`changes` with one name for each thing, and with null spelt out where it means several keys at once."""
    plain = dict(changes)
    if "weather" in plain and plain["weather"] is None:
        plain["weather"] = dict.fromkeys(WeatherConfig.model_fields)
    if isinstance(cameras := plain.get("cameras"), Mapping):
        plain["cameras"] = {
            camera_id: _canonical_camera(camera) if isinstance(camera, Mapping) else camera
            for camera_id, camera in cameras.items()
        }
    return plain


def _canonical_camera(changes: Changes) -> dict[str, Any]:
    plain = dict(changes)
    gate = plain.get("gate")
    if isinstance(gate, Mapping) and set(gate) == {"name"}:
        plain["gate_name"] = plain.pop("gate")["name"]
    if "direction" in plain and plain["direction"] is None:
        plain["direction"] = DirectionConfig().model_dump(mode="json")
    return plain


def _put_cameras(cameras: list[dict[str, Any]] | tuple[dict[str, Any], ...], wanted: Any) -> Iterator[Problem]:
    if not isinstance(wanted, Mapping):
        yield Problem(("cameras",), "must be an object with a camera's id for each key")
        return
    by_id = {camera["id"]: camera for camera in cameras}
    for camera_id, changes in wanted.items():
        if camera_id not in by_id:
            yield Problem(("cameras", str(camera_id)), f"is no camera; there are {', '.join(by_id)}")
        elif not isinstance(changes, Mapping):
            yield Problem(("cameras", camera_id), f"must be an object with keys such as {', '.join(CAMERA_KEYS)}")
        else:
            yield from _put_camera(by_id[camera_id], camera_id, changes)


def _put_camera(camera: dict[str, Any], camera_id: str, changes: Changes) -> Iterator[Problem]:
    for key, value in changes.items():
        where = CAMERA_KEYS.get(key)
        if where is not None:
            target = camera
            for part in where[:-1]:
                target = target[part]
            before = target[where[-1]]
            both = isinstance(before, Mapping) and isinstance(value, Mapping)
            target[where[-1]] = {**before, **value} if both else value
        elif key in CameraConfig.model_fields:
            why = _WHY_CAMERA_FIXED[key]
            yield Problem(("cameras", camera_id, key), f"cannot be changed while the agent runs: {why}")
        else:
            yield Problem(("cameras", camera_id, str(key)), _unknown(str(key), CAMERA_KEYS))


def _put_weather(data: dict[str, Any], changes: Changes) -> Iterator[Problem]:
    if "weather" not in changes:
        return
    wanted = changes["weather"]
    if not isinstance(wanted, Mapping):
        yield Problem(("weather",), f"must be an object with {', '.join(WeatherConfig.model_fields)}, or null")
    else:
        data["weather"] = {**data["weather"], **wanted}


def _unknown(key: str, known: Any) -> str:
    near = nearest(key, known)
    return f"is no known key; did you mean `{near}`?" if near else f"is no known key; there are {', '.join(known)}"


def _by_camera_id(problem: Problem, config: AgentConfig) -> Problem:
    """The commands name cameras by id, so the answer does."""
    path = problem.path
    if len(path) > 1 and path[0] == "cameras" and isinstance(path[1], int):
        key = "gate_name" if path[2:] == ("gate", "name") else path[2:]
        rest = (key,) if isinstance(key, str) else key
        return Problem(("cameras", config.cameras[path[1]].id, *rest), problem.message)
    return problem


def _one_by_one(changes: Changes) -> Iterator[dict[str, Any]]:
    """The same changes, one key of one camera or of the weather at a time."""
    for section, inner in changes.items():
        if section == "cameras" and isinstance(inner, Mapping):
            for camera_id, keys in inner.items():
                for key, value in keys.items() if isinstance(keys, Mapping) else ():
                    yield {"cameras": {camera_id: {key: value}}}
        elif isinstance(inner, Mapping):
            for key, value in inner.items():
                yield {section: {key: value}}
        else:
            yield {section: inner}
