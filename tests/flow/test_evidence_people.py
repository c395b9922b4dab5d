"""Two people who overlap and cross: each can be shown alone, and nothing of the other with them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np
import pytest
from av.codec.context import Flags

from pipeline.evidence.body import TileItem
from pipeline.frames import U8Array, YuvPlanes
from support.asserts import HIDDEN_MOST, SHOWN_LEAST, face_visible
from support.clips import Clip, luma
from support.evidence_flow import (
    CASE,
    EXACT,
    Office,
    an_office,
    assert_nothing_opened,
    assert_shown_as_filmed,
    crossing_clip,
    opened_epochs,
    recover,
    recovered,
    sealed_for,
    with_keys,
)
from support.flow import protect, truth_service
from support.recovered import assert_same, planes_in
from support.tiles import psnr_db

LEAST_PX = 16  # of a piece of a face: what is smaller tells nothing


@pytest.fixture(scope="module")
def office(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Office]:
    with an_office(tmp_path_factory.mktemp("office")) as office:
        yield office


@dataclass(frozen=True)
class Meeting:
    """Of whom `tracks` has the numbers, in the order of the truth's boxes."""

    clip: Clip
    out: Path
    tracks: tuple[int, int]
    camera: list[YuvPlanes]
    protected: list[YuvPlanes]


@pytest.fixture(scope="module")
def meetings(office: Office, tmp_path_factory: pytest.TempPathFactory) -> tuple[Meeting, Meeting]:
    """In the first the one is in front, in the second the other."""
    folder = tmp_path_factory.mktemp("meetings")
    return meet(office, folder, in_front=0), meet(office, folder, in_front=1)


@pytest.fixture(scope="module")
def meeting(meetings: tuple[Meeting, Meeting]) -> Meeting:
    return meetings[1]


def meet(office: Office, folder: Path, *, in_front: int) -> Meeting:
    clip = crossing_clip(folder / f"crossing{in_front}.mp4", in_front=in_front)
    out = folder / f"out{in_front}.mp4"
    with truth_service(clip) as service, pytest.MonkeyPatch.context() as patch:
        patch.setattr("pipeline.protect_command.build_service", lambda _: service)
        protect(clip.path, out, *sealed_for(*office.both))
    opened, _ = opened_epochs(out)
    places = [entry.place for entry in opened.epoch.groups[0].entries]
    # there, the one is on the left and the other on the right
    left, right = (place.track for place in sorted(places, key=lambda place: place.box_xywh_px))
    return Meeting(clip, out, (left, right), planes_in(clip.path), planes_in(out))


def box_of(clip: Clip, number: int, person: int) -> tuple[slice, slice]:
    x1, y1, x2, y2 = (int(v) for v in clip.truth[number][person])
    return slice(y1, y2), slice(x1, x2)


def assert_one_alone(meeting: Meeting, found: list[YuvPlanes], person: int) -> None:
    """That person as the camera had them, and of the other's face nothing at all."""
    other = 1 - person
    for number, (camera, hidden, shown) in enumerate(
        zip(meeting.camera, meeting.protected, found, strict=True)
    ):
        theirs = box_of(meeting.clip, number, other)
        assert np.array_equal(shown.y[theirs], hidden.y[theirs]), f"frame {number}"
        whole_cells = tuple(slice(s.start // 2, -(-s.stop // 2)) for s in theirs)
        for one, before in ((shown.u, hidden.u), (shown.v, hidden.v)):
            assert np.array_equal(one[whole_cells], before[whole_cells]), f"frame {number}"
        alone = np.zeros(shown.y.shape, np.bool_)
        alone[box_of(meeting.clip, number, person)] = True
        # cells of 2 x 2 pixels are given as a whole
        alone[tuple(slice(s.start - 1, s.stop + 1) for s in theirs)] = False
        assert alone.any()
        assert psnr_db(camera.y[alone], shown.y[alone]) >= 35, f"frame {number}"


def test_their_boxes_meet(meeting: Meeting) -> None:
    """Else the tests below prove nothing."""
    first, second = np.stack(meeting.clip.truth).transpose(1, 0, 2)
    assert first[0, 2] < second[0, 0] and first[-1, 0] > second[-1, 2]
    shared = np.minimum(first[:, 2:], second[:, 2:]) - np.maximum(first[:, :2], second[:, :2])
    assert ((shared > 20).all(axis=1)).sum() > 5
    assert meeting.tracks[0] != meeting.tracks[1]
    _, second_epoch = opened_epochs(meeting.out)
    assert (shared[second_epoch.epoch.start] > 20).all()


@pytest.mark.slow
@pytest.mark.untimed
@pytest.mark.parametrize("person", [0, 1])
def test_a_disclosure_shows_one_of_two_who_cross(
    person: int, meeting: Meeting, office: Office, tmp_path: Path
) -> None:
    track = str(meeting.tracks[person])
    package = tmp_path / "one.disclosure"
    receiver = ("--for", office.lawyer.pub)
    made = with_keys(
        *("disclose", meeting.out, package, "--track", track, *receiver, *CASE), *office.both
    )
    assert made.code == 0, made.err
    seen, own = tmp_path / "seen.mp4", tmp_path / "own.mp4"
    result = recovered(meeting.out, seen, "--disclosure", package, office.lawyer, *EXACT)
    assert result["tracks"] == [int(track)] and result["scenes"] == 0 and result["gaps"] == []
    assert_one_alone(meeting, planes_in(seen), person)
    # those who hold all keys and ask for one person see the same
    result = recovered(meeting.out, own, "--track", track, *office.both, *EXACT)
    assert result["scenes"] == 0
    for one, other in zip(planes_in(seen), planes_in(own), strict=True):
        assert_same(one, other)
    asks_for_other = ("--track", str(meeting.tracks[1 - person]))
    none = tmp_path / "none.mp4"
    assert_nothing_opened(
        recover(meeting.out, none, "--disclosure", package, office.lawyer, *asks_for_other)
    )
    assert not none.exists()


@pytest.mark.slow
@pytest.mark.untimed
def test_all_keys_show_both_also_where_they_meet(
    meeting: Meeting, office: Office, tmp_path: Path
) -> None:
    back = tmp_path / "back.mp4"
    result = recovered(meeting.out, back, *office.both, *EXACT)
    assert result["scenes"] > 5 and result["gaps"] == []
    found = planes_in(back)
    assert_shown_as_filmed(meeting.clip, found)
    for number, (camera, shown) in enumerate(zip(meeting.camera, found, strict=True)):
        one, other = (meeting.clip.truth[number][person] for person in (0, 1))
        x1, y1 = np.maximum(one[:2], other[:2]).astype(int)
        x2, y2 = np.minimum(one[2:], other[2:]).astype(int)
        if min(x2 - x1, y2 - y1) >= 8:
            both = slice(y1, y2), slice(x1, x2)
            assert psnr_db(camera.y[both], shown.y[both]) >= 33, f"frame {number}"


@pytest.mark.parametrize("person", [0, 1])
def test_who_looks_into_the_sealed_tiles_sees_no_more(
    person: int, meetings: tuple[Meeting, Meeting], office: Office
) -> None:
    """With the secrets of one person, and tools that care for no mask and no rectangle."""
    other = 1 - person
    meeting = meetings[other]  # who is in front is seen wherever their box is
    items = [
        (opened.epoch.start + counter, item)
        for opened in opened_epochs(meeting.out, *office.both)
        for counter, item in opened.tiles(of=meeting.tracks[person])
    ]
    decoder: av.VideoCodecContext | None = None
    looked_at = 0
    for number, item in items:
        if item.starts_video or decoder is None:
            decoder = av.CodecContext.create("h264", "r")
            decoder.flags |= Flags.low_delay
        (tile,) = decoder.decode(av.Packet(item.packet))
        camera, picture = meeting.camera[number].y, meeting.protected[number].y.copy()
        area = np.array(laid_over(picture, luma(tile), item), np.float32)
        own, theirs = meeting.clip.truth[number][[person, other]]
        if number < 5:  # far from each other
            assert face_visible(camera, picture, own) > SHOWN_LEAST
        part = np.concatenate([np.maximum(theirs[:2], area[:2]), np.minimum(theirs[2:], area[2:])])
        if min(part[2:] - part[:2]) >= LEAST_PX:
            assert face_visible(camera, picture, part) < HIDDEN_MOST, f"frame {number}"
            looked_at += 1
    assert looked_at > 10


def laid_over(picture: U8Array, tile: U8Array, item: TileItem) -> tuple[int, int, int, int]:
    """All of a tile's picture, the rectangle and what is around it; where it lies, xyxy."""
    x, y, width, height = item.box_xywh_px
    left, top = x - (tile.shape[1] - width) // 4 * 2, y - (tile.shape[0] - height) // 4 * 2
    x1, y1 = max(left, 0), max(top, 0)
    x2 = min(left + tile.shape[1], picture.shape[1])
    y2 = min(top + tile.shape[0], picture.shape[0])
    picture[y1:y2, x1:x2] = tile[y1 - top : y2 - top, x1 - left : x2 - left]
    return x1, y1, x2, y2
