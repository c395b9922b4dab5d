"""Evidence as its users have it: officers' keys, the commands, and what is in a clip.

What the commands say of themselves is held here against what is in the files.
"""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any, cast
from unittest.mock import patch

import av
import numpy as np

from pipeline.evidence.body import TileItem, parse_tiles
from pipeline.evidence.group_record import EntryKind
from pipeline.evidence.nal import Framing, framing_of, split_nals
from pipeline.evidence.sei import records_in
from pipeline.frames import YuvPlanes
from pipeline.recover.clip_file import open_clip
from pipeline.recover.clip_records import Epoch, read_clip
from pipeline.recover.manifest import manifest_path
from pipeline.recover_request import NOTHING
from pipeline.vault.epoch_keys import open_entry
from pipeline.vault.identity import Identity, load_identity
from pipeline.vault.opening import EpochKeys, open_epoch
from pipeline.vault.passwords import VARIABLE

from .clips import Clip, head_patch, make_clip, textured_background
from .flow import Done, Running, bauta, wait_for
from .recovered import inside, planes_in
from .tiles import psnr_db

STATE = "BAUTA_STATE"
EXACT = ("--lossless", "--no-mark")
PASSPHRASE = "correct horse battery"
CASE = ("--case", "17/26", "--reason", "a test")


# --- officers ---


@dataclass(frozen=True)
class Officer:
    """Of one group, which has the same name; the service gets `pub` and nothing else."""

    group: str
    key: Path
    passphrase: str | None = field(default=None, repr=False)

    @property
    def pub(self) -> Path:
        return self.key.with_suffix(".pub")

    @property
    def identity(self) -> Identity:
        return load_identity(self.key, lambda: self.passphrase or "")


def new_officer(
    folder: Path, group: str, name: str | None = None, *, passphrase: str | None = None
) -> Officer:
    """By `bauta keys new`."""
    officer = Officer(group, folder / f"{name or group}.key", passphrase)
    options = () if passphrase else ("--no-passphrase",)
    with patch.dict(os.environ, {VARIABLE: passphrase or ""}):
        done = bauta("keys", "new", officer.key, *options)
    assert done.code == 0, done.err
    return officer


def sealed_for(*officers: Officer) -> list[str]:
    """Options of `bauta protect`."""
    return [f"--recipient={officer.group}={officer.pub}" for officer in officers]


@dataclass(frozen=True)
class Office:
    """Two groups and a third party, and the state of the service that seals for the groups."""

    state: Path
    dpo: Officer
    police: Officer
    lawyer: Officer

    @property
    def both(self) -> tuple[Officer, Officer]:
        return self.dpo, self.police

    @property
    def service(self) -> Path:
        return self.state / "service.pub"


@contextmanager
def an_office(folder: Path) -> Iterator[Office]:
    """Commands use its state, and know no passphrase, until it closes."""
    state = folder / "state"
    with patch.dict(os.environ, {STATE: str(state), VARIABLE: ""}):
        officers = [new_officer(folder, name) for name in ("dpo", "police", "lawyer")]
        yield Office(state, *officers)


Given = str | Path | Officer


def with_keys(*command: Given) -> Done:
    """`bauta …`; an officer stands for `--key FILE`, and at most one has a passphrase."""
    arguments: list[str | Path] = []
    known = ""
    for given in command:
        if isinstance(given, Officer):
            arguments += ["--key", given.key]
            known = given.passphrase or known
        else:
            arguments.append(given)
    with patch.dict(os.environ, {VARIABLE: known}):
        return bauta(*arguments)


def recover(clip: Path, dest: Path, *given: Given) -> Done:
    return with_keys("recover", clip, dest, *CASE, "--json", *given)


def recovered(clip: Path, dest: Path, *given: Given) -> dict[str, Any]:
    """The result of a recovery, which must succeed."""
    done = recover(clip, dest, *given)
    assert done.code == 0, done.err
    return done.result


def assert_shown_as_filmed(clip: Clip, found: Sequence[YuvPlanes], *, db: float = 35.0) -> None:
    """Every face."""
    for number, (camera, shown) in enumerate(zip(planes_in(clip.path), found, strict=True)):
        for box in clip.truth[number]:
            x1, y1, x2, y2 = (int(v) // 2 * 2 for v in box)
            place = x1, y1, x2, y2
            assert psnr_db(inside(camera, place).y, inside(shown, place).y) >= db, number


def assert_nothing_opened(done: Done) -> None:
    """Whatever the reason: the same line, no word more."""
    assert (done.code, done.out) == (1, "")
    assert done.error_line == f"bauta: {NOTHING}"


def verified(clip: Path, service: Path, *options: str | Path) -> dict[str, Any]:
    """What `bauta verify` says of a clip; its exit code says the same."""
    done = bauta("verify", clip, "--service", service, "--json", *options)
    assert done.code == (0 if done.result["whole"] else 1), done.err
    return done.result


def audited(*manifests: Path) -> Done:
    given = [option for path in manifests for option in ("--manifest", path)]
    return bauta("audit", "verify", *given)


def manifest_of(dest: Path) -> dict[str, Any]:
    return cast(dict[str, Any], json.loads(manifest_path(dest).read_bytes()))


# --- what is in a clip ---


@dataclass(frozen=True)
class Opened:
    """One epoch of a clip, with all keys."""

    epoch: Epoch
    keys: EpochKeys

    def tiles(self, *, of: int | None = None) -> Iterator[tuple[int, TileItem]]:
        """All of its faces and scenes, or the faces of one track, by frame counter.

        Each of its entries must open.
        """
        context = self.epoch.record.context
        for group in self.epoch.groups:
            for entry in group.entries:
                place = entry.place
                key = self.keys.key_for(place.kind, place.track)
                assert key is not None and place.kind is not EntryKind.MOTION
                items = parse_tiles(open_entry(key, context, group.head, entry))
                if of is None or (place.kind, place.track) == (EntryKind.FACE, of):
                    counters = (group.head.first + offset for offset in place.offsets)
                    yield from zip(counters, items, strict=True)


def opened_epochs(clip: Path, *officers: Officer, sidecar: Path | None = None) -> list[Opened]:
    """With whatever the officers open of it."""
    identities = [officer.identity for officer in officers]
    return [
        Opened(epoch, open_epoch(epoch.record, identities=identities))
        for epoch in read_clip(clip, sidecar).epochs
    ]


def sealed_faces(clip: Path, sidecar: Path | None = None) -> int:
    """How many faces and scenes the records have for frames that are in the clip; without a key."""
    return sum(
        group.head.first + offset in epoch.positions
        for epoch in read_clip(clip, sidecar).epochs
        for group in epoch.groups
        for entry in group.entries
        for offset in entry.place.offsets
    )


def opened_faces(result: Mapping[str, Any]) -> int:
    """How many a recovery has shown."""
    return int(result["faces"] + result["moved"] + result["scenes"])


def stream_of(clip: Path) -> list[tuple[list[bytes], list[bytes]]]:
    """Of each packet its NAL units without our records, and our records."""
    packets = []
    with open_clip(clip) as file:
        framing = framing_of(file.video.codec_context.extradata, file.codec)
        for packet in file.packets():
            nals = split_nals(bytes(packet), framing)
            ours = [nal for nal in nals if records_in([nal], file.codec)]
            rest = [nal for nal in nals if nal not in ours]
            packets.append((rest, records_in(nals, file.codec)))
    return packets


def copied_to(clip: Path, dest: Path, *, first: int = 0, with_records: bool = True) -> Path:
    """The packets as they are in another file, from the `first` one on; times begin there.

    Without records: as a receiver does that strips SEI.
    """
    with av.open(str(clip)) as source, av.open(str(dest), "w") as target:
        video = source.streams.video[0]
        copy = target.add_stream_from_template(video)
        framing = framing_of(video.codec_context.extradata, _codec(video))
        for packet in [p for p in source.demux(video) if p.size][first:]:
            if not with_records:
                packet = _stripped(packet, framing, _codec(video))
            packet.stream = copy
            target.mux(packet)
    return dest


def _codec(video: av.VideoStream) -> Any:
    return "h264" if video.codec_context.name == "h264" else "h265"


def _stripped(packet: av.Packet[Any], framing: Framing, codec: Any) -> av.Packet[Any]:
    nals = [n for n in split_nals(bytes(packet), framing) if not records_in([n], codec)]
    begin = framing.length_bytes
    data = b"".join(
        (len(nal).to_bytes(begin, "big") if begin else b"\0\0\0\1") + nal for nal in nals
    )
    bare = av.Packet(data)
    bare.pts, bare.dts, bare.duration = packet.pts, packet.dts, packet.duration
    bare.time_base, bare.is_keyframe = packet.time_base, packet.is_keyframe
    return bare


# --- two people whose ways cross ---

CROSSING_PX, CROSSING_FPS = (480, 270), 13
STEP_PX = 6  # a frame, each: what lies between two looks is exactly where a line puts it


def crossing_clip(path: Path, frames: int = 45, *, in_front: int = 1) -> Clip:
    """One goes to the right, the other to the left and lower; their boxes meet in the middle.

    There lies a keyframe, after two seconds. `in_front`: the one, 0, or the other, 1.
    """
    rgb, alpha, face = head_patch(76)
    height, width = rgb.shape[:2]
    background = textured_background(*CROSSING_PX, seed=4)
    truth = []
    with av.open(str(path), "w") as container:
        video = container.add_stream("libx264", rate=CROSSING_FPS)
        video.width, video.height, video.pix_fmt = *CROSSING_PX, "yuv420p"
        video.codec_context.max_b_frames = 0
        video.options = {"preset": "veryfast", "crf": "14"}
        for number in range(frames):
            picture = background.copy()
            boxes = []
            places = ((10 + number * STEP_PX, 10), (320 - number * STEP_PX, 54))
            for person in (1 - in_front, in_front):
                x, y = places[person]
                head = rgb[:, ::-1] if person else rgb
                under = picture[y : y + height, x : x + width]
                under[...] = np.rint(under * (1 - alpha) + head * alpha)
            for person, (x, y) in enumerate(places):
                left, top, right, bottom = face
                if person:
                    left, right = width - right, width - left
                boxes.append(np.array([x + left, y + top, x + right, y + bottom], np.float32))
            truth.append(np.rint(boxes).astype(np.float32))
            image = av.VideoFrame.from_ndarray(picture, format="rgb24")
            container.mux(video.encode(image.reformat(format="yuv420p", dst_color_range=1)))
        container.mux(video.encode(None))
    fps = Fraction(CROSSING_FPS)
    return Clip(
        path=path,
        truth=tuple(truth),
        pts=tuple(float(number / fps) for number in range(frames)),
        width=CROSSING_PX[0],
        height=CROSSING_PX[1],
        fps=fps,
        sizes=(CROSSING_PX,) * frames,
    )


# --- `bauta run` ---

RUN_OPTIONS = ("--json", "--status-every", "0.2")
CAMERA = "lobby"


def slow_clip(path: Path) -> Clip:
    """For cameras that show it over and over on a machine with other work; one person."""
    return make_clip(path, fps=12, frames=36, enter_at=3, leave_at=33, size=(320, 240), face_px=64)


def write_config(path: Path, recipients: Mapping[str, object], **camera: object) -> Path:
    """Of one camera, replaced in one step, as editors do."""
    tree = {
        "site": "head-office",
        "console": None,
        "detector": {"timeout": "20s"},  # only a network that really hangs is to be given up
        "recipients": recipients,
        "cameras": [
            {"id": CAMERA, "protect": {"longest_gap": "1s"}, "encode": {"gop": "500ms"}, **camera}
        ],
    }
    new = path.with_suffix(".new")
    new.write_text(json.dumps(tree, default=str))
    new.replace(path)
    return path


def status_of(run: Running) -> dict[str, Any]:
    return run.status(CAMERA) or {}


def run_on(run: Running, frames: int) -> None:
    """So many more frames."""
    wanted = status_of(run).get("frames_out", 0) + frames
    wait_for(f"{frames} frames", lambda: status_of(run).get("frames_out", 0) >= wanted)


def stopped(run: Running) -> dict[str, Any]:
    """By SIGTERM, as a service manager stops it; its last status."""
    run.signal(signal.SIGTERM)
    assert run.ended() == 0, run.err
    assert "Traceback" not in run.err
    return status_of(run)


def only_recording(folder: Path) -> Path:
    (path,) = folder.glob("*.mp4")
    return path
