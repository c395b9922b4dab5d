"""Landlock: what of the disk, the network and other processes this process may still reach.

Linux 5.13 and newer, by raw system calls. A kernel knows a version (ABI) of it, and less or more of
what can be forbidden; what it does not know is left out.
"""

from __future__ import annotations

import contextlib
import ctypes
import enum
import errno
import os
import stat
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

_CREATE, _ADD, _RESTRICT = 444, 445, 446  # the same on every processor
_ASK_VERSION = 1
_PATH_BENEATH, _NET_PORT = 1, 2  # kinds of rules


class Files(enum.IntFlag):
    """LANDLOCK_ACCESS_FS_*"""

    EXECUTE = 1 << 0
    WRITE = 1 << 1
    READ = 1 << 2
    LIST = 1 << 3
    REMOVE_DIR = 1 << 4
    REMOVE_FILE = 1 << 5
    MAKE_DEVICE = 1 << 6
    MAKE_DIR = 1 << 7
    MAKE_FILE = 1 << 8
    MAKE_SOCKET = 1 << 9
    MAKE_FIFO = 1 << 10
    MAKE_BLOCK = 1 << 11
    MAKE_LINK = 1 << 12
    MOVE = 1 << 13  # between folders; ABI 2
    TRUNCATE = 1 << 14  # ABI 3
    IOCTL = 1 << 15  # of devices; ABI 5


_OF_A_FILE = Files.EXECUTE | Files.WRITE | Files.READ | Files.TRUNCATE | Files.IOCTL
_BIND, _CONNECT = 1, 2  # LANDLOCK_ACCESS_NET_*, ABI 4
_ABSTRACT_SOCKETS, _SIGNALS = 1, 2  # LANDLOCK_SCOPE_*, ABI 6
NETWORK_ABI, SCOPE_ABI = 4, 6


@dataclass(frozen=True, slots=True)
class Rule:
    """What may be done with a file, or with a folder and all that is in it."""

    path: Path
    may: Files


class _Attributes(ctypes.Structure):
    _fields_ = (("fs", ctypes.c_uint64), ("net", ctypes.c_uint64), ("scoped", ctypes.c_uint64))


class _PathBeneath(ctypes.Structure):
    _pack_ = 1
    _fields_ = (("may", ctypes.c_uint64), ("fd", ctypes.c_int32))


class _NetPort(ctypes.Structure):
    _fields_ = (("may", ctypes.c_uint64), ("port", ctypes.c_uint64))


def landlock_abi() -> int:
    """The kernel's version of it; 0: it has none, or does not let us."""
    if not sys.platform.startswith("linux"):
        return 0
    try:
        return _call(_CREATE, None, 0, _ASK_VERSION)
    except OSError:
        return 0


def restrict(
    rules: Iterable[Rule],
    *,
    bind_ports: Sequence[int] | None,
    connect_ports: Sequence[int],
) -> None:
    """From now on for the calling thread and all that it starts: what `rules` name, no other file.

    TCP may be bound to `bind_ports` (None: any) and connected to `connect_ports`. Rules of paths
    that are not there are left out. The process must have given up new privileges before. Raises
    OSError.
    """
    abi = landlock_abi()
    if abi < 1:
        raise OSError(errno.EOPNOTSUPP, "no Landlock")
    known = known_files(abi)
    attributes = _Attributes(fs=known)
    size = ctypes.sizeof(ctypes.c_uint64)
    if abi >= NETWORK_ABI:
        attributes.net = _CONNECT if bind_ports is None else _BIND | _CONNECT
        size *= 2
    if abi >= SCOPE_ABI:
        attributes.scoped = _ABSTRACT_SOCKETS | _SIGNALS
        size = ctypes.sizeof(attributes)
    with _closing(_call(_CREATE, ctypes.byref(attributes), size, 0)) as ruleset:
        for rule in rules:
            _allow_path(ruleset, rule, known)
        if abi >= NETWORK_ABI:
            for ports, may in ((bind_ports or (), _BIND), (connect_ports, _CONNECT)):
                for port in ports:
                    net = _NetPort(may=may, port=port)
                    _call(_ADD, ruleset, _NET_PORT, ctypes.byref(net), 0)
        _call(_RESTRICT, ruleset, 0)


def known_files(abi: int) -> Files:
    """What of files this version can forbid."""
    newer = {2: Files.MOVE, 3: Files.TRUNCATE, 5: Files.IOCTL}
    known = Files(Files.MOVE - 1)
    for version, access in newer.items():
        if abi >= version:
            known |= access
    return known


def _allow_path(ruleset: int, rule: Rule, known: Files) -> None:
    try:
        handle = os.open(rule.path, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return  # it is not there, or out of reach: then nothing is given
    with _closing(handle):
        may = rule.may & known
        if not stat.S_ISDIR(os.fstat(handle).st_mode):
            may &= _OF_A_FILE
        if may:
            beneath = _PathBeneath(may=may, fd=handle)
            _call(_ADD, ruleset, _PATH_BENEATH, ctypes.byref(beneath), 0)


def _call(number: int, *arguments: object) -> int:
    """Raises OSError."""
    syscall = ctypes.CDLL(None, use_errno=True).syscall
    syscall.restype = ctypes.c_long
    done = syscall(
        ctypes.c_long(number),
        *(ctypes.c_long(each) if isinstance(each, int) else each for each in arguments),
    )
    if done < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return int(done)


@contextlib.contextmanager
def _closing(handle: int) -> Iterator[int]:
    try:
        yield handle
    finally:
        os.close(handle)
