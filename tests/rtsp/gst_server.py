"""A real RTSP camera for the tests: H.264 over gst-rtsp-server, run by the system's Python as a process of its own.

It needs Debian's `gir1.2-gst-rtsp-server-1.0 python3-gi gstreamer1.0-plugins-good gstreamer1.0-plugins-ugly` (the
payloader and the encoder are in the last two) and nothing else, least of all this project: it is started under
/usr/bin/python3.

Writes `ready PORT` when it listens. Obeys lines on its standard input:

    size W H     the stream changes its resolution, as a camera does whose settings are changed: in the same session,
                 its encoder begins anew and sends the new parameter sets with its pictures; `size W H FILE` for a film
    pause        no more pictures, the connection stays
    go           pictures again
    grey         pictures are one even grey
    quit         ends; so does the end of the standard input, so that no orphan is left behind

Each holds for all paths, or for one where it is named first (`main:pause`). A path may have a size and a film of its
own: `main:1280x720:FILE`, FILE holding pictures of that size as raw I420, which are shown over and over, by the clock:
several paths with films of one length show the same moment.

Every picture carries the monotonic time of its making as 48 black or white blocks, which `stamp.py` reads back: the
clock is the same in all processes of a machine, so a test knows how old a picture is.
"""

import argparse
import sys
import threading
import time

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstRtsp", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import GLib, Gst, GstRtsp, GstRtspServer  # noqa: E402

BLOCK_PX = 12
BLOCKS_A_ROW = 24
BITS = 48
BLACK, WHITE, GREY = 16, 235, 128


class Pictures:
    """Draws the pictures of one stream as I420 bytes."""

    def __init__(self, width: int, height: int, fps: int, film: str = "") -> None:
        self.fps = fps
        self.resize(width, height, film)
        self.grey = False
        self.paused = False

    def resize(self, width: int, height: int, film: str = "") -> None:
        self.width, self.height = width, height
        self.film = open(film, "rb") if film else None  # noqa: SIM115  # for as long as the server runs

    def draw(self, number: int) -> bytes:
        chroma = bytes([GREY]) * (self.width * self.height // 2)
        if self.grey:
            return bytes([GREY]) * (self.width * self.height) + chroma
        now_us = time.monotonic_ns() // 1000
        rows = []
        for first in range(0, BITS, BLOCKS_A_ROW):
            blocks = (WHITE if now_us >> bit & 1 else BLACK for bit in range(first, first + BLOCKS_A_ROW))
            row = b"".join(bytes([level]) * BLOCK_PX for level in blocks)
            rows.append((row + bytes([BLACK]) * self.width)[: self.width] * BLOCK_PX)
        ramp = bytes(40 + (x + number * 4) % 160 for x in range(160)) * (self.width // 160 + 2)
        if self.film:
            return self.of_film(b"".join(rows))
        rest = self.height - BLOCK_PX * len(rows)
        return b"".join(rows) + ramp[: self.width] * rest + chroma

    def of_film(self, stamp: bytes) -> bytes:
        size = self.width * self.height * 3 // 2
        count = self.film.seek(0, 2) // size
        self.film.seek(int(time.monotonic() * self.fps) % count * size)
        return stamp + self.film.read(size)[len(stamp) :]


ENCODERS = {
    "h264": "x264enc tune=zerolatency speed-preset=ultrafast threads=1 key-int-max={keyframe_every} "
    "! rtph264pay name=pay0 pt=96 config-interval=-1",
    "h265": "x265enc tune=zerolatency speed-preset=ultrafast key-int-max={keyframe_every} "
    "! rtph265pay name=pay0 pt=96 config-interval=-1",
    "jpeg": "jpegenc ! rtpjpegpay name=pay0 pt=26",
}


class Camera(GstRtspServer.RTSPMediaFactory):
    """One mount point: drawn pictures, encoded without delay."""

    def __init__(self, pictures: Pictures, fps: int, keyframe_every: int, codec: str) -> None:
        super().__init__()
        self.pictures, self.fps = pictures, fps
        # A stream of its own for each client: a shared one that has just been left answers the next one with 503.
        self.set_shared(False)
        self.set_launch(
            "( appsrc name=pictures is-live=true do-timestamp=true format=time max-buffers=2 leaky-type=downstream "
            f"! {ENCODERS[codec].format(keyframe_every=keyframe_every)} )"
        )
        self.connect("media-configure", self.on_configure)

    def on_configure(self, _factory: object, media: GstRtspServer.RTSPMedia) -> None:
        source = media.get_element().get_by_name("pictures")
        state = {"number": 0, "size": (0, 0)}

        def push() -> bool:
            if self.pictures.paused:
                return True
            size = (self.pictures.width, self.pictures.height)
            if size != state["size"]:
                caps = f"video/x-raw,format=I420,width={size[0]},height={size[1]},framerate={self.fps}/1"
                source.set_property("caps", Gst.Caps.from_string(caps))
                state["size"] = size
            data = self.pictures.draw(state["number"])
            state["number"] += 1
            return source.emit("push-buffer", Gst.Buffer.new_wrapped(data)) == Gst.FlowReturn.OK

        timer = GLib.timeout_add(1000 // self.fps, push)
        media.connect("unprepared", lambda _media: GLib.source_remove(timer))


def protect(server: GstRtspServer.RTSPServer, user: str, password: str, digest: bool) -> GstRtspServer.RTSPPermissions:
    auth = GstRtspServer.RTSPAuth()
    token = GstRtspServer.RTSPToken()
    token.set_string("media.factory.role", "viewer")
    if digest:
        auth.set_supported_methods(GstRtsp.RTSPAuthMethod.DIGEST)
        auth.add_digest(user, password, token)
    else:
        auth.add_basic(GstRtspServer.RTSPAuth.make_basic(user, password), token)
    server.set_auth(auth)
    permissions = GstRtspServer.RTSPPermissions()
    permissions.add_permission_for_role("viewer", "media.factory.access", True)
    permissions.add_permission_for_role("viewer", "media.factory.construct", True)
    return permissions


def obey(cameras: dict, loop: GLib.MainLoop) -> None:
    for line in sys.stdin:
        order, *values = line.split()
        path, _, order = order.rpartition(":")
        for camera in [cameras[path]] if path else cameras.values():
            pictures = camera.pictures
            if order == "size":
                # Where pictures are drawn, so that none is of both sizes.
                GLib.idle_add(pictures.resize, int(values[0]), int(values[1]), *values[2:])
            elif order in ("pause", "go"):
                pictures.paused = order == "pause"
            elif order == "grey":
                pictures.grey = True
        if order == "quit":
            break
    loop.quit()


def main() -> None:
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--port", default="0")
    arguments.add_argument("--paths", default="live")
    arguments.add_argument("--size", default="320x240")
    arguments.add_argument("--fps", type=int, default=25)
    arguments.add_argument("--keyframe-every", type=int, default=25)
    arguments.add_argument("--codec", choices=ENCODERS, default="h264")
    arguments.add_argument("--user")
    arguments.add_argument("--password")
    arguments.add_argument("--digest", action="store_true")
    options = arguments.parse_args()

    Gst.init(None)
    server = GstRtspServer.RTSPServer()
    server.set_address("127.0.0.1")
    server.set_service(options.port)
    permissions = protect(server, options.user, options.password, options.digest) if options.user else None
    cameras = {}
    for entry in options.paths.split(","):
        path, size, film = (*entry.split(":", 2), "", "")[:3]
        width, height = map(int, (size or options.size).split("x"))
        camera = Camera(Pictures(width, height, options.fps, film), options.fps, options.keyframe_every, options.codec)
        if permissions:
            camera.set_permissions(permissions)
        server.get_mount_points().add_factory(f"/{path}", camera)
        cameras[path] = camera
    if server.attach(None) == 0:
        sys.exit(f"port {options.port} is taken")
    loop = GLib.MainLoop()
    threading.Thread(target=obey, args=(cameras, loop), daemon=True).start()
    sys.stdout.write(f"ready {server.get_bound_port()}\n")
    sys.stdout.flush()
    loop.run()


main()
