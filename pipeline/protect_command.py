"""`bauta protect`: one file or stream, with a progress bar."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from .build import build_evidence, build_in_band, build_service
from .config import expand, settings_from
from .errors import SinkError, UsageError
from .evidence.sidecar_file import SUFFIX as EVIDENCE_SUFFIX
from .publish.file import file_format
from .publish.push import is_network
from .runtime.credentials import without_credentials
from .runtime.signals import stop_signals
from .sealing import Site
from .session import CameraSession
from .settings import FILE_DETECTOR, FILE_PROTECT
from .source.av_input import is_live
from .vault.passwords import ask_new_password
from .vault.sidecar import SUFFIX

POLL_SECONDS = 0.1
DEFAULT_GROUP = "officers"  # of recipients that were given without a group
# A file can wait for a busy machine: obscuring it after the seconds that suit a live picture would
# spoil a result that nobody can ask for again.
FILE_DETECTION_SECONDS = 30.0


def protect(options: argparse.Namespace) -> int:
    """Run until the source ends or a signal comes. Raises BautaError."""
    source, dest = expand(options.source), expand(options.dest)
    if not is_network(dest):
        sidecars = [SUFFIX, *([EVIDENCE_SUFFIX] if options.evidence in ("sidecar", "both") else [])]
        _check_file_dest(source, Path(dest), sidecars, overwrite=options.overwrite)
    _check_in_band_options(options)
    _check_evidence_options(options)
    settings = settings_from(_tree(options, source, dest))
    camera = settings.cameras[0]
    in_band = build_in_band(
        camera,
        live=is_live(source),
        threads=settings.detector.threads,
        password=_password(options),
        sidecars=None if options.sidecar is None else [options.sidecar],
    )
    evidence = build_evidence(
        camera, Site(settings.site, settings.recipients, settings.service_key)
    )
    if evidence is not None and evidence.counts.alarm is not None:
        raise UsageError(evidence.counts.alarm)  # a file can wait until its recipients are right
    service = build_service(settings.detector)
    try:
        session = CameraSession(
            camera,
            detector=settings.detector,
            service=service,
            retry=False,
            in_band=in_band,
            evidence=evidence,
        )
        started = time.monotonic()
        # what was done so far becomes a playable file
        with stop_signals(session.request_stop) as interrupted:
            session.start()
            _show_progress(session)
        seconds = time.monotonic() - started
    finally:
        service.close()
    _report(session, dest, seconds, as_json=options.json)
    return 1 if interrupted and not is_live(source) else 0


def _check_file_dest(source: str, dest: Path, sidecars: Sequence[str], *, overwrite: bool) -> None:
    try:
        file_format(dest)
    except SinkError as error:
        raise UsageError(str(error)) from None
    if dest.is_dir():
        raise UsageError(f"{dest} is a folder; name a file in it")
    for path in (dest, *(dest.with_name(dest.name + suffix) for suffix in sidecars)):
        if path.exists() and not overwrite:
            raise UsageError(f"{path} exists; add --overwrite to replace it")
    if not dest.parent.is_dir():
        raise UsageError(f"{dest.parent}: no such folder")
    if not is_live(source) and Path(source).exists() and dest.exists() and dest.samefile(source):
        raise UsageError("SOURCE and DEST are the same file")


def _check_in_band_options(options: argparse.Namespace) -> None:
    in_band_keys, _ = _recipients(options)
    asks_for_keys = in_band_keys or options.password or options.password_from_env
    if options.protector == "proface-s":
        if options.everything:
            raise UsageError("--everything leaves no face to fuse: choose one of the two")
    elif asks_for_keys or options.fusion_model or options.sidecar:
        raise UsageError(
            "--password, --fusion-model and --sidecar are of --protector proface-s; to seal the "
            "original faces into the stream give --recipient FILE.pub"
        )


def _check_evidence_options(options: argparse.Namespace) -> None:
    _, groups = _recipients(options)
    if groups and options.everything:
        raise UsageError("--everything hides for good: leave --recipient out, or hide faces only")
    if not groups and (options.evidence or options.detail):
        raise UsageError(
            "--evidence and --detail seal the original faces for somebody: say for whom, with "
            "--recipient GROUP=FILE.pub"
        )


def _recipients(options: argparse.Namespace) -> tuple[list[Path], dict[str, list[Path]]]:
    """Those of in-band faces, and the groups of evidence. Raises UsageError."""
    in_band: list[Path] = []
    groups: dict[str, list[Path]] = {}
    for text in options.recipient or ():
        name, is_named, file = text.rpartition("=")
        if is_named and not name:
            raise UsageError(f"--recipient must be GROUP=FILE.pub or FILE.pub, got {text}")
        if is_named:
            groups.setdefault(name, []).append(Path(file))
        elif options.protector == "proface-s":
            in_band.append(Path(file))
        else:
            groups.setdefault(DEFAULT_GROUP, []).append(Path(file))
    return in_band, groups


def _password(options: argparse.Namespace) -> str | None:
    if options.password or options.password_from_env:
        return ask_new_password(from_environment=options.password_from_env)
    return None


def _tree(options: argparse.Namespace, source: str, dest: str) -> dict[str, object]:
    in_band_keys, groups = _recipients(options)
    protect: dict[str, object] = {
        "obfuscation": options.obfuscation,
        "strength": options.strength,
        "protector": options.protector,
        "recipients": in_band_keys,
    }
    if options.fusion_model:
        protect["fusion_model"] = options.fusion_model
    if not is_live(source) and options.detect_every is None and options.lookahead is None:
        protect |= FILE_PROTECT
    if options.detect_every is not None:
        protect["detect_every"] = options.detect_every
    if options.lookahead is not None:
        protect["lookahead"] = options.lookahead
    detector: dict[str, object] = {}
    if options.detector_preset is not None:
        detector["preset"] = options.detector_preset
    elif options.model is not None:
        detector["model"] = options.model
    elif not is_live(source):
        detector |= FILE_DETECTOR
    if not is_live(source):
        detector["timeout"] = FILE_DETECTION_SECONDS
    evidence: dict[str, object] | None = None
    if groups:
        evidence = {
            "carrier": options.evidence or "stream",
            "detail": options.detail or "default",
        }
    return {
        "recipients": groups,
        "detector": detector,
        "cameras": [
            {
                "id": "protect",
                "source": source,
                "publish": [dest],
                "audio": "keep" if options.keep_audio else "drop",
                "privacy": "everything" if options.everything else "faces",
                "protect": protect,
                "evidence": evidence,
                "encode": {"codec": options.codec, "preset": options.preset, "crf": options.crf},
            }
        ],
    }


def _show_progress(session: CameraSession) -> None:
    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.completed}/{task.total} frames"),
        TextColumn("{task.fields[fps]:5.1f} frames/s"),
        TextColumn("{task.fields[faces]} faces"),
        TimeRemainingColumn(),
    )
    started = time.monotonic()
    with Progress(
        *columns, console=console, transient=True, disable=not console.is_terminal
    ) as bar:
        task = bar.add_task("protecting", total=None, fps=0.0, faces=0)
        while not session.wait(POLL_SECONDS):
            done = session.counts.frames_out
            bar.update(
                task,
                completed=done,
                total=session.info.frames_total if session.info else None,
                fps=done / max(time.monotonic() - started, 1e-3),
                faces=session.counts.faces,
            )


def _report(session: CameraSession, dest: str, seconds: float, *, as_json: bool) -> None:
    redactions = session.redactions()
    frames = session.counts.frames_out
    result = {
        "dest": without_credentials(dest),
        "frames": frames,
        "seconds": round(seconds, 3),
        "frames_per_second": round(frames / max(seconds, 1e-3), 2),
        "faces_per_frame": round(session.counts.face_frames / max(frames, 1), 2),
        "obscured_frames": sum(redactions.values()),
        "obscured_because": dict(redactions),
        "damaged_packets": session.counts.damaged_packets,
        "fused_faces": session.keyed_counts.fused,
        "not_fused_because": dict(session.keyed_counts.not_fused),
        "keyframes_because": dict(session.keyed_counts.keyframes),
        "carried_faces": session.keyed_counts.carried,
        "not_carried_because": dict(session.keyed_counts.not_carried),
        "sidecars": _sidecars(session),
        "evidence": _evidence(session),
        "encoder": session.encoder_name,
    }
    if as_json:
        print(json.dumps(result))
        return
    print(
        f"{result['dest']}: {frames} frames in {seconds:.1f} s "
        f"({result['frames_per_second']} frames/s), {result['faces_per_frame']} faces a frame, "
        f"{session.encoder_name}"
    )
    if session.in_band is not None:
        _report_fusion(session)
    if (sealed := _evidence(session)) is not None:
        print(
            f"{sealed['faces']} faces sealed in {sealed['epochs']} epochs, "
            f"{sealed['bytes']} bytes; see who is in it with: bauta tracks {result['dest']}"
        )
    if redactions:
        print(f"{sum(redactions.values())} frames were obscured whole:", file=sys.stderr)
        for reason, count in redactions.most_common():
            print(f"  {count}: {reason}", file=sys.stderr)


def _report_fusion(session: CameraSession) -> None:
    counts = session.keyed_counts
    print(f"{counts.fused} faces can be recovered; {', '.join(_sidecars(session)) or 'no sidecar'}")
    print(f"{counts.carried} faces were carried along between keyframes")
    for title, reasons in (
        ("keyframes were due", counts.keyframes),
        ("were carried no further", counts.not_carried),
        ("were due and could not be fused", counts.not_fused),
    ):
        for reason, count in sorted(reasons.items(), key=lambda item: -item[1]):
            print(f"  {count} {title}: {reason}")


def _evidence(session: CameraSession) -> dict[str, object] | None:
    if session.evidence is None:
        return None
    counts = session.evidence.counts
    return {
        "epochs": counts.epochs,
        "faces": counts.faces,
        "bytes": counts.record_bytes,
        "unsealed_frames": counts.unsealed_frames,
        "withheld_frames": counts.withheld_frames,
        "alarm": counts.alarm,
    }


def _sidecars(session: CameraSession) -> list[str]:
    in_band = session.in_band
    if in_band is None or in_band.sidecars is None:
        return []
    return [str(path) for path in in_band.sidecars.paths]
