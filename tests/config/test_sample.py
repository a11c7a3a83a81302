"""The sample, the schema and the shown configuration, all made from one model."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from lpr.config import AgentConfig, apply_changes, load
from lpr.config.document import parse_document
from lpr.config.sample import sample
from lpr.config.schema import leaves
from lpr.config.show import as_yaml, shown_values

_OFF = re.compile(r"^( *)#([a-z_]+: .*)$", re.MULTILINE)


def read(text: str) -> AgentConfig:
    return AgentConfig.model_validate(parse_document(text, name="sample").data)


def test_the_sample_loads_as_it_stands(tmp_path: Path) -> None:
    path = tmp_path / "lpr-agent.yaml"
    path.write_text(sample(), "utf-8")
    path.chmod(0o640)
    config = load(path, {}).config
    assert config.cameras[0].gate.name == "Cổng chính"


def test_the_sample_has_every_key() -> None:
    text = sample()
    for path, _ in leaves():
        assert re.search(rf"^ +(- )?#?{path[-1]}: ", text, re.MULTILINE), path


def test_every_line_that_is_off_can_be_switched_on() -> None:
    text = sample()
    offered = [match[0] for match in _OFF.finditer(text)]
    assert len(offered) > 30
    # Two ways to the same thing; and a certificate needs its key.
    everything = _OFF.sub(r"\1\2", text.replace("  #token: ", "  # token: "))
    assert read(everything).backend.token_file is not None
    assert read(text.replace("#token: ", "token: ")).backend.token is not None


def test_what_is_off_shows_the_default_where_there_is_one() -> None:
    text = sample()
    plain = read(text).model_dump()
    switched_on = read(_OFF.sub(r"\1\2", text.replace("  #token: ", "  # token: "))).model_dump()
    differing = {
        f"{section}.{key}"
        for section in ("backend", "outbox", "vision", "tracking", "web", "log")
        for key, value in plain[section].items()
        if value != switched_on[section][key]
    }
    without_default = {
        f"{section}.{key}"
        for section in plain
        if section != "cameras"
        for key in plain[section]
        if plain[section][key] is None
    }
    assert differing <= without_default


@pytest.mark.parametrize("path_and_field", list(leaves()), ids=lambda pair: ".".join(pair[0]))
def test_every_key_has_a_description_and_an_example(path_and_field: tuple[tuple[str, ...], object]) -> None:
    field = path_and_field[1]
    assert getattr(field, "description", None)
    assert getattr(field, "examples", None)


def test_the_schema_describes_every_key() -> None:
    schema = AgentConfig.model_json_schema()
    camera = schema["$defs"]["CameraConfig"]
    assert camera["additionalProperties"] is False
    assert set(camera["required"]) == {"id", "source", "gate"}
    assert all("description" in value for value in camera["properties"].values())


def test_what_is_shown_tells_origins_and_hides_secrets(good: Path, write: Callable[[str], Path]) -> None:
    loaded = load(good, {"LPR_BACKEND__TOKEN": "t0psecret"})
    in_force = apply_changes(loaded.config, {"cameras": {"CAM-2": {"fps": 2}}})
    text = as_yaml(shown_values(loaded, in_force))
    assert "t0psecret" not in text
    assert "s3cret" not in text
    for line in (
        r"  token: .*\*\*.* # \$LPR_BACKEND__TOKEN",
        r"    source: rtsp://user:\*\*\*@192\.168\.1\.100:554/stream +# line 5",
        r"      name: Cổng chính +# line 6",
        r"    fps: 2 +# update_config",
        r"  port: 8090 +# default",
    ):
        assert re.search(f"^{line}$", text, re.MULTILINE), line
    shown = parse_document(text, name="shown").data
    assert [camera["id"] for camera in shown["cameras"]] == ["CAM_001", "CAM-2"]
