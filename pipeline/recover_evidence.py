"""`bauta recover`: the sealed faces of a clip, by those whose keys open them, for a case."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from .errors import NothingOpened, SinkError, SourceError
from .publish.file import file_format
from .recover.clip_pictures import ClipPictures
from .recover.clip_records import ClipRecords
from .recover.evidence import ClipTiles, Opening, is_size_as_sealed
from .recover.evidence_video import EvidenceCounts, lay_tiles_in
from .recover.gaps import Gap, Gaps
from .recover.manifest import (
    EpochNote,
    FileNote,
    Recovery,
    as_json,
    findings,
    manifest_path,
    report_path,
    sha256_of,
    utc,
    utc_now,
)
from .recover.mark import mark_text
from .recover.origin import Origin, check_origin
from .recover.report import as_html
from .recover.stills import Still, Stills
from .recover.video import RecoveredVideo, write_private
from .recover.wording import counted
from .recover_options import progress_bar, warn_unverified
from .recover_request import NOTHING, Request, checked_request, openings_of, write_log
from .runtime.process import user_name
from .terminal import say, warn
from .vault.audit_line import Head
from .vault.signing import fingerprint

MOST_SHOWN = 8  # gaps on a terminal; manifest and report have more


def recover(options: argparse.Namespace) -> int:
    """Write DEST, its manifest and its report. Raises BautaError."""
    request = checked_request(options)
    _check_picture(request.clip)
    head = write_log(request)
    openings = openings_of(request)
    tiles = ClipTiles(request.clip, openings, request.wanted)
    if not tiles.opens_anything():
        raise NothingOpened(NOTHING)
    recovery = _write(request, tiles, openings, head)
    _tell(request, recovery, as_json=options.json)
    return 0


def _check_picture(clip: ClipRecords) -> None:
    """Raises SourceError where what is shown cannot be what the records are of."""
    if clip.video_streams > 1:
        raise SourceError(
            f"{clip.clip}: holds {clip.video_streams} video streams, and its records are of one; "
            "copy that one into a file of its own"
        )
    if clip.epochs and not any(is_size_as_sealed(epoch, clip.size_px) for epoch in clip.epochs):
        record = clip.epochs[0].record
        raise SourceError(
            f"{clip.clip}: its picture is {clip.size_px[0]}x{clip.size_px[1]}, it was sealed at "
            f"{record.width_px}x{record.height_px}: a scaled or cropped picture cannot be recovered"
        )


# --- out ---


def _write(request: Request, tiles: ClipTiles, openings: Sequence[Opening], head: Head) -> Recovery:
    """Everything, or nothing."""
    gaps, stills = Gaps(), Stills()
    beside = {
        path: _part(path) for path in (manifest_path(request.dest), report_path(request.dest))
    }
    made: list[Path] = list(beside.values())
    with ClipPictures(request.clip.clip, audio=not request.drop_audio) as pictures:
        writer = _writer(request, pictures)
        try:
            with progress_bar() as bar:
                task = bar.add_task("recovering", total=len(request.clip.frames))
                counts = lay_tiles_in(
                    *(pictures, request.clip, tiles, writer),
                    gaps=gaps,
                    stills=stills,
                    progress=lambda done: bar.update(task, completed=done),
                )
            if not counts.shown:
                raise NothingOpened(NOTHING)
            writer.finish()
            recovery = _recovery(
                request,
                openings,
                head=head,
                output_sha256=sha256_of(writer.part),
                counts=counts,
                gaps=gaps.listed(request.clip.seconds),
                stills=stills.made(),
                has_audio=bool(pictures.audio),
            )
            for path, data in zip(made, (as_json(recovery), as_html(recovery)), strict=True):
                write_private(path, data)
            beside |= _write_stills(request, recovery.stills, made)
            for path, part in beside.items():
                part.replace(path)
            writer.close()
        except OSError as error:
            _remove(writer, made)
            raise SinkError(f"{request.dest}: {error.strerror}") from None
        except BaseException:
            _remove(writer, made)
            raise
    return recovery


def _writer(request: Request, pictures: ClipPictures) -> RecoveredVideo:
    mark = mark_text(request.case, is_origin_verified=request.pinned is not None)
    return RecoveredVideo(
        request.dest,
        file_format(request.dest),
        pictures.fps,
        mark if request.is_marked else None,
        lossless=request.lossless,
        audio=pictures.audio,
    )


def _write_stills(request: Request, stills: Sequence[Still], made: list[Path]) -> dict[Path, Path]:
    """Each to what it is written as: what was there before stays until all is written."""
    beside: dict[Path, Path] = {}
    if request.stills is None:
        return beside
    request.stills.mkdir(parents=True, exist_ok=True, mode=0o700)
    for still in stills:
        name = f"track-{still.track}_frame-{still.position:06d}"
        for what, png in (("protected", still.before), ("recovered", still.after)):
            path = request.stills / f"{name}_{what}.png"
            beside[path] = _part(path)
            made.append(beside[path])
            write_private(made[-1], png)
    return beside


def _part(path: Path) -> Path:
    return path.with_name(path.name + ".part")


def _remove(writer: RecoveredVideo, made: Sequence[Path]) -> None:
    writer.abandon()
    for path in made:
        path.unlink(missing_ok=True)


def _recovery(
    request: Request,
    openings: Sequence[Opening],
    *,
    head: Head,
    output_sha256: str,
    counts: EvidenceCounts,
    gaps: tuple[Gap, ...],
    stills: tuple[Still, ...],
    has_audio: bool,
) -> Recovery:
    origin = check_origin(request.clip, request.pinned)
    used = {given.by for given in request.given}.union(*(each.keys.used for each in openings))
    sidecar = request.clip.sidecar
    return Recovery(
        case=request.case,
        reason=request.reason,
        user=user_name(),
        created_utc=utc_now(),
        clip=FileNote(request.clip.clip.name, request.clip.clip_sha256),
        sidecar=None if sidecar is None else FileNote(sidecar.name, sha256_of(sidecar)),
        output=FileNote(request.dest.name, output_sha256),
        tracks=tuple(sorted(request.wanted.tracks)),
        from_seconds=request.wanted.from_seconds,
        to_seconds=request.to_seconds,
        keys=tuple(replace(key, used=key.age in used) for key in request.keys),
        packages=request.packages,
        is_origin_verified=request.pinned is not None,
        service=None if request.pinned is None else fingerprint(request.pinned),
        origin=findings(origin),
        epochs=tuple(_noted_epoch(opening, origin) for opening in openings),
        gaps=gaps,
        counts=counts,
        is_marked=request.is_marked,
        is_lossless=request.lossless,
        has_audio=has_audio,
        head=head,
        stills=stills,
        request=None if request.approved is None else request.approved.note(request.clip),
    )


def _noted_epoch(opening: Opening, origin: Origin) -> EpochNote:
    epoch, record = opening.epoch, opening.epoch.record
    names = tuple(group.name for group in record.groups)
    had = opening.keys.opened_by
    doubts = next((each.doubts for each in origin.epochs if each.epoch is epoch), ())
    return EpochNote(
        epoch=record.epoch_id.hex(),
        site=record.site,
        camera=record.camera,
        started_utc=utc(record.started_utc_ms),
        first_frame=epoch.start,
        last_frame=epoch.end - 1,
        service=fingerprint(record.service_key),
        origin="; ".join(doubts) or "signed by the service",
        opened_by=had,
        released_by=tuple(n for n in names if n not in (*had, *opening.keys.missing_groups)),
        groups=names,
    )


def _tell(request: Request, recovery: Recovery, *, as_json: bool) -> None:
    counts = recovery.counts
    if as_json:
        fields = {
            "dest": str(request.dest),
            "manifest": str(manifest_path(request.dest)),
            "report": str(report_path(request.dest)),
            "frames": counts.frames,
            "recovered_frames": counts.recovered_frames,
            "faces": counts.faces,
            "moved": counts.moved,
            "scenes": counts.scenes,
            "tracks": sorted(counts.tracks),
            "stills": len(recovery.stills),
            "gaps": [str(gap) for gap in recovery.gaps],
            "origin_verified": recovery.is_origin_verified,
            "request": None
            if (note := recovery.request) is None
            else {"id": note.id, "verified": note.is_verified, "lock": note.is_lock},
            "audit": {"count": recovery.head.count, "hash": recovery.head.hash},
        }
        print(json.dumps(fields))
    else:
        say(
            f"{request.dest}: recovered {counted(counts.faces + counts.moved, 'face')} of "
            f"{counted(len(counts.tracks), 'track')} in {counts.recovered_frames} of "
            f"{counted(counts.frames, 'frame')}; manifest and report beside it"
        )
    if not recovery.is_origin_verified:
        warn_unverified()
    if request.approved is not None:
        request.approved.tell(request.clip)
    for gap in recovery.gaps[:MOST_SHOWN]:
        warn(f"not recovered: {gap}")
    if len(recovery.gaps) > MOST_SHOWN:
        more = len(recovery.gaps) - MOST_SHOWN
        warn(f"not recovered: {more} more, see the manifest")
