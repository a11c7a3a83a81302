"""Pictures that are used again: a frame of 1080p is 6 MB, and memory that is new costs more to get than to fill."""

from __future__ import annotations

import sys
from typing import Final

import numpy as np

from lpr.domain.frame import Image

KEPT: Final = 4
"""The newest frame, the one under analysis, the one on the local page, and the one that is being decoded. Pictures that
are kept for longer, as a vehicle's best is, are taken out of use here, and others take their place."""


class PicturePool:
    """The last pictures of one decoder, for one thread; each is given again once nobody else holds it or a part of it.

    Getting 6 MB from the system and giving them back takes as long as decoding into them: half of what a frame costs
    the decoder's thread beyond decoding.
    """

    def __init__(self) -> None:
        self._pictures: list[Image] = []

    def free(self) -> Image | None:
        """A picture to write into, the size of those seen last; None where all are held by somebody."""
        for place in range(len(self._pictures)):
            if _holders(self._pictures, place) == _ALONE:
                picture = self._pictures[place]
                picture.setflags(write=True)
                return picture
        return None

    def keep(self, picture: Image) -> None:
        """`picture` was handed out: to be used again later. Those of another size are let go."""
        if any(each is picture for each in self._pictures):
            return
        if not picture.flags.owndata:
            return  # a view: whoever owns the memory may use it himself
        self._pictures = [each for each in self._pictures if each.shape == picture.shape]
        self._pictures = [*self._pictures, picture][-KEPT:]


def _holders(pictures: list[Image], place: int) -> int:
    """How often the picture is referred to; a view of it, and native code that works on it, refer to it, too."""
    return sys.getrefcount(pictures[place])


_ALONE: Final = _holders([np.zeros(1, np.uint8)], 0)
"""The list, and what Python itself needs for asking: that differs between its versions."""
