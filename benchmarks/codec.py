"""What is left of a fused face after x264 and x265, and what fusing costs in bits.

Every face is fused at keyframes, in intra and in predicted frames; the frames between carry plain
obfuscation. Recovery gets the decoded square and the right key.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from engines import EngineError
from engines.bands import U8
from engines.fusion import FaceSecrets, FusionModel, with_head_room
from engines.train.data import FACE_PX, stack
from engines.train.obfuscators import Picture
from pipeline.frames import Square, YuvPlanes
from pipeline.vault.secret_map import KEY_BYTES, face_key, face_secrets

from . import _face_clips, _fusion
from ._coding import CODECS, Codec, Stream, through_codec
from ._face_clips import FaceClip
from ._fusion import KINDS, Subject
from ._recognizers import Recognizer, open_recognizers
from ._sheets import contact_sheet, line_plot
from ._similarity import F64, luma_of, psnr, rgb_of, ssim
from .report import Column, Report, Row, Table, add_output_options, progress

COLUMNS = (
    Column("clips", "clips"),
    Column("codec", "codec"),
    Column("crf", "CRF"),
    Column("faces", "faces"),
    Column("luma", "luma", 2),
    Column("luma_i", "in I", 2),
    Column("luma_p", "in P", 2),
    Column("luma_p10", "10 %", 2),
    Column("luma_ssim", "SSIM", 3),
    Column("protected", "protected", 2),
    Column("bits", "bits", 2),
    Column("bits_every", "every", 2),
    Column("bits_clear", "of clear", 2),
    Column("dlib", "dlib %", 1),
    Column("mobilefacenet", "mfn %", 1),
)
TARGET_COLUMNS = (
    Column("what", "what"),
    Column("value", "value", 2),
    Column("target", "target"),
    Column("reached", "reached"),
)
CRFS = (0, 5, 10, 14, 18, 23, 28)
LUMA_TARGETS_DB = {18: 33.0, 23: 30.0}
PROTECTED_TARGET_DB = 31.0
BITS_TARGET = 1.5
MATCH_TARGET = 0.95
RECOGNIZE_CRF = 23
GOP_SECONDS = 2.0  # encode.gop
KEYFRAME_EVERY = 10  # frames: fused ones fall on intra and on predicted frames
SHEET_CRFS = (18, 23, 28)
SHEET_FACES = 6
MADE, STILLS = "made", "stills"


@dataclass(frozen=True, slots=True, eq=False)
class FusedFace:
    """One face of one frame, in all its forms."""

    frame: int
    number: int  # among the frame's
    square: Square
    key: bytes = field(repr=False)
    original: Picture = field(repr=False)
    plain: Picture = field(repr=False)  # obfuscated, with head-room
    protected: Picture = field(repr=False)


@dataclass(frozen=True, slots=True)
class FusedClip:
    """A clip, and the faces of every frame of it."""

    clip: FaceClip
    faces: list[list[FusedFace]] = field(repr=False)
    keyframe_every: int

    @property
    def gop(self) -> int:
        """Frames from one IDR frame to the next."""
        return 1 if self.clip.still else max(1, round(GOP_SECONDS * self.clip.fps))

    def is_keyframe(self, frame: int) -> bool:
        """Whether the faces of a frame are fused when only keyframes are."""
        return self.clip.still or frame % self.keyframe_every == 0

    def fused(self) -> list[FusedFace]:
        """Those that somebody with the key can have back."""
        return [
            face
            for index, faces in enumerate(self.faces)
            if self.is_keyframe(index)
            for face in faces
        ]

    def shown(self, how: str) -> Iterator[YuvPlanes]:
        """The frames: `clear`, `plain`, fused at `keyframes` or in `every` frame."""
        for index, (planes, faces) in enumerate(zip(self.clip.frames, self.faces, strict=True)):
            if how == "clear" or not faces:
                yield planes
                continue
            fuse = how == "every" or (how == "keyframes" and self.is_keyframe(index))
            canvas = _face_clips.copied(planes)
            for face in faces:
                content = face.protected if fuse else face.plain
                _face_clips.write(canvas, face.square, YuvPlanes(*content))
            yield canvas


@dataclass(slots=True)
class Recovered:
    """What came back from one clip at one CRF."""

    luma: list[float] = field(default_factory=list)
    luma_ssim: list[float] = field(default_factory=list)
    kinds: list[str] = field(default_factory=list)  # "I" or "P"
    protected: list[float] = field(default_factory=list)
    rgb: list[U8] = field(default_factory=list, repr=False)  # 112 px, aligned clips only
    original_rgb: list[U8] = field(default_factory=list, repr=False)
    bytes: dict[str, int] = field(default_factory=dict)  # by how the frames are shown

    def add(self, other: Recovered) -> None:
        """Pool."""
        for name in ("luma", "luma_ssim", "kinds", "protected", "rgb", "original_rgb"):
            getattr(self, name).extend(getattr(other, name))
        for how, size in other.bytes.items():
            self.bytes[how] = self.bytes.get(how, 0) + size


# --- fusing ---


def fuse_clip(
    model: FusionModel, clip: FaceClip, kind: str, keyframe_every: int, rng: np.random.Generator
) -> FusedClip:
    """Every face of every frame, each under its own key."""
    clip_key = rng.bytes(KEY_BYTES)
    places = [(index, square) for index, squares in enumerate(clip.squares) for square in squares]
    originals = [picture_of(square.of(clip.frames[index])) for index, square in places]
    plain = [
        _fusion.as_picture(with_head_room(_fusion.obfuscated(each, kind))) for each in originals
    ]
    keys = [face_key(clip_key, index, square.xys_px) for index, square in places]
    layout = model.spec.layout
    protected: list[Picture | None] = [None] * len(places)
    for which, secrets in batches_by_side(model, keys, [square for _, square in places]):
        sent = model.protect(
            stack([originals[i] for i in which], layout.planes),
            stack([plain[i] for i in which], layout.planes),
            secrets,
        )
        for place, picture in zip(which, pictures_of(sent), strict=True):
            protected[place] = picture
    faces: list[list[FusedFace]] = [[] for _ in clip.frames]
    for (index, square), key, original, hidden, sent_picture in zip(
        places, keys, originals, plain, protected, strict=True
    ):
        assert sent_picture is not None
        number = len(faces[index])
        faces[index].append(FusedFace(index, number, square, key, original, hidden, sent_picture))
    return FusedClip(clip, faces, keyframe_every)


def batches_by_side(
    model: FusionModel, keys: Sequence[bytes], squares: Sequence[Square]
) -> Iterator[tuple[list[int], FaceSecrets]]:
    """Indices of faces of one size, at most BATCH, and their secrets."""
    for side in sorted({square.side_px for square in squares}):
        same = [index for index, square in enumerate(squares) if square.side_px == side]
        for some in _fusion.in_batches(len(same)):
            which = same[some]
            yield which, face_secrets([keys[i] for i in which], model.spec, (side, side))


def picture_of(planes: YuvPlanes) -> Picture:
    """Planes of their own, as fusion takes them."""
    return planes.y.copy(), planes.u.copy(), planes.v.copy()


def pictures_of(batch: Sequence[U8]) -> list[Picture]:
    """A picture batch as planes. RGB becomes 4:2:0 here: what a video of it would carry."""
    if len(batch) == 2:
        return [(y[0], uv[0], uv[1]) for y, uv in zip(*batch, strict=True)]
    return [picture_of(_face_clips.planes_of_rgb(rgb)) for rgb in rgb_of(batch)]


def recover(
    model: FusionModel, received: Sequence[YuvPlanes], faces: Sequence[FusedFace]
) -> list[tuple[U8, ...]]:
    """Each decoded square opened with its key: a picture batch of one."""
    found: list[tuple[U8, ...] | None] = [None] * len(faces)
    for which, secrets in batches_by_side(
        model, [face.key for face in faces], [face.square for face in faces]
    ):
        pictures = [picture_of(received[i]) for i in which]
        opened = model.recover(stack(pictures, model.spec.layout.planes), secrets)
        for place, index in enumerate(which):
            found[index] = _fusion.part(opened, slice(place, place + 1))
    return [each for each in found if each is not None]


# --- measuring ---


def measure_clip(
    model: FusionModel, fused: FusedClip, codec: Codec | None, crf: int, *, every: bool, live: bool
) -> Recovered:
    """One clip through one codec; `codec` None: 8 bits, not coded."""
    faces = fused.fused()
    result = Recovered()
    if codec is None:
        received = [YuvPlanes(*face.protected) for face in faces]
        result.kinds = ["-"] * len(faces)
    else:
        gop, fps = fused.gop, fused.clip.fps
        streams: dict[str, Stream] = {}
        for how in ("clear", "plain", "keyframes", *(["every"] if every else [])):
            wanted = fused.clip.squares if how == "keyframes" else [[] for _ in fused.faces]
            streams[how] = through_codec(
                fused.shown(how), wanted, codec=codec, crf=crf, gop=gop, fps=fps, live=live
            )
        result.bytes = {how: stream.size_bytes for how, stream in streams.items()}
        frames = streams["keyframes"].frames
        received = [frames[face.frame].squares[face.number] for face in faces]
        result.kinds = [frames[face.frame].kind for face in faces]
    planes = model.spec.layout.planes
    for face, opened in zip(faces, recover(model, received, faces), strict=True):
        original = stack([face.original], planes)
        luma, true_luma = luma_of(opened), luma_of(original)
        result.luma.append(float(psnr(luma, true_luma)[0]))
        result.luma_ssim.append(float(ssim(luma, true_luma)[0]))
        hidden = stack([face.plain], planes), stack([face.protected], planes)
        result.protected.append(float(psnr(*map(luma_of, hidden))[0]))
        if fused.clip.aligned and face.square.side_px == FACE_PX:
            result.rgb.append(rgb_of(opened)[0])
            result.original_rgb.append(rgb_of(original)[0])
    return result


def row_of(clips: str, codec: Codec | None, crf: int | None, found: Recovered) -> dict[str, object]:
    """One line of the table."""
    luma, kinds = np.array(found.luma), np.array(found.kinds)

    def mean(values: F64) -> float | None:
        return float(values.mean()) if len(values) else None

    def ratio(how: str, of: str) -> float | None:
        return found.bytes[how] / found.bytes[of] if how in found.bytes else None

    return {
        "clips": clips,
        "codec": codec or "8 bits",
        "crf": crf,
        "faces": len(luma),
        "luma": mean(luma),
        "luma_i": mean(luma[kinds == "I"]),
        "luma_p": mean(luma[kinds == "P"]),
        "luma_p10": float(np.percentile(luma, 10)),
        "luma_ssim": float(np.mean(found.luma_ssim)),
        "protected": float(np.mean(found.protected)),
        "bits": ratio("keyframes", "plain"),
        "bits_every": ratio("every", "plain"),
        "bits_clear": ratio("keyframes", "clear"),
        "kilobytes": {how: round(size / 1e3, 1) for how, size in found.bytes.items()},
    }


def matches(found: Recovered, recognizers: Sequence[Recognizer]) -> dict[str, float]:
    """Share of recovered faces that each recognizer takes for the original, in per cent."""
    if not found.rgb:
        return {}
    rgb, original = np.stack(found.rgb), np.stack(found.original_rgb)
    return {
        each.name: 100
        * float((each.distance(each.embed(rgb), each.embed(original)) < each.threshold).mean())
        for each in recognizers
    }


def target_rows(rows: Sequence[dict[str, object]]) -> list[Row]:
    """What was to be reached, on moving clips."""
    made = [row for row in rows if row["clips"] == MADE]
    found: list[Row] = []

    def judge(what: str, value: object, target: float, *, at_most: bool = False) -> None:
        if isinstance(value, float):
            reached = value <= target if at_most else value >= target
            sign = "≤" if at_most else "≥"
            found.append(
                {"what": what, "value": value, "target": f"{sign} {target:g}", "reached": reached}
            )

    if made:
        judge("protected, dB to the obfuscated", made[0]["protected"], PROTECTED_TARGET_DB)
    for row in made:
        crf = row["crf"]
        name = f"{row['codec']}" if crf is None else f"{row['codec']} CRF {crf}"
        if isinstance(crf, int) and crf in LUMA_TARGETS_DB:
            judge(f"luma, {name}", row["luma"], LUMA_TARGETS_DB[crf])
            judge(f"bits of plain, {name}", row["bits"], BITS_TARGET, at_most=True)
        for recognizer in ("dlib", "mobilefacenet"):
            judge(f"match by {recognizer} %, {name}", row.get(recognizer), 100 * MATCH_TARGET)
    return found


def measure(
    subject: Subject,
    options: argparse.Namespace,
    report: Report,
    recognizers: Sequence[Recognizer],
) -> None:
    """All clips through all codecs."""
    rows: list[dict[str, object]] = []
    for name, group in groups(subject, options, report):
        settings: list[tuple[Codec | None, int | None]] = [(None, None)]
        settings += [(codec, crf) for codec in options.codecs for crf in options.crfs]
        for codec, crf in settings:
            started = time.monotonic()
            pooled = Recovered()
            for fused in group:
                every = not options.no_every and not fused.clip.still
                pooled.add(
                    measure_clip(
                        subject.model, fused, codec, crf or 0, every=every, live=options.live
                    )
                )
            row = row_of(name, codec, crf, pooled)
            if codec is None or crf == RECOGNIZE_CRF:
                row |= matches(pooled, recognizers)
            rows.append(row)
            seconds = time.monotonic() - started
            progress(f"{name}: {codec or 'not coded'} {crf} took {seconds:.0f} s")
        if name == MADE and options.sheet is not None:
            save_sheet(subject, group[0], options, report)
    report.rows += rows  # type: ignore[arg-type]  # kilobytes are for the JSON alone
    report.more.append(Table("targets", TARGET_COLUMNS, target_rows(rows)))
    if options.plot is not None:
        save_plot(rows, options.plot, report)


def groups(
    subject: Subject, options: argparse.Namespace, report: Report
) -> Iterator[tuple[str, list[FusedClip]]]:
    """Made clips together, stills, then each recorded clip."""
    rng = np.random.default_rng(options.seed)
    every = KEYFRAME_EVERY

    def fused(clip: FaceClip) -> FusedClip:
        return fuse_clip(subject.model, clip, options.obfuscator, every, rng)

    count = options.clips * _face_clips.LANES
    faces = _fusion.held_out_faces(max(count, options.faces))
    progress(f"making {options.clips} clips")
    yield (
        MADE,
        [fused(_face_clips.made_clip(faces, i, options.frames)) for i in range(options.clips)],
    )
    yield STILLS, [fused(_face_clips.stills(faces))]
    if options.no_recorded:
        return
    for clip in _face_clips.recorded_clips(options.frames):
        if isinstance(clip, str):
            report.notes.append(clip)
            continue
        whole = fused(clip)
        if not whole.fused():
            report.notes.append(f"{clip.name} left out: no face to fuse was found in it")
            continue
        yield clip.name, [whole]


def save_sheet(
    subject: Subject, fused: FusedClip, options: argparse.Namespace, report: Report
) -> None:
    """The last fused faces of a clip: before, sent, recovered, and under a wrong key."""
    model, planes = subject.model, subject.spec.layout.planes
    faces = fused.fused()[-SHEET_FACES:]

    def shown(pictures: Sequence[Picture]) -> U8:
        return np.concatenate([rgb_of(stack([each], planes)) for each in pictures])

    sheet = [
        ("original", shown([face.original for face in faces])),
        ("obfuscated", shown([face.plain for face in faces])),
        ("protected", shown([face.protected for face in faces])),
    ]
    codec = options.codecs[0]
    for crf in SHEET_CRFS:
        stream = through_codec(
            fused.shown("keyframes"),
            fused.clip.squares,
            codec=codec,
            crf=crf,
            gop=fused.gop,
            fps=fused.clip.fps,
            live=options.live,
        )
        received = [stream.frames[face.frame].squares[face.number] for face in faces]
        if crf == SHEET_CRFS[0]:
            sheet.append((f"sent, {crf}", shown([picture_of(each) for each in received])))
        opened = recover(model, received, faces)
        sheet.append((f"right, {crf}", np.concatenate([rgb_of(each) for each in opened])))
        if crf == SHEET_CRFS[0]:
            wrong = [replace(face, key=_fusion.flipped(face.key, [0])) for face in faces]
            found = recover(model, received, wrong)
            sheet.append((f"one bit, {crf}", np.concatenate([rgb_of(each) for each in found])))
    contact_sheet(sheet, options.sheet)
    report.notes.append(f"pictures: {options.sheet.name}, {codec}")


def save_plot(rows: Sequence[dict[str, object]], path: Path, report: Report) -> None:
    """Recovered luma over the CRF."""
    series: dict[str, list[tuple[float, float]]] = {}
    for row in rows:
        crf = row["crf"]
        if row["clips"] not in (MADE, STILLS) or not isinstance(crf, int):
            continue
        for key, kind in (("luma_i", "I"), ("luma_p", "P")):
            value = row[key]
            if isinstance(value, float):
                name = f"{row['codec']}, {row['clips']}, {kind} frames"
                series.setdefault(name, []).append((float(crf), value))
    marks = [(float(crf), value) for crf, value in LUMA_TARGETS_DB.items()]
    try:
        line_plot(
            series,
            path,
            title=f"recovery after coding, {report.settings['model']}",
            x_label="CRF",
            y_label="luma PSNR to the original, dB",
            marks=("to reach", marks),
        )
    except ImportError:
        report.notes.append("no plot: matplotlib is not installed")
    else:
        report.notes.append(f"plot: {path.name}")


def main(arguments: Sequence[str] | None = None) -> int:
    """See the module."""
    parser = argparse.ArgumentParser(prog="bauta bench codec", description=__doc__)
    _fusion.add_model_options(parser)
    parser.add_argument("--clips", type=int, default=6, help="made ones; %(default)s")
    parser.add_argument("--frames", type=int, default=60, help="of every clip; %(default)s")
    parser.add_argument("--faces", type=int, default=90, help="stills; %(default)s")
    parser.add_argument("--obfuscator", choices=KINDS, default="own-pixelate", help="%(default)s")
    parser.add_argument("--codecs", nargs="+", choices=CODECS, default=list(CODECS))
    parser.add_argument("--crfs", nargs="+", type=int, default=list(CRFS), help="%(default)s")
    parser.add_argument("--live", action="store_true", help="coded for no delay, as a live stream")
    parser.add_argument("--no-recorded", action="store_true", help="made clips and stills only")
    parser.add_argument("--no-every", action="store_true", help="not fused in every frame as well")
    parser.add_argument("--seed", type=int, default=0, help="of keys; %(default)s")
    parser.add_argument("--plot", type=Path, metavar="PNG", help="recovery over CRF")
    parser.add_argument("--sheet", type=Path, metavar="PNG", help="pictures")
    parser.add_argument("--quick", action="store_true", help="one short clip: does it run?")
    add_output_options(parser)
    options = parser.parse_args(arguments)
    if options.quick:
        options.clips, options.frames, options.faces = 1, 12, 5
        options.crfs, options.no_recorded = [18, RECOGNIZE_CRF], True
    if options.clips < 1 or options.frames < 1:
        parser.error("--clips and --frames must be at least 1")
    try:
        recognizers, missing = open_recognizers(options.threads)
        subject = _fusion.open_subject(options)
        report = Report(
            "codec",
            COLUMNS,
            {
                "model": subject.name,
                "runtime": subject.model.runtime,
                "obfuscator": options.obfuscator,
                "clips": options.clips,
                "frames": options.frames,
                "gop_seconds": GOP_SECONDS,
                "keyframe_every": KEYFRAME_EVERY,
                "preset": "veryfast",
                "live": options.live,
                "seed": options.seed,
            },
            notes=missing,
        )
        measure(subject, options, report, recognizers)
    except EngineError as error:
        print(f"bauta bench codec: {error}", file=sys.stderr)
        return 1
    report.notes.append(
        "bits: the stream fused at keyframes against plain obfuscation at the same CRF; every: "
        "fused in every frame; of clear: against the unprotected clip"
    )
    report.finish(as_json=options.json, save_as=options.save_as)
    return 0


if __name__ == "__main__":
    sys.exit(main())
