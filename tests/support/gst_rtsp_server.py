"""A real RTSP server (GStreamer's) for tests, run with the system's python3 in its own process.

    gst_rtsp_server.py camera FILE...      plays files at rtsp://127.0.0.1:PORT/cam, cam2, ...
    gst_rtsp_server.py target OUT_DIR      accepts pushes at rtsp://127.0.0.1:PORT/live

Prints `READY port` once it listens. Ends when its standard input closes, so that it never
outlives the test that started it, whatever way that test died.
"""

from __future__ import annotations

import argparse
import sys
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

MISSING_PARTS_EXIT = 3
INSTALL_LINE = (
    "apt-get install python3-gi gir1.2-gst-rtsp-server-1.0 gstreamer1.0-plugins-good"
    " gstreamer1.0-plugins-bad gstreamer1.0-plugins-ugly gstreamer1.0-libav"
)

try:
    import gi  # type: ignore[import-not-found, import-untyped, unused-ignore]

    gi.require_version("Gst", "1.0")
    gi.require_version("GstRtsp", "1.0")
    gi.require_version("GstRtspServer", "1.0")
    from gi.repository import (  # type: ignore[import-not-found, import-untyped, unused-ignore]
        GLib,
        Gst,
        GstRtsp,
        GstRtspServer,
    )
except (ImportError, ValueError) as error:
    print(f"{error}\nneeded: {INSTALL_LINE}", file=sys.stderr)
    sys.exit(MISSING_PARTS_EXIT)

ROLE = "viewer"
# Units of a file are read once and then fed live, as a camera would: paced by the clock, and
# looped without a seam in the timestamps, which a seek in a served file cannot give.
DEMUXERS = {".mp4": "qtdemux", ".mov": "qtdemux", ".mkv": "matroskademux", ".ts": "tsdemux"}
BARE = {".264": "H264", ".h264": "H264", ".265": "H265", ".h265": "H265"}
PARSERS = {
    "H264": "h264parse ! video/x-h264,stream-format=byte-stream,alignment=au",
    "H265": "h265parse ! video/x-h265,stream-format=byte-stream,alignment=au",
    "JPEG": "image/jpeg",
    "AAC": "aacparse ! audio/mpeg,mpegversion=4,stream-format=raw",
}
PAYLOADERS = {
    # Parameter sets before every key frame, so that anyone can join late. The parser writes them:
    # the payloader would repeat them before every slice and so tear a key frame in two.
    "H264": "h264parse config-interval=-1 ! rtph264pay config-interval=0",
    "H265": "h265parse config-interval=-1 ! rtph265pay config-interval=0",
    "JPEG": "rtpjpegpay",
    "AAC": "rtpmp4gpay",
}
MEDIA_OF_CAPS = {"video/x-h264": "H264", "video/x-h265": "H265", "image/jpeg": "JPEG"}
DEPAYLOADERS = {
    "H264": "rtph264depay name=depay0 ! h264parse",
    "H265": "rtph265depay name=depay0 ! h265parse",
    "JPEG": "rtpjpegdepay name=depay0",
}
PULL_TIMEOUT_NS = 20 * 10**9


@dataclass
class Track:
    """One elementary stream in memory: its units in decode order, times from its first unit."""

    media: str
    caps: Any
    data: list[bytes] = field(default_factory=list)
    pts_ns: list[int] = field(default_factory=list)
    duration_ns: list[int] = field(default_factory=list)

    @property
    def send_ns(self) -> list[int]:
        """When each unit is due: decode order, evenly spread. Not all demuxers tell the dts."""
        return sorted(self.pts_ns)

    @property
    def length_ns(self) -> int:
        return max(p + d for p, d in zip(self.pts_ns, self.duration_ns, strict=True))


def probe(path: Path) -> str:
    """The media name of the video in the file."""
    if path.suffix in BARE:
        return BARE[path.suffix]
    pipeline = Gst.parse_launch(
        f'filesrc location="{path}" ! {DEMUXERS[path.suffix]} name=d ! fakesink sync=false'
    )
    found: list[str] = []

    def added(_: Any, pad: Any) -> None:
        caps = pad.get_current_caps() or pad.query_caps(None)
        name = caps.get_structure(0).get_name()
        if name in MEDIA_OF_CAPS:
            found.append(MEDIA_OF_CAPS[name])

    pipeline.get_by_name("d").connect("pad-added", added)
    pipeline.set_state(Gst.State.PAUSED)
    deadline_s, refused = time.monotonic() + 10, None
    while not found and refused is None and time.monotonic() < deadline_s:
        refused = pipeline.get_bus().timed_pop_filtered(20_000_000, Gst.MessageType.ERROR)
    pipeline.set_state(Gst.State.NULL)
    if not found:
        raise SystemExit(f"{path}: no H.264, H.265 or JPEG video inside")
    return found[0]


def read_tracks(path: Path, *, audio: bool, mjpeg: bool, fps: float) -> list[Track]:
    media = probe(path)
    kinds = ["JPEG" if mjpeg else media] + (["AAC"] if audio else [])
    convert = "decodebin ! videoconvert ! video/x-raw,format=I420 ! jpegenc quality=90"
    video = convert if mjpeg and media != "JPEG" else PARSERS[media]
    caps = {"H264": "video/x-h264", "H265": "video/x-h265", "JPEG": "image/jpeg"}[media]
    if path.suffix in BARE:
        head = f'filesrc location="{path}" ! {PARSERS[media].split(" !")[0]}'
    else:
        head = f'filesrc location="{path}" ! {DEMUXERS[path.suffix]} name=d d. ! {caps}'
    launch = f"{head} ! queue max-size-buffers=0 max-size-bytes=0 max-size-time=0 ! {video}"
    launch += " ! appsink name=sink0 sync=false"
    if audio:
        launch += (
            " d. ! audio/mpeg ! queue max-size-buffers=0 max-size-bytes=0 max-size-time=0"
            f" ! {PARSERS['AAC']} ! appsink name=sink1 sync=false"
        )
    pipeline = Gst.parse_launch(launch)
    pipeline.set_state(Gst.State.PLAYING)
    tracks = []
    try:
        for index, kind in enumerate(kinds):
            bare_fps = fps if path.suffix in BARE and index == 0 else None
            tracks.append(read_track(pipeline, f"sink{index}", kind, path, bare_fps))
    finally:
        pipeline.set_state(Gst.State.NULL)
    # One zero for all tracks keeps sound and picture in step.
    zero_ns = min(min(track.pts_ns) for track in tracks)
    for track in tracks:
        track.pts_ns = [value - zero_ns for value in track.pts_ns]
    return tracks


def read_track(pipeline: Any, sink_name: str, kind: str, path: Path, fps: float | None) -> Track:
    sink = pipeline.get_by_name(sink_name)
    track: Track | None = None
    while sample := sink.emit("try-pull-sample", PULL_TIMEOUT_NS):
        if track is None:
            track = Track(media=kind, caps=sample.get_caps())
        unit = sample.get_buffer()
        size = unit.get_size()
        track.data.append(unit.extract_dup(0, size))
        if fps is not None:  # bare Annex B has no clock; without B frames, order is time
            time_ns = round((len(track.data) - 1) * 1e9 / fps)
            track.pts_ns.append(time_ns)
            track.duration_ns.append(round(1e9 / fps))
            continue
        track.pts_ns.append(unit.pts if unit.pts != Gst.CLOCK_TIME_NONE else unit.dts)
        track.duration_ns.append(
            unit.duration if unit.duration != Gst.CLOCK_TIME_NONE else 40_000_000
        )
    if track is None:
        message = pipeline.get_bus().pop_filtered(Gst.MessageType.ERROR)
        reason = message.parse_error() if message else "no data"
        raise SystemExit(f"{path}: no {kind} stream: {reason}")
    return track


class Feeder:
    """Pushes the units of all tracks into one media's appsrcs, in real time, until stopped."""

    def __init__(self, tracks: list[Track], sources: list[Any], *, loop: bool) -> None:
        self._tracks, self._sources, self._loop = tracks, sources, loop
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()

    def _run(self) -> None:
        order = sorted(
            (send_ns, index, unit)
            for index, track in enumerate(self._tracks)
            for unit, send_ns in enumerate(track.send_ns)
        )
        length_ns = max(track.length_ns for track in self._tracks)
        start_s, turn = time.monotonic(), 0
        while True:
            for send_ns, index, unit in order:
                shift_ns = turn * length_ns
                due_s = start_s + (send_ns + shift_ns) / 1e9
                if self._stop.wait(max(0.0, due_s - time.monotonic())):
                    return
                track = self._tracks[index]
                buffer = Gst.Buffer.new_wrapped(track.data[unit])
                buffer.pts = track.pts_ns[unit] + shift_ns
                buffer.dts = Gst.CLOCK_TIME_NONE
                buffer.duration = track.duration_ns[unit]
                self._sources[index].emit("push-buffer", buffer)
            if not self._loop:
                break
            turn += 1
        for source in self._sources:
            source.emit("end-of-stream")


def camera_factory(tracks: list[Track], options: argparse.Namespace) -> Any:
    parts = [
        f"appsrc name=src{index} is-live=true format=time max-bytes=0"
        f" ! {PAYLOADERS[track.media]} name=pay{index} pt={96 + index}"
        for index, track in enumerate(tracks)
    ]
    factory = GstRtspServer.RTSPMediaFactory()
    factory.set_launch("( " + " ".join(parts) + " )")
    factory.set_shared(True)

    def configure(_: Any, media: Any) -> None:
        bin_ = media.get_element()
        sources = [bin_.get_by_name(f"src{index}") for index in range(len(tracks))]
        for source, track in zip(sources, tracks, strict=True):
            source.set_property("caps", track.caps)
        feeder = Feeder(tracks, sources, loop=options.loop)
        media.connect("unprepared", lambda _: feeder.stop())
        feeder.start()

    factory.connect("media-configure", configure)
    return factory


def pattern_factory(options: argparse.Namespace) -> Any:
    factory = GstRtspServer.RTSPMediaFactory()
    encode = "x264enc tune=zerolatency speed-preset=ultrafast key-int-max=25"
    pay = f"jpegenc ! {PAYLOADERS['JPEG']}" if options.mjpeg else f"{encode} ! {PAYLOADERS['H264']}"
    factory.set_launch(
        f"( videotestsrc is-live=true ! video/x-raw,format=I420,width=640,height=360,"
        f"framerate={round(options.fps)}/1 ! {pay} name=pay0 pt=96 )"
    )
    factory.set_shared(True)
    return factory


def target_factory(out_dir: Path, name: str, options: argparse.Namespace) -> Any:
    media_name = {"h264": "H264", "h265": "H265", "mjpeg": "JPEG"}[options.codec]
    depay = DEPAYLOADERS[media_name]
    # Streamable Matroska needs no closing words, so the file of a killed target still opens.
    mux = "matroskamux streamable=true min-cluster-duration=0 max-cluster-duration=0 !"
    if options.format == "annexb":
        fmt = {"H264": "video/x-h264", "H265": "video/x-h265"}[media_name]
        mux = f"{fmt},stream-format=byte-stream,alignment=au !"
    factory = GstRtspServer.RTSPMediaFactory()
    factory.set_transport_mode(GstRtspServer.RTSPTransportMode.RECORD)
    factory.set_launch(
        f"( {depay} ! {mux} filesink name=file buffer-mode=unbuffered sync=false async=false )"
    )
    factory.set_latency(options.latency_ms)
    suffix = ".mkv" if options.format == "mkv" else f".{media_name[1:]}"

    def configure(_: Any, media: Any) -> None:
        number = sum(1 for _ in out_dir.glob(f"{name}-*"))
        path = out_dir / f"{name}-{number:03d}{suffix}"
        path.touch()
        media.get_element().get_by_name("file").set_property("location", str(path))

    factory.connect("media-configure", configure)
    return factory


def require_login(server: Any, factories: list[Any], options: argparse.Namespace) -> None:
    token = GstRtspServer.RTSPToken()
    token.set_string("media.factory.role", ROLE)
    auth = GstRtspServer.RTSPAuth()
    if options.digest:
        auth.set_supported_methods(GstRtsp.RTSPAuthMethod.DIGEST)
        auth.add_digest(options.user, options.password, token)
    else:
        basic = GstRtspServer.RTSPAuth.make_basic(options.user, options.password)
        auth.add_basic(basic, token)
    server.set_auth(auth)
    for factory in factories:
        permissions = GstRtspServer.RTSPPermissions()
        permissions.add_permission_for_role(ROLE, "media.factory.access", True)
        permissions.add_permission_for_role(ROLE, "media.factory.construct", True)
        factory.set_permissions(permissions)


def allow_transports(factory: Any, names: str) -> None:
    protocols = GstRtsp.RTSPLowerTrans.UNKNOWN
    if "tcp" in names:
        protocols |= GstRtsp.RTSPLowerTrans.TCP
    if "udp" in names:
        protocols |= GstRtsp.RTSPLowerTrans.UDP
    factory.set_protocols(protocols)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    modes = parser.add_subparsers(dest="mode", required=True)
    camera = modes.add_parser("camera")
    camera.add_argument("files", nargs="*", type=Path, help="none: a moving test pattern")
    camera.add_argument("--loop", action="store_true")
    camera.add_argument("--audio", action="store_true")
    camera.add_argument("--mjpeg", action="store_true")
    camera.add_argument("--fps", type=float, default=25.0, help="of bare Annex B and the pattern")
    target = modes.add_parser("target")
    target.add_argument("out_dir", type=Path)
    target.add_argument("--name", action="append", help="mount names, default: live")
    target.add_argument("--codec", choices=("h264", "h265", "mjpeg"), default="h264")
    target.add_argument("--format", choices=("mkv", "annexb"), default="mkv")
    target.add_argument("--latency-ms", type=int, default=200)
    for mode in (camera, target):
        mode.add_argument("--port", type=int, default=0)
        mode.add_argument("--user")
        mode.add_argument("--password", default="")
        mode.add_argument("--digest", action="store_true")
        mode.add_argument("--transports", default="tcp,udp")
    return parser.parse_args()


def main() -> None:
    options = arguments()
    Gst.init(None)
    mounts: dict[str, Any] = {}
    if options.mode == "target":
        for name in options.name or ["live"]:
            mounts[f"/{name}"] = target_factory(options.out_dir, name, options)
    elif not options.files:
        mounts["/cam"] = pattern_factory(options)
    else:
        for number, path in enumerate(options.files, start=1):
            tracks = read_tracks(path, audio=options.audio, mjpeg=options.mjpeg, fps=options.fps)
            mounts["/cam" if number == 1 else f"/cam{number}"] = camera_factory(tracks, options)

    server = GstRtspServer.RTSPServer()
    server.set_address("127.0.0.1")
    server.set_service(str(options.port))
    for mount, factory in mounts.items():
        allow_transports(factory, options.transports)
        server.get_mount_points().add_factory(mount, factory)
    if options.user:
        require_login(server, list(mounts.values()), options)
    loop = GLib.MainLoop()
    if not server.attach(None):
        raise SystemExit(f"cannot listen on 127.0.0.1:{options.port}")

    def end_with_parent() -> None:
        sys.stdin.buffer.read()
        loop.quit()

    threading.Thread(target=end_with_parent, daemon=True).start()
    print(f"READY {server.get_bound_port()}", flush=True)
    loop.run()


if __name__ == "__main__":
    main()
