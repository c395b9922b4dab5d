"""`bauta run` with evidence: a camera, recordings, a recording server; recipients that change."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from pipeline.evidence.sidecar_file import read_records
from pipeline.recover.clip_records import ClipRecords, read_clip
from support.asserts import face_visible
from support.clips import Clip, decode_all, luma
from support.evidence_flow import (
    RUN_OPTIONS,
    Officer,
    assert_nothing_opened,
    new_officer,
    only_recording,
    opened_epochs,
    opened_faces,
    recover,
    recovered,
    run_on,
    sealed_faces,
    slow_clip,
    status_of,
    stopped,
    stream_of,
    verified,
    write_config,
)
from support.flow import (
    assert_hidden_anywhere,
    is_curtain,
    pictures_of,
    running_bauta,
    wait_for,
)
from support.rtsp_server import Camera, rtsp_camera, rtsp_target

TAIL = 7  # frames that may wait for a record when a camera is stopped


@pytest.fixture(autouse=True)
def state(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setenv("BAUTA_STATE", str(tmp_path / "state"))
    return tmp_path / "state"


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Clip:
    return slow_clip(tmp_path_factory.mktemp("clips") / "slow.mp4")


@pytest.fixture(scope="module")
def camera(clip: Clip) -> Iterator[Camera]:
    with rtsp_camera(clip.path) as camera:
        yield camera


@pytest.fixture(scope="module")
def officers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Officer]:
    folder = tmp_path_factory.mktemp("officers")
    found = {name: new_officer(folder, "dpo", name) for name in ("ann", "bob", "cat")}
    return found | {"police": new_officer(folder, "police")}


# --- what is recorded ---


@pytest.mark.slow
def test_recordings_and_a_recording_server_hold_all_of_it(
    camera: Camera, clip: Clip, officers: dict[str, Officer], state: Path, tmp_path: Path
) -> None:
    dpo, police = officers["ann"], officers["police"]
    folder, received_dir = tmp_path / "lobby", tmp_path / "received"
    received_dir.mkdir()
    with rtsp_target(received_dir) as target:
        config = write_config(
            tmp_path / "bauta.yaml",
            {"dpo": [dpo.pub], "police": {"keys": [police.pub]}},
            source=camera.url,
            publish=[target.url],
            record={"dir": folder, "segment": "2s"},
            encode={"gop": "1s"},
            evidence={"carrier": "both"},
        )
        with running_bauta("run", config, *RUN_OPTIONS) as run:
            wait_for("two segments and a begun one", lambda: len(list(folder.glob("*.mp4"))) > 2)
            run_on(run, 15)
            last = stopped(run)
        received = target.wait_until_quiet()
    assert last["evidence_alarm"] is None and last["sealed_faces"] > 20

    service = state / "service.pub"
    segments = sorted(folder.glob("*.mp4"))
    read = [read_clip(segment) for segment in segments]
    for segment, records in zip(segments, read, strict=True):
        said = verified(segment, service)
        assert said["whole"] and said["frames_without_record_at_end"] <= TAIL
        assert all(records.frames[epoch.start].is_keyframe for epoch in records.epochs)
        assert_hidden_anywhere(clip, pictures_of(segment)[::5])
        assert_nothing_opened(recover(segment, tmp_path / "none.mp4", police))
        if segment == segments[-1] and not sealed_faces(segment):
            continue  # it had just begun
        back = tmp_path / segment.name
        result = recovered(segment, back, dpo, police, "--service", service)
        assert opened_faces(result) == sealed_faces(segment) > 0
    assert_shown_again(clip, tmp_path / segments[0].name)
    epochs = [epoch.record for records in read for epoch in records.epochs]
    assert [record.sequence for record in epochs] == list(range(len(epochs)))
    assert max(len(epoch.groups) for records in read for epoch in records.epochs) > 1
    for segment in segments:  # each with its own beside it
        in_stream = [found for _, records in stream_of(segment) for found in records]
        assert read_records(segment.with_name(f"{segment.name}.bauta")) == in_stream

    assert_received_whole(received, read, service)
    result = recovered(received, tmp_path / "received.mkv", dpo, police, "--service", service)
    assert opened_faces(result) == sealed_faces(received) > 0
    assert_shown_again(clip, tmp_path / "received.mkv")


def assert_received_whole(received: Path, sent: list[ClipRecords], service: Path) -> None:
    """Unless the server has lost frames on a busy machine: then that is said."""
    said = verified(received, service)
    assert said["origin_verified"] and said["unaltered"]
    digests = [frame.digest for records in sent for frame in records.frames]
    arrived = [frame.digest for frame in read_clip(received).frames]
    first = digests.index(arrived[0])
    assert len(arrived) > 24 and set(arrived) <= set(digests)
    is_gapless = arrived == digests[first : first + len(arrived)]
    assert said["complete"] == is_gapless


def assert_shown_again(clip: Clip, back: Path) -> None:
    """Some of its pictures show the person as some picture of the camera does."""
    originals = [luma(frame) for frame in decode_all(clip.path)]
    shown = 0
    for picture in pictures_of(back)[::4]:
        shown += any(
            face_visible(original, picture, box) > 0.8
            for original, truth in zip(originals, clip.truth, strict=True)
            for box in truth
        )
    assert shown >= 2


# --- recipients change ---


@pytest.mark.slow
def test_changed_recipients_count_from_the_next_epoch_on(
    camera: Camera, officers: dict[str, Officer], state: Path, tmp_path: Path
) -> None:
    ann, bob, police = officers["ann"], officers["bob"], officers["police"]
    config, folder = tmp_path / "bauta.yaml", tmp_path / "lobby"
    of_camera = {"source": camera.url, "record": {"dir": folder, "segment": "10m"}, "evidence": {}}
    write_config(config, {"dpo": [ann.pub], "police": [police.pub]}, **of_camera)
    with running_bauta("run", config, *RUN_OPTIONS) as run:
        run_on(run, 18)
        write_config(config, {"dpo": [bob.pub], "police": [police.pub]}, **of_camera)
        wait_for("the change", lambda: "configuration taken up" in run.err)
        run_on(run, 24)
        last = stopped(run)
        counters = [status["frames_out"] for status in run.all_status("lobby")]
    assert last["reconnects"] == 0 and last["evidence_alarm"] is None
    assert counters == sorted(counters), "the camera started anew"

    clip = only_recording(folder)
    assert verified(clip, state / "service.pub")["whole"]
    found = opened_epochs(clip, police)
    assert [item.epoch.record.sequence for item in found] == list(range(len(found)))
    by_ann = [item.keys.opens_everything for item in opened_epochs(clip, ann, police)]
    by_bob = [item.keys.opens_everything for item in opened_epochs(clip, bob, police)]
    change = by_bob.index(True)
    assert change >= 2 and len(found) - change >= 2
    assert by_ann == [number < change for number in range(len(found))]
    assert by_bob == [number >= change for number in range(len(found))]

    everything = sealed_faces(clip)
    results = [recovered(clip, tmp_path / f"{one.key.stem}.mp4", one, police) for one in (ann, bob)]
    assert sum(map(opened_faces, results)) == everything
    assert all(opened_faces(result) > 0 and result["gaps"] for result in results)
    result = recovered(clip, tmp_path / "all.mp4", ann, bob, police)
    assert opened_faces(result) == everything


# --- recipients that cannot be used ---


def what_went_out(clip: Path) -> str:
    """Of each frame: s a record tells of it, d dark, c clear (faces hidden) without a record."""
    records = read_clip(clip)
    told = {position for epoch in records.epochs for position in epoch.positions.values()}
    pictures = pictures_of(clip)
    assert len(pictures) == len(records.frames)
    return "".join(
        "s" if number in told else "d" if is_curtain(picture) else "c"
        for number, picture in enumerate(pictures)
    )


def stretches(marks: str) -> list[str]:
    return [mark for mark, _ in itertools.groupby(marks)]


@pytest.mark.slow
def test_without_recipients_the_stream_is_dark_until_they_are_back(
    camera: Camera, clip: Clip, officers: dict[str, Officer], state: Path, tmp_path: Path
) -> None:
    ann, police = officers["ann"], officers["police"]
    pub, folder = tmp_path / "dpo.pub", tmp_path / "lobby"
    config = write_config(
        tmp_path / "bauta.yaml",
        {"dpo": [pub], "police": [police.pub]},
        source=camera.url,
        record={"dir": folder, "segment": "10m"},
        evidence={"on_failure": "dark"},
    )

    def alarm() -> str:
        return str(status_of(run).get("evidence_alarm"))

    def repair() -> None:
        pub.write_bytes(ann.pub.read_bytes())
        wait_for("evidence", lambda: alarm() == "None")
        run_on(run, 12)

    with running_bauta("run", config, *RUN_OPTIONS) as run:
        run_on(run, 12)
        assert f"recipients.dpo cannot be used: {pub}: No such file" in alarm()
        repair()
        pub.write_text("no key at all\n")
        wait_for("the alarm", lambda: "holds no age public key" in alarm())
        run_on(run, 12)
        repair()
        pub.unlink()
        pub.mkdir()  # there, and cannot be read by anybody
        wait_for("the alarm", lambda: "Is a directory" in alarm())
        run_on(run, 12)
        pub.rmdir()
        repair()
        stopped(run)
        said = [line for line in run.err.splitlines() if "EVIDENCE IS NOT SEALED" in line]
    assert len(said) == 3
    for line, why in zip(said, ("No such file", "holds no age", "Is a directory"), strict=True):
        assert f"recipients.dpo cannot be used: {pub}: " in line and why in line

    recording = only_recording(folder)
    marks = what_went_out(recording)
    tail = marks.rstrip("s")[-TAIL:].count("c")
    # no picture without its evidence, but for the last that wait for their record
    assert stretches(marks[: len(marks) - tail]) == ["d", "s", "d", "s", "d", "s"], marks
    assert min(marks.count("d"), marks.count("s")) >= 30
    pictures = pictures_of(recording)
    assert_hidden_anywhere(clip, pictures[::3])
    assert sum(not is_curtain(pictures[at]) for at, mark in enumerate(marks) if mark == "s") > 20
    result = recovered(recording, tmp_path / "back.mp4", ann, police)
    assert opened_faces(result) == sealed_faces(recording) > 10
    assert verified(recording, state / "service.pub")["unaltered"]


@pytest.mark.slow
def test_two_of_three_keys_and_going_on_without_evidence(
    camera: Camera, clip: Clip, officers: dict[str, Officer], tmp_path: Path
) -> None:
    three = [officers[name] for name in ("ann", "bob", "cat")]
    pubs = [tmp_path / officer.pub.name for officer in three]
    for pub, officer in zip(pubs, three, strict=True):
        pub.write_bytes(officer.pub.read_bytes())
    pubs[2].write_text("ag3 n0 key")
    folder = tmp_path / "lobby"
    config = write_config(
        tmp_path / "bauta.yaml",
        {"dpo": {"keys": pubs, "threshold": 2}},
        source=camera.url,
        record={"dir": folder, "segment": "10m"},
        evidence={"on_failure": "continue"},
    )
    with running_bauta("run", config, *RUN_OPTIONS) as run:
        run_on(run, 18)
        assert status_of(run)["evidence_alarm"] is None
        one_is_bad = f"recipients.dpo: {pubs[2]}: holds no age public key"
        assert one_is_bad in run.err and run.err.count(one_is_bad) == 1
        pubs[1].unlink()
        wait_for("the alarm", lambda: status_of(run)["evidence_alarm"])
        assert f"recipients.dpo cannot be used: {pubs[1]}" in status_of(run)["evidence_alarm"]
        run_on(run, 18)
        pubs[1].write_bytes(three[1].pub.read_bytes())
        wait_for("evidence", lambda: status_of(run)["evidence_alarm"] is None)
        run_on(run, 12)
        stopped(run)
        assert run.err.count("EVIDENCE IS NOT SEALED: recipients.dpo cannot be used") == 1

    recording = only_recording(folder)
    marks = what_went_out(recording)
    assert "".join(stretches(marks)) in ("scs", "scsc") and marks.count("c") >= 18
    pictures = pictures_of(recording)
    assert not any(map(is_curtain, pictures))
    assert_hidden_anywhere(clip, pictures[::3])
    assert np.mean([mark == "s" for mark in marks]) > 0.3
    result = recovered(recording, tmp_path / "back.mp4", three[0], three[1])
    assert opened_faces(result) == sealed_faces(recording) > 10
    for some in ((three[0],), (three[0], three[2]), (three[1], officers["police"])):
        assert_nothing_opened(recover(recording, tmp_path / "none.mp4", *some))
