"""The end of the process while a silent camera holds a thread inside libav."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from support.flow import PATIENCE_S, ROOT, wait_for
from support.rtsp_server import Peer, silent_server

# Exit handlers of the C library run when the interpreter is gone already.
AT_EXIT = """
import ctypes

libc = ctypes.CDLL(None)


def at_c_exit(function, argument):
    libc.__cxa_atexit(ctypes.cast(function, ctypes.c_void_p), ctypes.c_void_p(argument), None)
"""
# Half a second between the end of the interpreter and that of the process: libav asks PyAV every
# 0.1 s whether to go on.
EIGHT_THREADS = """
import atexit, sys, threading
import av
from pipeline.runtime.process import end_process

at_c_exit(libc.usleep, 500_000)
stay = {"target": av.open, "args": sys.argv[1:], "kwargs": {"timeout": 60}, "daemon": True}
for _ in range(8):
    threading.Thread(**stay).start()
atexit.register(print, "at exit")
print("said", end=" ")
end_process(3)
"""
TORN_DOWN = 77
BAUTA = f"""
import runpy

at_c_exit(libc._exit, {TORN_DOWN})
runpy.run_module("pipeline", run_name="__main__", alter_sys=True)
"""


def test_threads_inside_libav_crash_nothing_and_lose_nothing() -> None:
    with silent_server() as silent:
        done = subprocess.run(
            [sys.executable, "-c", AT_EXIT + EIGHT_THREADS, silent.url],
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
            check=False,
        )
    assert (done.returncode, done.stdout, done.stderr) == (3, "said at exit\n", "")


@pytest.mark.parametrize("command", ["run", "protect"])
def test_interpreter_is_not_torn_down_under_a_silent_camera(command: str, tmp_path: Path) -> None:
    with silent_server() as silent:
        process = subprocess.Popen(
            [sys.executable, "-c", AT_EXIT + BAUTA, *arguments(command, silent, tmp_path)],
            cwd=ROOT,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
        try:
            wait_for("the connection", silent.stalled.is_set)
            process.terminate()
            _, err = process.communicate(timeout=PATIENCE_S)
        finally:
            process.kill()
            process.wait(10)
    assert process.returncode == 0, err.decode()
    assert b"Traceback" not in err


def arguments(command: str, camera: Peer, folder: Path) -> list[str]:
    if command == "protect":
        return ["protect", camera.url, str(folder / "out.mp4")]
    config = folder / "bauta.yaml"
    cameras = [{"id": "silent", "source": camera.url}]
    config.write_text(json.dumps({"console": None, "cameras": cameras}))
    return ["run", str(config)]
