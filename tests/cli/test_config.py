"""`lpr-agent config`."""

from __future__ import annotations

import json
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from lpr.config import RuntimeOverrides, load
from tests.cli.conftest import Answer

Run = Callable[..., Answer]


def test_init_writes_a_sample_that_loads_and_that_others_cannot_read(run: Run, tmp_path: Path) -> None:
    answer = run("config", "init")
    path = tmp_path / "lpr-agent.yaml"
    assert answer.code == 0
    assert "lpr-agent check -c lpr-agent.yaml" in answer.out
    assert load(path, {}).warnings == ()
    assert not path.stat().st_mode & stat.S_IRWXO


def test_init_takes_a_file_a_folder_or_standard_output(run: Run, tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    assert run("config", "init", "etc").code == 0
    assert (tmp_path / "etc/lpr-agent.yaml").exists()
    assert run("config", "init", "mine.yaml").code == 0
    assert run("config", "init", "-").out == (tmp_path / "mine.yaml").read_text("utf-8")


def test_init_never_writes_over_a_file_unasked(run: Run, config_file: Path) -> None:
    before = config_file.read_bytes()
    answer = run("config", "init")
    assert answer.code == 2
    assert "--force" in answer.err
    assert config_file.read_bytes() == before
    assert run("config", "init", "--force").code == 0
    assert config_file.read_bytes() != before


def test_init_where_there_is_no_folder_says_so(run: Run) -> None:
    answer = run("config", "init", "nowhere/x.yaml")
    assert (answer.code, "there is no folder nowhere" in answer.err) == (2, True)


def test_show_tells_what_is_in_force_where_it_is_from_and_no_secret(
    run: Run, config_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LPR_BACKEND__TOKEN", "t0psecret")
    RuntimeOverrides(config_file.parent / "data").keep({"cameras": {"CAM_001": {"fps": 2}}})
    answer = run("config", "show")
    assert answer.code == 0
    assert "Cổng chính" in answer.out
    assert "rtsp://user:***@192.168.1.100:554/stream" in answer.out
    assert "# $LPR_BACKEND__TOKEN" in answer.out
    assert "fps: 2" in answer.out
    assert "# update_config" in answer.out
    assert "s3cret" not in answer.out + answer.err
    assert "t0psecret" not in answer.out + answer.err


def test_show_as_json_is_one_document(run: Run, config_file: Path) -> None:
    shown = json.loads(run("config", "show", "-c", config_file, "--json").out)
    assert shown["config"]["cameras"][0]["gate"]["name"] == "Cổng chính"
    assert shown["config"]["outbox"]["max_bytes"] == "2 GiB"
    assert shown["origins"]["cameras[0].source"] == "line 5"
    assert shown["origins"]["web.port"] == "default"


def test_show_warns_on_stderr_and_changes_nothing(run: Run, config_file: Path) -> None:
    kept = config_file.parent / "data/overrides.json"
    kept.parent.mkdir()
    kept.write_text("{")
    config_file.chmod(0o644)
    answer = run("config", "show", "--json")
    assert json.loads(answer.out)
    assert "chmod 640" in answer.err
    assert "overrides.json is damaged" in answer.err
    assert kept.read_text() == "{"


def test_show_without_a_configuration_says_how_to_make_one(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lpr.config.loading.SYSTEM_FILE", Path("/nonexistent/lpr-agent.yaml"))
    answer = run("config", "show")
    assert answer.code == 2
    assert "looked at -c FILE" in answer.err
    assert "lpr-agent config init" in answer.err


def test_the_schema_is_json_schema(run: Run) -> None:
    schema = json.loads(run("config", "schema").out)
    assert schema["$schema"].startswith("https://json-schema.org/")
    assert set(schema["required"]) == {"agent", "backend", "cameras"}
