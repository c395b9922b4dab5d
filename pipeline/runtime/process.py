"""What the operating system may do with this process's memory, and how the process ends."""

from __future__ import annotations

import atexit
import ctypes
import getpass
import os
import resource
import signal
import sys
import threading
import time
from typing import NoReturn

_PR_SET_DUMPABLE = 4
GOODBYE_SECONDS = 0.5  # for threads that are about to end


def user_name() -> str:
    """Who runs this."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user may have no name
        return f"uid {os.getuid()}"


def forbid_core_dumps() -> None:
    """Originals must not reach a disk by way of a crash.

    The limit stops dumps to files; the flag stops those that the kernel pipes to a handler, and
    keeps debuggers of other users out.
    """
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)


def end_process(code: int) -> NoReturn:
    """What sys.exit does, but safe while a thread is inside a native library.

    A silent camera holds its thread in libav, which asks PyAV ten times a second whether to go
    on. PyAV takes the interpreter's lock to answer; once the interpreter has been torn down, that
    is a segmentation fault. Such threads get a moment to end and to take leave of their camera.
    If one is left after it, there is no teardown: the kernel ends all threads at once.

    For the main thread, as its very last call: what should be closed has been closed.
    """
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)  # no second one may change the exit code now
    deadline = time.monotonic() + GOODBYE_SECONDS
    while any(thread.daemon for thread in threading.enumerate()):
        if time.monotonic() >= deadline:
            _end_without_teardown(code)
        time.sleep(0.01)
    sys.exit(code)


def _end_without_teardown(code: int) -> NoReturn:
    atexit._run_exitfuncs()  # logging's too
    for stream in (sys.stdout, sys.stderr):
        try:
            if stream is not None:  # closed before we were started
                stream.flush()
        except (OSError, ValueError):  # output was lost: not a success
            code = code or 1
    os._exit(code)
