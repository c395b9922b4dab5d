"""The cameras now: facts, live HLS, a snapshot. The WebSocket is in `live_socket`."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Request, Response
from starlette.concurrency import run_in_threadpool

from ...runtime.credentials import without_credentials
from ..live.facts import CameraFact
from ..live.hls import PLAYLIST_TYPE, SEGMENT_TYPE
from ..store import recordings
from .context import Context, Ctx
from .errors import DOCUMENTED, ApiError, no_such
from .schemas import CameraId, CameraOut, SinkOut
from .security import BODY_BYTES, Caller, GuardedRoute, SignedIn
from .workers import slowly

router = APIRouter(
    route_class=GuardedRoute, tags=["cameras"], responses=DOCUMENTED, max_body_size=BODY_BYTES
)
CameraInPath = Annotated[CameraId, Path()]
HlsName = Annotated[str, Path(pattern=r"^[A-Za-z0-9]{1,40}\.(m4s|mp4)$")]
_NOTHING_YET = "no picture has come yet; ask again in a moment"


@router.get("/api/cameras", operation_id="listCameras")
async def cameras(context: Ctx, caller: SignedIn) -> list[CameraOut]:
    """Those with live pictures first, in the configuration's order; then those that recorded."""
    live = context.plan.cameras
    recorded = await run_in_threadpool(recordings.cameras, context.database)
    facts = {fact.camera: fact for fact in context.facts.all()}
    seen = (*live, *(name for name in recorded if name not in live))
    return [
        _shown(context, name, facts.get(name)) if name in live else _recorded(name)
        for name in seen
        if caller.account.may(name)
    ]


@router.get(
    "/api/cameras/{camera}/live.m3u8",
    operation_id="liveHls",
    response_class=Response,
    responses={200: {"content": {PLAYLIST_TYPE: {}}, "description": "a playlist"}},
)
async def playlist(camera: CameraInPath, context: Ctx, caller: SignedIn) -> Response:
    """For browsers without Media Source Extensions."""
    _must_be_live(context, caller, camera)
    text = None if context.hub.refusal(camera) else context.hub.playlist(camera)
    if text is None:
        raise ApiError(503, context.hub.refusal(camera) or _NOTHING_YET, {"Retry-After": "1"})
    return Response(text, media_type=PLAYLIST_TYPE)


@router.get(
    "/api/cameras/{camera}/live/{name}",
    operation_id="liveHlsFile",
    response_class=Response,
    responses={200: {"content": {SEGMENT_TYPE: {}}, "description": "a part of the stream"}},
)
async def hls_file(camera: CameraInPath, name: HlsName, context: Ctx, caller: SignedIn) -> Response:
    """What the playlist names."""
    _must_be_live(context, caller, camera)
    data = context.hub.hls_file(camera, name)
    if data is None:
        raise no_such("part of the stream; ask for the playlist again")
    return Response(data, media_type=SEGMENT_TYPE)


@router.get(
    "/api/cameras/{camera}/snapshot.png",
    operation_id="snapshot",
    response_class=Response,
    responses={200: {"content": {"image/png": {}}, "description": "a protected picture"}},
)
async def snapshot(
    camera: CameraInPath, request: Request, context: Ctx, caller: SignedIn
) -> Response:
    """The newest keyframe, protected as everything here."""
    _must_be_live(context, caller, camera)
    png = await slowly(request, context.snapshots.png, camera)
    if png is None:
        raise ApiError(503, context.hub.refusal(camera) or _NOTHING_YET, {"Retry-After": "1"})
    return Response(png, media_type="image/png")


# --- inside ---


def _must_be_live(context: Context, caller: Caller, camera: str) -> None:
    caller.must_see(camera)
    if camera not in context.plan.cameras:
        raise no_such("camera")


def _shown(context: Context, camera: str, fact: CameraFact | None) -> CameraOut:
    hub = context.hub
    if fact is None:
        known = {"refusal": hub.refusal(camera), "viewers": hub.viewers(camera)}
        return _nothing_known(camera, "connecting", live=True).model_copy(update=known)
    return CameraOut(
        id=camera,
        state=fact.state,
        since_ms=fact.since_ms or None,
        error=None if fact.error is None else without_credentials(fact.error),
        live=True,
        refusal=hub.refusal(camera),
        width=fact.width or None,
        height=fact.height or None,
        frames_per_second=fact.frames_per_second,
        faces=fact.faces,
        latency_p50_ms=fact.latency_p50_ms,
        latency_p95_ms=fact.latency_p95_ms,
        frames_in=fact.frames_in,
        frames_out=fact.frames_out,
        dropped=fact.dropped,
        obscured=dict(fact.obscured),
        viewers=hub.viewers(camera),
        codec=fact.codec,
        encoder=fact.encoder,
        evidence=fact.evidence,
        alarm=fact.evidence_alarm,
        recording=fact.recording,
        sinks=[
            SinkOut(
                name=without_credentials(sink.name),
                state=sink.state,
                written=sink.written,
                dropped=sink.dropped,
                error=None if sink.error is None else without_credentials(sink.error),
            )
            for sink in fact.sinks
        ],
    )


def _recorded(camera: str) -> CameraOut:
    return _nothing_known(camera, "recorded", live=False)


def _nothing_known(camera: str, state: str, *, live: bool) -> CameraOut:
    return CameraOut(
        id=camera,
        state=state,
        since_ms=None,
        error=None,
        live=live,
        refusal=None,
        width=None,
        height=None,
        frames_per_second=0.0,
        faces=0,
        latency_p50_ms=None,
        latency_p95_ms=None,
        frames_in=0,
        frames_out=0,
        dropped=0,
        obscured={},
        viewers=0,
        codec=None,
        encoder=None,
        evidence=False,
        alarm=None,
        recording=False,
        sinks=[],
    )
