"""When a camera is asked for the size of its pictures, and what is done with the answer."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from itertools import pairwise

import pytest

from lpr.capture.description import Size
from lpr.capture.resize import APART_S, REGULARLY_S, SizeDoubts, SizeWatch
from lpr.domain.errors import CaptureError, CaptureRefusedError

FPS = 25


def asked_at(wholes: Iterable[int], seconds: float, *, pauses: dict[int, float] | None = None) -> list[float]:
    """When a camera is asked that sends whole pictures at these numbers, pausing before some of its pictures."""
    doubts, at_s, asked = SizeDoubts(), 0.0, []
    numbers = set(wholes)
    for number in range(int(seconds * FPS)):
        at_s += 1 / FPS + (pauses or {}).get(number, 0.0)
        if doubts.arise(number in numbers, at_s + 1000, at_s):
            asked.append(round(at_s, 1))
    return asked


def rhythm(every: int, seconds: float, first: int = 0) -> range:
    return range(first, int(seconds * FPS), every)


def test_a_camera_that_keeps_its_rhythm_is_asked_twice_at_first_and_then_no_oftener_than_it_is_greeted() -> None:
    asked = asked_at(rhythm(50, 300), 300)
    assert asked[:2] == pytest.approx([3.0, 6.0], abs=0.2)
    assert len(asked) == 2 + int((300 - 6) / REGULARLY_S)
    assert all(later - earlier >= REGULARLY_S - 0.1 for earlier, later in pairwise(asked[1:]))


def test_a_whole_picture_before_its_time_is_asked_about_at_once_and_a_moment_later() -> None:
    # The encoder is set anew at 15.2 s, and keeps its own rhythm from then on.
    asked = asked_at([*rhythm(50, 15.2), *rhythm(50, 30, first=380)], 30)
    assert [each for each in asked if 7 < each < 25] == pytest.approx([15.2, 18.2], abs=0.2)


@pytest.mark.parametrize("changed", [80, 105, 130, 155, 180])
def test_a_change_right_after_a_question_is_asked_about_as_soon_as_may_be(changed: int) -> None:
    asked = asked_at([*rhythm(50, changed / FPS), *rhythm(50, 30, first=changed)], 30)
    assert next(each for each in asked if each > changed / FPS) <= changed / FPS + APART_S + 0.1


def test_a_pause_on_the_cameras_own_clock_is_asked_about_though_the_rhythm_is_kept() -> None:
    asked = asked_at(rhythm(50, 30), 30, pauses={400: 0.5})
    assert [each for each in asked if 7 < each < 25] == pytest.approx([16.5, 19.5], abs=0.2)


def test_a_slow_camera_does_not_pause_with_every_picture() -> None:
    doubts = SizeDoubts()
    asked = [number for number in range(200) if doubts.arise(number % 20 == 0, number * 0.8, number * 0.8)]
    assert [each * 0.8 for each in asked][:2] == pytest.approx([16.0, 19.2], abs=1.0)
    assert len(asked) == 2 + int((160 - 19) / (REGULARLY_S + 0.8))


def test_a_camera_without_a_rhythm_is_asked_every_few_seconds_at_most() -> None:
    asked = asked_at([number * number % 997 for number in range(3000)], 40)
    assert all(later - earlier >= APART_S - 0.1 for earlier, later in pairwise(asked))


def test_a_rhythm_that_was_changed_is_learnt() -> None:
    asked = asked_at([*rhythm(100, 40), *rhythm(25, 100, first=1000)], 100)
    assert 0 < len([each for each in asked if 40 <= each < 47]) <= 3
    assert [each for each in asked if 50 < each < 70] == []


class Camera:
    """Answers what it is told to, or raises it; the answer can be waited for."""

    def __init__(self, *answers: Size | CaptureError | None) -> None:
        self.answers, self.asked, self.answered = list(answers), 0, threading.Semaphore(0)

    def __call__(self) -> Size | None:
        self.asked += 1
        answer = self.answers.pop(0)
        self.answered.release()
        if isinstance(answer, CaptureError):
            raise answer
        return answer


def ask(watch: SizeWatch, number: int) -> Size | None:
    """A regular question; what is known when its thread has ended."""
    watch.picture(True, 1000.0, number * (REGULARLY_S + 1))
    for thread in threading.enumerate():
        if thread.name == "picture size":
            thread.join(5)
    return watch.answer()


@pytest.mark.parametrize(
    ("answers", "told", "asked"),
    [
        ([(640, 480), (1280, 720)], [(640, 480), (1280, 720)], 2),
        ([CaptureError("busy"), (1280, 720)], [None, (1280, 720)], 2),
        # What does not tell will not tell; and a login that is refused is not tried again.
        ([None, (1280, 720)], [None, None], 1),
        ([CaptureRefusedError("no"), (1280, 720)], [None, None], 1),
    ],
)
def test_an_answer_is_given_once_and_a_camera_that_gives_none_is_left_alone(
    answers: list[Size | CaptureError | None], told: list[Size | None], asked: int
) -> None:
    camera = Camera(*answers)
    watch = SizeWatch(camera)
    watch.picture(True, 1000.0, 0.0)
    assert [ask(watch, number) for number in range(1, 3)] == told
    assert watch.answer() is None
    assert camera.asked == asked
