"""What `sudo lpr-agent check` says of files that the agent's own user cannot read."""

from __future__ import annotations

import grp
import os
import pwd
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from lpr.cli.findings import Verdict
from lpr.cli.users import check_files, closed_part, service_user
from lpr.config import AgentConfig, load_config

pytestmark = pytest.mark.skipif(os.getuid() != 0, reason="needs root, who may give files away")
NOBODY = pwd.getpwuid(65534)


@pytest.fixture
def etc() -> Iterator[Path]:
    """A folder that everybody may pass; pytest's own are closed to others."""
    folder = Path(tempfile.mkdtemp(prefix="lpr-test-", dir="/tmp"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


def configured(etc: Path) -> tuple[Path, AgentConfig]:
    """An installation: the configuration is the group's, the token root's alone, the data the agent's user's."""
    data = etc / "data"
    data.mkdir()
    os.chown(data, NOBODY.pw_uid, NOBODY.pw_gid)
    token = etc / "token"
    token.write_text("s3cret\n")
    token.chmod(0o600)
    file = etc / "lpr-agent.yaml"
    file.write_text(
        f"agent: {{id: gate, data_dir: {data}}}\n"
        f"backend: {{url: 'http://localhost', token_file: {token}}}\n"
        "cameras: [{id: C1, source: 'usb:0', gate: {id: G1}}]\n"
    )
    file.chmod(0o640)
    os.chown(file, 0, NOBODY.pw_gid)
    return file, load_config(file, {})


def test_a_token_that_only_root_can_read_is_named_with_what_to_do(etc: Path) -> None:
    file, config = configured(etc)
    [finding] = check_files(file, config)
    assert finding.verdict is Verdict.WARN
    assert finding.message == f"{NOBODY.pw_name}, whose agent this is, cannot read {etc}/token"
    group = grp.getgrgid(NOBODY.pw_gid).gr_name
    assert finding.hint == f"sudo chgrp {group} {etc}/token && sudo chmod g+r {etc}/token"
    os.chown(etc / "token", 0, NOBODY.pw_gid)
    (etc / "token").chmod(0o640)
    assert check_files(file, config) == []


def test_a_folder_that_is_closed_is_named_once_for_each_file_in_it(etc: Path) -> None:
    file, config = configured(etc)
    etc.chmod(0o700)
    findings = check_files(file, config)
    assert [each.message.split("cannot read ")[1] for each in findings] == [
        f"{etc}/lpr-agent.yaml: {etc} is closed to it",
        f"{etc}/token: {etc} is closed to it",
    ]
    assert all(each.hint and "such as /etc/lpr-agent" in each.hint for each in findings)


def test_who_owns_a_file_is_asked_by_the_owners_rights_alone(etc: Path) -> None:
    file = etc / "own"
    file.touch(mode=0o044)
    os.chown(file, NOBODY.pw_uid, NOBODY.pw_gid)
    file.chmod(0o044)
    assert closed_part(NOBODY, file) == file
    file.chmod(0o400)
    assert closed_part(NOBODY, file) is None


def test_without_a_user_of_its_own_there_is_nothing_to_ask(etc: Path) -> None:
    file, config = configured(etc)
    os.chown(config.agent.data_dir, 0, 0)
    assert service_user(config.agent.data_dir) is None
    assert check_files(file, config) == []
