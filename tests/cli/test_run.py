"""What `lpr-agent run` looks at before the agent starts."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from lpr.cli.users import whose_folder_root_writes_in


def test_a_folder_that_is_not_there_yet_is_nobody_elses(tmp_path: Path) -> None:
    assert whose_folder_root_writes_in(tmp_path / "data") is None
    assert whose_folder_root_writes_in(tmp_path) is None


@pytest.mark.skipif(os.getuid() != 0, reason="needs root, who may give files away")
def test_root_in_the_folder_of_the_agents_user_is_told(tmp_path: Path) -> None:
    os.chown(tmp_path, 65534, -1)
    assert whose_folder_root_writes_in(tmp_path) == 65534
