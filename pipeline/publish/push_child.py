"""The child process of a network sink: reads NUT on standard input, pushes it to a URL.

Run by `push.py` as `python -m pipeline.publish.push_child`. PyAV's network writing cannot be
time-limited and may hold the interpreter for as long as a server is silent; in here it can be
killed. Protocol: one JSON line {"url", "format", "options"} (never the command line, which other
users of the machine can read), then a NUT stream. On standard output: a line `ok` as packets go
out, and at the end `error MESSAGE`.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import sys
import time

import av
import av.error
import setproctitle

from pipeline.runtime.credentials import without_credentials

BEAT_SECONDS = 0.2
_PR_SET_PDEATHSIG = 1


def main() -> int:
    """Exit status 0 where the input ended, 1 where the network failed."""
    setproctitle.setproctitle("bauta push")
    # stay no longer than the parent, even while a system call hangs
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides when the end has come
    av.logging.set_level(None)
    stdin = os.fdopen(0, "rb", buffering=0)
    order = json.loads(_read_line(stdin))
    try:
        _push(stdin, order["url"], order["format"], order["options"])
    except (av.error.FFmpegError, OSError, ValueError, RuntimeError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        _say(f"error {without_credentials(reason)}")
        # no tidy end: closing a dead connection can hang as long as writing to it
        os._exit(1)
    return 0


def _push(stdin: object, url: str, format_name: str, options: dict[str, str]) -> None:
    # Parameters are complete in the NUT header: nothing has to be found out by decoding.
    source = av.open(
        stdin, format="nut", options={"probesize": "32", "analyzeduration": "0"}, buffer_size=4096
    )
    assert isinstance(source, av.container.InputContainer)
    target = av.open(url, "w", format=format_name, options=options)
    streams = {
        stream.index: target.add_stream_from_template(stream, opaque=True)
        for stream in source.streams
    }
    target.start_encoding()
    _say("ok")
    next_beat = 0.0
    for packet in source.demux():
        if packet.pts is None:
            continue  # the end
        if packet.dts is None:
            # NUT does not say it for the first one, a keyframe; without B frames it is the pts
            packet.dts = packet.pts
        packet.stream = streams[packet.stream_index]
        target.mux(packet)
        if (now := time.monotonic()) >= next_beat:
            next_beat = now + BEAT_SECONDS
            _say("ok")
    target.close()


def _read_line(stdin: object) -> bytes:
    line = b""
    while not line.endswith(b"\n"):
        byte = stdin.read(1)  # type: ignore[attr-defined]
        if not byte:
            break
        line += byte
    return line


def _say(line: str) -> None:
    os.write(1, (line + "\n").encode())


if __name__ == "__main__":
    sys.exit(main())
