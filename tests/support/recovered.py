"""Clips whose sealed originals are real tile videos, and what a recovery of them should show."""

from __future__ import annotations

import io
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pyrage

from pipeline.compose.ownership import TrackCopy, copied, originals_of
from pipeline.evidence.body import TileItem
from pipeline.evidence.group_record import EntryKind
from pipeline.evidence.nal import ANNEX_B, Codec, parameter_digest, slice_digest, split_nals
from pipeline.evidence.sei import with_records
from pipeline.frames import (
    EncodedPacket,
    FaceBox,
    FacePatch,
    U8Array,
    YuvPlanes,
    part_of,
    planes_of,
)
from pipeline.publish.mux import Muxer
from pipeline.recover.tile_decoder import TileDecoder, lay_in
from pipeline.seal.epoch import Before, Epoch, Scene
from pipeline.seal.tile_encoder import TileEncoder
from pipeline.seal.tiles import FrameToSeal, Part, TileStreams
from pipeline.streams import StreamTemplates
from pipeline.vault.epoch import RecipientGroup
from pipeline.vault.identity import Identity

from .clips import paint_frames
from .evidence import ENCODERS, FPS, STARTED_UTC_MS, EvidenceClip, Packet, a_service_key
from .tiles import as_planes

SIZE = (320, 240)
FACE_PX = 56
MARGIN_PX = 12  # around a face's box: hidden as well


@dataclass(slots=True)
class Sealed:
    """A clip, not written yet, and everything that went into it."""

    clip: EvidenceClip = field(repr=False)
    originals: list[YuvPlanes] = field(default_factory=list, repr=False)
    parts: list[tuple[Part, ...]] = field(
        default_factory=list, repr=False
    )  # of each frame, as sealed
    boxes: list[dict[int, tuple[int, int, int, int]]] = field(default_factory=list, repr=False)
    """Of each frame, track to its face's box: x1, y1, x2, y2, even, inside."""

    def tiles(self, tracks: Sequence[int] | None = None) -> list[list[tuple[TileItem, YuvPlanes]]]:
        """Of each frame what the sealed bytes give; of chosen tracks without what two may own."""
        videos: dict[tuple[EntryKind, int], TileDecoder] = defaultdict(TileDecoder)
        frames = []
        for parts in self.parts:
            here = []
            for part in parts:
                if not isinstance(part.content, TileItem):
                    continue
                if tracks is not None and (
                    part.kind is EntryKind.SCENE or part.track not in tracks
                ):
                    continue
                pixels = videos[part.kind, part.track].decode(part.content)
                assert pixels is not None
                here.append((part.content, pixels))
            frames.append(here)
        return frames

    def expected(
        self, protected: Sequence[YuvPlanes], tracks: Sequence[int] | None = None
    ) -> list[YuvPlanes]:
        """The decoded clip with the tiles that open laid in: every pixel of it."""
        pictures = []
        for planes, tiles in zip(protected, self.tiles(tracks), strict=True):
            whole = copy_of(planes)
            for item, pixels in tiles:
                lay_in(whole, item, pixels)
            pictures.append(whole)
        return pictures


def new_identity(folder: Path, name: str) -> tuple[Identity, Path]:
    """And its key file."""
    identity = Identity(str(pyrage.x25519.Identity.generate()))
    path = folder / f"{name}.key"
    path.write_text(identity.secret + "\n")
    path.chmod(0o600)
    path.with_suffix(".pub").write_text(identity.recipient.public + "\n")
    return identity, path


def seal_clip(
    groups: Mapping[str, Sequence[Identity]],
    *,
    epochs: int = 2,
    frames: int = 12,
    faces: int = 1,
    overlap: bool = False,
    detail: str = "default",
    codec: Codec = "h264",
    camera: str = "gate-3",
    seed: int = 0,
    bframes: int = 0,
    service_seed: int = 1,
    face_px: int = FACE_PX,
    size_px: tuple[int, int] = SIZE,
) -> Sealed:
    """Epochs of `frames` each; groups of one session, of which one each is needed.

    `overlap`: the second face's box hangs over the first's. `bframes`: as no service codes.
    """
    key = a_service_key(service_seed)
    recipients = [
        RecipientGroup(name, 1, tuple(one.recipient for one in members))
        for name, members in sorted(groups.items())
    ]
    streams = TileStreams(
        lambda: TileEncoder(lossless=detail == "lossless"),
        key_every_seconds=0.2 if detail == "keyframes" else None,
    )
    originals, hidden, copies, boxes = _protected(
        epochs * frames, size_px, faces, overlap, seed, face_px
    )
    templates, packets = _encoded(hidden, size_px, frames, codec, bframes)
    sealed = Sealed(EvidenceClip(codec, templates, packets, key), boxes=boxes)
    order = [item.packet.pts for item in packets]  # decoding order
    sealed.originals = [originals[at] for at in order]
    sealed.boxes = [boxes[at] for at in order]
    before = Before()
    epoch: Epoch | None = None
    scene = Scene("North", camera, size_px, detail)
    for number, (item, at) in enumerate(zip(packets, order, strict=True)):
        nals = split_nals(item.packet.data, ANNEX_B)
        digest = slice_digest(nals, codec)
        counter = number % frames
        if counter == 0:
            epoch = Epoch(
                scene,
                recipients,
                key,
                before=before,
                started_utc_ms=STARTED_UTC_MS + number * 1000 // FPS,
                digest=digest,
                parameters=parameter_digest(nals, codec),
            )
            item.records.append(epoch.record.encode())
        assert epoch is not None
        kept, patches = copies[at]
        tiles = originals_of(kept, planes_of(hidden[at]), patches, None, number)
        parts = streams.encode(FrameToSeal(counter, number / FPS, tiles))
        sealed.parts.append(parts)
        epoch.add(digest, parts)
        is_last = counter == frames - 1
        if epoch.is_group_full or is_last:
            item.records.append(epoch.close_group(is_last=is_last))
        if is_last:
            before = epoch.end()
    streams.close()
    return sealed


def write_timed(sealed: Sealed, path: Path) -> Path:
    """With the encoder's own times: pictures in another order than their packets."""
    muxer = Muxer(str(path), sealed.clip.templates)
    for item in sealed.clip.packets:
        data = with_records(item.packet.data, item.records, sealed.clip.codec)
        muxer.write(replace(item.packet, data=data))
    muxer.close()
    return path


def with_tone(video: Path, path: Path, codec: str = "aac") -> Path:
    """The same packets, and a tone beside them: aac, or pcm_mulaw as IP cameras have it."""
    with av.open(str(video)) as source, av.open(str(path), "w") as target:
        copy = target.add_stream_from_template(source.streams.video[0])
        audio = target.add_stream(codec, rate=48_000)
        assert isinstance(audio, av.AudioStream)
        audio.layout = "mono"
        packets = [packet for packet in source.demux(video=0) if packet.size]
        for number in range(round(len(packets) / FPS * 48_000 / 1024)):
            wave = np.sin(2 * np.pi * 440 * (np.arange(1024) + 1024 * number) / 48_000)
            samples = (12_000 * wave).astype(np.int16)[None]
            frame = av.AudioFrame.from_ndarray(samples, format="s16", layout="mono")
            frame.sample_rate, frame.pts = 48_000, 1024 * number
            frame.time_base = Fraction(1, 48_000)
            target.mux(audio.encode(frame))
        target.mux(audio.encode(None))
        for packet in packets:
            packet.stream = copy
            target.mux(packet)
    return path


def planes_in(path: Path) -> list[YuvPlanes]:
    """Every frame, decoded, in the order of presentation."""
    with av.open(str(path)) as container:
        return [copy_of(planes_of(frame)) for frame in container.decode(video=0)]


def copy_of(planes: YuvPlanes) -> YuvPlanes:
    return YuvPlanes(planes.y.copy(), planes.u.copy(), planes.v.copy())


def assert_same(one: YuvPlanes, other: YuvPlanes, where: str = "") -> None:
    for name in ("y", "u", "v"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name), f"{where} {name}")


def inside(planes: YuvPlanes, box: tuple[int, int, int, int]) -> YuvPlanes:
    x1, y1, x2, y2 = box
    return part_of(planes, x1, y1, x2 - x1, y2 - y1)


# --- what a gate does, in short ---


def _protected(
    count: int, size_px: tuple[int, int], faces: int, overlap: bool, seed: int, face_px: int
) -> tuple[
    list[YuvPlanes],
    list[av.VideoFrame],
    list[tuple[tuple[TrackCopy, ...], list[tuple[FacePatch, U8Array]]]],
    list[dict[int, tuple[int, int, int, int]]],
]:
    originals, hidden, copies, boxes = [], [], [], []
    for rgb, truth in paint_frames(size_px, count, faces=faces, face_px=face_px, seed=seed):
        planes = copy_of(as_planes(rgb))
        here = {track: _even(box, size_px) for track, box in enumerate(truth, start=1)}
        if overlap:
            x1, y1, x2, y2 = here[1]
            here[2] = (x1 + 24, y1 + 16, min(x2 + 24, size_px[0]), min(y2 + 16, size_px[1]))
        found = [FaceBox(track, np.array(box, np.float32), 0.0) for track, box in here.items()]
        patches = [_patch(track, box, size_px) for track, box in here.items()]
        copies.append((copied(planes, found, patches), [(p, p.alpha) for p in patches]))
        originals.append(copy_of(planes))
        image = av.VideoFrame(*size_px, "yuv420p")
        target = planes_of(image)
        for patch in patches:
            height, width = patch.alpha.shape
            part = part_of(planes, patch.x_px, patch.y_px, width, height)
            part.y[...], part.u[...], part.v[...] = 90 + 20 * patch.track_id, 118, 138
        target.y[...], target.u[...], target.v[...] = planes.y, planes.u, planes.v
        hidden.append(image)
        boxes.append(here)
    return originals, hidden, copies, boxes


def _patch(track: int, box: tuple[int, int, int, int], size_px: tuple[int, int]) -> FacePatch:
    x1, y1 = max(box[0] - MARGIN_PX, 0), max(box[1] - MARGIN_PX, 0)
    x2, y2 = min(box[2] + MARGIN_PX, size_px[0]), min(box[3] + MARGIN_PX, size_px[1])
    size = (y2 - y1, x2 - x1)
    half = (size[0] // 2, size[1] // 2)
    content = YuvPlanes(
        np.zeros(size, np.uint8), np.zeros(half, np.uint8), np.zeros(half, np.uint8)
    )
    return FacePatch(
        track, x1, y1, content, np.full(size, 255, np.uint8), np.array(box, np.float32)
    )


def _even(box: Sequence[float], size_px: tuple[int, int]) -> tuple[int, int, int, int]:
    x1, y1, x2, y2 = (int(v) // 2 * 2 for v in box)
    return max(x1, 0), max(y1, 0), min(x2, size_px[0]), min(y2, size_px[1])


def _encoded(
    pictures: Sequence[av.VideoFrame],
    size_px: tuple[int, int],
    gop: int,
    codec: Codec,
    bframes: int,
) -> tuple[StreamTemplates, list[Packet]]:
    container = av.open(io.BytesIO(), "w", format="nut")
    stream = container.add_stream(ENCODERS[codec], rate=FPS)
    assert isinstance(stream, av.VideoStream)
    context = stream.codec_context
    context.width, context.height = size_px
    context.pix_fmt = "yuv420p"
    context.time_base = Fraction(1, FPS)
    context.max_b_frames = bframes
    context.gop_size = gop
    context.flags |= av.codec.context.Flags.global_header
    params = f"keyint={gop}:min-keyint={gop}:scenecut=0:repeat-headers=1:bframes={bframes}"
    if codec == "h265":
        params += ":open-gop=0:log-level=none:pools=1:frame-threads=1"
    name = ENCODERS[codec].removeprefix("lib") + "-params"
    context.options = {"preset": "veryfast", "crf": "24", name: params}
    templates = StreamTemplates(container, stream)
    container.start_encoding()
    packets = []
    for number, picture in enumerate(pictures):
        picture.pts, picture.time_base = number, Fraction(1, FPS)
        packets += [_kept(packet) for packet in context.encode(picture)]
    packets += [_kept(packet) for packet in context.encode(None)]
    return templates, [Packet(packet) for packet in packets]


def _kept(packet: av.Packet[av.VideoStream]) -> EncodedPacket:
    assert packet.pts is not None and packet.dts is not None and packet.time_base is not None
    return EncodedPacket(
        kind="video",
        data=bytes(packet),
        pts=packet.pts,
        dts=packet.dts,
        duration=1,
        time_base=packet.time_base,
        is_keyframe=packet.is_keyframe,
    )
