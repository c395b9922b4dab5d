import hashlib
import importlib.machinery
import importlib.util
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engines import Catalog, EngineError, ModelEntry
from pipeline.detect.landmarks68 import COUNT, FanLandmarks, five_of_68, peaks
from pipeline.frames import FloatArray, ShapeError, YuvPlanes

ROOT = Path(__file__).resolve().parents[3]
ENTRY = Catalog.load(ROOT / "configs" / "models.yaml").entry("fan68")
WIDTH, HEIGHT = 400, 300


def boxes(*corners: tuple[float, float, float, float]) -> FloatArray:
    return np.array(corners, np.float32).reshape(-1, 4)


def dark(*bright_xy: tuple[float, float]) -> YuvPlanes:
    """A dark frame with round bright dots, 6 px wide."""
    y, x = np.mgrid[:HEIGHT, :WIDTH] + 0.5
    luma = np.full((HEIGHT, WIDTH), 30.0)
    for dot_x, dot_y in bright_xy:
        luma += 200 * np.exp(-((x - dot_x) ** 2 + (y - dot_y) ** 2) / (2 * 3.0**2))
    half = np.full((HEIGHT // 2, WIDTH // 2), 128, np.uint8)
    return YuvPlanes(np.clip(luma, 0, 255).astype(np.uint8), half, half)


def brightest(pictures: FloatArray) -> FloatArray:
    """A network whose every landmark is the brightest place."""
    assert pictures.shape == (1, 3, 256, 256) and pictures.dtype == np.float32
    assert pictures.min() >= 0 and pictures.max() <= 1
    cells = pictures[0].mean(axis=0).reshape(64, 4, 64, 4).mean(axis=(1, 3))
    maps: FloatArray = np.broadcast_to(cells, (1, COUNT, 64, 64)).astype(np.float32)
    return maps


# --- from a box to source pixels ---


@settings(max_examples=60)
@given(
    st.floats(10, WIDTH - 10),
    st.floats(10, HEIGHT - 10),
    st.floats(-0.4, 0.4),
    st.floats(-0.4, 0.3),
    st.floats(24, 330),
    st.floats(0.8, 1.5),
)
def test_a_landmark_lies_where_the_picture_shows_it(
    x: float, y: float, right: float, below: float, width: float, shape: float
) -> None:
    """Within half a heat map cell, also for boxes that reach beyond the frame."""
    height = width * shape
    centre_x, centre_y = x + right * width, y + below * height
    box = (
        centre_x - width / 2,
        centre_y - height / 2,
        centre_x + width / 2,
        centre_y + height / 2,
    )
    found = FanLandmarks("fake", brightest).find(dark((x, y)), boxes(box))

    assert found.shape == (1, COUNT, 2) and found.dtype == np.float32
    cell = (width + height) * 200 / 195 / 64
    assert np.abs(found[0] - [x, y]).max() < 0.5 * cell + 0.5


def test_outside_of_the_frame_is_black() -> None:
    seen = []

    def spy(pictures: FloatArray) -> FloatArray:
        seen.append(pictures.copy())
        return brightest(pictures)

    FanLandmarks("fake", spy).find(dark(), boxes((-60, -60, 60, 60)))
    assert seen[0][0, :, :80, :80].max() == 0
    assert seen[0][0, :, 200:, 200:].min() > 0.03


def test_every_box_has_its_own_landmarks() -> None:
    planes = dark((80, 90), (300, 200))
    fan = FanLandmarks("fake", brightest)
    found = fan.find(planes, boxes((40, 50, 120, 140), (260, 150, 340, 250)))
    np.testing.assert_allclose(found[0], np.broadcast_to([80, 90], (COUNT, 2)), atol=2)
    np.testing.assert_allclose(found[1], np.broadcast_to([300, 200], (COUNT, 2)), atol=2)
    assert fan.find(planes, boxes()).shape == (0, COUNT, 2)


@pytest.mark.parametrize(
    "box",
    [
        (10, 10, 10, 50),
        (50, 50, 10, 10),
        (np.nan, 0, 50, 50),
        (0, 0, np.inf, 50),
        (-5000, -5000, 5000, 5000),
    ],
)
def test_a_box_that_is_no_face_has_no_landmarks(box: tuple[float, float, float, float]) -> None:
    found = FanLandmarks("fake", brightest).find(dark((60, 60)), boxes(box, (40, 40, 80, 80)))
    assert np.isnan(found[0]).all() and np.isfinite(found[1]).all()


@pytest.mark.parametrize("x", [-1e30, -3000, 3000, 1e30])
def test_a_box_far_away_is_only_black(x: float) -> None:
    found = FanLandmarks("fake", brightest).find(dark((60, 60)), boxes((x, 0, x + 90, 90)))
    assert found.shape == (1, COUNT, 2)


# --- heat maps ---


@given(st.integers(0, 63), st.integers(0, 63), st.floats(-0.4, 0.4), st.floats(-0.4, 0.4))
def test_a_peak_leans_to_its_higher_neighbour(
    column: int, row: int, right: float, below: float
) -> None:
    y, x = np.mgrid[:64, :64] + 0.5
    middle = np.array([column + 0.5 + right, row + 0.5 + below])
    bump = np.exp(-((x - middle[0]) ** 2 + (y - middle[1]) ** 2) / 2)
    (found,) = peaks(bump[None].astype(np.float32))
    assert np.abs(found - middle).max() <= 0.25 + 1e-3 or column in (0, 63) or row in (0, 63)
    assert np.abs(found - middle).max() <= 0.65 + 1e-3


def test_maps_that_are_not_finite_have_no_peak() -> None:
    maps = np.zeros((3, 64, 64), np.float32)
    maps[:, 20, 30] = 1
    maps[1, 5, 5] = np.nan
    maps[2, 20, 31] = np.inf
    found = peaks(maps)
    np.testing.assert_array_equal(found[0], [30.5, 20.5])
    assert np.isnan(found[1:]).all()


# --- five of 68 ---


def test_five_are_the_middles_of_the_eyes_the_nose_and_the_mouth_corners() -> None:
    landmarks = np.zeros((COUNT, 2))
    ring = [(-8, 0), (-3, -3), (3, -3), (8, 0), (3, 3), (-3, 3)]  # clockwise, as in 300-W
    landmarks[36:42] = np.array([40, 50]) + ring
    landmarks[42:48] = np.array([75, 51]) + ring
    landmarks[30], landmarks[48], landmarks[54] = (56, 72), (42, 92), (71, 93)
    five = five_of_68(landmarks)
    assert five.dtype == np.float32
    np.testing.assert_allclose(five, [[40, 50], [75, 51], [56, 72], [42, 92], [71, 93]])
    np.testing.assert_array_equal(five_of_68(np.stack([landmarks, landmarks + 5]))[1], five + 5)


def test_an_unknown_point_stays_unknown() -> None:
    landmarks = np.ones((COUNT, 2))
    landmarks[38] = np.nan
    five = five_of_68(landmarks)
    assert np.isnan(five[0]).all() and np.isfinite(five[1:]).all()


@pytest.mark.parametrize("shape", [(5, 2), (68, 3), (68,), (2, 68)])
def test_five_need_68(shape: tuple[int, ...]) -> None:
    with pytest.raises(ShapeError, match="68"):
        five_of_68(np.zeros(shape))


# --- a network that fails ---


def test_a_network_that_fails_is_one_clear_error() -> None:
    def broken(_: FloatArray) -> FloatArray:
        raise RuntimeError("out of\nmemory at 0x7f")

    with pytest.raises(EngineError, match=r"^model fake failed: RuntimeError$"):
        FanLandmarks("fake", broken).find(dark(), boxes((10, 10, 90, 90)))


def test_heat_maps_of_another_network_are_refused() -> None:
    fan = FanLandmarks("fake", lambda _: np.zeros((1, 98, 64, 64), np.float32))
    with pytest.raises(EngineError, match="98"):
        fan.find(dark(), boxes((10, 10, 90, 90)))


def test_use_after_close_raises() -> None:
    fan = FanLandmarks("fake", brightest)
    fan.close()
    fan.close()
    with pytest.raises(EngineError, match="closed"):
        fan.find(dark(), boxes((10, 10, 90, 90)))


# --- opening ---


def test_the_catalogued_entry_is_the_tested_file() -> None:
    """The file's name carries the first ten digits of its hash."""
    assert ENTRY.sha256.startswith(ENTRY.file.split("-")[1].split(".")[0])
    assert ENTRY.input_size_px == (256, 256) and ENTRY.colour == "rgb"


@pytest.mark.parametrize("missing", ["torch", "face_alignment"])
def test_a_missing_package_names_the_fix(missing: str, monkeypatch: pytest.MonkeyPatch) -> None:
    real = importlib.util.find_spec

    def find_spec(name: str, package: str | None = None) -> importlib.machinery.ModuleSpec | None:
        if name in ("torch", "face_alignment"):
            return None if name == missing else importlib.machinery.ModuleSpec(name, None)
        return real(name, package)

    monkeypatch.setattr(importlib.util, "find_spec", find_spec)
    with pytest.raises(EngineError, match=r"is not installed\. .*pip install 'bauta\[landmarks\]'"):
        FanLandmarks.open(ENTRY)


def small_fan(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Stands in for the package: a network of the right shapes with random weights."""
    torch = pytest.importorskip("torch")

    class Fan(torch.nn.Module):  # type: ignore[misc, name-defined, unused-ignore]
        def __init__(self, num_modules: int) -> None:
            assert num_modules == 4
            super().__init__()
            self.conv = torch.nn.Conv2d(3, COUNT, 4, stride=4)

        def forward(self, x: Any) -> list[Any]:
            return [self.conv(x) * 0, self.conv(x)]

    package, models = ModuleType("face_alignment"), ModuleType("face_alignment.models")
    package.__spec__ = importlib.machinery.ModuleSpec("face_alignment", None)
    models.FAN = Fan  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "face_alignment", package)
    monkeypatch.setitem(sys.modules, "face_alignment.models", models)
    return Fan


def saved(content: Any, folder: Path, monkeypatch: pytest.MonkeyPatch) -> ModelEntry:
    import torch

    path = folder / ENTRY.file
    torch.save(content, path)
    monkeypatch.setenv("BAUTA_MODELS", str(folder))
    return replace(ENTRY, sha256=hashlib.sha256(path.read_bytes()).hexdigest())


def test_a_local_file_is_loaded_and_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    net = small_fan(monkeypatch)(4)
    fan = FanLandmarks.open(saved(net.state_dict(), tmp_path, monkeypatch))
    found = fan.find(dark((60, 60)), boxes((30, 30, 90, 100), (0, 0, 40, 40)))
    assert np.isfinite(found).all()
    square_px = (60 + 70) * 200 / 195
    assert np.abs(found[0, :, 0] - 60).max() <= square_px / 2 + 1  # anywhere in the square


def test_another_file_is_not_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    net = small_fan(monkeypatch)(4)
    saved(net.state_dict(), tmp_path, monkeypatch)
    with pytest.raises(EngineError, match="SHA-256"):
        FanLandmarks.open(ENTRY)


def test_a_missing_file_names_the_fix(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    small_fan(monkeypatch)
    monkeypatch.setenv("BAUTA_MODELS", str(tmp_path))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    with pytest.raises(EngineError, match=r"is not in .* download adrianbulat\.com"):
        FanLandmarks.open(ENTRY)


class Runs:
    """What a weights file must never hold: something that runs when it is read."""

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.mkdir, (Path("ran"),))


@pytest.mark.parametrize("content", [{"other": 1}, {}, Runs(), [1, 2]])
def test_a_file_that_does_not_fit_is_one_clear_error(
    content: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small_fan(monkeypatch)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(EngineError, match="does not fit") as caught:
        FanLandmarks.open(saved(content, tmp_path, monkeypatch))
    assert len(str(caught.value).splitlines()) == 1
    assert not (tmp_path / "ran").exists()


@pytest.mark.landmarks
@pytest.mark.slow
def test_the_real_network_with_random_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("face_alignment", reason="needs the landmarks extra")
    from face_alignment.models import FAN

    fan = FanLandmarks.open(saved(FAN(4).state_dict(), tmp_path, monkeypatch))
    found = fan.find(dark((60, 60)), boxes((30, 30, 90, 100)))
    assert found.shape == (1, COUNT, 2) and np.isfinite(found).all()
