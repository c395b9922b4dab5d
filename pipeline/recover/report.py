"""The report of a recovery: one HTML file that needs nothing else, and asks no network."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable, Sequence
from html import escape

from ..version import __version__
from .manifest import Recovery, RequestNote, verdict
from .report_page import PAGE
from .wording import clock, printable

MOST_GAPS = 200  # shown; the manifest has them all


def as_html(recovery: Recovery) -> bytes:
    """The whole page, UTF-8. Whatever comes from outside is escaped."""
    parts = {
        "TITLE": _text(f"Recovery, case {recovery.case}"),
        "VERDICT": _text(_verdict(recovery)),
        "VERDICT_CLASS": "good" if recovery.is_origin_verified else "bad",
        "REQUEST": _request(recovery.request),
        "ASKED": _table(_asked(recovery)),
        "FOUND": _table(_found(recovery)),
        "STILLS": "".join(_stills(recovery)) or "<p>No face of its own opened.</p>",
        "FINDINGS": _list(recovery.origin),
        "GAPS": _gaps(recovery),
        "EPOCHS": _epochs(recovery),
        "PROOF": _table(_proof(recovery)),
        "TOOL": _text(f"bauta {__version__}, {recovery.created_utc}"),
    }
    # in one go: no value is looked through for further names
    return re.sub(r"\{\{(\w+)\}\}", lambda name: parts[name[1]], PAGE).encode()


def _verdict(recovery: Recovery) -> str:
    if recovery.is_origin_verified:
        return f"{verdict(recovery)}: what was recovered was signed by {recovery.service}"
    return (
        f"{verdict(recovery)}: no service’s public key was named, so the clip may have been made "
        "by anybody who has the recipients’ public keys"
    )


def _asked(recovery: Recovery) -> list[tuple[str, str]]:
    tracks = ", ".join(map(str, recovery.tracks)) or "all, and what several people may own"
    end = "the end" if recovery.to_seconds is None else clock(recovery.to_seconds)
    time = f"{clock(recovery.from_seconds)} to {end}"
    if (note := recovery.request) is not None:
        time = f"{note.from_utc} to {note.to_utc}, in whole keyframe intervals"
    return [
        ("Case", recovery.case),
        ("Reason", recovery.reason),
        ("By", f"{recovery.user}, {recovery.created_utc}"),
        ("Tracks", tracks),
        ("Time", time),
        *(_request_rows(note) if note is not None else ()),
        *(("Key", f"{key.age} (signs as {key.signing})") for key in recovery.keys),
        *(
            (
                package.what.capitalize(),
                f"signed by {package.maker_signing}, who says: case {package.case}: "
                f"{package.reason}; made {package.made_utc}",
            )
            for package in recovery.packages
        ),
    ]


def _request(note: RequestNote | None) -> str:
    """A verdict of its own, below that on the origin."""
    if note is None:
        return ""
    if note.is_verified:
        told, kind = f"{note.verdict}: signed by the console, {note.signer}", "good"
    else:
        kind = "bad"
        told = f"{note.verdict}: no console’s public key was named, so anybody can have written it"
    return f'<p class="verdict {kind}">{_text(told)}</p>'


def _request_rows(note: RequestNote) -> list[tuple[str, str]]:
    approval = (
        "a lock: the approver’s release is in it"
        if note.is_lock
        else "advice: no release of the approver is in it"
    )
    return [
        (
            "Request",
            f"{note.id}, {note.site}, {note.camera}\nasked for by {note.requested_by}, "
            f"{note.requested_utc}\napproved by {note.approved_by}, {note.approved_utc}, until "
            f"{note.expires_utc}\nsigned by {note.signer}",
        ),
        ("Approval", approval),
        ("Intervals", f"{note.epochs_in_clip} of the {note.epochs} approved are in this clip"),
    ]


def _found(recovery: Recovery) -> list[tuple[str, str]]:
    counts = recovery.counts
    rows = [
        ("Faces", f"{counts.faces} in {counts.recovered_frames} of {counts.frames} frames"),
        ("Tracks", ", ".join(map(str, sorted(counts.tracks))) or "none"),
    ]
    if counts.moved:
        told = "is the face of another frame, moved: who and where, not what it did then"
        rows.append(("Moved", f"{counts.moved} more; each {told}"))
    if counts.scenes:
        rows.append(("Shared", f"{counts.scenes} places where faces overlap, shown whole"))
    rows.append(("Mark", "burnt into each frame" if recovery.is_marked else "NONE, as was asked"))
    rows.append(("Coding", "without loss" if recovery.is_lossless else "x264, CRF 14"))
    rows.append(("Audio", "as in the clip" if recovery.has_audio else "none"))
    return rows


def _proof(recovery: Recovery) -> list[tuple[str, str]]:
    rows = [("Clip", f"{recovery.clip.name}\nSHA-256 {recovery.clip.sha256}")]
    if recovery.sidecar:
        rows.append(("Sidecar", f"{recovery.sidecar.name}\nSHA-256 {recovery.sidecar.sha256}"))
    if recovery.request:
        rows.append(("Request", f"{recovery.request.id}\nSHA-256 {recovery.request.sha256}"))
    rows.append(("Recovered", f"{recovery.output.name}\nSHA-256 {recovery.output.sha256}"))
    head = recovery.head
    rows.append(("Audit log", f"{head.count} entries, the last {head.hash}"))
    return rows


def _stills(recovery: Recovery) -> Iterable[str]:
    for still in recovery.stills:
        what = f"Track {still.track}, frame {still.position} ({clock(still.seconds)})"
        yield (
            f"<figure><figcaption>{_text(what)}</figcaption>"
            f'<img alt="protected" src="{_data_uri(still.before)}">'
            f'<img alt="recovered" src="{_data_uri(still.after)}"></figure>'
        )


def _gaps(recovery: Recovery) -> str:
    if not recovery.gaps:
        return "<p>None: everything that was asked for and is in the records was recovered.</p>"
    shown = [str(gap) for gap in recovery.gaps[:MOST_GAPS]]
    if len(recovery.gaps) > MOST_GAPS:
        shown.append(f"and {len(recovery.gaps) - MOST_GAPS} more: see the manifest")
    return _list(shown)


def _epochs(recovery: Recovery) -> str:
    rows = []
    for epoch in recovery.epochs:
        had = [*epoch.opened_by, *(f"{name} by package" for name in epoch.released_by)]
        cells = (
            f"{epoch.first_frame}–{epoch.last_frame}",
            epoch.started_utc,
            f"{epoch.site}, {epoch.camera}",
            f"{', '.join(had) or 'nobody'} (of {', '.join(epoch.groups)})",
            epoch.origin,
        )
        rows.append("<tr>" + "".join(f"<td>{_text(cell)}</td>" for cell in cells) + "</tr>")
    return "".join(rows)


def _table(rows: Sequence[tuple[str, str]]) -> str:
    return "".join(f"<tr><th>{_text(name)}</th><td>{_text(it)}</td></tr>" for name, it in rows)


def _list(lines: Sequence[str]) -> str:
    return "<ul>" + "".join(f"<li>{_text(line)}</li>" for line in lines) + "</ul>" if lines else ""


def _text(value: str) -> str:
    lines = (escape(printable(line)) for line in value.split("\n"))
    return "<br>".join(lines)


def _data_uri(png: bytes) -> str:
    return "data:image/png;base64," + base64.b64encode(png).decode("ascii")
