"""`python -m lpr.cli`: the same as `lpr-agent`."""

from lpr.cli.main import main

main()
