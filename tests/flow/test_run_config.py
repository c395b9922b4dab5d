"""`bauta run`: cameras do not disturb each other, and a changed configuration is taken up."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from support.clips import Clip, decode_all
from support.flow import (
    Running,
    assert_hidden_anywhere,
    bauta,
    pictures_of,
    push_children,
    running_bauta,
    wait_for,
)
from support.rtsp_server import Camera, rtsp_camera, rtsp_target, silent_server

Tree = dict[str, Any]
DEAD = "rtsp://127.0.0.1:9/cam"
IMPATIENT = {"first_pause": "200ms", "longest_pause": "500ms", "open_timeout": "1s"}
OPTIONS = ("--json", "--status-every", "0.3")
# a machine with two cores and other work: only a network that really hangs is to be given up
DETECTOR = {"timeout": "20s"}


@pytest.fixture(scope="module")
def camera(looped_clip: Clip) -> Iterator[Camera]:
    with rtsp_camera(looped_clip.path) as camera:
        yield camera


def write_config(path: Path, *cameras: Tree, **more: object) -> Path:
    """Replaced in one step, as editors do."""
    new = path.with_suffix(".new")
    tree = {"detector": DETECTOR, "console": None, "cameras": list(cameras)}
    new.write_text(json.dumps(tree | more))
    new.replace(path)
    return path


def one(name: str, source: str, folder: Path, **more: object) -> Tree:
    record = {"dir": str(folder / name), "segment": "10m"}
    return {"id": name, "source": source, "record": record, "reconnect": IMPATIENT, **more}


def frames_of(run: Running, camera: str) -> int:
    return int((run.status(camera) or {}).get("frames_out", 0))


def run_for_frames(run: Running, camera: str, more: int) -> None:
    wanted = frames_of(run, camera) + more
    wait_for(f"{more} frames of {camera}", lambda: frames_of(run, camera) >= wanted)


@pytest.mark.slow
def test_good_camera_does_not_notice_the_bad_ones(
    camera: Camera, looped_clip: Clip, tmp_path: Path
) -> None:
    with silent_server() as silent:
        config = write_config(
            tmp_path / "bauta.yaml",
            one("good", camera.url, tmp_path),
            one("dead", DEAD, tmp_path),
            one("silent", silent.url, tmp_path),
        )
        with running_bauta("run", config, *OPTIONS) as run:
            run_for_frames(run, "good", 100)
            good, dead, mute = (run.status(name) for name in ("good", "dead", "silent"))
            assert good and dead and mute
            assert good["state"] == "up" and good["error"] is None
            assert dead["state"] == "down" and "refused" in dead["error"].lower()
            assert mute["state"] in ("down", "connecting") and mute["frames_in"] == 0
            assert good["reconnects"] == 0
            run.signal(signal.SIGTERM)
            assert run.ended(15) == 0
            final = run.status("good")
            assert "Traceback" not in run.err
            settled = [line for line in run.all_status("good") if line["frames_out"] > 25]
    # what is lost while the encoder starts is lost at the start; then next to nothing
    assert settled[-1]["dropped_raw"] - settled[0]["dropped_raw"] <= 25
    assert final is not None
    (recording,) = (tmp_path / "good").glob("*.mp4")
    pictures = pictures_of(recording)
    assert len(pictures) >= final["frames_out"] >= 100
    assert_hidden_anywhere(looped_clip, pictures[::3])
    assert not (tmp_path / "dead").exists() and not (tmp_path / "silent").exists()


@pytest.mark.slow
def test_changed_configuration_moves_only_what_changed(
    camera: Camera, looped_clip: Clip, tmp_path: Path
) -> None:
    config = tmp_path / "bauta.yaml"
    stays = one("stays", camera.url, tmp_path)
    changes = one("changes", camera.url, tmp_path)
    write_config(config, stays, changes)
    with running_bauta("run", config, *OPTIONS) as run:
        run_for_frames(run, "stays", 25)
        run_for_frames(run, "changes", 25)

        masked = {**changes, "protect": {"obfuscation": "mask"}}
        write_config(config, stays, masked, one("added", camera.url, tmp_path))
        run_for_frames(run, "added", 25)
        recorded = tmp_path / "changes"
        wait_for("the changed camera", lambda: len(list(recorded.glob("*.mp4"))) == 2)
        assert run.err.count("configuration taken up") == 1

        write_config(config, stays, one("added", camera.url, tmp_path))
        wait_for("the removed camera to end", lambda: quiet(run, "changes"))
        run_for_frames(run, "stays", 25)

        config.write_text("cameras: [{id: stays, sauce: nothing}]")
        wait_for("the complaint", lambda: "did you mean source?" in run.err)
        config.write_text("cameras: [")
        wait_for("the second complaint", lambda: run.err.count("not taken up") >= 2)
        config.write_text("cameras: []")
        wait_for("the third complaint", lambda: run.err.count("not taken up") >= 3)
        config.unlink()
        wait_for("the fourth complaint", lambda: run.err.count("not taken up") >= 4)
        run_for_frames(run, "stays", 25)
        run_for_frames(run, "added", 25)

        run.signal(signal.SIGINT)
        assert run.ended(15) == 0
        counters = [status["frames_out"] for status in run.all_status("stays")]
        assert "Traceback" not in run.err
    assert counters == sorted(counters), "the untouched camera started anew"
    (recording,) = (tmp_path / "stays").glob("*.mp4")
    assert len(decode_all(recording)) >= counters[-1]
    before, after = sorted((tmp_path / "changes").glob("*.mp4"))
    for path in (recording, before, after):
        assert_hidden_anywhere(looped_clip, pictures_of(path)[::6])


def quiet(run: Running, camera: str) -> bool:
    """Gone from the newest round of status lines."""
    newest = [json.loads(line)["camera"] for line in run.out.splitlines()[-2:]]
    return camera not in newest


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_stop_signals_close_every_file(
    number: signal.Signals, camera: Camera, tmp_path: Path
) -> None:
    (tmp_path / "received").mkdir()
    with rtsp_target(tmp_path / "received") as target:
        hls = {"dir": str(tmp_path / "hls"), "segment": "1s"}
        publish = [target.url, DEAD, str(tmp_path / "out.mp4")]
        config = write_config(
            tmp_path / "bauta.yaml", one("cam", camera.url, tmp_path, publish=publish, hls=hls)
        )
        with running_bauta("run", config, *OPTIONS) as run:
            run_for_frames(run, "cam", 50)
            run.signal(number)
            assert run.ended(15) == 0
            final = run.status("cam")
            assert "Traceback" not in run.err
        assert final is not None
    (recording,) = (tmp_path / "cam").glob("*.mp4")
    for path in (recording, tmp_path / "out.mp4"):
        assert len(decode_all(path)) >= final["frames_out"]
    assert "#EXT-X-ENDLIST" in (tmp_path / "hls" / "index.m3u8").read_text()


@pytest.mark.slow
def test_kill_loses_at_most_the_last_second_and_leaves_no_child(
    camera: Camera, looped_clip: Clip, tmp_path: Path
) -> None:
    (tmp_path / "received").mkdir()
    with rtsp_target(tmp_path / "received") as target:
        config = write_config(
            tmp_path / "bauta.yaml", one("cam", camera.url, tmp_path, publish=[target.url])
        )
        with running_bauta("run", config, *OPTIONS) as run:
            run_for_frames(run, "cam", 100)
            children = push_children(run.process.pid)
            assert len(children) == 1
            seen = frames_of(run, "cam")
            run.signal(signal.SIGKILL)
            run.ended()
            gone, alive = psutil.wait_procs(children, timeout=10)
            assert gone == children and not alive
    (recording,) = (tmp_path / "cam").glob("*.mp4")
    pictures = pictures_of(recording, damaged_ok=True)
    assert len(pictures) >= seen - 30
    assert_hidden_anywhere(looped_clip, pictures[::4])


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("cameras: [{id: a, sorce: x}]", "cameras[0].sorce: unknown key; did you mean source?"),
        ("camras: []", "camras: unknown key; did you mean cameras?"),
        ("cameras: []", "cameras is empty"),
        ("site: here", "cameras is empty"),
        ("cameras: [{id: a}]", "source: is required"),
        ("cameras: [{id: a, source: x}, {id: a, source: y}]", "unique"),
        ("cameras: [{id: '../a', source: x}]", "id"),
        ("cameras: [", "in line"),
        ("- just\n- a list", "cameras:"),
        ("", "cameras:"),
        ("cameras: [{id: a, source: x, protect: {detect_every: 9}}]", "lookahead"),
        ("cameras: [{id: a, source: 'rtsp://u:${NO_SUCH_VARIABLE}@h/c'}]", "NO_SUCH_VARIABLE"),
        ("cameras: [{id: a, source: x}]\ndetector: {model: centreface}", "centerface"),
    ],
)
def test_wrong_configuration_is_one_line_and_exit_code_2(
    text: str, words: str, tmp_path: Path
) -> None:
    config = tmp_path / "bauta.yaml"
    config.write_text(text)
    done = bauta("run", config)
    assert done.code == 2
    assert words in done.error_line


def test_missing_configuration_is_one_line(tmp_path: Path) -> None:
    done = bauta("run", tmp_path / "absent.yaml")
    assert done.code == 2 and "no such configuration file" in done.error_line


@pytest.mark.slow
@pytest.mark.untimed
def test_files_are_run_to_their_end(clip: Clip, tmp_path: Path) -> None:
    cameras: list[Tree] = [
        {"id": f"c{n}", "source": str(clip.path), "publish": [str(tmp_path / f"{n}.mp4")]}
        for n in range(3)
    ]
    config = write_config(tmp_path / "bauta.yaml", *cameras)
    with running_bauta("run", config, *OPTIONS) as run:
        assert run.ended() == 0, run.err
        for n in range(3):
            status = run.status(f"c{n}")
            assert status is not None
            assert status["state"] == "ended" and status["frames_out"] == clip.frames
    for n in range(3):
        pictures = pictures_of(tmp_path / f"{n}.mp4")
        assert len(pictures) == clip.frames
        assert_hidden_anywhere(clip, pictures[::5])


@pytest.mark.slow
def test_reader_of_the_status_may_go_away(camera: Camera, tmp_path: Path) -> None:
    """`bauta run --json | head -1`: the cameras are worth more than the status lines."""
    import subprocess
    import sys

    from support.flow import ROOT

    config = write_config(tmp_path / "bauta.yaml", one("cam", camera.url, tmp_path))
    read_end, write_end = os.pipe()
    command = [sys.executable, "-m", "pipeline", "run", str(config), *OPTIONS]
    process = subprocess.Popen(command, stdout=write_end, stderr=subprocess.PIPE, cwd=ROOT)
    try:
        os.close(write_end)
        os.read(read_end, 1)
        os.close(read_end)
        time.sleep(3.0)
        assert process.poll() is None, "the cameras went down with the reader"
        process.terminate()
        assert process.wait(20) == 0
        assert process.stderr is not None
        assert b"Traceback" not in process.stderr.read()
    finally:
        process.kill()
        process.wait(10)
        if process.stderr is not None:
            process.stderr.close()
