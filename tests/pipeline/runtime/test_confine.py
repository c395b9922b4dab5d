"""Confinement, each of its layers by itself: a process is confined and tries things."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from pipeline.runtime import confine as confine_module
from pipeline.runtime.confine import possible
from pipeline.runtime.landlock import NETWORK_ABI, SCOPE_ABI, Files, known_files, landlock_abi
from pipeline.runtime.seccomp import is_filterable

needs_landlock = pytest.mark.skipif(landlock_abi() < SCOPE_ABI, reason="needs Linux 6.12")
needs_filters = pytest.mark.skipif(not is_filterable(), reason="no filter for this machine")
PROGRAM = """
import json, os, socket, sys
from pathlib import Path
from pipeline.runtime import confine as module
said = json.loads(sys.argv[1])
for name, value in said["without"].items():
    setattr(module, name, lambda value=value: value)
root = Path(said["root"])
done = module.confine(
    read=[root / "read", root / "file", root / "gone"], write=[root / "write"],
    list_only=[root], bind_port=said["bind"], connect_ports=said["connect"],
)
results = {"done": list(done.done), "missing": list(done.missing)}
def connect(port, protocol=0, kind=socket.SOCK_STREAM):
    with socket.socket(socket.AF_INET, kind, protocol) as one:
        one.settimeout(5)
        one.connect(("127.0.0.1", port))
def bind(port):
    with socket.socket() as one:
        one.bind(("127.0.0.1", port))
for name, deed in {
    "read": lambda: (root / "read" / "a").read_text(),
    "file": lambda: (root / "file").read_text(),
    "other": lambda: (root / "other").read_text(),
    "list": lambda: os.listdir(root),
    "write": lambda: (root / "write" / "b").write_text("x"),
    "write read": lambda: (root / "read" / "b").write_text("x"),
    "truncate": lambda: os.truncate(root / "read" / "a", 0),
    "allowed": lambda: connect(said["allowed"]),
    "forbidden": lambda: connect(said["forbidden"]),
    "mptcp": lambda: connect(said["forbidden"], 262),
    "udp": lambda: connect(said["forbidden"], 0, socket.SOCK_DGRAM),
    "bind": lambda: bind(said["free"]),
    "signal": lambda: os.kill(os.getppid(), 0),
    "own": lambda: os.kill(os.getpid(), 0),
    "threads": lambda: __import__("numpy") and None,
}.items():
    try:
        deed()
        results[name] = True
    except PermissionError:
        results[name] = False
print(json.dumps(results))
"""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for folder in ("read", "write"):
        (tmp_path / folder).mkdir()
    for name in ("read/a", "file", "other"):
        (tmp_path / name).write_text("text")
    return tmp_path


def confined(root: Path, *, may_connect: bool, **without: object) -> dict[str, Any]:
    """What a process could do; `without`: what it believes this machine cannot."""
    with (
        socket.create_server(("127.0.0.1", 0)) as allowed,
        socket.create_server(("127.0.0.1", 0)) as forbidden,
        socket.create_server(("127.0.0.1", 0)) as free,
    ):
        ports = [each.getsockname()[1] for each in (allowed, forbidden, free)]
        free.close()
        said = {
            **{"root": str(root), "without": without, "bind": ports[0]},
            **dict(zip(("allowed", "forbidden", "free"), ports, strict=True)),
            "connect": [ports[0]] if may_connect else [],
        }
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM, json.dumps(said)],
            cwd=Path(__file__).parents[3],
            capture_output=True,
            text=True,
            check=False,
        )
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


OWN = {"read": True, "file": True, "list": True, "write": True, "own": True, "threads": True}
DISK = {"other": False, "write read": False, "truncate": False}


@needs_landlock
@needs_filters
def test_all_of_it(root: Path) -> None:
    found = confined(root, may_connect=False)
    assert found.pop("missing") == [] and len(found.pop("done")) == 3
    nets = {"allowed": False, "forbidden": False, "mptcp": False, "udp": False, "bind": False}
    assert found == {**OWN, **DISK, **nets, "signal": False}


@needs_landlock
@needs_filters
def test_one_port_of_a_database(root: Path) -> None:
    found = confined(root, may_connect=True)
    assert found["missing"] == []
    assert (found["allowed"], found["forbidden"], found["mptcp"]) == (True, False, False)
    assert found["udp"], "names have to be asked for"


@needs_landlock
def test_landlock_alone(root: Path) -> None:
    found = confined(root, may_connect=True, is_filterable=False)
    nets = {"allowed": True, "forbidden": False, "bind": False, "signal": False}
    assert found.items() >= {**OWN, **DISK, **nets}.items()


@needs_filters
def test_filters_alone(root: Path) -> None:
    found = confined(root, may_connect=False, landlock_abi=0)
    assert [line.split(":")[0] for line in found["missing"]] == ["it can read what this user can"]
    nets = {"forbidden": False, "mptcp": False, "udp": False, "bind": True, "signal": False}
    assert found.items() >= {**OWN, **nets, "other": True}.items()


def test_neither(root: Path) -> None:
    found = confined(root, may_connect=False, landlock_abi=0, is_filterable=False)
    assert len(found["missing"]) == 3 and found["done"] == []
    assert found["other"] and found["forbidden"] and found["signal"]


def test_threads_that_would_stay_free_are_refused(root: Path) -> None:
    program = (
        "import threading, time; from pipeline.runtime.confine import confine\n"
        "threading.Thread(target=time.sleep, args=(60,), daemon=True).start()\n"
        "confine(read=[], write=[], bind_port=None)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=Path(__file__).parents[3],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1 and "it has threads already" in done.stderr


def test_what_older_kernels_know() -> None:
    assert Files.MOVE not in known_files(1) and Files.MAKE_LINK in known_files(1)
    assert Files.MOVE in known_files(2) and Files.TRUNCATE not in known_files(2)
    assert Files.TRUNCATE in known_files(3) and Files.IOCTL not in known_files(4)
    assert known_files(5) == known_files(99) == Files((1 << 16) - 1)


def test_what_is_missing_where(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(confine_module, "is_filterable", lambda: False)
    for abi, missing in ((0, 3), (1, 2), (NETWORK_ABI, 1), (SCOPE_ABI, 0)):
        monkeypatch.setattr(confine_module, "landlock_abi", lambda abi=abi: abi)
        assert len(possible().missing) == missing
        assert possible().is_whole is (missing == 0)
