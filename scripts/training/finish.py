"""From the chosen checkpoints to a folder that ships: export, quantise, golden picture, calibrate, compare, record.

RUN/float and RUN/int8 hold both networks in FP16 and in INT8 weights, for `scripts.agreement`; RUN/models those that
ship: INT8 where it costs nothing. Done again from the beginning where it was interrupted; the record comes last.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import platform
import shutil
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from random import Random
from typing import Any, Final

from lpr.vision.engine import load_openvino
from scripts import export_detector, export_recognizer
from scripts.agreement import Said, compare, render_sets, spread
from scripts.calibrate import calibrate, gather, reliability_picture, store
from scripts.reading import quiet
from scripts.render.samples import Sources, load_backgrounds, load_real, render_batch
from scripts.training.files import write_text
from scripts.training.provenance import RENDERED, commit
from scripts.training.show import Stages, draw_curves

CONTROL_SEED: Final = 61
CONTROL_CROPS, QUICK_CONTROL_CROPS = 2000, 400
GOLDEN: Final = ("golden.png", "golden.json")


@dataclass(frozen=True, slots=True)
class Chosen:
    """A checkpoint to ship: its file, what it holds, and the validations of all seeds that it was chosen among."""

    path: Path
    state: dict[str, Any]
    seeds: list[dict[str, Any]]


def finish(
    run: Path,
    chosen: dict[str, Chosen | None],
    *,
    base: Path | None,
    data: Path | None,
    quick: bool,
    stages: Stages,
) -> None:
    """Make RUN/models from checkpoints; a network whose `chosen` is None is taken from `base` as it is."""
    quiet()
    folders = {name: run / name for name in ("float", "int8", "models")}
    for folder in folders.values():
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
    figures: dict[str, Any] = {}
    with stages.step("exporting the detector"):
        _export_detector(chosen["detector"], folders, base, data, quick)
    with stages.step("exporting the recogniser"):
        figures["recognizer"] = _export_recognizer(chosen["recognizer"], folders, base, data, quick)
    export_detector.draw_golden(folders["models"])
    if not quick:
        for name in GOLDEN:
            shutil.copy(folders["models"] / name, folders["float"])
            shutil.copy(folders["models"] / name, folders["int8"])
        with stages.step("calibrating the confidence"):
            figures["calibration"] = _calibrate(folders, data)
        with stages.step("comparing FP32, BF16 and INT8"):
            figures["agreement"] = _compare(list(folders.values()), data)
    for name, each in chosen.items():
        if each is not None:
            log = each.path.parent / "log.jsonl"
            draw_curves(log, folders["models"] / f"{name}.curves.svg")
            if log.exists():
                shutil.copy(log, folders["models"] / f"{name}.log.jsonl")
    record = {name: None if each is None else _history(each) for name, each in chosen.items()}
    made = {"made": datetime.now(UTC).date().isoformat(), "commit": commit(), "with": _versions()}
    files = {path.name: _fingerprint(path) for path in sorted(folders["models"].glob("*.xml"))}
    written = made | record | {"figures": figures, "sha256": files}
    write_text(json.dumps(written, indent=1, ensure_ascii=False) + "\n", folders["models"] / "training.json")


def _export_detector(
    chosen: Chosen | None, folders: dict[str, Path], base: Path | None, data: Path | None, quick: bool
) -> None:
    if chosen is None:
        _take(base, "detector", folders)
        return
    ov = load_openvino()
    network, kept = export_detector.load_network(chosen.path)
    model = export_detector.to_openvino(network, ov)
    version_name = f"detector-{kept['settings']['seed']} step {kept['step']}"
    forms = {"float": model} if quick else {"float": model, "int8": export_detector.quantise(model, data)}
    for name, form in forms.items():
        precision = "int8" if name == "int8" else "fp16"
        export_detector.describe(form, kept, precision, export_detector.CONFIDENCE, version_name)
        ov.save_model(form, folders[name] / "detector.xml", compress_to_fp16=True)
    _copy("detector", folders["float" if quick else "int8"], folders["models"])


def _export_recognizer(
    chosen: Chosen | None, folders: dict[str, Path], base: Path | None, data: Path | None, quick: bool
) -> dict[str, Any]:
    if chosen is None:
        _take(base, "recognizer", folders)
        return {}
    ov = load_openvino()
    net, state = export_recognizer.load(chosen.path)
    model = export_recognizer.convert(net, state)
    ov.save_model(model, folders["float"] / "recognizer.xml", compress_to_fp16=True)
    sources = Sources.of(data)
    backgrounds = load_backgrounds(sources.backgrounds)
    control = render_batch(Random(CONTROL_SEED), backgrounds, QUICK_CONTROL_CROPS if quick else CONTROL_CROPS)
    figures: dict[str, Any] = {"float": export_recognizer.control_figures(model, control)}
    figures["chance"] = export_recognizer.chance(control)
    ships = "float"
    if not quick:
        pictures = export_recognizer.calibration_pictures(backgrounds, load_real(sources.real))
        small = export_recognizer.quantised(model, pictures)
        export_recognizer.describe(small, state, "int8")
        ov.save_model(small, folders["int8"] / "recognizer.xml", compress_to_fp16=True)
        figures["int8"] = export_recognizer.control_figures(small, control)
        ships = "int8" if export_recognizer.costs_nothing(figures["float"], figures["int8"]) else "float"
    figures["ships"] = ships
    _copy("recognizer", folders[ships], folders["models"])
    return figures


def _take(base: Path | None, network: str, folders: dict[str, Path]) -> None:
    """The network that stands in `base`, in all forms as it is."""
    if base is None:
        raise FileNotFoundError(f"no folder is given that holds the {network} to keep")
    for folder in folders.values():
        _copy(network, base, folder)


def _copy(network: str, source: Path, target: Path) -> None:
    for suffix in (".bin", ".xml"):
        shutil.copy(source / f"{network}{suffix}", target)


def _calibrate(folders: dict[str, Path], data: Path | None) -> dict[str, Any]:
    """One temperature for all forms: the one of those that ship."""
    found = asyncio.run(calibrate(folders["models"], gather(6000, data)))
    for folder in folders.values():
        store(folder / "recognizer.xml", found.temperature)
    write_text(reliability_picture(found.judged), folders["models"] / "reliability.svg")
    judged = list(found.judged.values())[-1]
    kept, wrong = judged.sure()
    return {
        "temperature": found.temperature,
        "surprise": round(judged.surprise, 4),
        "readable_at_0.9": round(kept, 4),
        "wrong_at_0.9": round(wrong, 5),
    }


def _compare(folders: list[Path], data: Path | None) -> dict[str, Any]:
    sources = Sources.of(data)
    sets = render_sets(6000, 6000, sources.backgrounds, [sources.real] if sources.real is not None else [])
    forms = asyncio.run(compare(folders, sets))
    table = {form: {name: _shares(said) for name, said in sets.items()} for form, sets in forms.items()}
    return {"widest_points": round(100 * spread(forms), 3), "forms": table}


def _shares(said: Said) -> dict[str, Any]:
    return {"plates": len(said.texts), "found": round(said.found, 4), "right": round(said.right, 4)}


def _history(chosen: Chosen) -> dict[str, Any]:
    """How a checkpoint came to be."""
    state = chosen.state
    wanted = ("settings", "net_settings", "compute", "step", "samples", "commits", "validation")
    facts = {name: state[name] for name in wanted if name in state}
    minutes = round(state.get("spent_s", 0.0) / 60, 1)
    return facts | {"minutes": minutes, "seeds": chosen.seeds, "data": [RENDERED, *state.get("data", [])]}


def _versions() -> dict[str, str]:
    packages = {"python": platform.python_version()}
    for name in ("torch", "openvino", "nncf", "numpy", "opencv-python"):
        try:
            packages[name] = version(name)
        except PackageNotFoundError:
            continue
    return packages


def _fingerprint(path: Path) -> str:
    """Of an IR's two files."""
    return hashlib.sha256(path.read_bytes() + path.with_suffix(".bin").read_bytes()).hexdigest()
