"""A filter of system calls (seccomp), for what Landlock does not see or an older one does not know.

Without it a connection could be made by MPTCP, by TCP's fast open, over UDP, or by way of a named
socket of another program. Written for x86-64 and 64-bit ARM; elsewhere there is none.
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import socket
import struct
from collections.abc import Sequence
from typing import TypeAlias

_PR_SET_SECCOMP, _MODE_FILTER = 22, 2
_LOAD, _EQUAL, _AT_LEAST, _ANY_BIT, _AND, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x54, 0x06
_NUMBER, _MACHINE, _ARGUMENTS = 0, 4, 16  # offsets in struct seccomp_data
_ALLOW = 0x7FFF0000
_DENY = 0x00050000 | errno.EPERM
_X32 = 0x40000000  # x86-64's second set of numbers
_FAST_OPEN = 0x20000000  # MSG_FASTOPEN: connects as it sends
_KIND = 0xF  # of a socket's type; the rest are flags
_MACHINES = {"x86_64": (0xC000003E, 0), "aarch64": (0xC00000B7, 1)}
_NUMBERS = {  # on x86-64, on 64-bit ARM
    "connect": (42, 203),
    "io_uring_enter": (426, 426),
    "io_uring_register": (427, 427),
    "io_uring_setup": (425, 425),
    "kill": (62, 129),
    "pidfd_getfd": (438, 438),
    "pidfd_send_signal": (424, 424),
    "prlimit64": (302, 261),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "ptrace": (101, 117),
    "rt_sigqueueinfo": (129, 138),
    "rt_tgsigqueueinfo": (297, 240),
    "sched_setaffinity": (203, 122),
    "sched_setattr": (314, 274),
    "sched_setparam": (142, 118),
    "sched_setscheduler": (144, 119),
    "sendmmsg": (307, 269),
    "sendmsg": (46, 211),
    "sendto": (44, 206),
    "setpriority": (141, 140),
    "socket": (41, 198),
    "tgkill": (234, 131),
    "tkill": (200, 130),
}
_NEVER = (
    *("io_uring_enter", "io_uring_register", "io_uring_setup"),  # does what is filtered, unseen
    *("pidfd_getfd", "process_vm_readv", "process_vm_writev", "ptrace"),
    *("pidfd_send_signal", "tkill"),
)
_OF_ITSELF = {  # which argument must be this process
    **{"kill": 0, "tgkill": 0, "rt_sigqueueinfo": 0, "rt_tgsigqueueinfo": 0, "prlimit64": 0},
    **{"sched_setaffinity": 0, "sched_setattr": 0, "sched_setparam": 0, "sched_setscheduler": 0},
    "setpriority": 1,
}
_FLAGS_OF_SENDING = {"sendto": 3, "sendmsg": 2, "sendmmsg": 3}

_Line: TypeAlias = tuple[int, int, int, int]  # code, jump if true, jump if false, operand


def is_filterable() -> bool:
    """Whether there is a filter for this machine."""
    return platform.system() == "Linux" and platform.machine() in _MACHINES


def filter_calls(*, may_connect: bool, may_ask_names: bool, may_use_named_sockets: bool) -> None:
    """For the calling thread and all that it starts. Signals and limits: to this process alone.

    `may_connect`: at all; where to is Landlock's. `may_ask_names`: UDP, for name servers. The
    process must have given up new privileges before. Raises OSError.
    """
    machine, column = _MACHINES[platform.machine()]
    numbers = {name: both[column] for name, both in _NUMBERS.items()}
    lines: list[_Line] = [
        (_LOAD, 0, 0, _MACHINE),
        (_EQUAL, 1, 0, machine),
        (_RETURN, 0, 0, _DENY),
        (_LOAD, 0, 0, _NUMBER),
        (_AT_LEAST, 0, 1, _X32),
        (_RETURN, 0, 0, _DENY),
    ]
    never = _NEVER if may_connect else (*_NEVER, "connect")
    for name in never:
        lines += _of(numbers[name], [(_RETURN, 0, 0, _DENY)])
    for name, argument in _OF_ITSELF.items():
        lines += _of(numbers[name], _must_be(argument, (0, os.getpid())))
    for name, argument in _FLAGS_OF_SENDING.items():
        body = [_argument(argument), (_ANY_BIT, 0, 1, _FAST_OPEN), (_RETURN, 0, 0, _DENY)]
        lines += _of(numbers[name], body)
    lines += _of(numbers["socket"], _sockets(may_ask_names, may_use_named_sockets))
    lines.append((_RETURN, 0, 0, _ALLOW))
    _install(lines)


def _sockets(may_ask_names: bool, may_use_named_sockets: bool) -> list[_Line]:
    """TCP and nothing else, but for what was asked for."""
    internet = (socket.AF_INET, socket.AF_INET6)
    kinds = (socket.SOCK_STREAM, socket.SOCK_DGRAM) if may_ask_names else (socket.SOCK_STREAM,)
    protocols = (0, socket.IPPROTO_TCP, *((socket.IPPROTO_UDP,) if may_ask_names else ()))
    named: list[_Line] = []
    if may_use_named_sockets:
        named = [_argument(0), (_EQUAL, 0, 1, socket.AF_UNIX), (_RETURN, 0, 0, _ALLOW)]
    return [
        *named,
        *_must_be(0, internet),
        *_must_be(1, kinds, mask=_KIND),
        *_must_be(2, protocols),
    ]


def _must_be(argument: int, values: Sequence[int], *, mask: int | None = None) -> list[_Line]:
    """Else it is denied; the next line is reached where it is one of them."""
    lines = [_argument(argument)]
    if mask is not None:
        lines.append((_AND, 0, 0, mask))
    for left in range(len(values), 0, -1):
        lines.append((_EQUAL, left, 0, values[-left]))
    return [*lines, (_RETURN, 0, 0, _DENY)]


def _argument(index: int) -> _Line:
    """Its lower half: what the kernel takes for an int."""
    return (_LOAD, 0, 0, _ARGUMENTS + 8 * index)


def _of(number: int, body: Sequence[_Line]) -> list[_Line]:
    """`body` for that call alone."""
    return [(_LOAD, 0, 0, _NUMBER), (_EQUAL, 0, len(body), number), *body]


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("lines", ctypes.c_char_p))


def _install(lines: Sequence[_Line]) -> None:
    code = b"".join(struct.pack("=HBBI", *line) for line in lines)
    program = _Program(len(lines), code)
    prctl = ctypes.CDLL(None, use_errno=True).prctl
    mode = ctypes.c_ulong(_MODE_FILTER)
    if prctl(_PR_SET_SECCOMP, mode, ctypes.byref(program), 0, 0) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
