"""`bauta recover --in-band`: the faces of a clip from its own pixels, for a case, with a mark."""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from engines import EngineError
from engines.fusion import FusionModel

from .build import build_source, fusion_entry, open_fusion_model
from .errors import KeyRefused, UsageError, VaultError
from .frames import FusedFace, Square, U8Array, YuvPlanes
from .publish.file import file_format
from .recover.in_band import looks_like_a_face, open_parts
from .recover.log import log_recovery
from .recover.mark import mark_text
from .recover.video import (
    FrameFaces,
    RecoveredVideo,
    RecoveryCounts,
    Wanted,
    first_frame_in,
    put_faces_back,
)
from .recover_options import check_dest, checked_case, progress_bar, read_identity, span_of
from .recover_search import search_clip
from .settings import CameraSettings
from .source.base import DecodedFrame
from .terminal import say, warn
from .vault import passwords
from .vault.clip_key import open_with_identity, open_with_password
from .vault.secret_map import face_key
from .vault.sidecar import Header, is_complete, read_header, read_lines, sidecar_of


@dataclass(frozen=True, slots=True)
class _Job:
    """What was asked for, checked."""

    clip: Path
    dest: Path
    sidecar: Path
    case: str
    reason: str
    wanted: Wanted
    keyframes_only: bool
    first_frame: int
    stills: Path | None
    header: Header
    clip_key: bytes = field(repr=False)
    opened_by: str  # for the log


def recover(options: argparse.Namespace) -> int:
    """Write DEST and the stills. Raises BautaError; exit code 1 where no face opened."""
    job = _checked(options)
    try:
        entry = fusion_entry(job.header.model)
        if entry.recover_sha256 != job.header.model_sha256:
            raise VaultError(
                f"the clip was protected with another version of the model {job.header.model}; "
                "recover it with the version of bauta that protected it"
            )
        model = open_fusion_model(job.header.model, recover=True)
    except EngineError as error:
        raise VaultError(f"the model of the clip: {error}") from error
    try:
        if options.search:
            _write_log(job, "search in-band")
            # what is found has no track of the session: it is what was asked for
            wanted = replace(job.wanted, tracks=frozenset())
            counts = _write(job, model, _searched(job, model, options), wanted)
        else:
            _check_sidecar(job)
            _write_log(job, "recover in-band")
            counts = _write(job, model, _from_sidecar(job), job.wanted)
    except EngineError as error:
        raise VaultError(f"recovery failed: {error}") from error
    finally:
        model.close()
    _report(job, counts, as_json=options.json)
    return 0 if counts.opened or counts.carried else 1


# --- what was asked for ---


def _checked(options: argparse.Namespace) -> _Job:
    case, reason = checked_case(options)
    check_dest(options)
    sidecar = options.sidecar or sidecar_of(options.clip)
    header = read_header(sidecar)
    if options.search and not options.frame:
        raise UsageError("--search needs --frame N: a frame in which a face was fused")
    from_seconds, to_seconds = span_of(options)
    key, opened_by = _clip_key(options, header)
    return _Job(
        clip=options.clip,
        dest=options.dest,
        sidecar=sidecar,
        case=case,
        reason=reason,
        wanted=Wanted(
            tracks=frozenset(options.track or ()),
            from_seconds=from_seconds,
            to_seconds=to_seconds,
        ),
        keyframes_only=options.keyframes_only,
        first_frame=(
            (first_frame_in(options.clip) or 0)
            if options.first_frame is None
            else options.first_frame
        ),
        stills=options.stills,
        header=header,
        clip_key=key,
        opened_by=opened_by,
    )


def _clip_key(options: argparse.Namespace, header: Header) -> tuple[bytes, str]:
    """The key, and what the log says of how it was had. Raises KeyRefused."""
    if options.key is not None:
        (key,) = options.key
        identity = read_identity(key)
        return open_with_identity(header.keys, identity), identity.recipient.public
    if not (options.password or options.password_from_env):
        raise UsageError("who opens it? Give --key FILE, --password or --password-from-env")
    if header.keys.salt is None:
        raise KeyRefused("the clip was not protected with a password; give --key FILE")
    if options.password_from_env:
        password = passwords.ask_new_password(from_environment=True)
    else:
        password = passwords.ask("Password: ")
    return open_with_password(header.keys, password), "password"


# --- where the faces are ---


def _check_sidecar(job: _Job) -> None:
    """All of it but the sealed motions, before anything is opened. Raises SidecarError, VaultError.

    Nothing is kept: there may be as many lines as the session had frames.
    """
    found = False
    for line in read_lines(job.sidecar, job.clip_key, motions_from=None):
        # whoever is carried was fused before; motions alone open nothing
        if line.frame >= job.first_frame:
            found = found or any(job.wanted.track(face) for face in line.faces)
    if not is_complete(job.sidecar):
        warn(f"{job.sidecar} has no end: its writer was stopped")
    if not found:
        raise VaultError(f"{job.sidecar}: no fused face there that was asked for")


def _from_sidecar(job: _Job) -> Iterator[FrameFaces]:
    """The faces of the clip's frames, read as they are needed."""
    motions_from = None if job.keyframes_only else job.first_frame
    for line in read_lines(job.sidecar, job.clip_key, motions_from=motions_from):
        position = line.frame - job.first_frame
        if position >= 0:
            yield FrameFaces(position, line.number, line.faces, line.carried)


def _searched(job: _Job, model: FusionModel, options: argparse.Namespace) -> Sequence[FrameFaces]:
    """Every place near where a face may be is tried, in the frames that were named."""
    if model.spec.mode == "obfswr":
        raise VaultError(
            f"--search cannot work with the model {model.spec.name}: at a wrong place it shows the "
            "obfuscated face, which looks like one; give a sidecar with its lines"
        )
    with progress_bar() as bar:
        task = bar.add_task("searching", total=None)
        results = search_clip(
            job.clip,
            options.frame,
            [Square(*xys) for xys in options.around or ()],
            partial(_key_of, job),
            model,
            reach_px=options.reach,
            progress=lambda done, of: bar.update(task, completed=done, total=of),
        )
    faces: dict[int, tuple[FusedFace, ...]] = {}
    for position, found in results:
        where = f"({found.square.x_px}, {found.square.y_px}, {found.square.side_px})"
        what = "opened" if found.is_face else "did not open; the best of all"
        print(f"frame {position}: {where} {what}, likeness {found.likeness:.2f}", file=sys.stderr)
        if found.is_face:
            here = faces.get(position, ())
            faces[position] = (*here, FusedFace(len(here) + 1, found.square))
    if not faces:
        raise VaultError(
            "the search found no face: try another --frame, --around X,Y,SIDE or a larger --reach"
        )
    return [
        FrameFaces(position, position + job.first_frame, faces[position])
        for position in sorted(faces)
    ]


def _key_of(job: _Job, position: int, square: Square) -> bytes:
    return face_key(job.clip_key, position + job.first_frame, square.xys_px)


# --- out ---


def _write_log(job: _Job, action: str) -> None:
    log_recovery(
        action,
        clip=job.clip,
        sidecar=job.sidecar,
        case=job.case,
        reason=job.reason,
        tracks=sorted(job.wanted.tracks) or "all",
        from_seconds=job.wanted.from_seconds,
        to_seconds=None if math.isinf(job.wanted.to_seconds) else job.wanted.to_seconds,
        keyframes_only=job.keyframes_only,
        opened_by=job.opened_by,
    )


def _write(
    job: _Job, model: FusionModel, faces: Iterable[FrameFaces], wanted: Wanted
) -> RecoveryCounts:
    if job.stills is not None:
        job.stills.mkdir(parents=True, exist_ok=True, mode=0o700)

    def open_faces(
        parts: Sequence[YuvPlanes], number: int, squares: Sequence[Square]
    ) -> list[YuvPlanes]:
        keys = [face_key(job.clip_key, number, square.xys_px) for square in squares]
        return open_parts(parts, keys, model)

    source = build_source(CameraSettings(id="recover", source=str(job.clip)))
    writer = RecoveredVideo(job.dest, file_format(job.dest), source.info.fps, mark_text(job.case))
    try:
        with progress_bar() as bar:
            task = bar.add_task("recovering", total=source.info.frames_total)
            counts = put_faces_back(
                (item.image for item in source.read() if isinstance(item, DecodedFrame)),
                faces,
                open_faces,
                writer,
                size_px=job.header.size_px,
                is_face=partial(_opened, model),
                wanted=wanted,
                stills=job.stills,
                progress=lambda done: bar.update(task, completed=done.frames),
            )
        writer.close()
    except BaseException:
        writer.abandon()
        raise
    finally:
        source.close()
    return counts


def _opened(model: FusionModel, luma: U8Array) -> bool:
    """Whether a face came out. A wrong key of a model of the mode obfswr cannot be told by that."""
    if model.spec.mode == "obfswr":
        return True
    return looks_like_a_face(luma, model.spec.layout.side_multiple_px)


def _report(job: _Job, counts: RecoveryCounts, *, as_json: bool) -> None:
    if as_json:
        print(
            json.dumps(
                {
                    "dest": str(job.dest),
                    "frames": counts.frames,
                    "opened": counts.opened,
                    "not_opened": counts.not_opened,
                    "carried": counts.carried,
                    "without_keyframe": counts.without_keyframe,
                    "tracks": sorted(counts.tracks),
                    "stills": [str(path) for path in counts.stills],
                }
            )
        )
    else:
        say(
            f"{job.dest}: recovered {counts.opened} faces at keyframes and {counts.carried} "
            f"between them, of {len(counts.tracks)} tracks in {counts.frames} frames"
        )
        if counts.carried:
            print(
                "Between keyframes (marked MOVED FACE) a face is its keyframe's, moved: it shows "
                "who and where, not what the face did at that moment"
            )
    if counts.not_opened:
        warn(
            f"{counts.not_opened} squares did not open: they were coded too strongly or anew, or "
            "the clip was cut (--first-frame N) or is another one"
        )
    if counts.without_keyframe:
        warn(
            f"{counts.without_keyframe} faces between keyframes stay protected: their keyframe is "
            "not in the clip or did not open"
        )
