"""People in the recordings: one card for each track. Who they are nobody has looked for."""

from __future__ import annotations

from pathlib import Path as FilePath
from typing import Annotated

from fastapi import APIRouter, Path, Query, Request, Response

from ...errors import RecordingError
from ..store import people, recordings
from ..store.people import Person
from .context import Context, Ctx
from .errors import DOCUMENTED, no_such
from .file_answer import close, open_inside
from .schemas_recordings import Id, PeopleOut, PeopleQuery, PersonOut
from .security import BODY_BYTES, Caller, GuardedRoute, SignedIn
from .seen import cameras_of, person_of
from .workers import slowly

IdInPath = Annotated[Id, Path()]
router = APIRouter(
    route_class=GuardedRoute, tags=["people"], responses=DOCUMENTED, max_body_size=BODY_BYTES
)


@router.get("/api/people", operation_id="listPeople")
def people_(query: Annotated[PeopleQuery, Query()], context: Ctx, caller: SignedIn) -> PeopleOut:
    """A page of them; `next` goes into `after` for the following one."""
    page = people.find(
        context.database,
        people.PeopleQuery(
            cameras=cameras_of(caller, query.cameras),
            from_ms=query.from_ms,
            to_ms=query.to_ms,
            begins_after_ms=query.begins_after_ms,
            begins_before_ms=query.begins_before_ms,
            min_px=query.min_px,
            min_seconds=query.min_seconds,
            recoverable=query.recoverable,
            sort=query.sort,
            limit=query.limit,
            after=query.after,
        ),
    )
    return PeopleOut(
        people=[shown_person(one) for one in page.people], next=page.next, total=page.total
    )


@router.get("/api/people/{id}", operation_id="getPerson")
def person(id: IdInPath, context: Ctx, caller: SignedIn) -> PersonOut:
    """One of them."""
    return shown_person(person_of(context, caller, id))


@router.get(
    "/api/people/{id}/thumbnail.jpg",
    operation_id="thumbnail",
    response_class=Response,
    responses={200: {"content": {"image/jpeg": {}}, "description": "a protected picture"}},
)
async def thumbnail(id: IdInPath, request: Request, context: Ctx, caller: SignedIn) -> Response:
    """A square of 240 pixels around where they are largest; protected as the recording is."""
    jpeg = await slowly(request, _thumbnail, context, caller, id)
    return Response(jpeg, media_type="image/jpeg")


def _thumbnail(context: Context, caller: Caller, person_id: int) -> bytes:
    found = person_of(context, caller, person_id)
    segment = recordings.segment(context.database, found.best_segment)
    if segment is None:
        raise no_such("picture; its recording is gone")
    close(open_inside(segment.path, context.plan.folders))
    try:
        return context.thumbnails.jpeg(
            FilePath(segment.path), found.best_seconds, found.box_xywh_px
        )
    except RecordingError:
        raise no_such("picture; its recording cannot be read") from None


def shown_person(person: Person) -> PersonOut:
    """As the API says it."""
    return PersonOut(
        id=person.id,
        camera=person.camera,
        track=person.track,
        start_ms=person.start_ms,
        end_ms=person.end_ms,
        seconds=round((person.end_ms - person.start_ms) / 1000, 3),
        frames=person.frames,
        largest_px=person.largest_px,
        best_ms=person.best_ms,
        recoverable=person.recoverable,
        box_xywh_px=person.box_xywh_px,
    )
