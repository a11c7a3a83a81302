"""The local page of the agent: what each camera sees, who passed, what waits; `/healthz` for monitors, `/metrics`.

`source.py` states what the page must be told (the agent does the telling), `server.py` serves it. The page itself lies
in `static/`: plain HTML, one style sheet, one script, all labels in `labels.en.js`; it asks no other machine for
anything.
"""
