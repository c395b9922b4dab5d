"""`bauta recover` on clips with motions in their sidecar: counts, options, words."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from numpy.typing import NDArray

from pipeline.frames import CarriedFace, U8Array, planes_of
from pipeline.recover.video import FrameFaces
from pipeline.recover_in_band import recover
from pipeline.vault import audit, sidecar_motion
from pipeline.vault.clip_key import ClipKey, new_clip_key
from support.asserts import assert_faces_hidden, assert_faces_shown
from support.carried import encoded, made, write_sidecar
from support.clips import decode_all
from support.flow import Done, bauta, pictures_of
from support.fusion import PASSWORD, use_scripted_models

FRAMES = 30
KEYFRAMES = (0, 12)  # positions


@pytest.fixture(autouse=True)
def surroundings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    use_scripted_models(monkeypatch)
    monkeypatch.setenv("BAUTA_STATE", str(tmp_path / "state"))
    monkeypatch.setenv("BAUTA_PASSPHRASE", PASSWORD)


@pytest.fixture(scope="module")
def key() -> ClipKey:
    return new_clip_key(password=PASSWORD)


@dataclass(frozen=True)
class Protected:
    """Two faces: fused in two frames, grey between them, with a sidecar."""

    path: Path
    originals: list[U8Array]
    truth: list[NDArray[Any]]
    lines: list[FrameFaces]


def protected(path: Path, key: ClipKey) -> Protected:
    clip = made(key.key, FRAMES, KEYFRAMES, faces=2, lost=3, lost_before=KEYFRAMES[1])
    encoded(path, clip.frames)
    write_sidecar(path, clip.lines, key)
    originals = [planes_of(image).y for image in clip.originals]
    return Protected(path, originals, clip.truth, clip.lines)


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory, key: ClipKey) -> Protected:
    return protected(tmp_path_factory.mktemp("clips") / "out.mkv", key)


def recovered(clip: Path, dest: Path, *options: str | Path, as_json: bool = True) -> Done:
    return bauta(
        *("recover", clip, dest, "--in-band", "--case", "17/26", "--reason", "a test"),
        *("--password-from-env", *(["--json"] if as_json else []), *options),
    )


def assert_shown(clip: Protected, back: Path, positions: Sequence[int]) -> None:
    """In these frames, and in no other."""
    shown = pictures_of(back)
    assert len(shown) == FRAMES
    for position in range(FRAMES):
        check = assert_faces_shown if position in positions else assert_faces_hidden
        check(clip.originals[position], shown[position], clip.truth[position], where=str(position))


def test_every_frame_of_a_clip(clip: Protected, tmp_path: Path) -> None:
    back, stills = tmp_path / "back.mkv", tmp_path / "stills"
    done = recovered(clip.path, back, "--stills", stills)
    assert done.code == 0, done.err
    assert done.result["opened"] == 4 and done.result["carried"] == 2 * (FRAMES - 2)
    assert done.result["not_opened"] == done.result["without_keyframe"] == 0
    assert done.result["tracks"] == [1, 2] and done.err == ""
    assert_shown(clip, back, range(FRAMES))
    # a still is what the pixels prove
    frames = {path.name.partition("_")[0] for path in stills.iterdir()}
    assert frames == {"frame-000000", "frame-000012"} and len(done.result["stills"]) == 4


def test_the_report_says_what_was_moved(clip: Protected, tmp_path: Path) -> None:
    done = recovered(clip.path, tmp_path / "back.mkv", as_json=False)
    first, second = done.out.splitlines()
    assert "recovered 4 faces at keyframes and 56 between them, of 2 tracks in 30 frames" in first
    assert "MOVED FACE" in second and "not what the face did" in second


def test_between_two_keyframes(clip: Protected, tmp_path: Path) -> None:
    """The keyframe before is opened and not shown; that is a success without a keyframe."""
    back, stills = tmp_path / "back.mkv", tmp_path / "stills"
    done = recovered(clip.path, back, "--from", "0.16", "--to", "0.32", "--stills", stills)
    assert done.code == 0, done.err
    assert done.result["opened"] == 0 and done.result["carried"] == 2 * 5
    assert_shown(clip, back, range(4, 9))
    assert list(stills.iterdir()) == []


def test_one_person(clip: Protected, tmp_path: Path) -> None:
    back = tmp_path / "back.mkv"
    done = recovered(clip.path, back, "--track", "2")
    assert (done.result["opened"], done.result["carried"]) == (2, FRAMES - 2)
    assert done.result["tracks"] == [2]
    shown = pictures_of(back)
    for position in (0, 5, 12, 29):
        hidden, seen = clip.truth[position]
        assert_faces_shown(clip.originals[position], shown[position], seen)
        assert_faces_hidden(clip.originals[position], shown[position], hidden)


def test_a_cut_that_begins_between_keyframes(clip: Protected, tmp_path: Path) -> None:
    """Taken for a clip of later frames: the first keyframe is not in it."""
    sidecar = Path(f"{clip.path}.inband.jsonl")
    cut = encoded(tmp_path / "cut.mkv", decode_all(clip.path)[6:])
    options = ("--sidecar", sidecar, "--first-frame", "6")
    done = recovered(cut, tmp_path / "back.mkv", *options)
    assert done.code == 0, done.err
    assert (done.result["opened"], done.result["without_keyframe"]) == (2, 2 * 6)
    assert done.result["carried"] == 2 * (FRAMES - 13)
    assert "12 faces between keyframes stay protected" in done.error_line


def test_a_keyframe_that_was_never_coded(clip: Protected, key: ClipKey, tmp_path: Path) -> None:
    """Numbers 12 to 14 were dropped behind the gate: motions that name them open nothing."""
    out, back = tmp_path / "out.mkv", tmp_path / "back.mkv"
    out.write_bytes(clip.path.read_bytes())
    half = FRAMES // 2

    def of_a_lost_one(face: CarriedFace) -> CarriedFace:
        return replace(face, motion=replace(face.motion, key_number=13))

    lines = [
        replace(line, carried=tuple(map(of_a_lost_one, line.carried)))
        if line.position >= half
        else line
        for line in clip.lines
    ]
    write_sidecar(out, lines, key)
    done = recovered(out, back)
    assert done.code == 0, done.err
    assert done.result["without_keyframe"] == 2 * (FRAMES - half)
    assert done.result["carried"] == 2 * (half - 2)
    assert_shown(clip, back, range(half))


def test_keyframes_only(
    clip: Protected, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What the pixels themselves prove; nothing is moved, and the log says that it was asked."""
    back = tmp_path / "back.mkv"
    options = argparse.Namespace(
        clip=clip.path,
        dest=back,
        in_band=True,
        case="1",
        reason="a test",
        sidecar=None,
        search=False,
        key=None,
        password=False,
        password_from_env=True,
        track=None,
        from_seconds=0.0,
        to_seconds=float("inf"),
        first_frame=None,
        stills=None,
        overwrite=False,
        json=True,
        keyframes_only=True,
    )
    assert recover(options) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["opened"] == 4 and result["carried"] == result["without_keyframe"] == 0
    assert_shown(clip, back, KEYFRAMES)
    assert json.loads(audit.audit_path().read_text())["keyframes_only"] is True


def test_a_damaged_motion_leaves_nothing_behind(
    clip: Protected, key: ClipKey, tmp_path: Path
) -> None:
    """Under a right mac, so that it shows when the line is reached: half a clip is no recovery."""
    out = tmp_path / "out.mkv"
    out.write_bytes(clip.path.read_bytes())
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(sidecar_motion, "_record", lambda *_: bytes(sidecar_motion.RECORD_BYTES))
        write_sidecar(out, clip.lines, key)
    done = recovered(out, tmp_path / "back.mkv")
    assert done.code == 1 and "line 3 is damaged" in done.error_line
    assert not list(tmp_path.glob("back*"))
