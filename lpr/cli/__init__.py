"""The program `lpr-agent`: a file a command, each of which turns arguments into calls."""

from lpr.cli.main import main

__all__ = ["main"]
