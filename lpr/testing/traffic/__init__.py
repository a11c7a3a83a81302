"""Made-up traffic past a gate camera, with the truth beside it: what the tracker is tested and measured on.

A pinhole camera three metres up looks down a lane. Cars come and go, motorbikes go (their plate is behind), alone, in
packs, in queues at a barrier, across each other; nearer vehicles cover farther ones; plates enter cut by the edge of
the picture. A plate's read is worse the smaller and more blurred it is, and its mistakes are *persistent*: a bolt or
dirt makes the same wrong character in frame after frame, however near the vehicle comes; a passing glare for half a
second; and what is misread in one frame is misread in the next as long as the plate has hardly moved, for ten minutes
at the barrier. Frames are lost one by one and in runs, the pole shakes, the wall clock jumps.

Everything comes from one seed. The figures in here are no measurements: they are set to be harder than the gate cameras
and readers that this project has seen.

- vehicle: what drives
- camera: where it is in the picture, and what covers it
- frames: what is read of it, and misread
- street: the scenes
- scoring: what came out, held against what was there
"""

from __future__ import annotations

from lpr.testing.traffic.camera import EMPTY, FAR_M, HEIGHT, NEAR_M, WIDTH, project
from lpr.testing.traffic.frames import Conditions, Seen, Traffic, identity_of
from lpr.testing.traffic.scoring import Score, score
from lpr.testing.traffic.street import CONFUSIONS, Street
from lpr.testing.traffic.vehicle import CAR, CAR_SHORT_PLATE, MOTORBIKE, Body, Vehicle

__all__ = [
    "CAR",
    "CAR_SHORT_PLATE",
    "CONFUSIONS",
    "EMPTY",
    "FAR_M",
    "HEIGHT",
    "MOTORBIKE",
    "NEAR_M",
    "WIDTH",
    "Body",
    "Conditions",
    "Score",
    "Seen",
    "Street",
    "Traffic",
    "Vehicle",
    "identity_of",
    "project",
    "score",
]
