"""Pictures that are used again: never while anybody holds them or a part of them."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from lpr.capture.opencv import OpenCvCapture
from lpr.capture.pool import KEPT, PicturePool
from lpr.domain.frame import Image


def picture(height: int = 4) -> Image:
    return np.zeros((height, 6, 3), np.uint8)


def test_a_picture_that_nobody_holds_is_given_again_and_can_be_written_to() -> None:
    pool, shown = PicturePool(), picture()
    pool.keep(shown)
    shown.setflags(write=False)
    address = shown.ctypes.data
    assert pool.free() is None

    del shown
    again = pool.free()

    assert again is not None
    assert again.ctypes.data == address
    again[:] = 7


def test_a_part_that_is_held_keeps_the_whole_picture_out_of_use() -> None:
    pool, shown = PicturePool(), picture()
    pool.keep(shown)
    part = shown[1:3, 2:4]
    del shown

    assert pool.free() is None
    del part
    assert pool.free() is not None


def test_held_pictures_leave_the_pool_and_it_never_grows() -> None:
    pool, held = PicturePool(), [picture() for _ in range(3 * KEPT)]
    for each in held:
        pool.keep(each)
        pool.keep(each)
    del each, held[:-KEPT]
    assert pool.free() is None

    del held[-1]
    assert pool.free() is not None


def test_pictures_of_another_size_are_let_go() -> None:
    pool = PicturePool()
    pool.keep(picture(4))
    pool.keep(picture(8))

    free = pool.free()
    assert free is not None
    assert free.shape == (8, 6, 3)


def test_a_decoder_writes_into_what_was_let_go_and_never_into_what_is_held(tmp_path: Path) -> None:
    path = tmp_path / "greys.mp4"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), 25, (64, 48))
    for number in range(12):
        writer.write(np.full((48, 64, 3), 20 * number, np.uint8))
    writer.release()
    capture = OpenCvCapture("greys")
    assert capture.open(str(path), "CAP_FFMPEG", {"CAP_PROP_N_THREADS": 1})

    assert capture.grab()
    held = capture.retrieve()[10:20]
    before, places = held.copy(), set()
    while capture.grab():
        shown = capture.retrieve()
        shown.setflags(write=False)
        places.add(shown.ctypes.data)

    capture.close()
    assert np.array_equal(held, before)
    assert len(places) == 2  # one is shown while the next is written
