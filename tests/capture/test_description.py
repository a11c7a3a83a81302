"""What is read out of a camera's description of its stream."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lpr.capture.description import Size, described_size, h264_size, h265_size

# What x264 and x265 wrote for pictures of these sizes: cropped ones, 4:2:2 and 4:4:4, interlaced, with and without the
# bytes that keep a parameter set from looking like the start of another unit.
H264: dict[str, Size] = {
    "Z0LAKNoB4AiflwFqAgICgAAAAwCAAAAeR4wZUA==": (1920, 1080),
    "Z2QAKKzZQHgCJ+XAWoCAgKAAAAMAIAAAB5HjBjLA": (1920, 1080),
    "Z0LAMtoAoALWwFqAgICgAAADACAAAAeR4wZU": (2560, 1440),
    "Z0LAFdoFglsBagwMDUoAAAMAAgAAAwB5HixdQA==": (352, 288),
    "Z0LAHtoCkP+IiMBagwMDUoAAAAMAgAAAHkeLF1A=": (642, 482),
    "Z0LAM9oA8AEPsBagICAoAAADAAgAAAMB5HjBlQ==": (3840, 2160),
    "Z3oAKLy0A8ARPUXgLUBAQFAAAAMAEAAAAwPI8YMq": (1918, 1078),
    "Z/QAIJGWgFYGHi7wFqAgICgAAAMACAAAAwHkeMGV": (1366, 766),
    "Z2QAHqzZQLQk/WAtQYGBqUAAAAMAQAAADKfFCmWA": (720, 572),
}
H265: dict[str, Size] = {
    "QgEBAWAAAAMAkAAAAwAAAwB4oAPAgBEHy5ZWVKTC//AAEAAWoCAgIIAAAAMAgAAADwQ=": (1920, 1080),
    "QgEBAWAAAAMAkAAAAwAAAwBaoAUiAfHERGWVlSkwv/wABAAFqDAwMCAAAAMAIAAAAwPB": (642, 482),
    "QgEBAWAAAAMAkAAAAwAAAwCWoAFQIAXxZZWVKTC//AAEAAWoCAgIIAAAAwAgAAADA8E=": (2688, 1520),
    "QgEBBAgAAAMAnggAAAMAAFqQAKRAPjj4/LKypSYX/4AAgAC1BgYGBAAAAwAEAAADAHgg": (642, 482),
}


@pytest.mark.parametrize(("text", "size"), H264.items())
def test_what_x264_wrote_is_read(text: str, size: Size) -> None:
    assert h264_size(base64.b64decode(text)) == size
    assert h265_size(base64.b64decode(text)) is None


@pytest.mark.parametrize(("text", "size"), H265.items())
def test_what_x265_wrote_is_read(text: str, size: Size) -> None:
    assert h265_size(base64.b64decode(text)) == size
    assert h264_size(base64.b64decode(text)) is None


class Writer:
    """Writes a parameter set bit by bit: what the encoders above never write is tried with it."""

    def __init__(self, header: bytes) -> None:
        self._header, self._bits = header, ""

    def put(self, value: int, count: int = 1) -> None:
        self._bits += f"{value:0{count}b}" if count else ""

    def number(self, value: int) -> None:
        self._bits += f"{value + 1:b}".zfill(2 * (value + 1).bit_length() - 1)

    def signed(self, value: int) -> None:
        self.number(2 * value - 1 if value > 0 else -2 * value)

    def unit(self) -> bytes:
        bits = self._bits + "1"
        bits += "0" * (-len(bits) % 8)
        payload = int(bits, 2).to_bytes(len(bits) // 8, "big")
        guarded = bytearray()
        for byte in payload:
            if byte <= 3 and guarded[-2:] == b"\x00\x00":
                guarded.append(3)
            guarded.append(byte)
        return self._header + bytes(guarded)


crops = st.tuples(*[st.integers(0, 7)] * 4)
deltas = st.lists(st.integers(-128, 127), max_size=64)


@given(
    st.integers(4, 300),
    st.integers(4, 300),
    crops,
    st.sampled_from([66, 77, 100, 244]),
    st.integers(0, 3),
    st.booleans(),
    st.integers(0, 2),
    st.lists(st.one_of(st.none(), deltas), min_size=12, max_size=12),
    st.lists(st.integers(-99, 99), max_size=255),
)
def test_every_form_of_an_h264_set_tells_its_size(
    columns: int,
    rows: int,
    crop: tuple[int, int, int, int],
    profile: int,
    chroma: int,
    fields: bool,
    order: int,
    lists: list[list[int] | None],
    cycle: list[int],
) -> None:
    writer = Writer(b"\x67")
    writer.put(profile, 8)
    writer.put(30, 16)
    writer.number(0)
    if profile >= 100:
        writer.number(chroma)
        if chroma == 3:
            writer.put(0)
        writer.number(0)
        writer.number(0)
        writer.put(0)
        writer.put(1)
        for place, steps in enumerate(lists[: 12 if chroma == 3 else 8]):
            write_scaling_list(writer, steps, 16 if place < 6 else 64)
    writer.number(0)
    writer.number(order)
    if order == 0:
        writer.number(2)
    elif order == 1:
        writer.put(0)
        writer.signed(-1)
        writer.signed(1)
        writer.number(len(cycle))
        for step in cycle:
            writer.signed(step)
    writer.number(4)
    writer.put(0)
    writer.number(columns - 1)
    writer.number(rows - 1)
    writer.put(not fields)
    if fields:
        writer.put(0)
    writer.put(1)
    writer.put(1)
    for side in crop:
        writer.number(side)
    chroma = chroma if profile >= 100 else 1
    x, y = {0: (1, 1), 1: (2, 2), 2: (2, 1), 3: (1, 1)}[chroma]
    left, right, top, bottom = crop
    width = 16 * columns - x * (left + right)
    height = (16 * rows - y * (top + bottom)) * (2 if fields else 1)
    unit = writer.unit()
    assert h264_size(unit) == ((width, height) if len(unit) <= 1024 else None)


def write_scaling_list(writer: Writer, steps: list[int] | None, count: int) -> None:
    """One list, or its absence; what is left of it after a step to 0 is not written."""
    writer.put(steps is not None)
    if steps is None:
        return
    last = following = 8
    for place in range(count):
        if following:
            step = steps[place] if place < len(steps) else 0
            writer.signed(step)
            following = (last + step) % 256
        last = following or last


@given(
    st.integers(64, 8192),
    st.integers(64, 4320),
    crops,
    st.integers(0, 3),
    st.lists(st.tuples(st.booleans(), st.booleans()), max_size=6),
)
def test_every_form_of_an_h265_set_tells_its_size(
    width: int, height: int, crop: tuple[int, int, int, int], chroma: int, layers: list[tuple[bool, bool]]
) -> None:
    writer = Writer(b"\x42\x01")
    writer.put(0, 4)
    writer.put(len(layers), 3)
    writer.put(1)
    writer.put(1 << 70, 96)
    if layers:
        for profile, level in [*layers, *[(False, False)] * (8 - len(layers))]:
            writer.put(profile)
            writer.put(level)
        for profile, level in layers:
            writer.put(0, 88 * profile + 8 * level)
    writer.number(0)
    writer.number(chroma)
    if chroma == 3:
        writer.put(0)
    writer.number(width)
    writer.number(height)
    writer.put(1)
    for side in crop:
        writer.number(side)
    x, y = {0: (1, 1), 1: (2, 2), 2: (2, 1), 3: (1, 1)}[chroma]
    left, right, top, bottom = crop
    assert h265_size(writer.unit()) == (width - x * (left + right), height - y * (top + bottom))


@given(st.binary(max_size=2048))
def test_noise_tells_nothing_or_a_size_that_can_be(noise: bytes) -> None:
    for size in (h264_size(b"\x67" + noise), h265_size(b"\x42\x01" + noise), h264_size(noise), h265_size(noise)):
        assert size is None or (16 <= size[0] <= 16384 and 16 <= size[1] <= 16384)


@given(st.sampled_from([*H264]), st.data())
def test_a_set_that_was_cut_tells_nothing_or_the_truth(text: str, data: st.DataObject) -> None:
    unit = base64.b64decode(text)
    size = h264_size(unit[: data.draw(st.integers(0, len(unit)))])
    assert size in (None, H264[text])


SESSION = "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=Camera\r\na=framesize:96 64-64\r\n"
SOUND = "m=audio 0 RTP/AVP 97\r\na=fmtp:97 sprop-parameter-sets=Z0LAFdoFglsBagwMDUoAAAMAAgAAAwB5HixdQA==\r\n"
VIDEO = "m=video 0 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\n"


@pytest.mark.parametrize(
    ("media", "size"),
    [
        (
            SOUND + VIDEO + f"a=fmtp:96 packetization-mode=1;sprop-parameter-sets={next(iter(H264))},aM48gA==;x=1",
            (1920, 1080),
        ),
        (VIDEO + f"a=fmtp:96 sprop-vps=QAEM;sprop-sps={next(iter(H265))};sprop-pps=RAHAcYMS", (1920, 1080)),
        (VIDEO + "a=fmtp:96 sprop-parameter-sets=aM48gA==,Z0LAFdoFglsBagwMDUoAAAMAAgAAAwB5HixdQA==", (352, 288)),
        ("m=video 0 RTP/AVP 26\r\na=framesize:26 640-480\r\n", (640, 480)),
        ("m=video 0 RTP/AVP 26\r\na=x-dimensions: 1280,720\r\n", (1280, 720)),
        ("m=video 0 RTP/AVP 26\r\na=framesize:26 0-480\r\n", None),
        ("m=video 0 RTP/AVP 26\r\na=framesize:26 99999-99999\r\n", None),
        (VIDEO + "a=fmtp:96 sprop-parameter-sets=Z0=,====,Z,ZZZZ", None),
        (VIDEO, None),
        (SOUND, None),
        ("", None),
    ],
)
def test_the_first_video_stream_of_a_description_tells(media: str, size: Size | None) -> None:
    assert described_size(SESSION + media) == size
    assert described_size((SESSION + media).replace("\r\n", "\n")) == size
