"""JPEG in and out, and made to fit."""

import re
import struct
import zlib

import numpy as np
import pytest

from lpr.domain.errors import ImageError
from lpr.imaging import decode_image, encode_jpeg, encode_jpeg_within, fit_jpeg


def noise(width: int, height: int) -> np.ndarray:
    return np.random.default_rng(7).integers(0, 256, (height, width, 3), dtype=np.uint8)


def test_a_picture_comes_back_with_its_size() -> None:
    jpeg = encode_jpeg(np.full((40, 60, 3), (10, 120, 240), np.uint8))

    image = decode_image(jpeg.data)

    assert (jpeg.width, jpeg.height) == (60, 40)
    assert image.shape == (40, 60, 3)
    assert np.abs(image.astype(int) - (10, 120, 240)).max() <= 4


@pytest.mark.parametrize("max_bytes", [400_000, 120_000, 30_000])
def test_even_noise_is_made_to_fit(max_bytes: int) -> None:
    jpeg = encode_jpeg_within(noise(1280, 720), max_bytes)

    assert jpeg is not None
    assert len(jpeg.data) <= max_bytes
    assert decode_image(jpeg.data).shape == (jpeg.height, jpeg.width, 3)
    assert jpeg.width / jpeg.height == pytest.approx(1280 / 720, rel=0.02)


def test_a_picture_that_cannot_fit_is_left_out_rather_than_sent_as_a_blot() -> None:
    assert encode_jpeg_within(noise(640, 360), 500) is None


def test_a_jpeg_that_fits_is_not_compressed_again() -> None:
    jpeg = encode_jpeg(noise(64, 64))

    assert fit_jpeg(jpeg, len(jpeg.data)) is jpeg


@pytest.mark.parametrize("data", [b"", b"no picture", b"\xff\xd8\xff\xe0 truncated"])
def test_bytes_that_are_no_picture_are_an_error_in_words(data: bytes) -> None:
    with pytest.raises(ImageError, match=r"empty|no picture|damaged"):
        decode_image(data)


@pytest.mark.parametrize("shape", [(0, 10, 3), (10, 10), (10, 10, 4)])
def test_an_array_that_is_no_picture_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ImageError, match="uint8 H x W x 3"):
        encode_jpeg(np.zeros(shape, np.uint8))


@pytest.mark.parametrize(
    ("data", "told", "remedy"),
    [
        (b"\xff\xd8\xff\xe0" + bytes(300), r"JPEG picture is damaged or not complete \(304 bytes\)", "Copy it again"),
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(300), "HEIC picture", "as JPEG"),
        (b"\0\0\0\x18ftypisom\0\0\2\0isomavc1" + bytes(300), "a video", r"\.mp4"),
    ],
)
def test_what_cannot_be_decoded_is_named_for_what_it_is(data: bytes, told: str, remedy: str) -> None:
    with pytest.raises(ImageError, match=told) as raised:
        decode_image(data)
    assert re.search(remedy, raised.value.hint or "")


def test_a_picture_of_more_pixels_than_opencv_takes_is_an_error_of_that_picture() -> None:
    """OpenCV raises here instead of giving nothing, which ended a whole run of `lpr-agent read`."""
    chunks = (
        b"IHDR" + struct.pack(">IIBBBBB", 65_535, 65_535, 8, 0, 0, 0, 0),
        b"IDAT" + zlib.compress(bytes(9)),
        b"IEND",
    )
    data = b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(chunk) - 4) + chunk + struct.pack(">I", zlib.crc32(chunk)) for chunk in chunks
    )
    with pytest.raises(ImageError, match="OpenCV refuses this picture"):
        decode_image(data)
