"""Small video clips made on the spot: a real face on a known path over a textured background.

The face is cut from `skimage.data.astronaut()`, which ships with scikit-image, so no clip needs
a download. Every clip knows where its faces are, frame by frame, in presentation order.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal, cast

import av
import cv2
import numpy as np
import numpy.typing as npt
from av.stream import Disposition
from skimage import data

U8Array = npt.NDArray[np.uint8]
FloatArray = npt.NDArray[np.float32]

Codec = Literal["libx264", "libx265", "mjpeg", "ffv1"]
PtsFault = Literal["none", "missing", "repeat", "backward", "forward", "late_start"]

# In the 512 x 512 astronaut picture, xyxy px: hairline to chin, cheek to cheek ...
SOURCE_FACE_XYXY_PX = (180, 72, 262, 178)
# ... and the whole head with its hair, which a detector wants to see around the face.
SOURCE_HEAD_XYXY_PX = (145, 5, 310, 210)
SOURCE_FACE_WIDTH_PX = SOURCE_FACE_XYXY_PX[2] - SOURCE_FACE_XYXY_PX[0]  # 82

PATH_PERIOD_FRAMES = 100
PATH_SWING_FACES = 0.75  # at 80 px: 0.75 * 80 * 2 pi / 100 = 3.8 px per frame at the fastest

ANNEX_B_SUFFIXES = (".264", ".h264", ".265", ".h265")
AUDIO_RATE_HZ = 48_000
TONE_HZ = 440
MPEGTS_TICKS_PER_S = 90_000
TS_PACKET_BYTES = 188
LATE_START_S = 50_000  # a camera that has been up for most of a day
FORWARD_JUMP_S = 3_600


@dataclass(frozen=True)
class Clip:
    """One file and the truth about it; `truth`, `pts` and `sizes` are in presentation order."""

    path: Path
    truth: tuple[FloatArray, ...]
    """Per frame (N, 4) face boxes, xyxy, px of that frame, x2 and y2 exclusive."""
    pts: tuple[float, ...]
    """Seconds, as a reader gets them (1 ms slack in .mkv); NaN where the file gives none."""
    width: int
    height: int
    fps: Fraction
    sizes: tuple[tuple[int, int], ...]
    """Per frame (width, height); differs from the two above after a resolution change."""
    has_audio: bool = False

    @property
    def frames(self) -> int:
        return len(self.truth)


@lru_cache(maxsize=8)
def head_patch(face_px: int) -> tuple[U8Array, FloatArray, FloatArray]:
    """A head scaled to a face `face_px` wide: RGB, feathered alpha (H, W, 1), box inside it."""
    x1, y1, x2, y2 = SOURCE_HEAD_XYXY_PX
    scale = face_px / SOURCE_FACE_WIDTH_PX
    width, height = round((x2 - x1) * scale), round((y2 - y1) * scale)
    picture: U8Array = data.astronaut()
    source = picture[y1:y2, x1:x2]
    resample = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    rgb = cv2.resize(source, (width, height), interpolation=resample).astype(np.uint8)

    rows, columns = np.mgrid[0:height, 0:width].astype(np.float32)
    radius = np.hypot((columns + 0.5) / width * 2 - 1, (rows + 0.5) / height * 2 - 1)
    alpha = np.clip((1.0 - radius) / 0.08, 0.0, 1.0)[:, :, None].astype(np.float32)

    # The rounding of the patch size is part of the truth, so each axis has its own scale.
    scale_xyxy = np.array([width / (x2 - x1), height / (y2 - y1)] * 2, dtype=np.float32)
    face = np.array(SOURCE_FACE_XYXY_PX, dtype=np.float32) - np.array([x1, y1] * 2, np.float32)
    return rgb, alpha, (face * scale_xyxy).astype(np.float32)


def textured_background(width: int, height: int, seed: int = 0) -> U8Array:
    """(H, W, 3) RGB: smooth blotches, fine grain and some hard edges, the same for one seed."""
    random = np.random.default_rng(seed)
    coarse = random.integers(40, 200, (6, 8, 3)).astype(np.float32)
    picture = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
    grain = random.normal(0, 9, (height // 2 + 1, width // 2 + 1)).astype(np.float32)
    picture = picture + cv2.resize(grain, (width, height))[:, :, None]
    for _ in range(12):
        left, top = int(random.integers(0, width)), int(random.integers(0, height))
        shade = [float(value) for value in random.integers(30, 220, 3)]
        corner = (left + width // 12, top + height // 12)
        cv2.rectangle(picture, (left, top), corner, shade, 2)
    return np.asarray(np.clip(picture, 0, 255), dtype=np.uint8)


def paint_frames(
    size: tuple[int, int],
    frames: int,
    *,
    faces: int = 1,
    face_px: int = 80,
    enter_at: int = 0,
    leave_at: int | None = None,
    seed: int = 0,
    first: int = 0,
) -> Iterator[tuple[U8Array, FloatArray]]:
    """Yields (RGB picture, (N, 4) truth boxes) for frames `first` .. `first + frames - 1`."""
    width, height = size
    background = textured_background(width, height, seed)
    rgb, alpha, face_in_patch = head_patch(face_px)
    patch_height, patch_width = rgb.shape[:2]
    lane_px = width // max(faces, 1)
    if faces and (patch_width > lane_px or patch_height > height):
        raise ValueError(
            f"face_px {face_px} needs {patch_width} x {patch_height} px a face,"
            f" got {lane_px} x {height}: fewer or smaller faces, or a larger size"
        )
    random = np.random.default_rng(seed + 1)
    phases = random.uniform(0, 2 * math.pi, (max(faces, 1), 2))
    spare_x, spare_y = lane_px - patch_width, height - patch_height
    swing_x = min(spare_x / 2, PATH_SWING_FACES * face_px)
    swing_y = min(spare_y / 2, PATH_SWING_FACES * face_px)

    for index in range(first, first + frames):
        picture = background.copy()
        boxes: list[FloatArray] = []
        for face in range(faces):
            if index < enter_at or (leave_at is not None and index >= leave_at):
                break
            turn = 2 * math.pi * index / PATH_PERIOD_FRAMES
            x = face * lane_px + round(spare_x / 2 + swing_x * math.sin(turn + phases[face, 0]))
            y = round(spare_y / 2 + swing_y * math.sin(turn * 0.7 + phases[face, 1]))
            # Every second face is mirrored: two faces of one clip are not the same picture.
            mirrored = face % 2 == 1
            head = rgb[:, ::-1] if mirrored else rgb
            under = picture[y : y + patch_height, x : x + patch_width]
            blended = under * (1 - alpha) + head * alpha
            picture[y : y + patch_height, x : x + patch_width] = np.rint(blended).astype(np.uint8)
            left, top, right, bottom = face_in_patch
            if mirrored:
                left, right = patch_width - right, patch_width - left
            boxes.append(np.array([x + left, y + top, x + right, y + bottom], dtype=np.float32))
        yield picture, np.array(boxes, dtype=np.float32).reshape(-1, 4)


def make_clip(
    path: Path,
    *,
    codec: Codec = "libx264",
    pix_fmt: str = "yuv420p",
    size: tuple[int, int] = (640, 360),
    frames: int = 50,
    fps: int | Fraction = 25,
    faces: int = 1,
    face_px: int = 80,
    bframes: int = 0,
    gop: int = 25,
    crf: int = 18,
    slices: int = 1,
    vfr: bool = False,
    audio: bool = False,
    pts_faults: PtsFault = "none",
    cover_stream: bool = False,
    resolution_change_at: int | None = None,
    second_size: tuple[int, int] = (480, 272),
    enter_at: int = 0,
    leave_at: int | None = None,
    empty: bool = False,
    seed: int = 0,
) -> Clip:
    """Writes a clip; the suffix of `path` chooses the container.

    `face_px` is the width of the truth box (its height is 1.29 times that). `.264` and `.265` are
    bare Annex B, with no clock of their own: their `pts` are NaN. `empty` paints no face.
    `pts_faults` need `.ts`, or `.mkv` for "repeat" and "backward"; "missing" is also what any
    bare Annex B file has. `slices` is per frame, H.264 only. `cover_stream` adds
    attached cover art (with a face in it) to `.mp4` or `.mkv`.
    `resolution_change_at` needs `.264`, `.265` or `.ts`.
    """
    rate = Fraction(fps)
    annex_b = path.suffix in ANNEX_B_SUFFIXES
    _check_request(path, codec, bframes, vfr, audio, pts_faults, cover_stream, resolution_change_at)
    faces = 0 if empty else faces
    times = _frame_times(frames, rate, vfr, seed)
    cut = frames if resolution_change_at is None else resolution_change_at
    parts = [(size, 0, cut)] + ([(second_size, cut, frames)] if cut < frames else [])

    truth: list[FloatArray] = []
    sizes: list[tuple[int, int]] = []

    def encoded(encoder: av.VideoCodecContext, part: tuple[tuple[int, int], int, int]) -> Any:
        part_size, first, end = part
        # A smaller second picture gets a smaller face, so that it has room to move.
        part_face_px = round(face_px * min(1.0, part_size[0] / size[0], part_size[1] / size[1]))
        painted = paint_frames(
            part_size,
            end - first,
            faces=faces,
            face_px=part_face_px,
            enter_at=enter_at,
            leave_at=leave_at,
            seed=seed,
            first=first,
        )
        for index, (picture, boxes) in enumerate(painted, start=first):
            truth.append(boxes)
            sizes.append(part_size)
            yield encoder.encode(_to_frame(picture, encoder, times[index])), times[index]
        yield encoder.encode(None), times[end - 1]

    if annex_b:
        with path.open("wb") as file:
            for part in parts:
                encoder = av.CodecContext.create(codec, "w")
                _set_up(encoder, codec, pix_fmt, part[0], rate, bframes, gop, crf, slices, vfr)
                for packets, _ in encoded(encoder, part):
                    file.writelines(bytes(packet) for packet in packets)
    else:
        with av.open(str(path), "w") as container:
            video = container.add_stream(codec, rate=rate)
            _set_up(video.codec_context, codec, pix_fmt, size, rate, bframes, gop, crf, slices, vfr)
            video.time_base = video.codec_context.time_base
            tone = _Tone(container) if audio else None
            if cover_stream:
                _add_cover(container, path.suffix)
            for part in parts:
                encoder = video.codec_context
                if part is not parts[0]:
                    encoder = av.CodecContext.create(codec, "w")
                    _set_up(encoder, codec, pix_fmt, part[0], rate, bframes, gop, crf, slices, vfr)
                for packets, time_s in encoded(encoder, part):
                    for packet in packets:
                        packet.stream = video
                        packet.time_base = encoder.time_base
                        container.mux(packet)
                    if tone is not None:
                        tone.mux_until(time_s)
            if tone is not None:
                tone.finish()

    pts = [math.nan] * frames if annex_b else [float(time) for time in times]
    if path.suffix == ".ts":
        pts = _rewrite_ts_pts(path, pts, pts_faults)
    elif pts_faults != "none" and not annex_b:
        pts = _rewrite_mkv_pts(path, pts, pts_faults)
    return Clip(
        path=path,
        truth=tuple(truth),
        pts=tuple(pts),
        width=size[0],
        height=size[1],
        fps=rate,
        sizes=tuple(sizes),
        has_audio=audio,
    )


def _check_request(
    path: Path,
    codec: str,
    bframes: int,
    vfr: bool,
    audio: bool,
    pts_faults: PtsFault,
    cover_stream: bool,
    resolution_change_at: int | None,
) -> None:
    suffix, annex_b = path.suffix, path.suffix in ANNEX_B_SUFFIXES
    if annex_b and (codec not in ("libx264", "libx265") or vfr or audio):
        raise ValueError(f"a bare Annex B file holds only H.264 or H.265 frames, got {path.name}")
    if pts_faults != "none" and bframes:
        raise ValueError("pts_faults needs bframes=0: frame n of the file must be frame n shown")
    fault_homes: dict[str, tuple[str, ...]] = {
        "none": (suffix,),
        "missing": (".ts", *ANNEX_B_SUFFIXES),
        "repeat": (".ts", ".mkv"),
        "backward": (".ts", ".mkv"),
    }
    if suffix not in (homes := fault_homes.get(pts_faults, (".ts",))):
        raise ValueError(f"pts_faults={pts_faults!r} needs one of {homes}, got {path.name}")
    if cover_stream and suffix not in (".mp4", ".mkv"):
        raise ValueError(f"cover_stream needs .mp4 or .mkv, got {path.name}")
    if resolution_change_at is not None and not (annex_b or suffix == ".ts"):
        raise ValueError(f"resolution_change_at needs .264, .265 or .ts, got {path.name}")


def _frame_times(frames: int, rate: Fraction, vfr: bool, seed: int) -> list[Fraction]:
    if not vfr:
        return [index / rate for index in range(frames)]
    # Whole milliseconds, so that .mkv keeps them; half to double of the nominal distance.
    nominal_ms = float(1000 / rate)
    random = np.random.default_rng(seed + 2)
    steps_ms = random.integers(round(nominal_ms / 2), round(nominal_ms * 2), frames - 1)
    total_ms = np.concatenate([[0], np.cumsum(steps_ms)])
    return [Fraction(int(value), 1000) for value in total_ms]


def _set_up(
    encoder: av.VideoCodecContext,
    codec: Codec,
    pix_fmt: str,
    size: tuple[int, int],
    rate: Fraction,
    bframes: int,
    gop: int,
    crf: int,
    slices: int,
    vfr: bool,
) -> None:
    encoder.width, encoder.height = size
    encoder.framerate = rate
    encoder.time_base = Fraction(1, 1000) if vfr else 1 / rate
    if codec == "mjpeg" and not pix_fmt.startswith("yuvj"):
        pix_fmt = pix_fmt.replace("yuv", "yuvj")  # the encoder refuses limited range
    encoder.pix_fmt = pix_fmt
    if pix_fmt.startswith("yuvj"):
        encoder.color_range = 2
    if codec == "libx264":
        encoder.gop_size = gop
        encoder.max_b_frames = bframes
        # b-adapt 0: B frames are there because they were asked for, not when x264 likes them.
        encoder.options = {
            "preset": "veryfast",
            "crf": str(crf),
            # sliced-threads 0: the number of slices must not depend on the number of cores.
            "x264-params": f"b-adapt=0:scenecut=0:keyint={gop}:min-keyint={gop}"
            f":sliced-threads=0:slices={slices}",
        }
    elif codec == "libx265":
        encoder.options = {
            "preset": "ultrafast",
            "crf": str(crf),
            "x265-params": f"bframes={bframes}:b-adapt=0:scenecut=0:keyint={gop}:min-keyint={gop}"
            ":log-level=none:pools=2:frame-threads=1",
        }
    elif codec == "mjpeg":
        encoder.qmin, encoder.qmax = 2, 4
    else:
        encoder.options = {"level": "3"}
        encoder.gop_size = 1


def _to_frame(picture: U8Array, encoder: av.VideoCodecContext, time: Fraction) -> av.VideoFrame:
    source = av.VideoFrame.from_ndarray(picture, format="rgb24")
    pix_fmt = cast(str, encoder.pix_fmt)
    full = pix_fmt.startswith("yuvj")
    frame = source.reformat(format=pix_fmt, dst_color_range=2 if full else 1)
    frame.time_base = encoder.time_base
    frame.pts = int(time / frame.time_base)
    return frame


class _Tone:
    """An AAC sine that keeps step with the picture, so that the muxer interleaves both."""

    def __init__(self, container: av.container.OutputContainer) -> None:
        self._container = container
        self._stream = container.add_stream("aac", rate=AUDIO_RATE_HZ, layout="mono")
        self._samples_done = 0

    def mux_until(self, time_s: Fraction) -> None:
        block = 1024
        while Fraction(self._samples_done, AUDIO_RATE_HZ) <= time_s:
            phase = np.arange(self._samples_done, self._samples_done + block) * TONE_HZ
            wave = 0.3 * np.sin(2 * np.pi * phase / AUDIO_RATE_HZ)
            frame = av.AudioFrame.from_ndarray(
                wave[None, :].astype(np.float32), format="fltp", layout="mono"
            )
            frame.sample_rate = AUDIO_RATE_HZ
            frame.time_base = Fraction(1, AUDIO_RATE_HZ)
            frame.pts = self._samples_done
            self._samples_done += block
            self._container.mux(self._stream.encode(frame))

    def finish(self) -> None:
        self._container.mux(self._stream.encode(None))


def _add_cover(container: av.container.OutputContainer, suffix: str) -> None:
    rgb, _, _ = head_patch(80)
    even = np.ascontiguousarray(rgb[: rgb.shape[0] // 2 * 2, : rgb.shape[1] // 2 * 2])
    if suffix == ".mkv":
        _, jpeg = cv2.imencode(".jpg", even[:, :, ::-1])
        container.add_attachment("cover.jpg", "image/jpeg", jpeg.tobytes())
        return
    stream = container.add_stream("mjpeg", rate=1)
    stream.width, stream.height, stream.pix_fmt = even.shape[1], even.shape[0], "yuvj420p"
    stream.codec_context.color_range = 2
    stream.disposition = Disposition.attached_pic
    frame = av.VideoFrame.from_ndarray(even, format="rgb24")
    container.mux(stream.encode(frame.reformat(format="yuvj420p", dst_color_range=2)))
    container.mux(stream.encode(None))


# --- timestamps that lie --------------------------------------------------------------------------


def _faulty_seconds(pts: Sequence[float], fault: PtsFault) -> list[float]:
    half = len(pts) // 2
    if fault == "missing":
        return [math.nan if index % 3 == 2 else time for index, time in enumerate(pts)]
    if fault == "repeat":
        return [pts[i - 1] if i % 5 == 4 else pts[i] for i in range(len(pts))]
    if fault == "backward":  # the camera's clock starts again in the middle of the clip
        return [*pts[:half], *(time - pts[half] + pts[0] for time in pts[half:])]
    if fault == "forward":
        return [*pts[:half], *(time + FORWARD_JUMP_S for time in pts[half:])]
    if fault == "late_start":
        return [time + LATE_START_S for time in pts]
    return list(pts)


def _rewrite_ts_pts(path: Path, pts: Sequence[float], fault: PtsFault) -> list[float]:
    """Stamps the video PES headers anew; returns the seconds that are in the file now."""
    content = bytearray(path.read_bytes())
    starts = list(_ts_video_pes(content))
    if len(starts) != len(pts):
        raise ValueError(f"{path.name} holds {len(starts)} video PES packets, not {len(pts)}")
    # The muxer adds a start-up delay of its own; the truth is what the file says.
    shown_first_s = min(_read_ts_stamp(content, at + 9) for at in starts) / MPEGTS_TICKS_PER_S
    stamps = _faulty_seconds([time - pts[0] + shown_first_s for time in pts], fault)
    if fault != "none":
        for at, stamp in zip(starts, stamps, strict=True):
            header_bytes = content[at + 8]
            fields = bytearray(b"\xff" * header_bytes)
            content[at + 7] = 0x00
            if not math.isnan(stamp):
                content[at + 7] = 0x80  # PTS only: the decode order is the presentation order
                fields[:5] = _ts_stamp(round(stamp * MPEGTS_TICKS_PER_S))
            content[at + 9 : at + 9 + header_bytes] = fields
        path.write_bytes(content)
    return stamps


def _ts_video_pes(content: bytes | bytearray) -> Iterator[int]:
    """Offsets of the PES headers of the video stream, in file order."""
    for packet_at in range(0, len(content) - TS_PACKET_BYTES + 1, TS_PACKET_BYTES):
        payload_at = _ts_payload_at(content, packet_at)
        starts_unit = content[packet_at + 1] & 0x40
        head = content[payload_at : payload_at + 4]
        if starts_unit and head[:3] == b"\x00\x00\x01" and 0xE0 <= head[3] <= 0xEF:
            yield payload_at


def _ts_payload_at(content: bytes | bytearray, packet_at: int) -> int:
    has_adaptation = content[packet_at + 3] & 0x20
    return packet_at + 4 + (1 + content[packet_at + 4] if has_adaptation else 0)


def _read_ts_stamp(content: bytes | bytearray, at: int) -> int:
    """33 bits in five bytes, with a marker bit after each group of 3, 15 and 15."""
    a, b, c, d, e = content[at : at + 5]
    return (a >> 1 & 7) << 30 | b << 22 | (c >> 1) << 15 | d << 7 | e >> 1


def _ts_stamp(ticks: int) -> bytes:
    return bytes(
        (
            0x21 | (ticks >> 30 & 7) << 1,
            ticks >> 22 & 0xFF,
            0x01 | (ticks >> 15 & 0x7F) << 1,
            ticks >> 7 & 0xFF,
            0x01 | (ticks & 0x7F) << 1,
        )
    )


def _rewrite_mkv_pts(path: Path, pts: Sequence[float], fault: PtsFault) -> list[float]:
    content = bytearray(path.read_bytes())
    stamps = _faulty_seconds(pts, fault)
    blocks = list(_mkv_video_blocks(content))
    if len(blocks) != len(pts):
        raise ValueError(f"{path.name} holds {len(blocks)} video blocks, not {len(pts)}")
    for (at, cluster_ms), stamp in zip(blocks, stamps, strict=True):
        content[at : at + 2] = (round(stamp * 1000) - cluster_ms).to_bytes(2, "big", signed=True)
    path.write_bytes(content)
    return stamps


def _mkv_video_blocks(content: bytes | bytearray) -> Iterator[tuple[int, int]]:
    """(offset of the 16 bit time of a block of track 1, its cluster's time in ms)."""
    segment, cluster, group = 0x18538067, 0x1F43B675, 0xA0
    simple_block, block, timestamp = 0xA3, 0xA1, 0xE7
    at, cluster_ms = 0, 0
    while at < len(content):
        id_bytes = 9 - content[at].bit_length()
        element = int.from_bytes(content[at : at + id_bytes], "big")
        at += id_bytes
        size_bytes = 9 - content[at].bit_length()
        marker = 1 << 7 * size_bytes
        size = int.from_bytes(content[at : at + size_bytes], "big") - marker
        at += size_bytes
        if element in (segment, cluster, group):
            continue  # walk into it
        if element == timestamp:
            cluster_ms = int.from_bytes(content[at : at + size], "big")
        if element in (simple_block, block) and content[at] == 0x81:
            yield at + 1, cluster_ms
        at += size


# --- damage ---------------------------------------------------------------------------------------


def corrupt_packets(src: Path, dst: Path, every: int = 7, seed: int = 0) -> int:
    """Copies `src`, flipping bytes in every `every`-th piece of picture data; returns how many.

    `.ts`: pieces are 188 byte packets inside a picture, headers kept. Annex B (H.264 or H.265):
    pieces are the slices, their first 12 bytes kept, so that the parser still sees a picture.
    """
    content = bytearray(src.read_bytes())
    random = np.random.default_rng(seed)
    if src.suffix == ".ts":
        pieces = list(_ts_picture_pieces(content))
    elif src.suffix in ANNEX_B_SUFFIXES:
        pieces = list(_annex_b_slices(content, hevc="265" in src.suffix))
    else:
        raise ValueError(f"corrupt_packets takes .ts or bare Annex B, got {src.name}")
    hit = pieces[every - 1 :: every]
    for start, end in hit:
        for at in random.integers(start, end, size=max(4, (end - start) // 50)):
            # Never a zero: that could forge a start code and so a NAL unit nobody wrote.
            content[at] = int(random.integers(1, 256))
    dst.write_bytes(content)
    return len(hit)


def _ts_picture_pieces(content: bytearray) -> Iterator[tuple[int, int]]:
    first = next(_ts_video_pes(content))
    video_pid = _ts_pid(content, first // TS_PACKET_BYTES * TS_PACKET_BYTES)
    for packet_at in range(0, len(content) - TS_PACKET_BYTES + 1, TS_PACKET_BYTES):
        payload_at, end = _ts_payload_at(content, packet_at), packet_at + TS_PACKET_BYTES
        starts_unit = content[packet_at + 1] & 0x40
        if _ts_pid(content, packet_at) == video_pid and not starts_unit and payload_at < end:
            yield payload_at, end


def _ts_pid(content: bytearray, packet_at: int) -> int:
    return (content[packet_at + 1] & 0x1F) << 8 | content[packet_at + 2]


def _annex_b_slices(content: bytearray, *, hevc: bool) -> Iterator[tuple[int, int]]:
    start = content.find(b"\x00\x00\x01")
    while start >= 0:
        body = start + 3
        start = content.find(b"\x00\x00\x01", body)
        end = start if start >= 0 else len(content)
        kind = content[body] >> 1 & 0x3F if hevc else content[body] & 0x1F
        is_slice = kind < 32 if hevc else kind in (1, 5)
        if is_slice and end - body > 32:
            yield body + 12, end


def truncate(src: Path, dst: Path, keep: float = 0.6) -> None:
    """The first `keep` (0 to 1) of the bytes. An .mp4 loses its index this way and won't open."""
    content = src.read_bytes()
    dst.write_bytes(content[: int(len(content) * keep)])


def not_a_video(path: Path) -> Path:
    path.write_text("quarterly figures, nothing to see\n" * 200, encoding="utf-8")
    return path


def zero_length(path: Path) -> Path:
    path.write_bytes(b"")
    return path


# --- plain decoding -------------------------------------------------------------------------------


def decode_all(path: Path, *, damaged_ok: bool = False) -> list[av.VideoFrame]:
    """Every frame of the first video stream, in presentation order.

    With `damaged_ok`, packets that do not decode are skipped; otherwise they raise
    av.FFmpegError.
    """
    frames: list[av.VideoFrame] = []
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        for packet in container.demux(stream):
            try:
                frames.extend(packet.decode())
            except av.FFmpegError:
                if not damaged_ok:
                    raise
    return frames


def luma(frame: av.VideoFrame) -> U8Array:
    """(H, W) luma as stored, 8 bits: deeper formats lose their low bits, RGB is converted."""
    depth_bits = frame.format.components[0].bits
    if frame.format.is_rgb or depth_bits < 8:
        frame = frame.reformat(format="gray")
        depth_bits = 8
    plane = frame.planes[0]
    sample_bytes = 1 if depth_bits == 8 else 2
    # Rows are padded to line_size; the padding is not picture.
    rows = np.frombuffer(bytes(plane), np.uint8).reshape(-1, plane.line_size)[: frame.height]
    picture = np.ascontiguousarray(rows[:, : frame.width * sample_bytes])
    if sample_bytes == 1:
        return picture
    return (picture.view("<u2") >> (depth_bits - 8)).astype(np.uint8)
