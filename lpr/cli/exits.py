"""How the program ends: the exit codes that every command keeps to. 0 is good."""

from __future__ import annotations

FAILED = 1
"""What was asked for failed."""
USAGE = 2
"""Arguments or configuration are wrong."""
INTERRUPTED = 130
"""Ended by Ctrl-C."""
