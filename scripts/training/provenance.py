"""Where weights come from: the commit, and the data with its licences. Kept in checkpoints, written beside the weights.

No path of the machine is kept: folders go by their last two names.
"""

from __future__ import annotations

import csv
import hashlib
import subprocess
from collections import Counter
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).resolve().parents[2]

LICENCES: Final = {
    "RobertLucian/license-plate-dataset": "MIT",
    "mrzaizai2k/": "MIT",
    "nadeemcodes/Malaysia_Delloyd_Assignment1": "CC BY 4.0",
    "conztantinee/thesis old_dataset": "pictures CC BY 2.0, boxes CC BY 4.0 (Open Images)",
    "devmasyadi/Data-Model-Scan-Plat-Nomor-Kendaraan-Tensor-Flow": "CC BY 4.0, as its export states",
}
"""By the beginning of a source's name, as labels.csv has it."""

NOT_STATED: Final = "not stated"

RENDERED: Final = {
    "name": "plates rendered by scripts/render",
    "licence": "the project's own; outlines of open fonts under SIL OFL 1.1 (scripts/render/fonts)",
}


def commit() -> str:
    """The commit of the code that runs, `-dirty` behind it where files differ from it; `unknown` outside a checkout."""
    try:
        name = _git("rev-parse", "HEAD")
        changed = _git("status", "--porcelain", "--untracked-files=no")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return f"{name}-dirty" if changed else name


def _git(*arguments: str) -> str:
    return subprocess.run(["git", *arguments], cwd=ROOT, check=True, capture_output=True, text=True).stdout.strip()


def data_facts(folder: Path) -> dict[str, Any]:
    """What a folder of labelled pictures holds: pictures, boxes, texts, sources with their licences, a fingerprint.

    A column `licence` of labels.csv is believed; else the source is looked up in LICENCES.
    """
    labels = folder / "labels.csv"
    with labels.open(encoding="utf-8", newline="") as lines:
        rows = list(csv.DictReader(lines))
    sources: Counter[tuple[str, str]] = Counter()
    for row in rows:
        source = (row.get("source") or NOT_STATED).split(" crop of ")[0]
        sources[source, row.get("licence") or licence_of(source)] += 1
    return {
        "name": "/".join(folder.resolve().parts[-2:]),
        "pictures": len({row["image"] for row in rows}),
        "boxes": sum(bool(row.get("width")) for row in rows),
        "texts": sum(bool(row.get("text")) for row in rows),
        "sources": [
            {"source": source, "licence": licence, "rows": count}
            for (source, licence), count in sorted(sources.items())
        ],
        "labels_sha256": hashlib.sha256(labels.read_bytes()).hexdigest(),
    }


def licence_of(source: str) -> str:
    """The licence of a source that this project knows."""
    return next((licence for name, licence in LICENCES.items() if source.startswith(name)), NOT_STATED)
