"""The only place that builds the parts and joins them.

service.py    `Agent`: builds every part in its order, runs them, closes them in reverse
pipeline.py   one camera: frames -> reads -> passages -> recorded events
evidence.py   a decided passage -> the event that is stored, pictures compressed
board.py      what the agent knows of itself: the status event and the local page are drawn from it
control.py    the back-end's commands carried out
"""
