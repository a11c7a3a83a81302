"""Plates in a picture: find them, straighten them, read them. OpenVINO and OpenCV are known here and not above.

`lpr.vision.vision.Vision` gives readers to cameras; what is heavy is imported when it is made, not with this package.
"""
