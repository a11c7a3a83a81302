"""No test waits for ever: one that hangs fails, named, and tells where its threads and tasks stood.

After `faulthandler_timeout` * 2/3 (180 s) in one phase of a test (its fixtures, itself, their end) a signal ends the
wait by a failure, and the other tests go on. What does not heed the signal, since it stands in native code or swallows
what is raised, ends the whole process at `faulthandler_timeout`, with the stacks of all threads; pytest-xdist names the
test then, and `--max-worker-restart 0` ends the run: it would begin the same test again and again.

Collecting is watched by the second alone. A longer limit, or none (0): `pytest -o faulthandler_timeout=…`.
"""

from __future__ import annotations

import asyncio
import faulthandler
import os
import re
import signal
import sys
import threading
import traceback
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

import pytest

_SHARE = 2 / 3
_AGAIN_S = 15.0
"""What is waited for after the failure, tasks that do not end for example, is told by a further signal."""

_OF_PYTEST = re.compile(r"/(_?pytest|pluggy|execnet|xdist)/")
"""Whose calls stand around those of every test."""

_stderr = pytest.StashKey[int]()
"""What stderr is beneath pytest's capturing, which is lost where the process ends."""


def pytest_configure(config: pytest.Config) -> None:
    """Keep what messages can be written to whatever happens."""
    config.stash[_stderr] = os.dup(2)


def pytest_unconfigure(config: pytest.Config) -> None:
    """Let go of it."""
    os.close(config.stash[_stderr])


@pytest.hookimpl(wrapper=True)
def pytest_collection(session: pytest.Session) -> Generator[None, object, object]:
    """Importing a test's file may hang as well."""
    if limit_s := _limit_s(session.config):
        faulthandler.dump_traceback_later(limit_s, exit=True, file=session.config.stash[_stderr])
    try:
        return (yield)
    finally:
        faulthandler.cancel_dump_traceback_later()


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> Generator[None, object, object]:
    """Fixtures."""
    with _in_time(item, "its fixtures"):
        return (yield)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, object, object]:
    """The test itself."""
    with _in_time(item, "the test"):
        return (yield)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_teardown(item: pytest.Item) -> Generator[None, object, object]:
    """The end of its fixtures, and of those of all tests after the last one."""
    with _in_time(item, "the end of its fixtures"):
        return (yield)


def pytest_enter_pdb() -> None:
    """A person takes their time."""
    signal.setitimer(signal.ITIMER_REAL, 0)


def _limit_s(config: pytest.Config) -> float:
    return float(config.getini("faulthandler_timeout") or 0)


@contextmanager
def _in_time(item: pytest.Item, what: str) -> Iterator[None]:
    limit_s = _limit_s(item.config) * _SHARE

    def fail(_signal: int, frame: FrameType | None) -> None:
        told = f"{item.nodeid}: {what} took more than {limit_s:g} s\n{_where_all_stand(frame)}"
        os.write(item.config.stash[_stderr], f"\n{told}\n".encode())
        pytest.fail(told)

    before = signal.signal(signal.SIGALRM, fail)
    signal.setitimer(signal.ITIMER_REAL, limit_s, _AGAIN_S)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def _where_all_stand(main: FrameType | None) -> str:
    """The stacks of all threads, and those of the running event loop's tasks, which stand in no thread's."""
    names = {thread.ident: thread.name for thread in threading.enumerate()}
    told = []
    for ident, frame in sys._current_frames().items():
        is_main = ident == threading.main_thread().ident
        told.append(f"--- thread {names.get(ident, ident)}\n")
        stack = traceback.extract_stack(main if is_main else frame)
        told += traceback.format_list([each for each in stack if not _OF_PYTEST.search(each.filename)])
    loop = asyncio.events._get_running_loop()
    for task in asyncio.all_tasks(loop) if loop is not None else ():
        told.append(f"--- task {task.get_name()}\n")
        told += [f"  {line}\n" for line in _awaited(task.get_coro())]
    return "".join(told)


def _awaited(awaiting: Any) -> Iterator[str]:
    """What a suspended coroutine awaits, from the outside to the innermost, as far as it can be seen."""
    while awaiting is not None:
        frame = next((f for name in ("cr_frame", "ag_frame", "gi_frame") if (f := getattr(awaiting, name, None))), None)
        if frame is None:
            yield repr(awaiting)
            return
        yield f"{frame.f_code.co_filename}:{frame.f_lineno} in {frame.f_code.co_qualname}"
        awaiting = next(
            (a for name in ("cr_await", "ag_await", "gi_yieldfrom") if (a := getattr(awaiting, name, None))), None
        )
