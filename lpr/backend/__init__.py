"""A small back-end that speaks the contract: for `lpr-agent backend`, `lpr-agent demo` and the tests.

It reads the wire on its own terms and shares no code with `lpr.wire`, so that a mistake there cannot hide by being made
on both sides. `Backend` in `server.py` is the way in; `messages.py` understands and checks what arrives, `store.py`
keeps it, `faults.py` misbehaves on purpose, `pages.py` serves HTTP and `table.py` draws the terminal.
"""
