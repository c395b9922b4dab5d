"""The contact sheet of `bauta tracks`: who is in a clip, cut out of the protected picture.

Nothing is opened for it: it shows what whoever has the clip can see anyway.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import av
import av.error
import cv2
import numpy as np
from av.codec.context import Flags, ThreadType

from ..frames import U8Array
from .clip_file import ClipFile, open_clip
from .clip_records import ClipRecords
from .clip_tracks import Box, ClipTrack
from .wording import clock, counted, printable

MOST_TRACKS = 120  # on one sheet: more would be a picture that few programs open
THUMB_PX = 176
_AROUND = 2.2  # of a face's longer side: who it is cannot be seen, so show where they are
_MARGIN_PX, _GAP_PX, _PAD_PX, _BETWEEN_PX = 32, 24, 18, 14
_CARD_PX = (2 * _PAD_PX + 3 * THUMB_PX + 2 * _BETWEEN_PX, 66 + THUMB_PX + 40)  # w, h
_HEADER_PX, _FOOTER_PX = 96, 44

Colour = tuple[int, int, int]  # BGR
_BACK: Colour = (24, 20, 18)
_CARD: Colour = (37, 31, 28)
_EMPTY: Colour = (30, 25, 23)
_TEXT: Colour = (236, 232, 228)
_DIM: Colour = (164, 152, 143)
_MARK: Colour = (214, 190, 132)


@dataclass(frozen=True, slots=True)
class Thumbnail:
    """A track at one moment."""

    position: int
    pixels: U8Array  # (THUMB_PX, THUMB_PX, 3) BGR


def contact_sheet(clip: ClipRecords, tracks: Sequence[ClipTrack]) -> bytes:
    """A PNG. Only the parts of the clip that it shows are decoded. Raises SourceError."""
    shown = tracks[:MOST_TRACKS]
    sheet = _Sheet(clip, shown, left_out=len(tracks) - len(shown))
    thumbnails = _thumbnails(clip, shown)
    for index, track in enumerate(shown):
        sheet.card(index, track, thumbnails[index])
    _, png = cv2.imencode(".png", sheet.pixels)
    return png.tobytes()


# --- pictures ---


def _thumbnails(clip: ClipRecords, tracks: Sequence[ClipTrack]) -> dict[int, list[Thumbnail]]:
    wanted: dict[int, list[tuple[int, Box]]] = defaultdict(list)
    for index, track in enumerate(tracks):
        for sighting in track.sightings:
            wanted[sighting.position].append((index, sighting.box_xywh_px))
    made: dict[int, list[Thumbnail]] = defaultdict(list)
    for position, image in _pictures(clip, sorted(wanted)):
        pixels: U8Array = np.asarray(image.to_ndarray(format="bgr24"), np.uint8)
        for index, box in wanted[position]:
            made[index].append(Thumbnail(position, thumbnail(pixels, box)))
    return made


def _pictures(clip: ClipRecords, wanted: Sequence[int]) -> Iterator[tuple[int, av.VideoFrame]]:
    """The frames at these positions, decoded from the keyframe before each; damaged ones are not.

    What lies between is passed over: a clip may have hours.
    """
    if not wanted:
        return
    keyframes = [frame.position for frame in clip.frames if frame.is_keyframe]
    last_of: dict[int, int] = {}  # keyframe to the last position that is wanted after it
    for position in wanted:
        at = bisect_right(keyframes, position) - 1
        last_of[keyframes[at] if at >= 0 else 0] = position
    needed = set(wanted)
    with open_clip(clip.clip) as file:
        file.video.thread_type = ThreadType.SLICE  # frame threads hold frames back
        # the decoder hands on what its packet had, whatever their order
        file.video.codec_context.flags |= Flags.copy_opaque
        until = -1
        for position, packet in enumerate(file.packets()):
            until = last_of.get(position, until)
            if position > until:
                continue
            packet.opaque = position
            images = _decoded(file, packet)
            if position == until:
                images += _decoded(file, None)
                file.video.codec_context.flush_buffers()
            for image in images:
                if image.opaque in needed:
                    yield image.opaque, image


def _decoded(file: ClipFile, packet: av.Packet[Any] | None) -> list[av.VideoFrame]:
    try:
        return list(file.video.codec_context.decode(packet))
    except (av.error.FFmpegError, ValueError):
        return []


def thumbnail(picture: U8Array, box_xywh_px: Box) -> U8Array:
    """(H, W, 3) to (THUMB_PX, THUMB_PX, 3): a square around the box, its corners marked."""
    made, box = square_around(picture, box_xywh_px, THUMB_PX)
    if box is not None:
        _mark_corners(made, box)
    return made


def square_around(
    picture: U8Array, box_xywh_px: Box, side_px: int
) -> tuple[U8Array, tuple[float, float, float, float] | None]:
    """(H, W, 3) to (side_px, side_px, 3), and where the box is in it (x, y, w, h).

    The box is a record's word for it: where it lies outside the picture there is none.
    """
    height, width = picture.shape[:2]
    x, y, w, h = box_xywh_px
    side = max(round(max(w, h) * _AROUND), 32)
    left = _shifted(x + w // 2 - side // 2, side, width)
    top = _shifted(y + h // 2 - side // 2, side, height)
    inside = picture[max(top, 0) : top + side, max(left, 0) : left + side]
    made: U8Array = np.full((side_px, side_px, 3), _EMPTY, np.uint8)
    if not inside.size or x >= width or y >= height:
        return made, None
    scale = side_px / max(inside.shape[:2])
    size = max(round(inside.shape[1] * scale), 1), max(round(inside.shape[0] * scale), 1)
    resample = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    small = cv2.resize(inside, size, interpolation=resample)
    at_x, at_y = (side_px - size[0]) // 2, (side_px - size[1]) // 2
    made[at_y : at_y + size[1], at_x : at_x + size[0]] = small
    corner = at_x + (x - max(left, 0)) * scale, at_y + (y - max(top, 0)) * scale
    return made, (*corner, w * scale, h * scale)


def _shifted(start: int, side: int, length: int) -> int:
    """Into the picture, where it is large enough."""
    if side >= length:
        return (length - side) // 2
    return min(max(start, 0), length - side)


def _mark_corners(picture: U8Array, box: tuple[float, float, float, float]) -> None:
    left, top = (max(round(value), 1) for value in box[:2])
    right = min(round(box[0] + box[2]), THUMB_PX - 2)
    bottom = min(round(box[1] + box[3]), THUMB_PX - 2)
    arm = max(min(right - left, bottom - top) // 5, 4)
    for x, towards_x in ((left, arm), (right, -arm)):
        for y, towards_y in ((top, arm), (bottom, -arm)):
            cv2.line(picture, (x, y), (x + towards_x, y), _MARK, 1, cv2.LINE_AA)
            cv2.line(picture, (x, y), (x, y + towards_y), _MARK, 1, cv2.LINE_AA)


# --- the sheet ---


class _Sheet:
    def __init__(self, clip: ClipRecords, tracks: Sequence[ClipTrack], left_out: int) -> None:
        self._clip, self._seconds = clip, clip.seconds
        self._has_sessions = len({track.session for track in tracks}) > 1
        columns = 2 if len(tracks) > 1 else 1
        rows = max(-(-len(tracks) // columns), 0)
        card_w, card_h = _CARD_PX
        self._columns = columns
        width = 2 * _MARGIN_PX + columns * card_w + (columns - 1) * _GAP_PX
        height = _HEADER_PX + rows * (card_h + _GAP_PX) + _FOOTER_PX
        self.pixels: U8Array = np.full((height, width, 3), _BACK, np.uint8)
        self._regular = cv2.FontFace("sans")
        self._header(tracks, left_out)

    def card(self, index: int, track: ClipTrack, thumbnails: Sequence[Thumbnail]) -> None:
        """One track."""
        card_w, card_h = _CARD_PX
        x = _MARGIN_PX + index % self._columns * (card_w + _GAP_PX)
        y = _HEADER_PX + index // self._columns * (card_h + _GAP_PX)
        cv2.rectangle(self.pixels, (x, y), (x + card_w - 1, y + card_h - 1), _CARD, cv2.FILLED)
        name = self._name(track)
        inner = card_w - 2 * _PAD_PX
        self._write(name.capitalize(), (x + _PAD_PX, y + 30), 19, _TEXT, inner // 2, weight=600)
        when = f"{self._clock(track.first)} – {self._clock(track.last)}"
        self._write_right(when, (x + card_w - _PAD_PX, y + 30), 15, _TEXT, inner // 2)
        width, height = track.largest_px
        facts = f"{counted(track.frames, 'frame')}, up to {width} × {height} px"
        needs = printable("; or ".join(track.needs))
        self._write(facts, (x + _PAD_PX, y + 51), 13, _DIM, inner // 2)
        self._write_right(
            f"opens with {needs}", (x + card_w - _PAD_PX, y + 51), 13, _DIM, inner // 2
        )
        for slot, thumb in enumerate(thumbnails):
            left, top = x + _PAD_PX + slot * (THUMB_PX + _BETWEEN_PX), y + 66
            self.pixels[top : top + THUMB_PX, left : left + THUMB_PX] = thumb.pixels
            below = top + THUMB_PX + 23
            self._write(name, (left + 1, below), 13, _DIM, THUMB_PX - 60)
            self._write_right(self._clock(thumb.position), (left + THUMB_PX, below), 14, _TEXT, 60)
        if not thumbnails:
            self._write("no frame of it can be shown", (x + _PAD_PX, y + 96), 14, _DIM, inner)

    def _header(self, tracks: Sequence[ClipTrack], left_out: int) -> None:
        height, width = self.pixels.shape[:2]
        room = width - 2 * _MARGIN_PX
        name = printable(self._clip.clip.name)
        self._write(name, (_MARGIN_PX, 46), 24, _TEXT, room * 2 // 3, weight=600)
        people = counted(len(tracks) + left_out, "track")
        length = clock(self._clip.length_seconds)
        self._write_right(f"{people} in {length}", (width - _MARGIN_PX, 46), 17, _DIM, room // 3)
        if self._clip.epochs:
            record = self._clip.epochs[0].record
            where = printable(", ".join(part for part in (record.camera, record.site) if part))
            self._write(where, (_MARGIN_PX, 71), 15, _DIM, room)
        left = f"{left_out} more tracks are not shown.  " if left_out else ""
        note = f"{left}The protected picture: no key was used, nothing was opened."
        self._write(note, (_MARGIN_PX, height - 24), 13, _DIM, room)

    def _name(self, track: ClipTrack) -> str:
        if self._has_sessions:
            return f"track {track.track}, session {track.session}"
        return f"track {track.track}"

    def _clock(self, position: int) -> str:
        return clock(self._seconds[position])

    def _write(
        self,
        text: str,
        at: tuple[int, int],
        size_px: int,
        colour: Colour,
        room_px: int,
        weight: int = 400,
    ) -> None:
        shown = self._cut(text, size_px, room_px, weight)
        cv2.putText(self.pixels, shown, at, colour, self._regular, size_px, weight)

    def _write_right(
        self, text: str, at: tuple[int, int], size_px: int, colour: Colour, room_px: int
    ) -> None:
        shown = self._cut(text, size_px, room_px, 400)
        start = at[0] - self._width(shown, size_px, 400), at[1]
        cv2.putText(self.pixels, shown, start, colour, self._regular, size_px, 400)

    def _cut(self, text: str, size_px: int, room_px: int, weight: int) -> str:
        """As much as there is room for; a record's text may be long."""
        while len(text) > 1 and self._width(text, size_px, weight) > room_px:
            text = text[: max(len(text) * 9 // 10, 1) - 1].rstrip(" …") + "…"
        return text

    def _width(self, text: str, size_px: int, weight: int) -> int:
        found = cv2.getTextSize((0, 0), text, (0, 0), self._regular, size_px, weight)
        return int(found[0] + found[2])
