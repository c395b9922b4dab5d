"""Takes away from this process what it does not need: files, connections, other processes.

For the start of a process, while it has one thread; what it has open stays open. It cannot be
undone or widened.
"""

from __future__ import annotations

import ctypes
import errno
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from .landlock import NETWORK_ABI, SCOPE_ABI, Files, Rule, landlock_abi, restrict
from .seccomp import filter_calls, is_filterable

_PR_SET_NO_NEW_PRIVS = 38
_READ = Files.READ | Files.LIST
_RUN = _READ | Files.EXECUTE
_MAKE = Files.MAKE_FILE | Files.MAKE_DIR | Files.REMOVE_FILE | Files.REMOVE_DIR | Files.MOVE
_WRITE = _READ | Files.WRITE | Files.TRUNCATE | _MAKE
_PROGRAMS = ("/usr", "/lib", "/lib32", "/lib64", "/libx32", "/bin", "/sbin", "/nix/store")
_OF_THE_SYSTEM = (
    # not all of /etc: configurations and their credentials are kept there
    *("/etc/ld.so.cache", "/etc/ld.so.conf", "/etc/ld.so.conf.d", "/etc/ld.so.preload"),
    *("/etc/resolv.conf", "/etc/hosts", "/etc/host.conf", "/etc/gai.conf", "/etc/nsswitch.conf"),
    *("/etc/passwd", "/etc/group", "/etc/services", "/etc/protocols", "/etc/mime.types"),
    *("/etc/localtime", "/etc/timezone", "/etc/locale.alias", "/etc/os-release"),
    *("/etc/ssl/certs", "/etc/ssl/openssl.cnf", "/etc/ca-certificates", "/etc/crypto-policies"),
    *("/etc/pki/tls/certs", "/etc/pki/tls/openssl.cnf", "/etc/pki/ca-trust"),
    *("/proc/self", "/proc/cpuinfo", "/proc/meminfo", "/proc/stat", "/proc/version"),
    *("/proc/sys/vm/overcommit_memory", "/proc/sys/kernel/osrelease", "/proc/sys/net/core"),
    *("/sys/devices/system/cpu", "/sys/devices/system/node", "/sys/fs/cgroup"),
    *("/dev/urandom", "/dev/random", "/dev/zero"),
)


@dataclass(frozen=True, slots=True)
class Confinement:
    """What this machine can do of it; each a clause of a sentence."""

    done: tuple[str, ...]
    missing: tuple[str, ...]

    @property
    def is_whole(self) -> bool:
        """Whether nothing is missing."""
        return not self.missing

    def __str__(self) -> str:
        return "; ".join((*self.done, *self.missing))


def possible(*, is_to_connect: bool = False) -> Confinement:
    """What `confine` would achieve here. `is_to_connect`: it is given ports for that."""
    abi, filters = landlock_abi(), is_filterable()
    done, missing = [], []
    if abi >= 1:
        done.append("it reaches only the files that it needs")
    else:
        missing.append(
            "it can read what this user can: the kernel has no Landlock, which is in Linux 5.13 "
            "and newer where it is not turned off"
        )
    if abi >= SCOPE_ABI or filters:
        done.append("no other process")
    else:
        missing.append("it can signal other processes of this user: Linux 6.12 can forbid that")
    if abi >= NETWORK_ABI or (filters and not is_to_connect):
        done.append("no other machine")
    else:
        missing.append("it can connect anywhere: Linux 6.7 can forbid that")
    return Confinement(tuple(done), tuple(missing))


def confine(
    *,
    read: Sequence[Path],
    write: Sequence[Path],
    list_only: Sequence[Path] = (),
    bind_port: int | None,
    connect_ports: Sequence[int] = (),
    may_use_named_sockets: bool = False,
) -> Confinement:
    """Leave this process `read` (files, or folders and all in them), `write`, and Python itself;
    of `list_only` names.

    `bind_port`: the one where it may listen, None: any. `connect_ports`: TCP, on any machine, and
    then name servers; none: it cannot connect at all. `may_use_named_sockets`: those of other
    programs on this machine. Paths that are not there yet are not given. Raises OSError: the kernel
    could and did not; then the process must not go on.
    """
    can = possible(is_to_connect=bool(connect_ports))
    if not sys.platform.startswith("linux"):
        return can
    if len(list(Path("/proc/self/task").iterdir())) > 1:
        raise OSError(errno.EBUSY, "it has threads already, which would stay as they are")
    _give_up_privileges()
    if landlock_abi() >= 1:
        restrict(
            [
                *_own_rules(),
                *(Rule(path, _READ) for path in read),
                *(Rule(path, _WRITE) for path in write),
                *(Rule(path, Files.LIST) for path in list_only),
            ],
            bind_ports=None if bind_port is None else (bind_port,),
            connect_ports=connect_ports,
        )
    if is_filterable():
        may_connect = bool(connect_ports) or may_use_named_sockets
        filter_calls(
            may_connect=may_connect,
            may_ask_names=bool(connect_ports),
            may_use_named_sockets=may_use_named_sockets,
        )
    return can


def _own_rules() -> list[Rule]:
    """The interpreter, what is installed for it, this package, and what every program reads."""
    prefixes = (sys.prefix, sys.base_prefix, sys.exec_prefix, sys.base_exec_prefix)
    libraries = os.environ.get("LD_LIBRARY_PATH", "").split(os.pathsep)
    package = Path(__file__).resolve().parents[1]
    run = {Path(path) for path in (*_PROGRAMS, *prefixes, *libraries) if path} - {Path("/")}
    rules = [Rule(path, _RUN) for path in (*run, package)]
    # to import what lies there: names alone, a folder of projects may hold more than packages
    names = {Path(path) for path in sys.path if path}
    rules += [Rule(path, Files.LIST) for path in names]
    rules += [Rule(path, _READ) for path in names if path.name.endswith("-packages")]
    rules += [Rule(Path(path), _READ) for path in _OF_THE_SYSTEM]
    return [*rules, Rule(Path("/dev/null"), Files.READ | Files.WRITE)]


def _give_up_privileges() -> None:
    """Raises OSError."""
    prctl = ctypes.CDLL(None, use_errno=True).prctl
    one = ctypes.c_ulong(1)
    if prctl(_PR_SET_NO_NEW_PRIVS, one, ctypes.c_ulong(0), ctypes.c_ulong(0), ctypes.c_ulong(0)):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
