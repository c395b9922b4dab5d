"""Commands at a running console: `bauta cameras`, `bauta recordings`, `bauta requests`.

They do what the browser does, by the same API and with the same rights.
"""

from __future__ import annotations

import argparse
import base64
import getpass
import json
import os
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from urllib.parse import quote

from pydantic import BaseModel, RootModel

from .errors import UsageError
from .review.api.schemas import CameraOut
from .review.api.schemas_recordings import (
    DaysOut,
    ExportOut,
    PeopleOut,
    PersonOut,
    RecordingsOut,
    RequestOut,
    RequestsOut,
)
from .review.client import ConsoleClient
from .terminal import printable, say, say_table, warn
from .vault.request_file import MOST_RELEASE_BYTES, SUFFIX

PASSWORD = "BAUTA_PASSWORD"
RELEASED = "carries a key release (unchecked until the officer opens it)"
LARGEST_PAGE = 500
DAY_MS = 86_400_000
_LEFT = {"id", "day", "camera", "state", "since", "start", "until", "who asks", "case", "note"}


# --- cameras ---


class CamerasOut(RootModel[list[CameraOut]]):
    """In the order of the configuration."""


def cameras(options: argparse.Namespace) -> int:
    """What they do now. Raises BautaError."""
    with _console(options) as console:
        found = console.get(CamerasOut, "/api/cameras")
    if _as_json(options, found):
        return 0
    rows = [
        (
            each.id,
            each.state,
            "" if each.since_ms is None else _local(each.since_ms),
            f"{each.frames_per_second:.1f}",
            str(each.faces),
            "" if each.latency_p95_ms is None else f"{each.latency_p95_ms:.0f} ms",
            str(each.viewers),
            each.alarm or each.error or each.refusal or "",
        )
        for each in found.root
    ]
    header = ("camera", "state", "since", "frames/s", "faces", "latency p95", "viewers", "note")
    _table(header, rows, "no camera")
    return 0


# --- recordings ---


def recordings_days(options: argparse.Namespace) -> int:
    """By day and camera, as this machine's clock has days. Raises BautaError."""
    offset = datetime.now().astimezone().utcoffset()
    minutes = 0 if offset is None else round(offset.total_seconds() / 60)
    with _console(options) as console:
        found = console.get(DaysOut, "/api/days", offset_minutes=minutes)
    if _as_json(options, found):
        return 0
    rows = [
        (day.day, each.id, _length(each.seconds), str(each.people))
        for day in found.days
        for each in day.cameras
    ]
    _table(("day", "camera", "recorded", "people"), rows, "nothing is recorded")
    return 0


def recordings_list(options: argparse.Namespace) -> int:
    """The files; without a time those of the last day. Raises BautaError."""
    to_ms = options.to_ms if options.to_ms is not None else _now_ms()
    from_ms = options.from_ms if options.from_ms is not None else to_ms - DAY_MS
    _check_span(from_ms, to_ms)
    span = {"camera": options.camera, "from_ms": from_ms, "to_ms": to_ms}
    with _console(options) as console:
        found = console.get(RecordingsOut, "/api/recordings", **span)
    if _as_json(options, found):
        return 0
    rows = [
        (
            str(each.id),
            _local(each.start_ms),
            _length((each.end_ms - each.start_ms) / 1000),
            f"{each.bytes / 2**20:.1f} MiB",
            f"{each.width}x{each.height}" if each.width else "",
            each.codec or "",
            "yes" if each.evidence else "no",
            "still growing" if each.growing else each.problem or each.refusal or "",
        )
        for each in found.segments
    ]
    header = ("id", "start", "length", "size", "picture", "codec", "evidence", "note")
    _table(header, rows, f"nothing is recorded of {options.camera} in that time")
    return 0


def recordings_people(options: argparse.Namespace) -> int:
    """Everybody who was followed. Raises BautaError."""
    if options.from_ms is not None and options.to_ms is not None:
        _check_span(options.from_ms, options.to_ms)
    found: list[PersonOut] = []
    total, after = 0, None
    with _console(options) as console:
        while len(found) < options.limit:
            page = console.get(
                *(PeopleOut, "/api/people"),
                cameras=",".join(options.camera) if options.camera else None,
                from_ms=options.from_ms,
                to_ms=options.to_ms,
                min_px=options.min_px,
                min_seconds=options.min_seconds,
                recoverable=True if options.recoverable else None,
                sort=options.sort,
                limit=min(options.limit - len(found), LARGEST_PAGE),
                after=after,
            )
            found += page.people
            total, after = page.total, page.next
            if after is None:
                break
    if _as_json(options, PeopleOut(people=found, next=after, total=total)):
        return 0
    rows = [
        (
            str(each.id),
            each.camera,
            str(each.track),
            _local(each.start_ms),
            _length(each.seconds),
            str(each.frames),
            f"{each.largest_px:.0f}",
            "yes" if each.recoverable else "no",
        )
        for each in found
    ]
    header = ("id", "camera", "track", "start", "length", "frames", "largest px", "recoverable")
    _table(header, rows, "nobody")
    if len(found) < total:
        say(f"{len(found)} of {total}; more with --limit N")
    return 0


def recordings_export(options: argparse.Namespace) -> int:
    """A protected clip, cut at keyframes around the span. Raises BautaError."""
    _check_span(options.from_ms, options.to_ms)
    _check_dest(options)
    span = {"camera": options.camera, "from_ms": options.from_ms, "to_ms": options.to_ms}
    with _console(options) as console:
        made = console.post(ExportOut, "/api/exports", span)
        path = _save(options, console, made.url)
    told = f"{options.camera}, {_local(made.start_ms)} to {_local(made.end_ms)}, protected"
    _tell_saved(options, path, told, start_ms=made.start_ms, end_ms=made.end_ms)
    return 0


# --- requests ---


def requests_list(options: argparse.Namespace) -> int:
    """Newest first. Raises BautaError."""
    with _console(options) as console:
        found = console.get(RequestsOut, "/api/requests", state=options.state)
    if _as_json(options, found):
        return 0
    rows = [
        (
            each.id,
            each.state,
            each.camera,
            _local(each.from_ms),
            _length((each.to_ms - each.from_ms) / 1000),
            str(len(each.people)),
            each.case,
            each.requester,
            _local(each.expires_ms) if each.state in ("pending", "approved") else "",
        )
        for each in found.requests
    ]
    header = ("id", "state", "camera", "start", "length", "people", "case", "who asks", "until")
    _table(header, rows, "no request")
    return 0


def requests_show(options: argparse.Namespace) -> int:
    """All about one. Raises BautaError."""
    with _console(options) as console:
        _tell(options, console.get(RequestOut, _path(options)))
    return 0


def requests_new(options: argparse.Namespace) -> int:
    """Ask. Raises BautaError."""
    _check_span(options.from_ms, options.to_ms)
    body = {
        "camera": options.camera,
        "from_ms": options.from_ms,
        "to_ms": options.to_ms,
        "people": options.person,
        "case": options.case,
        "reason": options.reason,
    }
    with _console(options) as console:
        _tell(options, console.post(RequestOut, "/api/requests", body))
    return 0


def requests_approve(options: argparse.Namespace) -> int:
    """Say yes. Raises BautaError."""
    release = None
    if options.release is not None:
        release = base64.b64encode(_read_release(options.release)).decode("ascii")
    body = {"note": options.note, "release": release}
    with _console(options) as console:
        found = console.post(RequestOut, _path(options, "approve"), body)
    _tell(options, found)
    if not found.is_lock:
        warn(
            f"{found.id}: this approval is advice: an officer with keys of all groups does not "
            "need it (--release FILE gives a key release along)"
        )
    return 0


def requests_refuse(options: argparse.Namespace) -> int:
    """Say no. Raises BautaError."""
    with _console(options) as console:
        _tell(options, console.post(RequestOut, _path(options, "refuse"), {"note": options.note}))
    return 0


def requests_withdraw(options: argparse.Namespace) -> int:
    """Take back. Raises BautaError."""
    with _console(options) as console:
        _tell(options, console.post(RequestOut, _path(options, "withdraw")))
    return 0


def requests_file(options: argparse.Namespace) -> int:
    """The signed file of an approved one. Raises BautaError."""
    _check_dest(options)
    with _console(options) as console:
        path = _save(options, console, _path(options, "file"))
    told = f"for bauta recover CLIP DEST --request {path.name} --key officer.key"
    _tell_saved(options, path, told, id=options.id)
    return 0


def requests_clip(options: argparse.Namespace) -> int:
    """The protected clip that it is about. Raises BautaError."""
    _check_dest(options)
    with _console(options) as console:
        path = _save(options, console, _path(options, "clip"))
    _tell_saved(options, path, f"the protected clip of {options.id}", id=options.id)
    return 0


# --- at the console ---


@contextmanager
def _console(options: argparse.Namespace) -> Iterator[ConsoleClient]:
    """Signed in."""
    with ConsoleClient(options.server, ca=options.ca) as console:
        console.sign_in(options.user, _password(options.user))
        yield console


def _password(user: str) -> str:
    """The environment's, else asked for. Raises UsageError where nobody can be asked."""
    if found := os.environ.get(PASSWORD):
        return found
    if not sys.stdin.isatty():
        raise UsageError(f"there is no terminal to ask at; set {PASSWORD} in the environment")
    try:
        return getpass.getpass(printable(f"Password of {user}: "))
    except EOFError:
        raise UsageError("nothing was entered") from None


def _path(options: argparse.Namespace, act: str = "") -> str:
    path = f"/api/requests/{quote(options.id, safe='')}"
    return f"{path}/{act}" if act else path


def _read_release(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            data = file.read(MOST_RELEASE_BYTES + 1)
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}") from None
    if len(data) > MOST_RELEASE_BYTES:
        raise UsageError(f"{path}: longer than any release (bauta keys release)")
    return data


# --- on this machine ---


def _check_span(from_ms: int, to_ms: int) -> None:
    if from_ms >= to_ms:
        raise UsageError(f"--from must be before --to: {_local(from_ms)}, {_local(to_ms)}")


def _check_dest(options: argparse.Namespace) -> None:
    """Before anything is asked for. Raises UsageError."""
    dest: Path = options.dest
    if dest.is_dir():
        return
    if not dest.parent.is_dir():
        raise UsageError(f"{dest.parent}: no such folder")
    if dest.exists() and not options.overwrite:
        raise UsageError(f"{dest} exists; add --overwrite to replace it")


def _save(options: argparse.Namespace, console: ConsoleClient, path: str) -> Path:
    def choose(name: str) -> Path:
        """An export may be a zip: under another ending nothing would open it."""
        dest: Path = options.dest
        if dest.is_dir():
            dest = dest / (name or "download")
            if dest.exists() and not options.overwrite:
                raise UsageError(f"{dest} exists; add --overwrite to replace it")
        ending = Path(name).suffix
        if ending != SUFFIX and dest.suffix.lower() != ending:
            raise UsageError(f"{dest}: what the console gives is a {ending} file; name it so")
        return dest

    return console.download(path, choose, overwrite=options.overwrite)


def _as_json(options: argparse.Namespace, found: BaseModel) -> bool:
    if options.json:
        print(found.model_dump_json())
    return bool(options.json)


def _tell_saved(options: argparse.Namespace, path: Path, told: str, **more: object) -> None:
    if options.json:
        print(json.dumps({"dest": str(path), **more}))
    else:
        say(f"{path}: {told}")


def _tell(options: argparse.Namespace, found: RequestOut) -> None:
    """One request."""
    if _as_json(options, found):
        return
    lines: Mapping[str, str] = {
        "state": found.state,
        "camera": found.camera,
        "time": f"{_local(found.from_ms)} to {_local(found.to_ms)}",
        "tracks": ", ".join(str(each.track) for each in found.people),
        "case": found.case,
        "reason": found.reason,
        "asked for by": f"{found.requester}, {_local(found.created_ms)}",
        "decided by": (
            "" if found.decided_ms is None else f"{found.decider}, {_local(found.decided_ms)}"
        ),
        "note": found.note or "",
        "approval": ("" if found.state != "approved" else RELEASED if found.is_lock else "advice"),
        "until": _local(found.expires_ms) if found.state in ("pending", "approved") else "",
        "you may": ", ".join(found.may),
    }
    say(found.id)
    for name, value in lines.items():
        if value:
            say(f"  {name + ':':<14}{value}")


def _table(header: Sequence[str], rows: Sequence[Sequence[str]], none: str) -> None:
    if rows:
        say_table(header, [[printable(cell) for cell in row] for row in rows], left=_LEFT)
    else:
        say(none)


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


def _local(unix_ms: int) -> str:
    """By this machine's clock."""
    try:
        return f"{datetime.fromtimestamp(unix_ms / 1000):%Y-%m-%d %H:%M:%S}"
    except (OverflowError, ValueError, OSError):
        return f"{unix_ms} ms"


def _length(seconds: float) -> str:
    """1:02:05, 2:05 or 4.2 s."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
