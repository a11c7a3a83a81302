"""From a camera, a clip or a folder to frames: one thread a camera decodes, the event loop takes the newest frame.

`CameraReader` is what the agent uses; `frames_of` reads pictures and clips without a loop, for the command line.

base.py                 what every source can do (FrameSource), and what a camera is told about reading its own
source.py               an address -> the source that reads it
network.py usb.py files.py looped.py     the sources: cameras, clips and folders, a clip that plays for ever
vaapi.py ffmpeg.py      a network camera decoded on an Intel GPU, by the system's ffmpeg
opencv.py decoder_log.py     OpenCV's `VideoCapture`; what decoders print
rtsp.py description.py resize.py jpeg.py   what a camera says: what is wrong, how large its pictures are and become
reader.py               CameraReader: the states of a camera
session.py              one connection: the thread that reads it
retry.py outage.py      when it is tried again, and what of that is logged
buffers.py stills.py    where frames are handed over; the larger stream's pictures, when they are wanted
timing.py pool.py       which frames are analysed, how fresh they are; the memory that they lie in
"""
