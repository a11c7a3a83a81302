from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def model_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Compiled networks, made once for all tests."""
    return tmp_path_factory.mktemp("models")
