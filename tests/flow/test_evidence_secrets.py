"""What whoever takes the service's machine finds: in its memory while it works, on its disk after.

No identity, no secret of a past epoch, no plaintext of a face. What these would be is worked out
here from the recording, with the keys that the service never had.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from pipeline.evidence.group_record import SCENE_TRACK, EntryKind
from pipeline.evidence.key_record import KIND, KeyRecord, parse_key_record
from pipeline.evidence.nal import ANNEX_B, is_slice, split_nals
from pipeline.evidence.sidecar_file import read_records
from pipeline.vault.key_files import key_bytes
from pipeline.vault.opening import open_epoch
from support.clips import Clip, decode_all, luma
from support.evidence_flow import (
    RUN_OPTIONS,
    Officer,
    Opened,
    new_officer,
    only_recording,
    opened_epochs,
    run_on,
    slow_clip,
    stopped,
    stream_of,
    write_config,
)
from support.flow import running_bauta
from support.needles import Needles, memory_of, written_files
from support.rtsp_server import rtsp_camera, rtsp_target

LEAST_PAST = 6  # epochs
MOST_LOOKS = 10
RUN_BYTES = 32  # of a row of pixels
START_BYTES = 64  # of a coded tile
LEAST_SHADES = 12  # in a run of pixels: what is plain is everywhere

Named = Iterator[tuple[str, bytes]]


@dataclass(frozen=True)
class Left:
    """A service that has run, and what it has left behind."""

    clip: Clip
    officers: tuple[Officer, ...]
    folder: Path  # everything that it could write to
    recording: Path
    stopped_at: float  # seconds since 1970: when its memory was read
    memory: dict[int, list[bytes]]  # of it and its children, by process id
    written: set[Path]  # that it had open then

    @property
    def epochs(self) -> list[Opened]:
        return opened_epochs(self.recording, *self.officers)

    def found_in_memory(self, needles: Needles) -> set[str]:
        return {
            name
            for regions in self.memory.values()
            for region in regions
            for name in needles.found_in(region)
        }


@pytest.fixture(scope="module")
def left(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Left]:
    """Seen in mid-run and once it has ended; two groups, one of which needs two of three keys."""
    if sys.platform != "linux" or os.geteuid() != 0:
        pytest.skip("only root may read the memory of a process that forbids core dumps")
    outside, folder = tmp_path_factory.mktemp("outside"), tmp_path_factory.mktemp("service")
    clip = slow_clip(outside / "slow.mp4")
    dpo = new_officer(outside, "dpo")
    police = [new_officer(outside, "police", f"police{number}") for number in range(3)]
    officers = (dpo, police[0], police[2])
    for name in ("tmp", "home"):
        (folder / name).mkdir()
    with (
        pytest.MonkeyPatch.context() as patch,
        rtsp_camera(clip.path) as camera,
        rtsp_target(outside) as target,
    ):
        patch.setenv("BAUTA_STATE", str(folder / "state"))
        patch.setenv("HOME", str(folder / "home"))
        patch.setenv("TMPDIR", str(folder / "tmp"))
        patch.setattr("tempfile.tempdir", str(folder / "tmp"))  # what it says goes there
        patch.delenv("BAUTA_PASSPHRASE", raising=False)
        keys = {"keys": [one.pub for one in police], "threshold": 2}
        config = write_config(
            outside / "bauta.yaml",
            {"dpo": [dpo.pub], "police": keys},
            source=camera.url,
            publish=[target.url, folder / "whole.mkv"],
            record={"dir": folder / "lobby", "segment": "10m"},
            evidence={"carrier": "both"},
        )
        with running_bauta("run", config, *RUN_OPTIONS) as run:
            run_on(run, 6 * (LEAST_PAST + 2))  # 6 frames are an epoch
            target.wait_for_bytes()
            (sidecar,) = (folder / "lobby").glob("*.bauta")
            processes = [psutil.Process(run.process.pid)]
            processes += processes[0].children(recursive=True)
            for _ in range(MOST_LOOKS):  # one may fall between two epochs
                with frozen(processes):
                    stopped_at = time.time()
                    memory = {process.pid: memory_of(process.pid) for process in processes}
                    written = set().union(*(written_files(process.pid) for process in processes))
                newest = Needles(of_groups(newest_record(sidecar), officers))
                if any(newest.found_in(region) for region in memory[run.process.pid]):
                    break
                run_on(run, 2)
            else:
                raise AssertionError("nothing of the epoch that goes on is in the memory")
            run_on(run, 12)
            assert stopped(run)["evidence_alarm"] is None
            (folder / "said").write_text(run.out + run.err)
    recording = only_recording(folder / "lobby")
    assert len(memory) == 2  # it, and what pushes
    yield Left(clip, officers, folder, recording, stopped_at, memory, written)
    memory.clear()


@contextmanager
def frozen(processes: Sequence[psutil.Process]) -> Iterator[None]:
    try:
        for process in processes:
            process.send_signal(signal.SIGSTOP)
        yield
    finally:
        for process in processes:
            process.send_signal(signal.SIGCONT)


def newest_record(sidecar: Path) -> KeyRecord:
    return [parse_key_record(data) for data in read_records(sidecar) if data[0] == KIND][-1]


# --- what there would be to find ---


def identities(left: Left) -> Named:
    for officer in left.officers:
        secret = officer.identity.secret
        for text in (secret, secret.lower(), secret.removeprefix("AGE-SECRET-KEY-1")):
            yield f"identity {officer.key.stem}", text.encode()
        yield f"identity {officer.key.stem}, raw", key_bytes(secret)


def of_groups(record: KeyRecord, officers: Sequence[Officer]) -> Named:
    """What an epoch that goes on needs: from it come the keys of entries."""
    keys = open_epoch(record, identities=[officer.identity for officer in officers])
    assert keys.opens_everything
    for group, whole in keys.group_secrets.items():
        yield f"extracted {group}", hmac.digest(record.epoch_id, whole, hashlib.sha256)


def secrets(opened: Opened) -> Named:
    """Each in halves: half of one is too much as well."""
    record, keys = opened.epoch.record, opened.keys
    assert keys.opens_everything
    found: dict[str, bytes] = {}
    tracks = {entry.place.track for group in opened.epoch.groups for entry in group.entries}
    for group, whole in keys.group_secrets.items():
        found[f"S {group}"] = whole
        found[f"extracted {group}"] = hmac.digest(record.epoch_id, whole, hashlib.sha256)
    for track in (*tracks, SCENE_TRACK):
        for group in keys.names:
            of_track = keys.secret_for(group, track)
            assert of_track is not None
            found[f"S {group} {track}"] = of_track
    for track in tracks:
        for kind in EntryKind:
            key = keys.key_for(kind, track)
            assert key is not None
            found[f"key {kind.name} {track}"] = key
    for name, value in found.items():
        for half in (value[:16], value[16:]):
            yield f"epoch {record.sequence}: {name}", half


def tiles(left: Left) -> Named:
    """What codes a face, before it was sealed."""
    for opened in left.epochs:
        for _, item in opened.tiles():
            for nal in split_nals(item.packet, ANNEX_B):
                if is_slice(nal, "h264") and len(nal) > RUN_BYTES:
                    yield f"tile of epoch {opened.epoch.record.sequence}", nal[1 : 1 + START_BYTES]


def faces(clip: Clip) -> Named:
    """Rows of the camera's picture, in the middle of the face."""
    for number, (image, truth) in enumerate(zip(decode_all(clip.path), clip.truth, strict=True)):
        picture = luma(image)
        for x1, y1, x2, y2 in truth.astype(int):
            middle = (x1 + x2 - RUN_BYTES) // 2
            for row in picture[y1:y2, middle : middle + RUN_BYTES]:
                if len(set(row.tolist())) >= LEAST_SHADES:
                    yield f"pixels of frame {number}", row.tobytes()


# --- where it is looked for ---


@pytest.mark.slow
def test_its_memory_holds_no_identity_and_no_secret_of_a_past_epoch(left: Left) -> None:
    started = [item.epoch.record.started_utc_ms / 1000 <= left.stopped_at for item in left.epochs]
    now = started.count(True) - 1  # the last that had begun goes on
    assert now >= LEAST_PAST
    current = left.epochs[now]
    known = [set(name for name, _ in secrets(item)) for item in left.epochs[:now]]
    known.append({name for name, _ in identities(left)})
    looked_for = [pair for item in left.epochs[: now + 1] for pair in secrets(item)]
    found = left.found_in_memory(Needles([*looked_for, *identities(left)]))
    assert found.isdisjoint(set().union(*known))
    # it looks where they would be: what the epoch that goes on needs is there
    for group in ("dpo", "police"):
        assert f"epoch {current.epoch.record.sequence}: extracted {group}" in found


@pytest.mark.slow
def test_its_disk_holds_no_secret_and_no_face(left: Left) -> None:
    for path in left.written:
        assert left.folder in path.parents, path
    epochs = left.epochs
    hidden = [*identities(left), *tiles(left), *faces(left.clip)]
    hidden += [pair for item in epochs for pair in secrets(item)]
    assert Needles(hidden).found_below(left.folder) == {}
    # it looks where they would be
    kept = sorted(path.name for path in left.folder.rglob("*") if path.is_file())
    assert {"service.key", "service.pub", "whole.mkv", "whole.mkv.bauta"} <= set(kept)
    open_to_all = [
        (f"slice of packet {number}", nal[1 : 1 + START_BYTES])
        for number, (nals, _) in enumerate(stream_of(left.recording))
        for nal in nals
        if is_slice(nal, "h264") and len(nal) > START_BYTES
    ]
    sealed = [
        (f"epoch {at}", item.epoch.record.groups[0].commitment) for at, item in enumerate(epochs)
    ]
    found = Needles([*open_to_all, *sealed]).found_below(left.folder)
    for name in (left.recording, left.folder / "whole.mkv"):
        assert {name for name, _ in open_to_all} <= found[str(name)]
    assert {name for name, _ in sealed} <= found[str(left.folder / "whole.mkv.bauta")]
    # and would know them
    pictures = b"".join(luma(image).tobytes() for image in decode_all(left.clip.path))
    rows = list(faces(left.clip))
    assert len(rows) > 500
    assert Needles(rows).found_in(pictures) == {name for name, _ in rows}
    packets = b"".join(item.packet for opened in epochs for _, item in opened.tiles())
    coded = list(tiles(left))
    assert len(coded) > 20
    assert Needles(coded).found_in(packets) == {name for name, _ in coded}
