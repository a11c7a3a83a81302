"""An `ffmpeg` for machines without an Intel GPU: a real program that writes real frames, or fails as real ones do.

`install` writes it into a folder for the PATH. It takes ffmpeg's arguments as they are, notes each start in a file, and
answers `-hwaccels` as one that was built with VA-API.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

WIDTH, HEIGHT = 320, 240
LUMA, BLUE, RED = 120, 90, 170
BGR = (44, 102, 188)
"""Every picture is of this one colour (as Y, U, V of television's range, and as BGR), so that a torn one shows."""

_PROGRAM = """\
#!{python} -ES
import os, signal, sys, time

ways = {ways!r}.split(",")
if "-hwaccels" in sys.argv:
    if ways[0] == "hangs":
        time.sleep(60)
    print("Hardware acceleration methods:\\nvdpau" + ("" if ways[0] == "old" else "\\nvaapi"))
    sys.exit()
starts = os.open({log!r}, os.O_RDWR | os.O_CREAT | os.O_APPEND)
number = os.read(starts, 1 << 20).count(b"\\n")
script = sys.stdin.read()
os.write(starts, (" ".join(sys.argv[1:]) + " <<< " + script.replace("\\n", "; ") + "\\n").encode())
os.close(starts)
way = ways[min(number, len(ways) - 1)]
out = sys.stdout.buffer
width, height = {width}, {height}
picture = b"P5\\n%d %d\\n255\\n" % (width, height * 3 // 2)
picture += bytes([{luma}]) * (width * height)
picture += (bytes([{blue}]) * (width // 2) + bytes([{red}]) * (width // 2)) * (height // 2)

def show(count):
    for _ in range(count):
        out.write(picture)
        out.flush()
        time.sleep(0.02)

if way == "dies":
    sys.exit("Unrecognized option 'fps_mode'.")
elif way == "crashes":
    os.kill(os.getpid(), signal.SIGSEGV)
elif way == "no driver":
    sys.exit("[AVHWDeviceContext @ 0x55d0] Failed to initialise VAAPI connection: -1 (unknown libva error).")
elif way == "silent":
    time.sleep(60)
elif way == "noise":
    out.write(os.urandom(1 << 16) + b"\\n" * 9)
elif way == "odd":
    out.write(b"P5\\n321 360\\n255\\n" + bytes(321 * 360))
elif way == "soon":
    show(30)
    sys.exit("[h264 @ 0x55d1] hwaccel went away")
elif way in ("resized", "flickers"):
    show(60 if way == "resized" else 1)
    for _ in range(1000):
        sys.stderr.write("Error while decoding stream #0:0: Input changed\\n")
        sys.stderr.flush()
        time.sleep(0.02)
elif way == "torn":
    show(30)
    out.write(picture[: len(picture) // 2])
    out.flush()
    sys.exit(1)
else:
    show(100000)
"""


@dataclass(frozen=True, slots=True)
class FakeFfmpeg:
    """The program once it is on the PATH."""

    folder: Path

    @property
    def log(self) -> Path:
        """A line for each start: the arguments and what came on standard input."""
        return self.folder / "starts"

    @property
    def starts(self) -> list[str]:
        """The lines of the log."""
        return self.log.read_text("utf-8").splitlines() if self.log.exists() else []


def install(folder: Path, ways: str = "well") -> FakeFfmpeg:
    """Write the program; `ways` names how its first, second, … start goes, the last one for all that follow."""
    fake = FakeFfmpeg(folder)
    program = folder / "ffmpeg"
    program.write_text(
        _PROGRAM.format(
            python=sys.executable,
            ways=ways,
            log=str(fake.log),
            width=WIDTH,
            height=HEIGHT,
            luma=LUMA,
            blue=BLUE,
            red=RED,
        ),
        "utf-8",
    )
    program.chmod(0o755)
    return fake
