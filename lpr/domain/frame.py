"""A camera's picture and when it was taken."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from lpr.domain.clock import Instant

Image: TypeAlias = NDArray[np.uint8]
"""uint8, height x width x 3, blue-green-red, as OpenCV has it."""


@dataclass(slots=True, eq=False, weakref_slot=True)
class Still:
    """A place for the picture that a camera's larger stream has of the same moment.

    Filled by that stream's thread a moment later, or never; emptied again where memory is short. `before` is what the
    stream gave last: where `frame` is late, or something has come before the plate in it, that picture may show it.
    """

    wanted_at: Instant
    before: Frame | None = None
    frame: Frame | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """One picture of one camera.

    `image` is shared, never copied, and never written to after capture. `number` counts the decoded frames of this
    camera's run from 0. `captured_at` is taken when the frame left the decoder (for files: the file's own time line,
    laid from the moment that playing began). `still` is there where the camera has a larger stream as well.
    """

    camera_id: str
    number: int
    image: Image
    captured_at: Instant
    still: Still | None = None

    @property
    def width(self) -> int:
        """Pixels."""
        return int(self.image.shape[1])

    @property
    def height(self) -> int:
        """Pixels."""
        return int(self.image.shape[0])
