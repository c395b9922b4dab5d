"""What the benchmarks of fusion share: the model under test, faces nobody trained on, right and
wrong secrets.

A model comes from the catalogue (`--model NAME`) or straight from training (`--checkpoint FILE`).
"""

from __future__ import annotations

import argparse
import copy
import dataclasses
import hashlib
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray

from engines import Catalog, Engine, EngineError, FusionEntry, open_fusion
from engines.bands import F32, U8, BandLayout
from engines.base import Array
from engines.catalog import FUSION_FAMILIES, verified_graphs
from engines.export.to_onnx import export, read_weights
from engines.fusion import FaceSecrets, FusionModel, FusionSpec, with_head_room
from engines.select_runtime import Choice
from engines.train.data import FACE_PX, FaceSet, load_faces, stack
from engines.train.obfuscators import PAPER_KINDS, Picture, paper_obfuscate
from pipeline.frames import YuvPlanes
from pipeline.protect.obfuscate import obfuscate
from pipeline.resources import config_path
from pipeline.vault.secret_map import KEY_BYTES, face_secrets

from . import clips

BATCH = 16  # faces a run of the network: the paper's, and small enough for a CPU's caches

OWN_PREFIX = "own-"
OWN_KINDS = tuple(OWN_PREFIX + name for name in ("pixelate", "blur", "median", "mask", "solid"))
KINDS = (*PAPER_KINDS, *OWN_KINDS)
"""Obfuscators: the paper's with its evaluation parameters, and the product's own filters."""
OWN_DETAIL = 0.25  # of the side: the default of protect.strength

WRONG_KINDS = ("one bit", "half the bits", "all bits", "zero key", "random key", "no secret")
"""How a key can be wrong. `zero key`: 32 zero bytes; `no secret`: nothing is unscrambled, and the
secret map is all zeros."""


# --- the model ---


@dataclass(frozen=True, slots=True)
class Subject:
    """The model under test."""

    model: FusionModel
    name: str
    parameters: int

    @property
    def spec(self) -> FusionSpec:
        """What it was trained for."""
        return self.model.spec


def add_model_options(parser: argparse.ArgumentParser) -> None:
    """Which model, on what, alike in every benchmark of fusion."""
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("--model", metavar="NAME", help="of configs/models.yaml")
    which.add_argument("--checkpoint", type=Path, metavar="FILE", help="of `bauta train`")
    parser.add_argument(
        "--runtime", choices=get_args(Choice), default="openvino", help="%(default)s"
    )
    parser.add_argument("--threads", type=int, default=2, help="of the network; %(default)s")


def open_subject(options: argparse.Namespace) -> Subject:
    """The model that the options name. Raises EngineError."""
    if options.checkpoint is None:
        entry = Catalog.load(config_path("models.yaml")).fusion(options.model)
        return _opened(entry, options.runtime, options.threads)
    with tempfile.TemporaryDirectory() as folder:
        entry = entry_of_checkpoint(options.checkpoint, Path(folder))
        return _opened(entry, options.runtime, options.threads)


def entry_of_checkpoint(path: Path, folder: Path) -> FusionEntry:
    """A training checkpoint, its mean weights, exported into `folder`. Raises EngineError."""
    from engines.train.checkpoint import load_model

    spec, net = load_model(path)
    digests = export(net, folder)
    return FusionEntry(
        spec=dataclasses.replace(spec, name=path.stem),
        family=FUSION_FAMILIES[0],
        folder=str(folder),
        sha256s={part: digests[part] for part in spec.parts},
        licence="",
        source="",
        fix="",
        home=folder,
    )


def _opened(entry: FusionEntry, runtime: Choice, threads: int) -> Subject:
    weights: dict[str, int] = {}  # the graphs share some of them
    for content in verified_graphs(entry).values():
        weights |= {name: array.size for name, array in read_weights(content).items()}
    model = open_fusion(entry, runtime=runtime, threads=threads)
    return Subject(model, entry.name, sum(weights.values()))


@dataclass(frozen=True, slots=True)
class UnroundedLayout(BandLayout):
    """Pictures that are bands already, as one float array: nothing is rounded on the way."""

    def to_bands(self, picture: Sequence[Any]) -> F32:
        """See BandLayout; bands pass as they are."""
        if len(picture) == 1 and picture[0].dtype == np.float32:
            return np.asarray(picture[0], np.float32)
        return BandLayout.to_bands(self, picture)

    def to_picture(self, bands: F32) -> tuple[Any, ...]:
        """The bands."""
        return (bands,)


class Remembering:
    """An engine that answers the same question once. For recovery without a secret map: no secret
    goes into the network, so one run serves every key.
    """

    def __init__(self, engine: Engine) -> None:
        self.name, self.runtime = engine.name, engine.runtime
        self._engine = engine
        self._known: dict[bytes, dict[str, Array]] = {}

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """See Engine."""
        digest = hashlib.blake2b()
        for name in sorted(inputs):
            digest.update(np.ascontiguousarray(inputs[name]).data)
        question = digest.digest()
        if question not in self._known:
            self._known[question] = self._engine.run(inputs)
        return self._known[question]

    def close(self) -> None:
        """Forget, and close the engine."""
        self._known.clear()
        self._engine.close()


class Overheard:
    """An engine that runs nothing and keeps what it was given."""

    name = runtime = "overheard"

    def __init__(self) -> None:
        self.inputs: Mapping[str, Array] = {}

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """See Engine."""
        self.inputs = inputs
        return {"out": inputs["y"]}

    def close(self) -> None:
        """Nothing to free."""


def unrounded(model: FusionModel, *, remember: bool = False) -> FusionModel:
    """The same model, giving and taking bands that were never rounded (UnroundedLayout)."""
    layout = model.spec.layout
    twin = copy.copy(model)
    twin.spec = dataclasses.replace(
        model.spec, layout=UnroundedLayout(layout.planes, layout.levels)
    )
    if remember and not model.spec.keyed and model._recover is not None:
        twin._recover = Remembering(model._recover)
    return twin


def payload_of(model: FusionModel, original: Sequence[U8], obfuscated: Sequence[U8]) -> F32:
    """What the model hides, in bands, before it is scrambled: the face, or what it lacks."""
    twin = copy.copy(model)
    twin._protect = overheard = Overheard()
    side = original[0].shape[-1]
    twin.protect(original, obfuscated, no_secret(model.spec, side)(slice(0, len(original[0]))))
    return np.array(overheard.inputs["x"], np.float32)


def pieces_of(model: FusionModel, bands: F32, secrets: FaceSecrets) -> F32:
    """What the network gives back for protected bands before it is unscrambled."""
    assert model._recover is not None
    key = secrets.key_bands(model.spec.layout.levels)
    inputs = {"y": bands} if key is None else {"y": bands, "k": key}
    return np.asarray(model._recover.run(inputs)["out"], np.float32)


# --- faces ---


@dataclass(frozen=True, slots=True)
class Faces:
    """N faces of people whom no network was trained on, 112 px, as planes."""

    pictures: list[Picture] = field(repr=False)
    identities: list[str] = field(repr=False)

    def __len__(self) -> int:
        return len(self.pictures)


def faces_file() -> Path:
    """Raises EngineError where there is none."""
    folder = clips.testdata()
    path = folder / "faces" / "lfw_112.zip" if folder else None
    if path is None or not path.is_file():
        raise EngineError("faces/lfw_112.zip is needed; set BAUTA_TESTDATA to its folder")
    return path


def held_out_faces(count: int, seed: int = 0) -> Faces:
    """That many, of as many people as there are, always the same. Raises EngineError."""
    return choose_faces(load_faces(faces_file(), held_out=True), count, seed)


def choose_faces(faces: FaceSet, count: int, seed: int) -> Faces:
    """One picture of everybody, in random order, then second pictures, and so on."""
    rng = np.random.default_rng(seed)
    seen: dict[str, int] = {}
    turn = np.zeros(len(faces), np.int64)
    for index in rng.permutation(len(faces)):
        identity = faces.identities[index]
        turn[index] = seen[identity] = seen.get(identity, -1) + 1
    order = np.lexsort((rng.permutation(len(faces)), turn))[:count]
    if len(order) < count:
        raise EngineError(f"{count} faces asked for, there are {len(order)} held out")
    return Faces([faces.picture(int(i)) for i in order], [faces.identities[int(i)] for i in order])


def obfuscated(picture: Picture, kind: str) -> Picture:
    """One of KINDS, without head-room."""
    if not kind.startswith(OWN_PREFIX):
        return paper_obfuscate(*picture, kind, None)
    detail_px = OWN_DETAIL * picture[0].shape[1]
    hidden = obfuscate(YuvPlanes(*picture), kind.removeprefix(OWN_PREFIX), detail_px)
    return hidden.y, hidden.u, hidden.v


@dataclass(frozen=True, slots=True)
class Batch:
    """N faces of one size, ready for a model: picture batches (see BandLayout)."""

    original: tuple[U8, ...] = field(repr=False)
    obfuscated: tuple[U8, ...] = field(repr=False)  # with head-room: what fusion is given
    plain: tuple[U8, ...] = field(repr=False)  # without

    def __len__(self) -> int:
        return len(self.original[0])


def batch_of(pictures: Sequence[Picture], kinds: Sequence[str], spec: FusionSpec) -> Batch:
    """Each picture obfuscated in its own way."""
    hidden = [obfuscated(each, kind) for each, kind in zip(pictures, kinds, strict=True)]
    planes = spec.layout.planes
    return Batch(
        stack(pictures, planes),
        stack([with_head_room(each) for each in hidden], planes),
        stack(hidden, planes),
    )


def in_batches(count: int) -> list[slice]:
    """Slices of BATCH."""
    return [slice(start, min(start + BATCH, count)) for start in range(0, count, BATCH)]


def part(picture: Sequence[U8], which: slice) -> tuple[U8, ...]:
    """Some faces of a picture batch."""
    return tuple(plane[which] for plane in picture)


def joined(pictures: Sequence[tuple[U8, ...]]) -> tuple[U8, ...]:
    """Picture batches, one after the other."""
    return tuple(np.concatenate(planes) for planes in zip(*pictures, strict=True))


# --- secrets ---


def random_keys(count: int, rng: np.random.Generator) -> list[bytes]:
    """Measuring needs repeatable keys; the product never makes one like this."""
    return [rng.bytes(KEY_BYTES) for _ in range(count)]


def wrong_key(kind: str, right: bytes, rng: np.random.Generator) -> bytes:
    """A key that is wrong in one of WRONG_KINDS' ways. Raises ValueError for `no secret`."""
    bits = 8 * len(right)
    if kind == "random key":
        return rng.bytes(len(right))
    if kind == "zero key":
        return bytes(len(right))
    if kind == "all bits":
        return flipped(right, range(bits))
    if kind == "half the bits":
        return flipped(right, rng.choice(bits, bits // 2, replace=False).tolist())
    if kind == "one bit":
        return flipped(right, [int(rng.integers(bits))])
    raise ValueError(f"no key is wrong by {kind!r}")


def flipped(key: bytes, bits: Sequence[int] | range) -> bytes:
    """The key with those bits changed; bit 0 is the lowest of the first byte."""
    changed = bytearray(key)
    for bit in bits:
        changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


Secrets = Callable[[slice], FaceSecrets]
"""The secrets of some of a batch's faces."""


def secrets_of(keys: Sequence[bytes], spec: FusionSpec, side_px: int = FACE_PX) -> Secrets:
    """A key each."""

    def of(which: slice) -> FaceSecrets:
        return face_secrets(keys[which], spec, (side_px, side_px))

    return of


def shared_secret(key: bytes, spec: FusionSpec, side_px: int = FACE_PX) -> Secrets:
    """One key tried on every face: what an attacker does, and the product never."""
    return _same_for_all(face_secrets([key], spec, (side_px, side_px)))


def no_secret(spec: FusionSpec, side_px: int = FACE_PX) -> Secrets:
    """Nothing is unscrambled, and the map says nothing."""
    sign_map = order = signs = None
    if spec.keyed:
        sign_map = np.zeros((1, 1, side_px, side_px), np.int8)
    if spec.scrambled:
        count = (side_px // spec.layout.side_multiple_px) ** 2
        shape = (1, spec.layout.channels, count)
        order = np.broadcast_to(np.arange(count), shape)
        signs = np.ones(shape, np.int8)
    return _same_for_all(FaceSecrets(sign_map, order, signs))


def _same_for_all(one: FaceSecrets) -> Secrets:
    def of(which: slice) -> FaceSecrets:
        count = which.stop - which.start

        def repeated(array: NDArray[Any] | None) -> NDArray[Any] | None:
            return None if array is None else np.broadcast_to(array, (count, *array.shape[1:]))

        return FaceSecrets(repeated(one.sign_map), repeated(one.order), repeated(one.signs))

    return of


def wrong_secrets(
    kind: str, right: Sequence[bytes], spec: FusionSpec, rng: np.random.Generator
) -> Secrets:
    """Wrong secrets of one of WRONG_KINDS for faces of these right keys."""
    if kind == "no secret":
        return no_secret(spec)
    if kind == "zero key":
        return shared_secret(bytes(KEY_BYTES), spec)
    return secrets_of([wrong_key(kind, key, rng) for key in right], spec)


# --- both directions over many faces ---


def protect_all(model: FusionModel, batch: Batch, secrets: Secrets) -> F32:
    """Protected bands of every face, not rounded."""
    twin = unrounded(model)
    found = []
    for which in in_batches(len(batch)):
        parts = part(batch.original, which), part(batch.obfuscated, which)
        (bands,) = twin.protect(*parts, secrets(which))
        found.append(np.asarray(bands, np.float32))
    return np.concatenate(found)


class Opener:
    """Recovers the same protected faces under many secrets, at the least cost."""

    def __init__(self, model: FusionModel, bands: F32) -> None:
        """`bands` are the protected faces as they were sent."""
        self.spec = model.spec
        self._model = unrounded(model, remember=True)
        self._bands = bands

    def open(self, secrets: Secrets, which: slice | None = None) -> F32:
        """Recovered bands, not rounded, of the faces in `which`."""
        chosen = which or slice(0, len(self._bands))
        found = []
        for each in in_batches(chosen.stop - chosen.start):
            here = slice(chosen.start + each.start, chosen.start + each.stop)
            sent: Any = (self._bands[here],)  # UnroundedLayout takes them
            (bands,) = self._model.recover(sent, secrets(here))
            found.append(np.asarray(bands, np.float32))
        return np.concatenate(found)


def kinds_by_turns(kinds: Sequence[str], count: int) -> list[str]:
    """The kinds, one after the other, `count` in all."""
    return [kinds[index % len(kinds)] for index in range(count)]


def as_picture(planes: Sequence[U8]) -> Picture:
    """Three planes as what the obfuscators take."""
    y, u, v = planes
    return y, u, v
