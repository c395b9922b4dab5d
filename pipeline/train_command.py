"""`bauta train`: a fusion network from a zip of faces, resumable, with its curve as a picture."""

from __future__ import annotations

import argparse
import re
import sys
from functools import partial
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from engines import EngineError
from engines.bands import U8, BandLayout
from engines.fusion import FusionSpec

from .encode.round_trip import code
from .errors import BautaError, UsageError
from .frames import YuvPlanes
from .protect.obfuscate import obfuscate
from .runtime.signals import stop_signals

if TYPE_CHECKING:
    from engines.train.loop import TrainSettings
    from engines.train.obfuscators import Obfuscator, Picture

SAVE_EVERY_STEPS = 200
CODEC_CRF = (8, 30)  # qualities that the codec channel draws from


def train(options: argparse.Namespace) -> int:
    """Train until the steps are done or a signal comes; the checkpoint is always whole."""
    try:
        import torch

        from engines.export.to_onnx import export
        from engines.train import checkpoint as checkpoints
        from engines.train.curve import draw_curve
        from engines.train.data import load_faces
        from engines.train.loop import StepReport, Training
    except ImportError as error:
        raise UsageError(f"training needs PyTorch: pip install 'bauta[train]' ({error})") from None
    spec, settings = recipe_of(options)
    if options.device.startswith("cuda") and not torch.cuda.is_available():
        raise UsageError("--device cuda: PyTorch sees no CUDA device; leave it out to use the CPU")
    if options.threads:
        torch.set_num_threads(options.threads)
    try:
        faces = load_faces(options.data, held_out=False)
        training = Training(
            spec,
            settings,
            faces,
            obfuscators(),
            codec=codec_batch,
            device=options.device,
        )
        path = options.out / "checkpoint.safetensors"
        if path.exists() and not options.fresh:
            training.resume(checkpoints.load(path))
        elif options.start_from is not None:
            training.resume(checkpoints.load(options.start_from), weights_only=True)
        console = Console(stderr=True)
        parameters = sum(p.numel() for p in training.net.parameters())
        console.print(
            f"{spec.name}: {parameters:,} parameters, "
            f"{len(faces):,} faces of {len(set(faces.identities)):,} people, from step "
            f"{training.step} of {settings.steps}, on {options.device}",
            highlight=False,
        )
        with _progress(console) as bar, stop_signals(_say_when) as stopped:
            task = bar.add_task("training", total=settings.steps, completed=training.step)
            shown = {"text": ""}

            def watch(report: StepReport) -> None:
                wrong = "" if report.wrong_db is None else f", wrong {report.wrong_db:.1f}"
                shown["text"] = (
                    f"protected {report.protected_db:.1f} dB, recovered {report.recovered_db:.1f}"
                    f"{wrong}"
                )
                bar.update(task, completed=report.step, description=shown["text"])

            while training.step < settings.steps and not stopped:
                training.run(training.step + SAVE_EVERY_STEPS, watch)
                training.save(path)
                draw_curve(training.history, options.out / "curve.png", spec.name)
                if not console.is_terminal:
                    console.print(f"step {training.step}: {shown['text']}", highlight=False)
        shipped = export(checkpoints.load_model(path)[1], options.out / "model")
    except EngineError as error:
        raise BautaError(str(error)) from error
    print(f"{path}: step {training.step} of {settings.steps}")
    for part, digest in shipped.items():
        print(f"{options.out / 'model' / part}.onnx: sha256 {digest}")
    return 0 if training.step >= settings.steps else 1


def recipe_of(options: argparse.Namespace) -> tuple[FusionSpec, TrainSettings]:
    """A model's dimensions and the settings that train it. Raises UsageError."""
    from engines.train.loop import TrainSettings

    if options.recipe not in SPECS:
        raise UsageError(f"unknown net {options.recipe!r}; known: {', '.join(SPECS)}")
    if options.device != "cpu" and not re.fullmatch(r"cuda(:\d+)?", options.device):
        raise UsageError(f"--device must be cpu or cuda, got {options.device!r}")
    for key in ("steps", "batch", "rate"):
        if (value := getattr(options, key)) is not None and not 0 < value < float("inf"):
            raise UsageError(f"--{key} must be above 0, got {value}")
    given = {
        key: getattr(options, key)
        for key in ("steps", "batch", "seed", "rate")
        if getattr(options, key) is not None
    }
    return SPECS[options.recipe], TrainSettings(**{**SETTINGS[options.recipe], **given})


_VIDEO = BandLayout("yuv420", 2)
_PAPER = BandLayout("rgb", 1)
SPECS = {
    spec.name: spec
    for spec in (
        FusionSpec(
            "proface-s-light", _VIDEO, "randwr", False, True, 8, 3, restore_width=48, carries="face"
        ),
        FusionSpec(
            "proface-s-obfswr", _VIDEO, "obfswr", False, True, growth=8, depth=3, restore_width=48
        ),
        FusionSpec(
            "proface-s-video", _VIDEO, "randwr", False, True, 8, 3, restore_width=48, carries="face"
        ),
        FusionSpec("proface-s-rgb", _PAPER, "randwr", True, False, growth=16, depth=3),
        FusionSpec("proface-s-paper", _PAPER, "randwr", True, False, growth=32, depth=3),
    )
}
"""docs/fusion.md says what each is for; the last has the paper's 1.07 M parameters."""

SETTINGS: dict[str, dict[str, Any]] = {
    "proface-s-light": {"steps": 7000, "protected_db": 42.5, "first_protected_db": 36.0},
    "proface-s-obfswr": {"steps": 4000, "protected_db": 38.8, "first_protected_db": 32.0},
    "proface-s-video": {
        "steps": 8000,
        "protected_db": 32.5,
        "first_protected_db": 28.5,
        "recover_floor": 8.0,
        "noise": 8.0,
        "codec_share": 0.6,
    },
    "proface-s-rgb": {"steps": 4000},
    "proface-s-paper": {"steps": 60000, "batch": 12},
}


def obfuscators() -> list[Obfuscator]:
    """The paper's filters and the product's own, drawn from with equal chance."""
    from engines.train.obfuscators import PAPER_KINDS, paper_obfuscate

    def paper(kind: str, face: Picture, rng: np.random.Generator) -> Picture:
        y, u, v = face
        return paper_obfuscate(y, u, v, kind, rng)

    def product(name: str, face: Picture, rng: np.random.Generator) -> Picture:
        y, u, v = (np.ascontiguousarray(plane) for plane in face)
        hidden = obfuscate(YuvPlanes(y, u, v), name, float(rng.uniform(0.1, 0.35)) * y.shape[1])
        return hidden.y, hidden.u, hidden.v

    return [
        *(partial(paper, kind) for kind in PAPER_KINDS),
        *(partial(product, name) for name in ("pixelate", "median", "solid", "mask")),
    ]


def codec_batch(planes: tuple[U8, ...], rng: np.random.Generator) -> tuple[U8, ...]:
    """A batch of 4:2:0 faces, side by side in one picture, through x264 or x265 and back.

    Half of the time as a P-frame after a smoothed picture: a keyframe that a track begins with.
    """
    luma, chroma = planes
    mosaic = YuvPlanes(
        np.concatenate(luma[:, 0], axis=1),
        np.concatenate(chroma[:, 0], axis=1),
        np.concatenate(chroma[:, 1], axis=1),
    )
    pictures = [mosaic]
    if rng.random() < 0.5:
        pictures.insert(0, _smoothed(mosaic))
    encoder = "libx265" if rng.random() < 0.2 else "libx264"
    decoded, _ = code(pictures, encoder=encoder, crf=int(rng.integers(*CODEC_CRF)))
    back = decoded[-1]
    count = len(luma)
    return (
        np.stack(np.split(back.y, count, axis=1))[:, None],
        np.stack(
            [
                np.stack(pair)
                for pair in zip(np.split(back.u, count, 1), np.split(back.v, count, 1), strict=True)
            ]
        ),
    )


def _smoothed(picture: YuvPlanes) -> YuvPlanes:
    y, u, v = (
        np.asarray(cv2.blur(plane, (size, size)), np.uint8)
        for plane, size in ((picture.y, 15), (picture.u, 7), (picture.v, 7))
    )
    return YuvPlanes(y, u, v)


def _say_when() -> None:
    print("stopping after this round; the checkpoint will be whole", file=sys.stderr)


def _progress(console: Console) -> Progress:
    return Progress(
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.description}"),
        TimeRemainingColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )
