"""Any recording as a fragmented MP4: as it is, or else copied into one when it is asked for."""

from __future__ import annotations

import hashlib
import os
import shutil
import threading
from collections import OrderedDict
from pathlib import Path
from typing import cast

import av
from av.container import InputContainer

from ...errors import RecordingError, SourceError, UsageError
from ...recover.clip_file import open_clip
from .folder import PRIVATE_DIR, entries_of, make_room, private_file
from .fragments import Fragments, read_fragments
from .plain_file import open_plain, opened_path
from .span import av_errors

MOST_BYTES = 8 << 30  # of all copies
_MOST_INDEXES = 128  # kept in memory
_MOST_KEPT_FRAGMENTS = 1 << 19  # of all of them: about 100 MB
_SOUNDS = ("aac", "opus")
_FRAGMENTED = {"movflags": "frag_keyframe+empty_moov+default_base_moof", "frag_duration": "1000000"}
_remuxing = threading.Lock()  # one at a time: it is the disk that is slow


class Playables:
    """Copies lie in `state_dir`/playable; the oldest are deleted where there are too many."""

    def __init__(self, state_dir: Path, *, most_bytes: int = MOST_BYTES) -> None:
        self._folder = state_dir / "playable"
        self._most_bytes = most_bytes
        self._known: OrderedDict[Path, tuple[os.stat_result, Fragments]] = OrderedDict()
        self._lock = threading.Lock()

    def open(self, recording: Path) -> tuple[Path, Fragments]:
        """Where to read, and what is complete of it now. Raises RecordingError."""
        known = self._fragments(recording)
        if known is not None and known.is_fragmented:
            return recording, known
        copy = self._copy(recording)
        known = self._fragments(copy)
        if known is None or not known.is_fragmented:
            raise RecordingError(f"{recording.name}: cannot be made playable")
        return copy, known

    def forget(self, recording: Path) -> None:
        """It was deleted: its copies go as well. Never raises."""
        with self._lock:
            self._known.pop(recording, None)
        shutil.rmtree(self._folder / _name(recording), ignore_errors=True)

    def _fragments(self, path: Path) -> Fragments | None:
        """None where it is no MP4."""
        try:
            now = path.stat()
        except OSError as error:
            raise RecordingError(f"{path.name}: {error.strerror}") from None
        with self._lock:
            before = self._known.get(path)
        known = None
        if before is not None and before[0].st_ino == now.st_ino:
            known = before[1]
            if (before[0].st_mtime_ns, before[0].st_size) == (now.st_mtime_ns, now.st_size):
                return known
        try:
            found = read_fragments(path, known)
        except RecordingError:
            if path.suffix == ".mp4":
                raise
            return None
        with self._lock:
            self._known[path] = now, found
            self._known.move_to_end(path)
            while len(self._known) > 1 and self._is_too_much():
                self._known.popitem(last=False)
        return found

    def _is_too_much(self) -> bool:
        kept = sum(len(known.fragments) for _, known in self._known.values())
        return len(self._known) > _MOST_INDEXES or kept > _MOST_KEPT_FRAGMENTS

    def _copy(self, recording: Path) -> Path:
        stat = recording.stat()
        copy = self._folder / _name(recording) / f"{stat.st_size}_{stat.st_mtime_ns}.mp4"
        with _remuxing, av_errors(recording):
            if copy.is_file():
                os.utime(copy)  # used just now
                return copy
            if stat.st_size > self._most_bytes:
                raise RecordingError(
                    f"{recording.name}: is too large to be played from here: it would have to be "
                    f"copied, and copies may have {self._most_bytes >> 30} GiB together"
                )
            make_room(entries_of(self._folder), self._most_bytes - stat.st_size)
            shutil.rmtree(copy.parent, ignore_errors=True)
            copy.parent.mkdir(mode=PRIVATE_DIR, parents=True, exist_ok=True)
            unfinished = private_file(copy.with_suffix(".part"))
            try:
                _remux(recording, unfinished)
                unfinished.replace(copy)
            finally:
                unfinished.unlink(missing_ok=True)
        return copy


def _name(recording: Path) -> str:
    return hashlib.sha256(os.fsencode(recording)).hexdigest()[:32]


def _remux(recording: Path, into: Path) -> None:
    """By stream copy: picture, and sound that an MP4 can hold."""
    with open_plain(recording) as opened:  # what is opened again below is this file
        _remux_opened(recording, opened_path(opened), into)


def _remux_opened(recording: Path, opened: Path, into: Path) -> None:
    try:
        with (
            open_clip(opened) as file,
            av.open(str(into), "w", format="mp4", options=dict(_FRAGMENTED)) as target,
        ):
            container = cast(InputContainer, file.video.container)
            target.metadata.update(
                {key: value for key, value in container.metadata.items() if key == "comment"}
            )
            copies: dict[int, av.VideoStream | av.AudioStream] = {
                file.video.index: target.add_stream_from_template(file.video)
            }
            sounds = [s for s in container.streams.audio if s.codec_context.name in _SOUNDS]
            for stream in sounds[:1]:
                copies[stream.index] = target.add_stream_from_template(stream)
            for packet in container.demux(file.video, *sounds[:1]):
                if packet.size and packet.dts is not None:
                    packet.stream = copies[packet.stream.index]
                    target.mux(packet)
    except (SourceError, UsageError) as error:
        raise RecordingError(str(error).replace(str(opened), recording.name)) from None
