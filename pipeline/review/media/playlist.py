"""One recording as an HLS playlist of byte ranges, for browsers without MediaSource."""

from __future__ import annotations

import math
from collections.abc import Iterator

from ...errors import RecordingError
from .fragments import Fragment, Fragments


def playlist(known: Fragments, *, growing: bool, media: str = "media") -> str:
    """VOD, or EVENT while it grows. `media`: the file's URL, as seen from the playlist's.

    Raises RecordingError where it cannot be played.
    """
    if known.refusal is not None:
        raise RecordingError(known.refusal)
    groups = list(_groups(known.fragments))
    if growing:
        groups = groups[:-1]  # it may get longer
    longest = max((_length(group) for group in groups), default=1.0)
    offset, size = known.init_span
    lines = [
        "#EXTM3U",
        "#EXT-X-VERSION:7",
        f"#EXT-X-TARGETDURATION:{math.ceil(longest)}",
        f"#EXT-X-PLAYLIST-TYPE:{'EVENT' if growing else 'VOD'}",
        "#EXT-X-INDEPENDENT-SEGMENTS",
        f'#EXT-X-MAP:URI="{media}",BYTERANGE="{size}@{offset}"',
    ]
    for group in groups:
        begin, last = group[0].offset, group[-1]
        lines += [
            f"#EXTINF:{_length(group):.5f},",
            f"#EXT-X-BYTERANGE:{last.offset + last.size - begin}@{begin}",
            media,
        ]
    if not growing:
        lines.append("#EXT-X-ENDLIST")
    return "\n".join(lines) + "\n"


def _groups(fragments: tuple[Fragment, ...]) -> Iterator[list[Fragment]]:
    """Each begins with a keyframe: players may start at any."""
    group: list[Fragment] = []
    for item in fragments:
        if item.is_key and group:
            yield group
            group = []
        if item.is_key or group:
            group.append(item)
    if group:
        yield group


def _length(group: list[Fragment]) -> float:
    return group[-1].end_seconds - group[0].seconds
