"""`bauta train`: a short real run, its interruption, and wrong use."""

from __future__ import annotations

import zipfile
from pathlib import Path

import cv2
import numpy as np
import pytest

from engines.train import checkpoint
from pipeline.cli import main
from pipeline.train_command import CODEC_CRF, SETTINGS, SPECS, codec_batch


@pytest.fixture(scope="module")
def faces(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("faces") / "faces.zip"
    rng = np.random.default_rng(0)
    with zipfile.ZipFile(path, "w") as archive:
        for person in range(12):
            small = rng.integers(40, 215, (8, 8, 3)).astype(np.uint8)
            _, encoded = cv2.imencode(".png", cv2.resize(small, (112, 112)))
            archive.writestr(f"Person_{person}/1.png", encoded.tobytes())
    return path


def train(faces: Path, out: Path, *more: str, net: str = "proface-s-video") -> int:
    given = ["train", net, "--data", str(faces), "--out", str(out), "--threads", "1", *more]
    return main([*given, "--batch", "2"])


def test_a_short_run_gives_weights_a_curve_and_a_checkpoint(
    faces: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert train(faces, tmp_path, "--steps", "4") == 0
    shown = capsys.readouterr()
    assert "353,400 parameters" in shown.err and "step 4 of 4" in shown.out
    assert checkpoint.load(tmp_path / "checkpoint.safetensors").step == 4
    assert cv2.imread(str(tmp_path / "curve.png")) is not None
    parts = {path.stem for path in (tmp_path / "model").glob("*.onnx")}
    assert parts == {"protect", "recover", "restore"}
    # done already: nothing is trained again
    before = (tmp_path / "model" / "protect.onnx").read_bytes()
    assert train(faces, tmp_path, "--steps", "4") == 0
    assert (tmp_path / "model" / "protect.onnx").read_bytes() == before
    # other settings do not go on from it unasked
    assert train(faces, tmp_path, "--steps", "5") == 1
    assert "steps" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("more", "complaint"),
    [
        (["--steps", "0"], "--steps must be above 0"),
        (["--rate", "nan"], "--rate must be above 0"),
        (["--device", "tpu"], "--device must be cpu or cuda"),
    ],
)
def test_wrong_use_is_one_line(
    more: list[str],
    complaint: str,
    faces: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert train(faces, tmp_path, *more) == 2
    error = capsys.readouterr().err
    assert complaint in error and error.count("\n") == 1


def test_an_unknown_net_and_missing_faces(
    faces: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert train(faces, tmp_path, net="nope") == 2
    assert "unknown net 'nope'" in capsys.readouterr().err
    assert train(tmp_path / "no.zip", tmp_path, "--steps", "1") == 1
    assert "faces cannot be read" in capsys.readouterr().err


def test_every_recipe_has_settings() -> None:
    assert set(SPECS) == set(SETTINGS)


def test_the_codec_in_the_loop_keeps_faces_apart() -> None:
    levels = np.array([60, 120, 180], np.uint8)
    luma = np.broadcast_to(levels[:, None, None, None], (3, 1, 56, 56)).copy()
    chroma = np.broadcast_to(levels[:, None, None, None], (3, 2, 28, 28)).copy()
    for seed in range(6):
        after = codec_batch((luma, chroma), np.random.default_rng(seed))
        for plane, back in zip((luma, chroma), after, strict=True):
            assert back.shape == plane.shape and back.dtype == np.uint8
            middle = back[..., 8:-8, 8:-8].astype(int) - plane[..., 8:-8, 8:-8]
            assert np.abs(middle).max() < 40
    assert 0 < CODEC_CRF[0] < CODEC_CRF[1] <= 51
