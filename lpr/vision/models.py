"""Where the networks are: inside an installed package, or at the top of a checkout."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

from lpr.domain.errors import VisionError


def models_folder() -> Path:
    """The folder that holds the networks. Raises `VisionError` where there is none."""
    installed = Path(str(resources.files("lpr"))) / "models"
    checkout = Path(__file__).resolve().parents[2] / "models"
    for folder in (installed, checkout):
        if folder.is_dir():
            return folder
    raise VisionError(
        f"the networks are missing: neither {installed} nor {checkout} exists",
        hint="install the package again (pip install --force-reinstall lpr-agent), or check the whole repository out",
    )


def model_path(name: str, folder: Path | None = None) -> Path:
    """The IR of the network `name` (`detector`, `recognizer`), an .xml with its .bin beside it, in `folder`.

    None looks where the package keeps its own. Raises `VisionError`, which names the missing file.
    """
    path = (folder or models_folder()) / f"{name}.xml"
    for file in (path, path.with_suffix(".bin")):
        if not file.is_file():
            raise VisionError(
                f"the network {name} is incomplete: {file} is missing",
                hint="install the package again, or train and export the networks (scripts/export_detector.py)",
            )
    return path
