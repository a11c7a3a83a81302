"""What the agent costs, measured from outside on its real parts.

stages.py    where the time of one frame goes, beside the bare networks
streams.py   the cameras of a measurement, and the configuration that watches them
at_work.py   `CamerasAtWork`: the whole agent on such streams, and its counters at a moment
load.py      one stretch of time of that in figures
soak.py      many stretches, one after the other, and what grew meanwhile
delivery.py  queue and link alone, beside bare files and bare emits
"""
