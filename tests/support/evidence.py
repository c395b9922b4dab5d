"""Clips with sealed records, made with the real keys, signatures and carriers.

What is sealed is no picture but a few bytes: these clips are for what is told without a key. Their
packets can be taken apart before they are written, as whoever holds a clip could.
"""

from __future__ import annotations

import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from functools import cache
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from pipeline.evidence.body import padded
from pipeline.evidence.group_record import (
    MOST_FRAMES,
    Entry,
    EntryKind,
    GroupHead,
    GroupRecord,
    Place,
    parse_group_record,
)
from pipeline.evidence.key_record import NO_EPOCH, KeyRecord, parse_key_record
from pipeline.evidence.nal import ANNEX_B, Codec, parameter_digest, slice_digest, split_nals
from pipeline.evidence.sei import with_records
from pipeline.evidence.sidecar_file import append_record, write_magic
from pipeline.frames import EncodedPacket, U8Array
from pipeline.publish.mux import FRAGMENTED_MP4, Muxer
from pipeline.streams import StreamTemplates
from pipeline.vault.epoch import EpochSecrets, RecipientGroup
from pipeline.vault.epoch_keys import seal_entry
from pipeline.vault.identity import Identity, Recipient
from pipeline.vault.signing import SigningKey, public_line

from .clips import textured_background

FPS = 25
STARTED_UTC_MS = 1_790_000_000_000  # 2026-09-21 14:13:20 UTC
ENCODERS: dict[Codec, str] = {"h264": "libx264", "h265": "libx265"}
KINDS = {1: "key", 2: "group"}


@dataclass(frozen=True, slots=True)
class Walk:
    """A face on its way through the whole clip; frames count from the clip's first."""

    track: int
    first: int
    last: int
    box_xywh_px: tuple[int, int, int, int]
    step_px: tuple[float, float] = (2.0, 0.0)
    grows_px: float = 0.0
    kind: EntryKind = EntryKind.FACE

    def box(self, frame: int) -> tuple[int, int, int, int]:
        x, y, w, h = self.box_xywh_px
        done = frame - self.first
        grown = round(done * self.grows_px) // 2 * 2
        dx, dy = (round(done * step) // 2 * 2 for step in self.step_px)
        return x + dx, y + dy, w + grown, h + grown


ONE_FACE = (Walk(1, 0, 10**6, (20, 20, 40, 48)),)


@dataclass(slots=True)
class Packet:
    """One frame's: the encoder's bytes, and the records that go before its picture."""

    packet: EncodedPacket
    records: list[bytes] = field(default_factory=list)

    def kinds(self) -> list[str]:
        return [KINDS.get(record[0], "?") for record in self.records]


@dataclass(slots=True)
class EvidenceClip:
    """Not written yet: a test may take it apart first."""

    codec: Codec
    templates: StreamTemplates
    packets: list[Packet]
    service_key: SigningKey

    def records(self, kind: str | None = None) -> list[bytes]:
        """All of them in order, or those of one kind."""
        return [
            record
            for packet in self.packets
            for record in packet.records
            if kind is None or KINDS[record[0]] == kind
        ]

    def key_records(self) -> list[KeyRecord]:
        return [parse_key_record(record) for record in self.records("key")]

    def group_records(self) -> list[GroupRecord]:
        return [parse_group_record(record) for record in self.records("group")]

    def where(self, kind: str) -> list[int]:
        """Indexes of the packets that carry such a record."""
        return [at for at, packet in enumerate(self.packets) if kind in packet.kinds()]

    def write(self, path: Path, *, carrier: str = "stream", fragmented: bool = False) -> Path:
        """`carrier`: stream, sidecar (PATH.bauta) or both. Times are set anew, without gaps."""
        options = FRAGMENTED_MP4 if fragmented else None
        muxer = Muxer(str(path), self.templates, options=options)
        for number, item in enumerate(self.packets):
            data = item.packet.data
            if carrier != "sidecar":
                data = with_records(data, item.records, self.codec)
            stamped = replace(item.packet, data=data, pts=number, dts=number, duration=1)
            muxer.write(stamped)
        muxer.close()
        if carrier != "stream":
            write_sidecar(Path(f"{path}.bauta"), self.records())
        return path

    def write_public(self, path: Path) -> Path:
        """The service's key as its operator hands it out."""
        path.write_text(public_line(self.service_key.public, "service") + "\n")
        return path


def write_sidecar(path: Path, records: Sequence[bytes]) -> Path:
    with path.open("wb") as file:
        write_magic(file)
        for record in records:
            append_record(file, record)
    return path


def a_service_key(seed: int = 1) -> SigningKey:
    """The same for the same seed."""
    secret = np.random.default_rng(seed).bytes(32)
    return SigningKey(Ed25519PrivateKey.from_private_bytes(secret))


@cache
def some_recipients(count: int) -> tuple[Recipient, ...]:
    """Whose secrets nobody kept."""
    import pyrage

    made = [Identity(str(pyrage.x25519.Identity.generate())) for _ in range(count)]
    return tuple(identity.recipient for identity in made)


def recipient_groups(groups: Mapping[str, tuple[int, int]]) -> list[RecipientGroup]:
    """`groups`: name to (how many keys are needed, how many there are)."""
    return [
        RecipientGroup(name, needed, some_recipients(keys))
        for name, (needed, keys) in groups.items()
    ]


def make_evidence(
    *,
    epochs: int = 3,
    frames: int = 20,
    tracks: Sequence[Walk] = ONE_FACE,
    groups: Mapping[str, tuple[int, int]] | None = None,
    service_key: SigningKey | None = None,
    codec: Codec = "h264",
    size_px: tuple[int, int] = (160, 128),
    site: str = "North",
    camera: str = "gate-3",
    says_last: bool = True,
    tail: int = 0,
    still: bool = False,
    seed: int = 0,
) -> EvidenceClip:
    """`epochs` of `frames` each, one session.

    `says_last`: each epoch's last record is known to be that; else it comes with the next packet,
    and that of the last epoch is `tail` frames short. `still`: every picture is black, and all
    epochs are coded to the same bytes.
    """
    service_key = service_key or a_service_key()
    templates, packets = _stream(
        codec, size_px, 1 if still else epochs, frames, () if still else tuple(tracks), still, seed
    )
    packets = packets * (epochs if still else 1)
    made = [Packet(packet) for packet in packets]
    clip = EvidenceClip(codec, templates, made, service_key)
    recipients = recipient_groups(groups or {"dpo": (1, 1)})
    before, before_frames = NO_EPOCH, 0
    for index in range(epochs):
        first = index * frames
        own = made[first : first + frames]
        digests = [slice_digest(split_nals(p.packet.data, ANNEX_B), codec) for p in own]
        epoch_id = np.random.default_rng((seed, index)).bytes(16)
        secrets = EpochSecrets(epoch_id, recipients)
        key = KeyRecord(
            epoch_id=epoch_id,
            previous_id=before,
            previous_frames=before_frames,
            sequence=index,
            started_utc_ms=STARTED_UTC_MS + index * frames * 1000 // FPS,
            width_px=size_px[0],
            height_px=size_px[1],
            detail="default",
            site=site,
            camera=camera,
            service_key=service_key.public,
            groups=secrets.key_groups,
            digest=digests[0],
            parameters=parameter_digest(split_nals(own[0].packet.data, ANNEX_B), codec),
        )
        secrets.bind(key.context)
        key = key.signed(service_key.sign(key.to_sign))
        own[0].records.append(key.encode())
        is_end = index == epochs - 1
        for begin in range(0, frames, MOST_FRAMES):
            end = min(begin + MOST_FRAMES, frames)
            is_last = end == frames
            if is_end and end > frames - tail:
                break
            head = GroupHead(epoch_id, begin, tuple(digests[begin:end]), is_last and says_last)
            record = _group(head, first, tracks, key, secrets, service_key).encode()
            at = first + end - 1
            if is_last and not says_last and end - begin < MOST_FRAMES and not is_end:
                made[at + 1].records.insert(0, record)
            else:
                made[at].records.append(record)
        secrets.wipe()
        before, before_frames = epoch_id, frames
    return clip


def make_evidence_clip(path: Path, *, carrier: str = "stream", **options: object) -> EvidenceClip:
    """Made and written; `options` are those of `make_evidence`."""
    clip = make_evidence(**options)  # type: ignore[arg-type]
    clip.write(path, carrier=carrier)
    return clip


def _group(
    head: GroupHead,
    epoch_first: int,
    tracks: Sequence[Walk],
    key: KeyRecord,
    secrets: EpochSecrets,
    service_key: SigningKey,
) -> GroupRecord:
    entries: list[Entry] = []
    for walk in sorted(tracks, key=lambda walk: (walk.kind, walk.track)):
        numbers = [epoch_first + head.first + i for i in range(len(head.digests))]
        there = [i for i, number in enumerate(numbers) if walk.first <= number <= walk.last]
        if not there:
            continue
        place = Place(
            walk.kind, walk.track, sum(1 << i for i in there), walk.box(numbers[there[0]])
        )
        plain = padded(b"no picture")
        sealing_key = secrets.key_for(walk.kind, walk.track)
        entries.append(seal_entry(sealing_key, key.context, head, place, plain))
    record = GroupRecord(head, tuple(entries))
    return record.signed(service_key.sign(record.to_sign(key.context)))


@cache
def _stream(
    codec: Codec,
    size_px: tuple[int, int],
    epochs: int,
    frames: int,
    walks: tuple[Walk, ...],
    still: bool,
    seed: int,
) -> tuple[StreamTemplates, list[EncodedPacket]]:
    """Coded as the service does: no B-frames, parameter sets before every IDR."""
    container = av.open(io.BytesIO(), "w", format="nut")
    stream = container.add_stream(ENCODERS[codec], rate=FPS)
    assert isinstance(stream, av.VideoStream)
    context = stream.codec_context
    context.width, context.height = size_px
    context.pix_fmt = "yuv420p"
    context.time_base = Fraction(1, FPS)
    context.max_b_frames = 0
    context.gop_size = frames
    context.flags |= av.codec.context.Flags.global_header
    params = f"keyint={frames}:min-keyint={frames}:scenecut=0:repeat-headers=1:bframes=0"
    if codec == "h264":
        context.options = {"preset": "ultrafast", "crf": "26", "x264-params": params}
    else:
        params += ":open-gop=0:log-level=none:pools=1:frame-threads=1"
        context.options = {"preset": "ultrafast", "crf": "28", "x265-params": params}
    templates = StreamTemplates(container, stream)
    container.start_encoding()
    packets: list[EncodedPacket] = []
    background = np.zeros((size_px[1], size_px[0], 3), np.uint8)
    if not still:
        background = textured_background(*size_px, seed)
    for number in range(epochs * frames):
        picture = background if still else paint(background, walks, number)
        frame = av.VideoFrame.from_ndarray(picture, format="rgb24").reformat(format="yuv420p")
        frame.pts, frame.time_base = number, Fraction(1, FPS)
        packets += [_kept(packet) for packet in context.encode(frame)]
    packets += [_kept(packet) for packet in context.encode(None)]
    assert [packet.is_keyframe for packet in packets] == [
        at % frames == 0 for at in range(epochs * frames)
    ]
    return templates, packets


def paint(background: U8Array, walks: Sequence[Walk], number: int) -> U8Array:
    """A camera's shaky picture with coarse squares where faces are hidden."""
    sway = round(3 * math.sin(number / 5)), number % 3
    picture: U8Array = np.roll(background, sway, (0, 1)).copy()
    height, width = picture.shape[:2]
    picture[:8, : number * 2 % width] = 255 - number % 200
    for walk in walks:
        if not walk.first <= number <= walk.last:
            continue
        x, y, w, h = walk.box(number)
        left, top, right, bottom = max(x, 0), max(y, 0), min(x + w, width), min(y + h, height)
        if right <= left or bottom <= top:
            continue
        random = np.random.default_rng((walk.track, number // 6))
        coarse = random.integers(60, 120, (6, 5, 1)) + np.array([70, 30, 0]) + 8 * walk.track % 40
        mosaic = cv2.resize(
            coarse.astype(np.uint8), (right - left, bottom - top), interpolation=cv2.INTER_NEAREST
        )
        picture[top:bottom, left:right] = mosaic
    return picture


def _kept(packet: av.Packet[Any]) -> EncodedPacket:
    assert packet.pts is not None and packet.time_base is not None
    return EncodedPacket(
        kind="video",
        data=bytes(packet),
        pts=packet.pts,
        dts=packet.pts,
        duration=1,
        time_base=packet.time_base,
        is_keyframe=packet.is_keyframe,
    )


# --- what somebody may do to a clip ---


def flipped(data: bytes, at: int, mask: int = 0x01) -> bytes:
    """One byte is another; `at` may count from the end."""
    changed = bytearray(data)
    changed[at] ^= mask
    return bytes(changed)


def with_another_picture(item: Packet) -> Packet:
    """A bit of its last slice is another one; what frames NAL units stays whole."""
    data = item.packet.data
    # neither the old nor the new byte may be a part of a start code
    at = next(i for i in range(len(data) - 2, 0, -1) if data[i] > 3 and data[i] ^ 0x40 > 3)
    return Packet(replace(item.packet, data=flipped(data, at, 0x40)), list(item.records))


def copied(clip: EvidenceClip, packets: Sequence[Packet] | None = None) -> EvidenceClip:
    """Whose records can be moved without changing the first."""
    chosen = clip.packets if packets is None else packets
    return replace(clip, packets=[Packet(item.packet, list(item.records)) for item in chosen])
