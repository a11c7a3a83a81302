"""From a camera, a clip or a folder to frames: one thread a camera decodes, the event loop takes the newest frame.

`CameraReader` is what the agent uses; `frames_of` reads pictures and clips without a loop, for the command line.
"""
