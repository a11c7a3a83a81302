"""Every file in configs/ loads and says what is true."""

from __future__ import annotations

import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from aiohttp.test_utils import TestClient, TestServer
from ruamel.yaml import YAML

from lpr.config import load_config
from lpr.config.sample import sample
from lpr.metrics import Metrics
from lpr.testing.status import FakeStatusSource
from lpr.web.server import create_app
from lpr.web.source import LinkView

CONFIGS = Path(__file__).parent.parent / "configs"
SAMPLES = sorted(CONFIGS.glob("*.yaml"))


def test_the_samples_are_there() -> None:
    assert [path.name for path in SAMPLES] == ["four-cameras.yaml", "one-camera.yaml"]


@pytest.mark.parametrize("path", SAMPLES, ids=lambda path: path.stem)
def test_a_sample_loads(path: Path) -> None:
    config = load_config(path, {})
    assert all(camera.source.secrets in ((), ("secret",)) for camera in config.cameras)


def test_the_sample_of_four_cameras_shares_what_it_says_it_shares() -> None:
    cameras = {camera.id: camera for camera in load_config(CONFIGS / "four-cameras.yaml", {}).cameras}
    assert len(cameras) == 4
    assert {cameras[name].gate.id for name in ("MAIN_IN", "MAIN_OUT", "MAIN_BIKES")} == {"GATE_MAIN"}
    assert cameras["MAIN_OUT"].roi == cameras["MAIN_IN"].roi
    assert cameras["MAIN_OUT"].action != cameras["MAIN_IN"].action
    assert cameras["BACK"].direction.line == ((0.1, 0.6), (0.9, 0.6))


def test_the_service_starts_a_command_that_exists() -> None:
    unit = (CONFIGS / "lpr-agent.service").read_text("utf-8")
    (command,) = re.findall(r"^ExecStart=\S+/lpr-agent (\w+) -c (\S+)$", unit, re.MULTILINE)
    assert command == ("run", "/etc/lpr-agent/lpr-agent.yaml")
    assert "\nStateDirectory=lpr-agent\n" in unit
    assert not re.search(r"^(ProtectClock|MemoryDenyWriteExecute)=", unit, re.MULTILINE)


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="no systemd here")
def test_systemd_takes_the_service(tmp_path: Path) -> None:
    unit = (CONFIGS / "lpr-agent.service").read_text("utf-8").replace("/opt/lpr-agent/bin/lpr-agent", "/bin/true")
    path = tmp_path / "lpr-agent.service"
    path.write_text(unit, "utf-8")
    done = subprocess.run(["systemd-analyze", "verify", path], capture_output=True, text=True, timeout=30)
    assert (done.returncode, done.stderr) == (0, "")


def test_the_compose_file_names_files_and_keys_that_exist() -> None:
    folder = CONFIGS / "container"
    service = YAML(typ="safe").load(folder / "compose.yaml")["services"]["lpr-agent"]
    assert (folder / service["build"]["context"] / service["build"]["dockerfile"]).is_file()
    sample = folder / service["volumes"][0].split(":")[0]
    environment = dict(service["environment"])
    assert environment.pop("LPR_BACKEND__TOKEN_FILE") == "/run/secrets/backend_token"
    assert load_config(sample, environment).web.host == "0.0.0.0"  # noqa: S104 - inside the container


async def test_the_container_is_healthy_while_the_back_end_is_away() -> None:
    (url,) = re.findall(r"urlopen\('http://127\.0\.0\.1:8090(\S+?)'", (CONFIGS / "container/Containerfile").read_text())
    source = FakeStatusSource()
    source.view = replace(source.view, link=LinkView(up=False, words="nobody listens"))
    async with TestClient(TestServer(create_app(source, Metrics(), only_local=True))) as client:
        assert (await client.get(url)).status == 200


def test_the_service_can_write_every_path_that_the_sample_names() -> None:
    unit = (CONFIGS / "lpr-agent.service").read_text("utf-8")
    folders = {"State": "/var/lib", "Cache": "/var/cache", "Logs": "/var/log"}
    writable = [f"{folders[kind]}/{name}" for kind, name in re.findall(r"^(\w+)Directory=(\S+)$", unit, re.MULTILINE)]
    for key in ("data_dir", "cache", "file"):
        (path,) = re.findall(rf"^ +#?{key}: (\S+)$", sample(), re.MULTILINE)
        assert any(Path(path).is_relative_to(folder) for folder in writable), path


def test_the_readme_installs_what_the_service_starts() -> None:
    readme = (CONFIGS.parent / "README.md").read_text("utf-8")
    unit = (CONFIGS / "lpr-agent.service").read_text("utf-8")
    (program, file) = re.findall(r"^ExecStart=(\S+) run -c (\S+)$", unit, re.MULTILINE)[0]
    (user,) = re.findall(r"^User=(\S+)$", unit, re.MULTILINE)
    assert f"python3 -m venv {Path(program).parent.parent}\n" in readme
    assert f"lpr-agent config init {file} " in readme
    assert re.search(rf"useradd .* {user}\n", readme)
