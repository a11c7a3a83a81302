"""The file of pictures: nothing that is needed is written over, no room is lost, the end is given back."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from lpr.outbox import pictures
from lpr.outbox.pictures import BLOCK, Extents, PictureFile, blocks, extents_from_text, extents_to_text, split


@pytest.fixture
def file(tmp_path: Path) -> Iterator[PictureFile]:
    opened = PictureFile(tmp_path / "pictures")
    yield opened
    opened.close()


def put(file: PictureFile, *contents: bytes) -> list[Extents]:
    places = file.put([[content[:10], content[10:]] for content in contents])
    file.sync()
    return places


def size_bytes(file: PictureFile) -> int:
    return os.fstat(file._fd).st_size


def test_events_that_are_put_down_together_lie_one_behind_the_other(file: PictureFile) -> None:
    contents = [os.urandom(5000), os.urandom(BLOCK), b"", os.urandom(100)]
    places = put(file, *contents)
    assert places == [[(0, 2 * BLOCK)], [(2 * BLOCK, BLOCK)], [(3 * BLOCK, BLOCK)], [(4 * BLOCK, BLOCK)]]
    assert [file.read(place, 0, len(data)) for place, data in zip(places, contents, strict=True)] == contents
    assert file.read(places[0], 4990, 10) == contents[0][4990:]
    assert size_bytes(file) == 5 * BLOCK


def test_room_is_used_again_only_when_no_view_can_see_what_was_there(file: PictureFile) -> None:
    (old,) = put(file, b"o" * BLOCK)
    with file.view():
        file.release(old)
        (during,) = put(file, b"d" * BLOCK)
        assert file.read(old, 0, BLOCK) == b"o" * BLOCK
    (after,) = put(file, b"a" * BLOCK)
    assert during != old
    assert after == old


def test_what_fits_no_hole_lies_in_several_before_the_file_grows(file: PictureFile) -> None:
    places = put(file, *(bytes([n]) * BLOCK for n in range(8)))
    file.release([places[n][0] for n in (1, 3, 5)])
    data = os.urandom(3 * BLOCK - 7)
    (place,) = put(file, data)
    assert list(place) == [(BLOCK, BLOCK), (3 * BLOCK, BLOCK), (5 * BLOCK, BLOCK)]
    assert file.read(place, 0, len(data)) == data
    assert file.read(place, BLOCK - 1, 5) == data[BLOCK - 1 : BLOCK + 4]
    assert file.free_bytes == 0
    assert extents_from_text(extents_to_text(place)) == list(place)
    (longer,) = put(file, bytes(2 * BLOCK))
    assert list(longer) == [(8 * BLOCK, 2 * BLOCK)]


def test_more_pieces_than_the_bound_are_not_made(file: PictureFile, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pictures, "MOST_PIECES", 2)
    places = put(file, *(bytes([n]) * BLOCK for n in range(6)))
    file.release([places[n][0] for n in (0, 2, 4)])
    (place,) = put(file, bytes(3 * BLOCK))
    assert list(place) == [(6 * BLOCK, 3 * BLOCK)]


def test_the_end_is_cut_off_once_what_lay_there_has_moved(file: PictureFile) -> None:
    places = put(file, *(bytes([n]) * BLOCK for n in range(6)))
    file.release([places[n][0] for n in (0, 2)])
    assert file.move_down([(5 * BLOCK, BLOCK)]) == [(0, BLOCK)]
    file.sync()
    file.release(places[5])
    file.shrink(0)
    assert size_bytes(file) == 5 * BLOCK
    assert file.read([(0, BLOCK)], 0, BLOCK) == bytes([5]) * BLOCK
    assert file.move_down([(BLOCK, BLOCK)]) is None, "no hole before it"
    file.release(extent for n in (1, 3, 4) for extent in places[n])
    file.release([(0, BLOCK)])
    file.shrink(3 * BLOCK)
    assert size_bytes(file) == 3 * BLOCK
    file.shrink(0)
    assert (size_bytes(file), file.free_bytes) == (0, 0)


def test_what_rows_speak_of_is_never_taken_for_free_whatever_the_file_looks_like(file: PictureFile) -> None:
    file.find_room([(2 * BLOCK, BLOCK), (2 * BLOCK, 2 * BLOCK)])  # the file is empty, two rows say the same
    places = [put(file, b"x" * BLOCK)[0] for _ in range(3)]
    assert places == [[(0, BLOCK)], [(BLOCK, BLOCK)], [(4 * BLOCK, BLOCK)]]


def test_a_disk_that_fills_on_the_way_is_told(file: PictureFile, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "pwritev", lambda fd, parts, offset: os.pwrite(fd, b"".join(parts)[:100], offset))
    data = os.urandom(3000)
    (place,) = put(file, data)
    assert file.read(place, 0, 3000) == data


def test_a_missing_file_has_no_readable_pictures(tmp_path: Path) -> None:
    missing = PictureFile(tmp_path / "none", read_only=True)
    assert missing.read([(0, BLOCK)], 0, 100) == b""
    missing.close()
    with pytest.raises(FileNotFoundError):
        PictureFile(tmp_path / "no folder" / "none")


def test_splitting_keeps_the_order() -> None:
    extents = [(0, 2 * BLOCK), (8 * BLOCK, BLOCK)]
    assert split(extents, 0) == ([], extents)
    assert split(extents, BLOCK) == ([(0, BLOCK)], [(BLOCK, BLOCK), (8 * BLOCK, BLOCK)])
    assert split(extents, 2 * BLOCK) == ([(0, 2 * BLOCK)], [(8 * BLOCK, BLOCK)])
    assert split(extents, 3 * BLOCK) == (extents, [])


@pytest.mark.parametrize("seed", range(5))
def test_in_any_history_every_event_keeps_its_bytes_and_no_room_is_lost(tmp_path: Path, seed: int) -> None:
    dice = random.Random(seed)
    file = PictureFile(tmp_path / "pictures")
    known: list[tuple[Extents, bytes]] = []
    for _ in range(600):
        match dice.choice("pprrmsfv"):
            case "p":
                contents = [dice.randbytes(dice.randint(0, 6 * BLOCK)) for _ in range(dice.randint(1, 4))]
                known += zip(put(file, *contents), contents, strict=True)
            case "r" if known:
                file.release(known.pop(dice.randrange(len(known)))[0])
            case "m" if known:
                last = max(range(len(known)), key=lambda n: max(known[n][0]))
                place, data = known[last]
                if (moved := file.move_down(place)) is not None:
                    known[last] = moved, data
                    file.release(place)
            case "s":
                file.shrink(dice.randint(0, 20 * BLOCK))
            case "f":
                file.find_room(extent for place, _ in known for extent in place)
            case "v" if known:
                with file.view():
                    place, data = known.pop(dice.randrange(len(known)))
                    file.release(place)
                    put(file, dice.randbytes(3 * BLOCK))
                    assert file.read(place, 0, len(data)) == data
                file.find_room(extent for place, _ in known for extent in place)
        for place, data in known:
            assert file.read(place, 0, len(data)) == data
        used = sum(length for place, _ in known for _, length in place)
        assert used + file.free_bytes == file._size
        assert file._size >= size_bytes(file)
    for place, _ in known:
        file.release(place)
    file.shrink(0)
    assert (size_bytes(file), file.free_bytes, blocks(1)) == (0, 0, BLOCK)
    file.close()
