"""A test that hangs is ended and named, and tells where it stood; tried on test files that really hang."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

LIMIT_S = 9.0
ENDS_WITHIN_S = 100.0

HANGS = """
import asyncio, signal, threading
import pytest

@pytest.fixture
def never_ends():
    yield
    threading.Event().wait()

async def wait_in_vain():
    await asyncio.Event().wait()

async def test_loop():
    await asyncio.create_task(wait_in_vain(), name="in vain")

def test_end(never_ends):
    pass

def test_good():
    pass
"""
DEAF = """
import signal, threading

def test_deaf():
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGALRM})
    threading.Event().wait()

def test_more():
    pass
"""
COLLECTED = "import threading\nthreading.Event().wait()\n"


@pytest.fixture(scope="module")
def ends(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[int, str]]:
    """How runs of these files end, each in a process of xdist with the limit above, and all that they say.

    All at once: they do nothing but wait.
    """
    runs = {text: start(tmp_path_factory.mktemp("hanging"), text) for text in (HANGS, DEAF, COLLECTED)}
    try:
        said = {text: process.communicate(timeout=ENDS_WITHIN_S)[0] for text, process in runs.items()}
    finally:
        for process in runs.values():
            process.kill()
    return {text: (process.returncode, said[text]) for text, process in runs.items()}


def start(folder: Path, text: str) -> subprocess.Popen[str]:
    (folder / "test_hanging.py").write_text(text, "utf-8")
    return subprocess.Popen(
        [sys.executable, "-m", "pytest", "-p", "tests.deadline", "-c", "/dev/null", "--rootdir", str(folder),
         "-p", "no:cacheprovider", "-o", f"faulthandler_timeout={LIMIT_S}", "-o", "faulthandler_exit_on_timeout=true",
         "-o", "asyncio_mode=auto", "-n", "1", "--max-worker-restart", "0", str(folder)],
        cwd=Path(__file__).parents[1], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip


def test_a_hanging_test_fails_with_its_name_and_all_stacks_and_the_others_go_on(
    ends: dict[str, tuple[int, str]],
) -> None:
    code, said = ends[HANGS]
    assert code == pytest.ExitCode.TESTS_FAILED, said
    assert "test_loop: the test took more than 6 s" in said
    assert "--- task in vain" in said
    assert "in wait_in_vain" in said
    assert "test_end: the end of its fixtures took more than 6 s" in said
    assert "in never_ends" in said
    assert "1 failed, 2 passed, 1 error" in said


def test_one_that_heeds_no_signal_ends_the_run_and_is_named(ends: dict[str, tuple[int, str]]) -> None:
    code, said = ends[DEAF]
    assert code == pytest.ExitCode.TESTS_FAILED, said
    assert "in test_deaf" in said, "the stacks of all threads"
    assert "crashed while running 'test_hanging.py::test_deaf'" in said


def test_a_file_that_hangs_when_it_is_imported_ends_the_run(ends: dict[str, tuple[int, str]]) -> None:
    code, said = ends[COLLECTED]
    assert code != pytest.ExitCode.OK
    assert "test_hanging.py" in said, "the stacks of all threads"
