"""Decoders' messages reach the log and nothing else is lost; in processes of their own, for descriptor 2 is moved."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path


def run(program: str) -> subprocess.CompletedProcess[str]:
    root = Path(__file__).parents[2]
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)],
        cwd=root,
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=60,
        check=False,
    )


def test_lines_of_a_decoder_are_kept_masked_and_all_others_pass() -> None:
    done = run("""
        import os, sys
        from lpr.capture.decoder_log import DecoderMessages
        with DecoderMessages() as messages:
            os.write(2, b"[rtsp @ 0x5581] Could not open rtsp://an:s3cr3t@cam/live: 401\\n")
            os.write(2, b"[ WARN:0@13.544] global cap_ffmpeg_impl.hpp:453 Stream timeout triggered\\n")
            os.write(2, "một dòng khác\\n".encode())
            print("a line of Python", file=sys.stderr)
            os.write(2, b"without an end")
        print(*messages.recent(60), sep="\\n")
        print("after", file=sys.stderr)
    """)
    assert done.returncode == 0, done.stderr
    assert "[rtsp @ 0x5581] Could not open rtsp://an:***@cam/live: 401" in done.stdout
    assert "Stream timeout triggered" in done.stdout
    assert "s3cr3t" not in done.stdout + done.stderr
    for line in ("một dòng khác", "a line of Python", "without an end", "after"):
        assert line in done.stderr.splitlines()


def test_what_opencv_says_of_a_broken_file_is_caught(tmp_path: Path) -> None:
    (tmp_path / "broken.mp4").write_bytes(b"\0\0\0\x18ftypmp42\0\0\0\0mp42isom" + b"\0" * 2000)
    done = run(f"""
        import cv2
        from lpr.capture.decoder_log import DecoderMessages
        with DecoderMessages() as messages:
            cv2.VideoCapture({str(tmp_path / "broken.mp4")!r}, cv2.CAP_FFMPEG).release()
        assert messages.recent(60), "nothing was caught"
        assert messages.recent(-1) == []
    """)
    assert done.returncode == 0, done.stderr
    assert "mov,mp4" not in done.stderr


def test_what_libpng_says_of_a_broken_picture_is_caught() -> None:
    done = run("""
        import struct, zlib
        import cv2, numpy as np
        from lpr.capture.decoder_log import DecoderMessages
        header = b"IHDR" + struct.pack(">IIBBBBB", 300, 300, 8, 0, 0, 0, 0)
        chunks = (header, b"IDAT" + zlib.compress(bytes(9)), b"IEND")
        png = b"".join(struct.pack(">I", len(c) - 4) + c + struct.pack(">I", zlib.crc32(c)) for c in chunks)
        with DecoderMessages() as messages:
            cv2.imdecode(np.frombuffer(bytes.fromhex("89504e470d0a1a0a") + png, np.uint8), cv2.IMREAD_COLOR)
        assert any("libpng" in line for line in messages.recent(60)), "nothing was caught"
    """)
    assert done.returncode == 0, done.stderr
    assert "libpng" not in done.stderr


def test_a_flood_neither_blocks_nor_grows() -> None:
    done = run("""
        import os
        from lpr.capture.decoder_log import DecoderMessages
        with DecoderMessages() as messages:
            for number in range(3_000):
                os.write(2, b"[h264 @ 0x55aa] error while decoding MB 10 20\\n")
            os.write(2, b"x" * 100_000 + b"\\n")
        assert len(messages.recent(60)) == 60
    """)
    assert done.returncode == 0, done.stderr[-500:]
    assert done.stderr.count("x") == 100_000
