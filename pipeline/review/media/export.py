"""A span of recordings as one file to take along: by stream copy, with its evidence.

Nothing is decoded and no packet is changed, so that what is sealed in the pictures, or beside
them, opens from the export as it does from the recordings.
"""

from __future__ import annotations

import re
import secrets
import shutil
import threading
import time
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from fractions import Fraction
from pathlib import Path

import av

from ...errors import RecordError, RecordingError, UsageError
from ...evidence.group_record import KIND as GROUP
from ...evidence.group_record import parse_group_record
from ...evidence.key_record import KIND as KEY
from ...evidence.key_record import parse_key_record
from ...evidence.nal import Codec, framing_of, slice_digest, split_nals
from ...evidence.sidecar_file import (
    SUFFIX,
    append_record,
    read_records,
    sidecar_beside,
    write_magic,
)
from ...recover.clip_file import CODECS
from ...streams import first_frame_note
from .cutting import Part, Source, first_frame, packets_of, parts_of
from .folder import PRIVATE_DIR, entries_of, make_room, private_file, remove
from .playable import Playables
from .span import av_errors

KEPT_SECONDS = 3600.0
MOST_BYTES = 4 << 30  # of one
MOST_TOTAL_BYTES = 16 << 30
MOST_AT_ONCE = 2
_COPY_BYTES = 1 << 20
_UNSAFE = re.compile(r"[^A-Za-z0-9_.-]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Export:
    """A file that is kept for an hour."""

    id: str
    name: str  # CAMERA_2026-11-21T18-20-00Z_30s.mp4, or .zip with the evidence beside the clip
    path: Path
    camera: str
    bytes: int
    start_ms: int  # of its first frame
    end_ms: int
    stopped: str | None = None  # why it ends before what was asked for
    made_ms: int = 0
    owner: str = ""  # who may fetch it


class Exports:
    """In `state_dir`/exports. Any thread may use it."""

    def __init__(
        self,
        state_dir: Path,
        *,
        playables: Playables | None = None,
        most_bytes: int = MOST_BYTES,
        most_total_bytes: int = MOST_TOTAL_BYTES,
    ) -> None:
        """What an earlier process left is deleted when its hour is over."""
        self._folder = state_dir / "exports"
        self._playables = playables or Playables(state_dir)
        self._most_bytes, self._most_total_bytes = most_bytes, most_total_bytes
        self._made: dict[str, Export] = {}
        self._lock = threading.Lock()
        self._working = threading.Semaphore(MOST_AT_ONCE)

    def make(
        self,
        segments: Sequence[Source],
        from_ms: int,
        to_ms: int,
        camera: str,
        *,
        owner: str = "",
    ) -> Export:
        """From the IDR frame at or before `from_ms` to the one at or after `to_ms`, or the end.

        Recordings that follow each other go on without a gap. Give those of the span, and the one
        after it where there is one: the records of the last pictures may lie beside it. Raises
        RecordingError.
        """
        if to_ms <= from_ms:
            raise RecordingError("an export must end after it begins")
        self.sweep()
        with self._working:
            parts, stopped = parts_of(segments, from_ms, to_ms, self._playables)
            self._check_size(sum(part.bytes for part in parts))
            number = secrets.token_hex(16)
            folder = self._folder / number
            try:
                folder.mkdir(mode=PRIVATE_DIR, parents=True)
                start_ms, last = parts[0].start_ms, parts[-1]
                length = sum((part.seconds for part in parts), Fraction(0))
                clip = private_file(folder / _name(camera, start_ms, float(length)))
                with av_errors(clip):
                    digests = _write_clip(clip, parts, _sidecars(segments))
                made = _with_sidecar(clip, _records(_sidecars(segments), digests))
                export = Export(
                    id=number,
                    name=made.name,
                    path=made,
                    camera=camera,
                    bytes=made.stat().st_size,
                    start_ms=start_ms,
                    end_ms=last.start_ms + round(float(last.seconds) * 1000),
                    stopped=stopped,
                    made_ms=round(time.time() * 1000),
                    owner=owner,
                )
            except OSError as error:
                remove(folder)
                raise RecordingError(f"the export cannot be written: {error.strerror}") from None
            except BaseException:
                remove(folder)
                raise
        with self._lock:
            self._made[number] = export
        return export

    def get(self, export_id: str) -> Export | None:
        """None where there is none, or its hour is over."""
        self.sweep()
        with self._lock:
            return self._made.get(export_id)

    def sweep(self) -> None:
        """Delete those whose hour is over, whoever made them. Never raises."""
        oldest = time.time() - KEPT_SECONDS
        with self._lock:
            over = [one for one in self._made.values() if one.made_ms / 1000 < oldest]
            for one in over:
                del self._made[one.id]
        for one in over:
            remove(one.path.parent)
        for entry in entries_of(self._folder):
            if entry.mtime < oldest:
                remove(entry.path)

    def _check_size(self, size: int) -> None:
        """And make room for it. Raises RecordingError."""
        if size > self._most_bytes:
            raise RecordingError(
                f"an export may have {_gigabytes(self._most_bytes)}, and this would have "
                f"{_gigabytes(size)}: choose a shorter time"
            )
        for entry in make_room(entries_of(self._folder), self._most_total_bytes - size):
            with self._lock:
                self._made.pop(entry.path.name, None)
        try:
            self._folder.mkdir(mode=PRIVATE_DIR, parents=True, exist_ok=True)
            free = shutil.disk_usage(self._folder).free
        except OSError as error:
            raise RecordingError(f"the export cannot be written: {error.strerror}") from None
        # written anew once to bring the header forward, or into the zip
        if free < 3 * size:
            raise RecordingError(
                f"the export needs {_gigabytes(3 * size)} for a moment, and the disk of the "
                f"console's state has {_gigabytes(free)}"
            )


def _name(camera: str, start_ms: int, seconds: float) -> str:
    stamp = datetime.fromtimestamp(start_ms / 1000, UTC).strftime("%Y-%m-%dT%H-%M-%SZ")
    safe = _UNSAFE.sub("_", camera).strip("._-")[:64] or "camera"
    return f"{safe}_{stamp}_{max(round(seconds), 1)}s.mp4"


def _gigabytes(size: int) -> str:
    return f"{size / (1 << 30):.1f} GiB"


def _write_clip(clip: Path, parts: Sequence[Part], sidecars: Sequence[Path]) -> set[bytes]:
    """The digests of its pictures, where there is a sidecar that needs them."""
    digests: set[bytes] = set()
    at = Fraction(0)
    note = first_frame(parts)
    with (
        parts[0].open() as first,
        av.open(str(clip), "w", format="mp4", options={"movflags": "+faststart"}) as target,
    ):
        if note is not None:
            target.metadata["comment"] = first_frame_note(note)
        copies = {"video": target.add_stream_from_template(first.streams.video[0])}
        if first.streams.audio:
            copies["audio"] = target.add_stream_from_template(first.streams.audio[0])
        context = first.streams.video[0].codec_context
        codec: Codec | None = CODECS.get(context.name) if sidecars else None
        extradata = context.extradata
        latest = dict.fromkeys(copies, Fraction(-1))
        for part in parts:
            for packet in packets_of(part, at, "audio" in copies):
                kind = packet.stream.type
                assert packet.dts is not None and packet.time_base is not None
                dts = packet.dts * packet.time_base
                if dts <= latest[kind]:
                    if kind == "video":
                        raise RecordingError(f"{part.recording.name}: its clock goes backwards")
                    continue  # sound that overlaps that of the part before
                latest[kind] = dts
                if kind == "video" and codec is not None:
                    digests |= _digest(bytes(packet), extradata, codec)
                packet.stream = copies[kind]
                target.mux(packet)
            at += part.seconds
    return digests


def _digest(packet: bytes, extradata: bytes | None, codec: Codec) -> set[bytes]:
    try:
        return {slice_digest(split_nals(packet, framing_of(extradata, codec)), codec)}
    except RecordError:
        return set()  # no record speaks of a damaged picture


def _sidecars(segments: Sequence[Source]) -> list[Path]:
    found = [
        sidecar_beside(Path(source.path))
        for source in sorted(segments, key=lambda source: source.start_ms)
    ]
    return [path for path in found if path is not None]


def _records(sidecars: Sequence[Path], digests: set[bytes]) -> list[bytes]:
    """Those of the epochs of which a picture is in the clip, in order, each once."""
    records: dict[bytes, bytes] = {}  # to its epoch
    wanted: set[bytes] = set()
    for path in sidecars:
        try:
            for record in read_records(path):
                epoch, of = _speaks_of(record)
                records[record] = epoch
                if not digests.isdisjoint(of):
                    wanted.add(epoch)
        except (RecordError, UsageError) as error:
            raise RecordingError(f"its evidence cannot be taken along: {error}") from None
    return [record for record, epoch in records.items() if epoch in wanted]


def _speaks_of(record: bytes) -> tuple[bytes, Sequence[bytes]]:
    """Its epoch, and the digests of its frames. What is damaged speaks of none."""
    try:
        if record[:1] == bytes((GROUP,)):
            group = parse_group_record(record)
            return group.head.epoch_id, group.head.digests
        if record[:1] == bytes((KEY,)):
            key = parse_key_record(record)
            return key.epoch_id, (key.digest,)
    except RecordError:
        pass
    return b"", ()


def _with_sidecar(clip: Path, records: Sequence[bytes]) -> Path:
    """A zip of the clip and its records; the clip itself where it has none beside it."""
    if not records:
        return clip
    archive = private_file(clip.with_suffix(".zip"))
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_STORED) as target:
        with clip.open("rb") as source, target.open(clip.name, "w", force_zip64=True) as copy:
            shutil.copyfileobj(source, copy, _COPY_BYTES)
        with target.open(clip.name + SUFFIX, "w") as sidecar:
            write_magic(sidecar)  # type: ignore[arg-type]
            for record in records:
                append_record(sidecar, record)  # type: ignore[arg-type]
    clip.unlink()
    return archive
