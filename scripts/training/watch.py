"""Who is told how a training goes on."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Protocol


class Watch(Protocol):
    """Told by a training; shows it."""

    def advance(self, progress: float) -> None:
        """So much of the run is done, 0..1; called after every step."""

    def report(self, figures: Mapping[str, Any]) -> None:
        """A line of the log."""


class Lines:
    """A line of JSON for each report."""

    def advance(self, progress: float) -> None:
        """Nothing to say."""

    def report(self, figures: Mapping[str, Any]) -> None:
        """Print it."""
        print(json.dumps(figures), flush=True)
