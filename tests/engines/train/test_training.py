"""A run learns, stops, goes on the same, and refuses what does not fit."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from engines import EngineError
from engines.bands import U8, BandLayout
from engines.fusion import FusionSpec
from engines.train import checkpoint
from engines.train.channel import through_codec, to_8_bits
from engines.train.data import FaceSet, draw_batch, load_faces
from engines.train.loop import StepReport, Training, TrainSettings, to_bands, to_planes
from engines.train.losses import band_weights, excess, psnr, squared_error
from engines.train.obfuscators import PAPER_KINDS, Obfuscator, Picture, paper_obfuscate
from engines.train.split import is_held_out

SPEC = FusionSpec("tiny", BandLayout("yuv420", 2), "randwr", False, True, growth=4, depth=2)
SETTINGS = TrainSettings(steps=40, batch=2, crop_px=16, protected_db=30, first_protected_db=20)


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Tiny tensors: more threads only get in each other's way."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def paper(kind: str, face: Picture, rng: np.random.Generator) -> Picture:
    return paper_obfuscate(*face, kind, rng)


OBFUSCATORS: list[Obfuscator] = [partial(paper, kind) for kind in PAPER_KINDS]


def smooth_face(seed: int) -> U8:
    rng = np.random.default_rng(seed)
    small = rng.integers(40, 215, (8, 8, 3)).astype(np.uint8)
    return np.asarray(cv2.resize(small, (112, 112), interpolation=cv2.INTER_CUBIC), np.uint8)


@pytest.fixture(scope="module")
def zipped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("faces") / "faces.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for person in range(40):
            _, encoded = cv2.imencode(".png", smooth_face(person))
            archive.writestr(f"Person_{person}/Person_{person}_0001.png", encoded.tobytes())
    return path


@pytest.fixture(scope="module")
def faces(zipped: Path) -> FaceSet:
    return load_faces(zipped, held_out=False)


def run(training: Training, until: int) -> list[StepReport]:
    reports: list[StepReport] = []
    training.run(until, reports.append)
    return reports


def weights(training: Training) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in training.net.state_dict().items()}


def test_nobody_is_on_both_sides(zipped: Path) -> None:
    train, test = (load_faces(zipped, held_out=side) for side in (False, True))
    assert len(train) + len(test) == 40 and len(test) > 0
    assert not set(train.identities) & set(test.identities)
    assert all(map(is_held_out, test.identities)) and not any(map(is_held_out, train.identities))


def test_it_learns(faces: FaceSet) -> None:
    training = Training(SPEC, replace(SETTINGS, steps=120, rate=3e-3), faces, OBFUSCATORS)
    reports = run(training, 120)
    first = np.mean([report.recovered_db for report in reports[:10]])
    last = np.mean([report.recovered_db for report in reports[-10:]])
    assert last > first + 5
    assert len(reports) == 120 and training.step == 120


def test_the_same_seed_gives_the_same_weights(faces: FaceSet) -> None:
    one, two = (Training(SPEC, SETTINGS, faces, OBFUSCATORS) for _ in range(2))
    run(one, 5)
    run(two, 5)
    for name, tensor in weights(one).items():
        assert torch.equal(tensor, weights(two)[name]), name
    other = Training(SPEC, replace(SETTINGS, seed=1), faces, OBFUSCATORS)
    run(other, 5)
    assert any(not torch.equal(t, weights(other)[name]) for name, t in weights(one).items())


def test_an_interrupted_run_goes_on_as_if_it_had_not_been(faces: FaceSet, tmp_path: Path) -> None:
    whole = Training(SPEC, SETTINGS, faces, OBFUSCATORS)
    run(whole, 8)
    broken = Training(SPEC, SETTINGS, faces, OBFUSCATORS)
    run(broken, 4)
    broken.save(tmp_path / "c.safetensors")
    resumed = Training(SPEC, SETTINGS, faces, OBFUSCATORS)
    resumed.resume(checkpoint.load(tmp_path / "c.safetensors"))
    assert resumed.step == 4
    run(resumed, 8)
    for name, tensor in weights(whole).items():
        assert torch.equal(tensor, weights(resumed)[name]), name


def test_a_checkpoint_says_what_it_is(faces: FaceSet, tmp_path: Path) -> None:
    training = Training(SPEC, SETTINGS, faces, OBFUSCATORS)
    run(training, 20)
    path = tmp_path / "c.safetensors"
    training.save(path)
    saved = checkpoint.load(path)
    assert saved.spec == SPEC and saved.step == 20
    assert saved.settings["protected_db"] == 30
    assert saved.data["sha256"] == faces.sha256 and saved.data["faces"] == len(faces)
    assert [entry["step"] for entry in saved.history] == [1, 20]
    spec, net = checkpoint.load_model(path)
    assert spec == SPEC and not net.training


def test_another_runs_checkpoint_is_refused(faces: FaceSet, tmp_path: Path) -> None:
    training = Training(SPEC, SETTINGS, faces, OBFUSCATORS)
    training.save(tmp_path / "c.safetensors")
    saved = checkpoint.load(tmp_path / "c.safetensors")
    other = Training(SPEC, replace(SETTINGS, rate=5e-4), faces, OBFUSCATORS)
    with pytest.raises(EngineError, match="rate"):
        other.resume(saved)
    other.resume(saved, weights_only=True)
    assert other.step == 0
    bigger = Training(replace(SPEC, growth=8), SETTINGS, faces, OBFUSCATORS)
    with pytest.raises(EngineError, match="dimensions"):
        bigger.resume(saved, weights_only=True)


@pytest.mark.parametrize("content", [b"", b"not a checkpoint", b"\x08" + b"\0" * 7 + b"{}      "])
def test_rubbish_is_no_checkpoint(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "c.safetensors"
    path.write_bytes(content)
    with pytest.raises(EngineError, match="not a bauta-training/1 checkpoint"):
        checkpoint.load(path)
    with pytest.raises(EngineError, match="no such"):
        checkpoint.load(tmp_path / "missing.safetensors")


def test_faces_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match="cannot be read"):
        load_faces(tmp_path / "missing.zip", held_out=False)
    (tmp_path / "empty.zip").write_bytes(b"no zip")
    with pytest.raises(EngineError, match="cannot be read"):
        load_faces(tmp_path / "empty.zip", held_out=False)


@pytest.mark.parametrize(
    "spec",
    [
        SPEC,
        replace(SPEC, restore_width=8, carries="face"),
        replace(SPEC, restore_width=8, carries="difference", mode="obfswr"),
        replace(SPEC, keyed=True, scrambled=False),
        replace(SPEC, keyed=True, scrambled=False, layout=BandLayout("rgb", 1)),
    ],
    ids=["scrambled", "polished", "restored", "keyed", "paper"],
)
def test_every_kind_of_model_takes_a_step(spec: FusionSpec, faces: FaceSet) -> None:
    training = Training(spec, SETTINGS, faces, OBFUSCATORS)
    before = weights(training)
    reports = run(training, 3)
    taught = spec.mode == "obfswr" or not spec.scrambled
    assert (reports[-1].wrong_db is not None) == taught
    changed = {n for n, t in training.net.state_dict().items() if not torch.equal(t, before[n])}
    assert any(name.startswith("blocks.0.phi") for name in changed)


def test_settings_that_do_not_fit(faces: FaceSet) -> None:
    with pytest.raises(EngineError, match="multiple of 4"):
        Training(SPEC, replace(SETTINGS, crop_px=18), faces, OBFUSCATORS)
    with pytest.raises(EngineError, match="codec"):
        Training(SPEC, replace(SETTINGS, codec_share=0.5), faces, OBFUSCATORS)


# --- parts ---


def test_rounding_and_clipping_are_in_the_loop() -> None:
    planes = torch.tensor([[[[-0.6, 0.0001, 0.7]]]], requires_grad=True)
    sent = to_8_bits(planes)
    assert torch.allclose(sent * 255 + 128, torch.tensor([[[[0.0, 128.0, 255.0]]]]), atol=1e-4)
    sent.sum().backward()  # type: ignore[no-untyped-call]
    assert planes.grad is not None and bool((planes.grad == 1).all())


def test_a_codec_in_the_loop_adds_what_it_did() -> None:
    planes = (torch.zeros(2, 1, 8, 8), torch.zeros(2, 2, 4, 4))

    def brighter(picture: tuple[U8, ...], _: np.random.Generator) -> tuple[U8, ...]:
        assert all(plane.dtype == np.uint8 and (plane == 128).all() for plane in picture)
        return tuple((plane + 5).astype(np.uint8) for plane in picture)

    after = through_codec(planes, brighter, np.random.default_rng(0))
    for plane in after:
        assert torch.allclose(plane * 255, torch.full_like(plane, 5.0), atol=1e-4)


@pytest.mark.parametrize("planes", ["yuv420", "rgb"])
@pytest.mark.parametrize("levels", [1, 2])
def test_the_torch_bands_are_the_numpy_bands(planes: str, levels: int, faces: FaceSet) -> None:
    layout = BandLayout("rgb" if planes == "rgb" else "yuv420", levels)
    spec = replace(SPEC, layout=layout)
    batch = draw_batch(
        faces,
        OBFUSCATORS,
        planes=layout.planes,
        batch=2,
        crop_px=24,
        rng=np.random.default_rng(1),
    ).original
    tensors = tuple((torch.from_numpy(plane).float() - 128) / 255 for plane in batch)
    bands = to_bands(tensors, spec)
    assert np.abs(bands.numpy() - layout.to_bands(batch)).max() < 1e-5
    for plane, again in zip(tensors, to_planes(bands, spec), strict=True):
        assert torch.allclose(plane, again, atol=1e-5)


def test_weights_count_samples() -> None:
    layout = BandLayout("yuv420", 2)
    luma_only = torch.zeros(1, 24, 4, 4)
    luma_only[:, :16] = 3 / 255
    even = squared_error(luma_only, torch.zeros_like(luma_only), band_weights(layout, 1.0))
    assert float(even) == pytest.approx(9 * 2 / 3, rel=1e-4)
    assert psnr(even) == pytest.approx(10 * np.log10(255**2 / 6), abs=1e-3)
    heavier = squared_error(luma_only, torch.zeros_like(luma_only), band_weights(layout, 3.0))
    assert float(heavier) == pytest.approx(9 * 16 / 40, rel=1e-4)


def test_excess_is_silent_below_what_is_allowed() -> None:
    assert float(excess(torch.tensor([1.0, 3.9]), 4.0)) == 0
    assert float(excess(torch.tensor([4.0 * np.e, 1.0]), 4.0)) == pytest.approx(0.5, rel=1e-4)


@pytest.mark.parametrize("kind", PAPER_KINDS)
def test_papers_filters_hide_detail_and_repeat(kind: str) -> None:
    rng = np.random.default_rng(0)
    y = rng.integers(0, 256, (112, 112)).astype(np.uint8)
    u, v = (rng.integers(0, 256, (56, 56)).astype(np.uint8) for _ in range(2))
    once, again = (paper_obfuscate(y, u, v, kind, None) for _ in range(2))
    for first, second, plane in zip(once, again, (y, u, v), strict=True):
        assert np.array_equal(first, second) and first.shape == plane.shape
        middle = tuple(slice(side // 3, 2 * side // 3) for side in plane.shape)
        assert first[middle].astype(float).std() < plane[middle].astype(float).std()


def test_an_unknown_filter_is_named() -> None:
    plane = np.zeros((8, 8), np.uint8)
    with pytest.raises(ValueError, match="swirl"):
        paper_obfuscate(plane, plane[::2, ::2], plane[::2, ::2], "swirl", None)
