"""Wrong use: exit code 2 for the operator's mistake, 1 for the world's, one line, no trace."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from support.clips import Clip, decode_all, not_a_video, truncate, zero_length
from support.flow import bauta, running_bauta
from support.rtsp_server import silent_server


def test_existing_dest_needs_overwrite(clip: Clip, tmp_path: Path) -> None:
    out = tmp_path / "out.mp4"
    out.write_bytes(b"precious")
    done = bauta("protect", clip.path, out)
    assert done.code == 2
    assert str(out) in done.error_line and "--overwrite" in done.error_line
    assert out.read_bytes() == b"precious"
    assert bauta("protect", clip.path, out, "--overwrite").code == 0
    assert len(decode_all(out)) == clip.frames


@pytest.mark.parametrize("spelling", ["same", "dotted", "hard link", "symbolic link"])
def test_source_is_never_overwritten(spelling: str, clip: Clip, tmp_path: Path) -> None:
    source = tmp_path / "film.mp4"
    source.write_bytes(clip.path.read_bytes())
    dest = tmp_path / "other.mp4"
    if spelling == "same":
        dest = source
    elif spelling == "dotted":
        dest = tmp_path / ".." / tmp_path.name / "film.mp4"
    elif spelling == "hard link":
        os.link(source, dest)
    else:
        dest.symlink_to(source)
    done = bauta("protect", source, dest, "--overwrite")
    assert done.code == 2
    assert "same file" in done.error_line
    assert source.read_bytes() == clip.path.read_bytes()


@pytest.mark.parametrize(
    ("dest", "words"),
    [
        ("missing/out.mp4", "no such folder"),
        ("out.avi", ".mkv"),
        ("out", ".mkv"),
        ("film.mp4/out.mp4", "no such folder"),
    ],
)
def test_dest_that_cannot_be(dest: str, words: str, clip: Clip, tmp_path: Path) -> None:
    (tmp_path / "film.mp4").write_bytes(clip.path.read_bytes())
    done = bauta("protect", tmp_path / "film.mp4", tmp_path / dest)
    assert done.code == 2
    assert words in done.error_line
    assert {path.name for path in tmp_path.iterdir()} == {"film.mp4"}


def test_dest_that_is_a_folder(clip: Clip, tmp_path: Path) -> None:
    folder = tmp_path / "out.mp4"
    folder.mkdir()
    done = bauta("protect", clip.path, folder, "--overwrite")
    assert done.code == 2
    assert str(folder) in done.error_line
    assert list(tmp_path.iterdir()) == [folder]


def test_sources_that_are_no_film(clip: Clip, tmp_path: Path) -> None:
    truncate(clip.path, tmp_path / "cut.mp4", keep=0.5)
    sources = {
        not_a_video(tmp_path / "figures.mp4"): "not a video",
        zero_length(tmp_path / "nothing.mp4"): "empty",
        tmp_path / "absent.mp4": "no such file",
        tmp_path: "is not a file",
        tmp_path / "cut.mp4": "not a video",
    }
    for source, words in sources.items():
        done = bauta("protect", source, tmp_path / "out.mp4")
        assert done.code == 1, source
        assert words in done.error_line and str(source) in done.error_line
        assert not (tmp_path / "out.mp4").exists() and not list(tmp_path.glob("*.part"))


def test_sound_alone_is_no_film(tmp_path: Path) -> None:
    import wave

    with wave.open(str(tmp_path / "voice.wav"), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(8000)
        file.writeframes(b"\x00\x10" * 8000)
    done = bauta("protect", tmp_path / "voice.wav", tmp_path / "out.mp4")
    assert done.code == 1
    assert "no video stream" in done.error_line


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--model", "centreface"), "centerface"),
        (("--detector-preset", "slow"), "thorough"),
        (("--detector-preset", "fast", "--model", "centerface"), "not allowed with"),
        (("--strength", "7"), "strength"),
        (("--strength", "0"), "strength"),
        (("--strength", "nan"), "strength"),
        (("--strength", "much"), "--strength"),
        (("--crf", "99"), "crf"),
        (("--preset", "warp"), "preset"),
        (("--obfuscation", "magic"), "pixelate"),
        (("--detect-every", "9"), "lookahead"),
        (("--detect-every", "0"), "detect_every"),
        (("--codec", "av1"), "h264"),
        (("--unheard-of",), "--unheard-of"),
    ],
)
def test_bad_options(options: tuple[str, ...], words: str, clip: Clip, tmp_path: Path) -> None:
    done = bauta("protect", clip.path, tmp_path / "out.mp4", *options)
    assert done.code == 2
    assert words in done.error_line
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "arguments", [("protect",), ("protect", "film.mp4"), ("protecct", "a", "b"), ("run",)]
)
def test_missing_arguments(arguments: tuple[str, ...]) -> None:
    done = bauta(*arguments)
    assert done.code == 2
    assert done.error_line.startswith("bauta")


def test_unset_variable_in_a_source_is_named() -> None:
    done = bauta("protect", "rtsp://viewer:${NO_SUCH_PASSWORD}@127.0.0.1/cam", "out.mp4")
    assert done.code == 2
    assert "NO_SUCH_PASSWORD" in done.error_line


def test_closed_port_and_unknown_host(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound, not listening: connections are refused
        port = taken.getsockname()[1]
        for host in (f"127.0.0.1:{port}", "no-such-host.invalid"):
            url = f"rtsp://ops:hunter2@{host}/cam"
            done = bauta("protect", url, tmp_path / "out.mp4")
            assert done.code == 1
            assert host.split(":")[0] in done.error_line
            assert "hunter2" not in done.err and "ops" not in done.err


def test_a_real_process_fails_in_one_line_too(tmp_path: Path) -> None:
    with running_bauta("protect", tmp_path / "absent.mp4", tmp_path / "out.mp4") as run:
        assert run.ended() == 1
        assert run.out == ""
        assert len(run.err.splitlines()) == 1 and "no such file" in run.err


@pytest.mark.slow
@pytest.mark.untimed
def test_silent_server_is_given_up(tmp_path: Path) -> None:
    with (
        silent_server() as server,
        running_bauta("protect", server.url, tmp_path / "out.mp4") as run,
    ):
        assert run.ended(60) == 1
        assert len(run.err.splitlines()) == 1 and "sent nothing for 10 s" in run.err
