"""What the operating system may do with this process's memory."""

from __future__ import annotations

import ctypes
import resource

_PR_SET_DUMPABLE = 4


def forbid_core_dumps() -> None:
    """Originals must not reach a disk by way of a crash.

    The limit stops dumps to files; the flag stops those that the kernel pipes to a handler, and
    keeps debuggers of other users out.
    """
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)
