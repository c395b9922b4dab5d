"""Recordings: days, the timeline, files with their fragments and bytes, and exports."""

from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path as FilePath
from typing import Annotated, Any
from urllib.parse import quote

from fastapi import APIRouter, Path, Query, Request, Response

from ...errors import RecordingError
from ..media.fragments import H265, Fragments
from ..media.playlist import playlist as playlist_text
from ..requests import owner_of
from ..store import recordings, timeline
from ..store.recordings import DAY_MS, Segment
from .access import OFFICERS
from .audit import must_log
from .context import Context, Ctx
from .errors import DOCUMENTED, ApiError, no_such
from .file_answer import FileAnswer, open_inside
from .schemas import ErrorOut
from .schemas_recordings import (
    Day,
    DayCamera,
    DaysOut,
    DaysQuery,
    ExportOut,
    FragmentsOut,
    Id,
    RecordingsOut,
    SegmentOut,
    Span,
    SpanQuery,
    TimelineCamera,
    TimelineOut,
    TimelineQuery,
)
from .security import BODY_BYTES, Caller, GuardedRoute, SignedIn, still
from .seen import cameras_of, file_of, segment_of
from .workers import exporting, slowly

PLAYLIST_TYPE = "application/vnd.apple.mpegurl"
IdInPath = Annotated[Id, Path()]
ExportId = Annotated[str, Path(pattern=r"^[0-9a-f]{32}$")]
FileName = Annotated[str, Path(pattern=r"^[A-Za-z0-9_.-]{1,200}$")]
BINARY = {"schema": {"type": "string", "format": "binary"}}
MEDIA: dict[int | str, dict[str, Any]] = {
    200: {"content": {"video/mp4": BINARY}, "description": "all of the file"},
    206: {"content": {"video/mp4": BINARY}, "description": "the bytes that were asked for"},
    304: {"description": "the browser has it"},
    416: {"model": ErrorOut, "description": "the file has no such bytes"},
}
_NEXT_MS = 60_000  # a recording that follows begins within a minute
router = APIRouter(
    route_class=GuardedRoute, tags=["recordings"], responses=DOCUMENTED, max_body_size=BODY_BYTES
)


@router.get("/api/days", operation_id="listDays")
def days(query: Annotated[DaysQuery, Query()], context: Ctx, caller: SignedIn) -> DaysOut:
    """The days with recordings, newest first, by the browser's clock."""
    offset = query.offset_minutes
    found = recordings.days(context.database, caller.account.cameras, offset)
    return DaysOut(days=[_day(one, offset) for one in found])


@router.get("/api/timeline", operation_id="timeline")
def timeline_(
    query: Annotated[TimelineQuery, Query()], context: Ctx, caller: SignedIn
) -> TimelineOut:
    """Where there are recordings in a window, and how many people in each part of it."""
    cameras = cameras_of(caller, query.cameras)
    found = timeline.timeline(context.database, cameras, query.from_ms, query.to_ms, query.buckets)
    return TimelineOut(
        from_ms=found.from_ms,
        to_ms=found.to_ms,
        bucket_ms=found.bucket_ms,
        cameras=[
            TimelineCamera(
                id=one.camera,
                segments=list(one.spans),
                people=list(one.people),
                obscured=list(one.obscured),
            )
            for one in found.cameras
        ],
    )


@router.get("/api/recordings", operation_id="listRecordings")
def recordings_(
    query: Annotated[SpanQuery, Query()], context: Ctx, caller: SignedIn
) -> RecordingsOut:
    """The files with a part in a window, oldest first."""
    caller.must_see(query.camera)
    found = recordings.segments(
        context.database, query.camera, query.from_ms, query.to_ms, limit=query.limit
    )
    return RecordingsOut(segments=[_segment(context, one) for one in found])


@router.get("/api/recordings/{id}/fragments", operation_id="recordingFragments")
async def fragments(id: IdInPath, request: Request, context: Ctx, caller: SignedIn) -> FragmentsOut:
    """Where the file's parts lie, each beginning with a keyframe, so that a player can seek."""
    segment, _, known = await slowly(request, _playable, context, caller, id)
    return FragmentsOut(
        mime=known.mime,
        init=known.init_span,
        fps=known.fps,
        growing=segment.growing and not known.is_finished,
        fragments=_from_keyframes(known),
    )


@router.get(
    "/api/recordings/{id}/media",
    operation_id="recordingMedia",
    response_class=Response,
    responses=MEDIA,
)
async def media(id: IdInPath, request: Request, context: Ctx, caller: SignedIn) -> Response:
    """The file's bytes; a Range header asks for a part of them."""
    _, path, _ = await slowly(request, _playable, context, caller, id)
    folders = (*context.plan.folders, context.plan.own_dir / "playable")
    return FileAnswer(open_inside(str(path), folders), "video/mp4")


@router.get(
    "/api/recordings/{id}/playlist.m3u8",
    operation_id="recordingHls",
    response_class=Response,
    responses={200: {"content": {PLAYLIST_TYPE: {}}, "description": "a playlist"}},
)
async def playlist(id: IdInPath, request: Request, context: Ctx, caller: SignedIn) -> Response:
    """The file as HLS by byte range, for browsers without Media Source Extensions."""
    segment, _, known = await slowly(request, _playable, context, caller, id)
    growing = segment.growing and not known.is_finished
    return Response(playlist_text(known, growing=growing), media_type=PLAYLIST_TYPE)


@router.post("/api/exports", operation_id="makeExport", status_code=201)
async def export(body: Span, request: Request, context: Ctx, caller: SignedIn) -> ExportOut:
    """A file to take along: by stream copy, with its evidence. It is kept for an hour."""
    caller.must_see(body.camera)
    return await exporting(request, owner_of(caller.account), _make_export, context, caller, body)


@router.get(
    "/api/exports/{id}/{name}",
    operation_id="getExport",
    response_class=Response,
    responses={
        **MEDIA,
        200: {
            "content": {"video/mp4": BINARY, "application/zip": BINARY},
            "description": "the file",
        },
        206: {
            "content": {"video/mp4": BINARY, "application/zip": BINARY},
            "description": "the bytes that were asked for",
        },
    },
)
def export_file(id: ExportId, name: FileName, context: Ctx, caller: SignedIn) -> Response:
    """To its maker alone, while they may see the camera."""
    made = context.exports.get(id)
    if made is None or made.owner != owner_of(caller.account) or made.name != name:
        raise no_such("export; it is kept for an hour")
    caller.must_see(made.camera, "export; it is kept for an hour")  # still
    file = open_inside(str(made.path), [context.plan.own_dir / "exports"], "export")
    kind = "application/zip" if made.path.suffix == ".zip" else "video/mp4"
    return FileAnswer(file, kind, {"Content-Disposition": f'attachment; filename="{made.name}"'})


# --- inside; these block ---


def _make_export(context: Context, caller: Caller, body: Span) -> ExportOut:
    camera, from_ms, to_ms = body.camera, body.from_ms, body.to_ms
    caller = still(context, caller, OFFICERS)
    caller.must_see(camera)
    if to_ms <= from_ms:
        raise ApiError(422, "to_ms: must be after from_ms")
    if to_ms - from_ms > DAY_MS:
        raise ApiError(422, "to_ms: an export may have at most a day")
    # the records of the last pictures may lie beside the file after them
    found = recordings.segments(context.database, camera, from_ms, to_ms)
    after = found[-1].end_ms if found else to_ms
    later = recordings.segments(context.database, camera, after, after + _NEXT_MS)
    chosen = [*found, *(one for one in later if one not in found)][: len(found) + 1]
    for one in chosen:
        file_of(context, one)
    if not found:
        raise no_such("recording in that time")
    context.requests.count_fetch(caller.account)
    must_log(
        context,
        "export",
        caller.account.name,
        camera=camera,
        from_ms=from_ms,
        to_ms=to_ms,
    )
    made = context.exports.make(chosen, from_ms, to_ms, camera, owner=owner_of(caller.account))
    return ExportOut(
        id=made.id,
        name=made.name,
        bytes=made.bytes,
        start_ms=made.start_ms,
        end_ms=made.end_ms,
        url=f"/api/exports/{made.id}/{quote(made.name)}",
        stopped=made.stopped,
    )


def _playable(
    context: Context, caller: Caller, segment_id: int
) -> tuple[Segment, FilePath, Fragments]:
    """Raises ApiError 404, 409 where it cannot be played."""
    segment = segment_of(context, caller, segment_id)
    path = file_of(context, segment)
    try:
        path, known = context.playables.open(path)
    except RecordingError as error:
        raise ApiError(409, str(error)) from None
    return segment, path, known


def _from_keyframes(known: Fragments) -> list[tuple[float, float, int, int]]:
    """Seconds, length, offset, size; what begins without a keyframe belongs to the one before."""
    found: list[tuple[float, float, int, int]] = []
    for one in known.fragments:
        if one.is_key:
            found.append((one.seconds, one.length_seconds, one.offset, one.size))
        elif found:
            seconds, _, offset, _ = found[-1]
            end = one.offset + one.size
            found[-1] = (seconds, one.end_seconds - seconds, offset, end - offset)
    return found


def _day(day: recordings.Day, offset_minutes: int) -> Day:
    number = (day.start_ms + offset_minutes * 60_000) // DAY_MS
    return Day(
        day=(date(1970, 1, 1) + timedelta(days=number)).isoformat(),
        start_ms=day.start_ms,
        cameras=[
            DayCamera(id=one.camera, seconds=round(one.seconds, 3), people=one.people)
            for one in day.cameras
        ],
    )


def _segment(context: Context, segment: Segment) -> SegmentOut:
    refusal = None
    if segment.problem is not None:
        refusal = segment.problem
    elif segment.codec == "h265":
        refusal = H265
    playable = refusal is None
    return SegmentOut(
        id=segment.id,
        camera=segment.camera,
        start_ms=segment.start_ms,
        end_ms=segment.end_ms,
        bytes=segment.bytes,
        width=segment.width or None,
        height=segment.height or None,
        fps=segment.fps or None,
        codec=segment.codec or None,
        mime=context.mimes.of(segment, context.plan.folders) if playable else None,
        playable=playable,
        refusal=refusal,
        growing=segment.growing,
        evidence=segment.evidence,
        problem=segment.problem,
    )
