"""Where the networks are found, and what is said where they are not."""

from __future__ import annotations

from pathlib import Path

import pytest

from lpr.domain.errors import VisionError
from lpr.vision import models


def test_the_detector_is_there() -> None:
    assert models.model_path("detector").suffix == ".xml"


def test_a_network_without_its_weights_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "detector.xml").write_text("<net/>")
    monkeypatch.setattr(models, "models_folder", lambda: tmp_path)
    with pytest.raises(VisionError, match=r"detector\.bin is missing") as caught:
        models.model_path("detector")
    assert caught.value.hint is not None
    assert "install" in caught.value.hint
