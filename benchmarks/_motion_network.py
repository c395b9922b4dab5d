"""A small network of our own for a face's motion: what DIS has to beat. Trained in the run itself
on made pairs of people whom the benchmark does not show; its weights are kept nowhere.

Three levels, coarse to fine, as PWC-Net (Sun et al., CVPR 2018): features of both views, the later
ones warped by what is known so far, correlated over small shifts, and a few convolutions that
say what is missing.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import cv2
import numpy as np
import openvino
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from engines.train.data import load_faces
from pipeline.frames import FloatArray, U8Array

from ._fusion import faces_file
from ._motion_scenes import FACE_LONGEST, FACE_XYXY, VIEW_SIDES, Pose, fetch, inside_face
from .report import progress

VIEW_PX = 72  # 9 cells of 8 px
_FINEST_PX = VIEW_PX // 2
_CHANNELS = (16, 32, 48)
_REACH = 2  # of the correlation, samples each way
_BATCH = 16
_SEED = 7
_OUTSIDE = 0.05  # of the loss: there the network is to go on with the face's motion


class MotionNet(nn.Module):
    """Two views (B, 1, 72, 72), levels about 0, to the way of each 2 x 2 px, (B, 2, 36, 36) px."""

    def __init__(self) -> None:
        super().__init__()
        before = (1, *_CHANNELS[:-1])
        self.down = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(taken, given, 3, stride=2, padding=1),
                nn.LeakyReLU(0.1),
                nn.Conv2d(given, given, 3, padding=1),
                nn.LeakyReLU(0.1),
            )
            for taken, given in zip(before, _CHANNELS, strict=True)
        )
        shifts = (2 * _REACH + 1) ** 2
        self.say = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(shifts + given + 2, 32, 3, padding=1),
                nn.LeakyReLU(0.1),
                nn.Conv2d(32, 32, 3, padding=1),
                nn.LeakyReLU(0.1),
                nn.Conv2d(32, 2, 3, padding=1),
            )
            for given in _CHANNELS
        )

    def forward(self, now: Tensor, before: Tensor) -> list[Tensor]:
        """Coarse to fine: (B, 2, 9, 9), (B, 2, 18, 18), (B, 2, 36, 36), px of the view."""
        levels = []
        for block in self.down:
            now, before = block(now), block(before)
            levels.append((now, before))
        way = torch.zeros_like(levels[-1][0][:, :2])
        found = []
        for index in (2, 1, 0):
            here, there = levels[index]
            step = float(2 ** (index + 1))  # px of the view to a sample
            if index < 2:
                way = F.interpolate(way, scale_factor=2.0, mode="bilinear", align_corners=False)
            fetched = _warped(there, way / step)
            seen = torch.cat([_correlated(here, fetched), here, way / step], dim=1)
            way = way + step * self.say[index](seen)
            found.append(way)
        return found


def _warped(features: Tensor, way: Tensor) -> Tensor:
    height, width = features.shape[2:]
    ys = torch.arange(height, dtype=way.dtype) + 0.5
    xs = torch.arange(width, dtype=way.dtype) + 0.5
    x = (xs[None, None, :] + way[:, 0]) * (2 / width) - 1
    y = (ys[None, :, None] + way[:, 1]) * (2 / height) - 1
    places = torch.stack([x, y], dim=-1)  # (B, H, W, 2)
    return F.grid_sample(features, places, padding_mode="border", align_corners=False)


def _correlated(here: Tensor, there: Tensor) -> Tensor:
    """(B, 25, H, W)"""
    height, width = here.shape[2:]
    wide = F.pad(there, (_REACH,) * 4)
    span = range(2 * _REACH + 1)
    return torch.cat(
        [
            (here * wide[:, :, dy : dy + height, dx : dx + width]).mean(dim=1, keepdim=True)
            for dy in span
            for dx in span
        ],
        dim=1,
    )


class _Finest(nn.Module):
    """What is used: the finest level, as (B, 9, 9, 2) shares of the view."""

    def __init__(self, net: MotionNet) -> None:
        super().__init__()
        self.net = net

    def forward(self, now: Tensor, before: Tensor) -> Tensor:
        way = self.net(now, before)[-1]
        return F.avg_pool2d(way, _FINEST_PX // 9).permute(0, 2, 3, 1) / VIEW_PX


# --- training ---


@dataclass(frozen=True, slots=True)
class Pair:
    """Two views, and how far each sample of the finest level is from where it was."""

    now: FloatArray = field(repr=False)  # (72, 72)
    before: FloatArray = field(repr=False)
    way_px: FloatArray = field(repr=False)  # (36, 36, 2)
    weight: FloatArray = field(repr=False)  # (36, 36)


def made_pair(faces: list[U8Array], rng: np.random.Generator) -> Pair:
    """A face of one person over a piece of another picture, moved by a frame's motion or three."""
    chosen, behind = (faces[int(i)] for i in rng.integers(len(faces), size=2))
    if rng.random() < 0.5:
        chosen = chosen[:, ::-1]
    face = _blurred(chosen, float(rng.uniform(0.6, 1.3)))
    wall = _blurred(behind, float(rng.uniform(0.3, 3)))
    wall = (wall - 110) * np.float32(rng.uniform(0.2, 1.2)) + np.float32(rng.uniform(60, 180))
    much = float(rng.choice((0.3, 1.0, 2.5)))
    jaws, smiles = np.abs(rng.normal(0, 3, 2)), rng.normal(0, 2, 2)
    poses = [
        Pose(0, 0, 1, float(rng.normal(0, 0.15)), float(jaws[0]), float(smiles[0])),
    ]
    turn, grow = rng.normal(0, 0.02 * much), rng.normal(0, 0.02 * much)
    shift = rng.normal(0, 2.0 * much, 2)
    close = float(rng.uniform(0, 1))  # of the mouth, to what it is in the other frame
    poses.append(
        Pose(
            float(shift[0]),
            float(shift[1]),
            math.exp(grow),
            poses[0].angle + float(turn),
            float(jaws[0] + close * (jaws[1] - jaws[0])),
            float(smiles[0] + close * (smiles[1] - smiles[0])),
        )
    )
    squares = [_square(pose, rng) for pose in poses]
    drift = rng.normal(0, 6 * much, 2)  # what is behind the face moves otherwise
    views = []
    for index, (pose, square) in enumerate(zip(poses, squares, strict=True)):
        points = _points(square, VIEW_PX)
        texels = pose.texels(points)
        back = (points * np.float32(0.6) + np.float32(56)) + (drift * index).astype(np.float32)
        weight = inside_face(texels)
        view = weight * fetch(face, texels)
        view += (1 - weight) * fetch(wall, back)
        view += rng.normal(0, rng.uniform(0.2, 2.5), view.shape)
        views.append(_coded(view, rng))
    before, now = views
    fine = _points(squares[1], _FINEST_PX)
    texels = poses[1].texels(fine)
    x, y, side = squares[0]
    then = (poses[0].places(texels) - np.array((x, y), np.float32)) / np.float32(side)
    own = (fine - np.array(squares[1][:2], np.float32)) / np.float32(squares[1][2])
    left, top, right, bottom = FACE_XYXY
    inner = np.hypot(
        (texels[..., 0] - (left + right) / 2) / (right - left),
        (texels[..., 1] - (top + bottom) / 2) / (bottom - top),
    )
    weights = np.where(inner < 0.55, 1.0, _OUTSIDE).astype(np.float32)
    return Pair(now, before, ((then - own) * VIEW_PX).astype(np.float32), weights)


def _blurred(picture: U8Array, sigma: float) -> FloatArray:
    return np.asarray(cv2.GaussianBlur(picture, (0, 0), sigma), np.float32)


def _square(pose: Pose, rng: np.random.Generator) -> tuple[float, float, float]:
    """The view as a box with a detector's jitter lays it."""
    box = pose.box() + rng.normal(0, 0.012 * FACE_LONGEST, 4)
    side = float((box[2:] - box[:2]).max()) * VIEW_SIDES
    x, y = (box[:2] + box[2:]) / 2 - side / 2
    return float(x), float(y), side


def _points(square: tuple[float, float, float], count: int) -> FloatArray:
    x, y, side = square
    along = (np.arange(count, dtype=np.float32) + np.float32(0.5)) * np.float32(side / count)
    return np.stack(np.meshgrid(along + np.float32(x), along + np.float32(y)), axis=-1)


def _coded(view: FloatArray, rng: np.random.Generator) -> FloatArray:
    """Now and then with a codec's damage; levels about 0."""
    pixels = np.rint(np.clip(view, 0, 255)).astype(np.uint8)
    if rng.random() < 0.5:
        quality = int(rng.integers(60, 96))
        done = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
        decoded = cv2.imdecode(done, cv2.IMREAD_GRAYSCALE)
        assert decoded is not None
        pixels = np.asarray(decoded, np.uint8)
    return normal(pixels)


def normal(view: U8Array) -> FloatArray:
    """What the network sees."""
    levels = view.astype(np.float32)
    levels -= levels.mean()
    return np.asarray(levels / max(float(levels.std()), 8.0), np.float32)


def trained(minutes: float) -> MotionNet:
    """On one core, on people of the training side. Raises EngineError without their pictures."""
    torch.set_num_threads(1)
    torch.manual_seed(_SEED)
    rng = np.random.default_rng(_SEED)
    known = load_faces(faces_file(), held_out=False)
    faces = [np.asarray(known.picture(i)[0]) for i in rng.permutation(len(known))[:4000]]
    net = MotionNet()
    optimizer = torch.optim.AdamW(net.parameters(), lr=1e-3, weight_decay=1e-4)
    started, step, mean = time.monotonic(), 0, 0.0
    while (spent := (time.monotonic() - started) / (60 * minutes)) < 1:
        for group in optimizer.param_groups:
            group["lr"] = 2e-3 * min((step + 1) / 100, 1) * (0.02 + math.cos(spent * math.pi / 2))
        loss = _loss(net, [made_pair(faces, rng) for _ in range(_BATCH)])
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimizer.step()
        mean += (float(loss.detach()) - mean) / min(step + 1, 100)
        step += 1
        if step % 100 == 0:
            progress(f"network: step {step}, {spent:.0%} of the time, loss {mean:.3f} px")
    return net.eval()


def _loss(net: MotionNet, pairs: list[Pair]) -> Tensor:
    now = torch.from_numpy(np.stack([pair.now for pair in pairs])[:, None])
    before = torch.from_numpy(np.stack([pair.before for pair in pairs])[:, None])
    way = torch.from_numpy(np.stack([pair.way_px for pair in pairs])).permute(0, 3, 1, 2)
    weight = torch.from_numpy(np.stack([pair.weight for pair in pairs]))[:, None]
    total = torch.zeros(())
    for found, share in zip(net(now, before), (0.15, 0.3, 1.0), strict=True):
        by = _FINEST_PX // found.shape[2]
        truth = F.avg_pool2d(way, by) if by > 1 else way
        heavy = F.avg_pool2d(weight, by) if by > 1 else weight
        miss = torch.sqrt(((found - truth) ** 2).sum(dim=1, keepdim=True) + 1e-4)
        total = total + share * (heavy * miss).sum() / heavy.sum()
    return total


# --- use ---

Grid = Callable[[U8Array, U8Array], FloatArray]
"""Two views of 72 px, now and before, to (9, 9, 2) shares."""


def opened(net: MotionNet) -> tuple[str, Grid]:
    """On the faster of OpenVINO and torch, one thread; and which that is."""
    torch.set_num_threads(1)
    module = _Finest(net).eval()
    sample = torch.zeros(1, 1, VIEW_PX, VIEW_PX)
    model = openvino.convert_model(module, example_input=(sample, sample))
    for port in model.inputs:
        port.get_node().set_partial_shape(openvino.PartialShape([1, 1, VIEW_PX, VIEW_PX]))
    model.validate_nodes_and_infer_types()
    compiled = openvino.Core().compile_model(
        model, "CPU", {"INFERENCE_NUM_THREADS": 1, "INFERENCE_PRECISION_HINT": "f32"}
    )
    request = compiled.create_infer_request()

    def by_openvino(now: U8Array, before: U8Array) -> FloatArray:
        given = {0: normal(now)[None, None], 1: normal(before)[None, None]}
        return np.array(request.infer(given)[0][0], np.float32)

    def by_torch(now: U8Array, before: U8Array) -> FloatArray:
        with torch.inference_mode():
            given = (torch.from_numpy(normal(each)[None, None]) for each in (now, before))
            return np.asarray(module(*given)[0].numpy(), np.float32)

    blank = np.zeros((VIEW_PX, VIEW_PX), np.uint8)

    def seconds(grid: Grid) -> float:
        spans = []
        for _ in range(20):
            started = time.perf_counter()
            grid(blank, blank)
            spans.append(time.perf_counter() - started)
        return float(np.median(spans))

    both: dict[str, Grid] = {"OpenVINO": by_openvino, "torch": by_torch}
    name = min(both, key=lambda each: seconds(both[each]))
    return name, both[name]
