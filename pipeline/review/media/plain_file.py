"""Files of a folder of recordings, opened so that nobody who writes into it can make us wait."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from stat import S_ISREG
from typing import BinaryIO

_FLAGS = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NOCTTY


def open_plain(path: Path) -> BinaryIO:
    """For reading. Raises OSError: it is gone, or is no plain file.

    A pipe would be waited for until somebody writes into it, and a link may lead anywhere.
    """
    try:
        handle = os.open(path, _FLAGS)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENXIO):  # a link; a socket
            raise _no_plain_file() from None
        raise
    try:
        if not S_ISREG(os.fstat(handle).st_mode):
            raise _no_plain_file()
        return os.fdopen(handle, "rb")
    except BaseException:
        os.close(handle)
        raise


def opened_path(file: BinaryIO) -> Path:
    """A path to what was opened, whatever lies under its name by now: for libraries that open."""
    return Path(f"/proc/self/fd/{file.fileno()}")


def _no_plain_file() -> OSError:
    return OSError(errno.EINVAL, "is not a plain file")
