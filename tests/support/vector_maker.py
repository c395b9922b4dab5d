"""Writes the test vectors of `bauta/1`: python -m support.vector_maker, run from tests/.

Only where the format changes: tests read the committed files, and never make them. The same files
come out every time, as far as x264 and zlib are the same.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from itertools import chain
from typing import Any

import numpy as np

from pipeline.evidence.group_record import EntryKind
from pipeline.frames import MOTION_CELLS, Motion

from .vector_basics import basics
from .vector_epochs import Made, Plan, Readers, Sealed, made, tiles
from .vector_failures import altered_epochs, failures
from .vector_fields import described
from .vector_packages import packages
from .vector_seeds import FOLDER, Fields, b64, seeded

DPO = Readers("dpo", 1, ("dpo",))
FACE, MOTION, SCENE = EntryKind.FACE, EntryKind.MOTION, EntryKind.SCENE


def one_group() -> Plan:
    """Masks, a rectangle that changes its size, a video that goes on in the next group."""
    boxes = [(16, 8, 32, 24), (16, 8, 32, 24), (18, 10, 28, 24), (20, 10, 28, 24)]
    boxes += [(20, 12, 28, 24), (22, 12, 30, 20), (22, 12, 30, 20)]
    walker = tiles(boxes, [False, True, True, False, True, False, False])
    passer = tiles([(60, 30, 16, 16)] * 2, [False, False], shade=60)
    both = tiles([(30, 8, 18, 24)] * 2, [True, True], shade=90)
    return Plan(
        name="one_group",
        about="two people and where they overlap; either of two keys opens it",
        readers=(Readers("dpo", 1, ("dpo", "deputy")),),
        groups=(
            (
                8,
                (
                    Sealed(FACE, 5, (0, 1, 2, 3), tuple(walker[:4])),
                    Sealed(FACE, 7, (2, 7), tuple(passer)),
                    Sealed(SCENE, 5, (0, 1), tuple(both)),
                ),
            ),
            (3, (Sealed(FACE, 5, (0, 1, 2), tuple(walker[4:])),)),
        ),
        opens_with=(("dpo",), ("deputy",), ("stranger", "dpo")),
    )


def two_groups() -> Plan:
    """Detail keyframes: a face, and how it moved from there."""
    wild = np.frombuffer(seeded("grid", 2 * 2 * MOTION_CELLS**2), ">i2").astype(np.int16)
    slope = np.arange(2 * MOTION_CELLS**2, dtype=np.int16)
    shape = MOTION_CELLS, MOTION_CELLS, 2
    motions = (
        Motion(0, (-6, 10, 40), (-4, 12, 42), slope.reshape(shape)),
        Motion(0, (-6, 10, 40), (0, 14, 44), wild.reshape(shape)),
    )
    first = tiles([(0, 10, 34, 40)], [True])
    second = tiles([(40, 8, 24, 30)], [False], shade=60)
    scene = tiles([(30, 20, 12, 16)], [True], shade=90)
    return Plan(
        name="two_groups",
        about="a key of each of two groups is needed; detail keyframes; not the first epoch",
        detail="keyframes",
        site="Gare du Nord",
        camera="quai n° 3",
        sequence=7,
        previous_id=seeded("the epoch before", 16),
        previous_frames=50,
        readers=(DPO, Readers("police", 1, ("police",))),
        groups=(
            (
                4,
                (
                    Sealed(FACE, 1, (0,), tuple(first)),
                    Sealed(FACE, 2_000_000, (1,), tuple(second)),
                    Sealed(MOTION, 1, (1, 3), motions),
                    Sealed(SCENE, 1, (2,), tuple(scene)),
                ),
            ),
        ),
        ends=False,
        opens_with=(("dpo", "police"), ("police", "stranger", "dpo")),
    )


def threshold() -> Plan:
    """Two of three judges, and another group; lossless."""
    whole = tiles([(0, 0, 12, 16), (2, 0, 12, 16)], [False, False], lossless=True)
    judges = "judge_a", "judge_b", "judge_c"
    return Plan(
        name="threshold",
        about="two of three keys of one group and the other group's are needed; detail lossless",
        detail="lossless",
        readers=(DPO, Readers("juges – 1ʳᵉ chambre", 2, judges)),
        groups=((2, (Sealed(FACE, 9, (0, 1), tuple(whole)),)),),
        opens_with=(
            ("judge_a", "judge_b", "dpo"),
            ("judge_c", "dpo", "judge_a"),
            ("judge_c", "judge_b", "dpo"),
            ("judge_a", "judge_b", "judge_c", "dpo"),
        ),
    )


def sidecar(epoch: Made) -> bytes:
    """Each record where the stream has it: the key record first."""
    records = [epoch.record.encode(), *(group.encode() for group in epoch.groups)]
    lengths = (len(record).to_bytes(4, "big") for record in records)
    return b"bauta/1 sidecar\n" + b"".join(chain(*zip(lengths, records, strict=True)))


def write(name: str, fields: Fields) -> None:
    """One line for each case or short value, so that a change can be read."""
    (FOLDER / f"{name}.json").write_text(_laid_out(fields) + "\n", encoding="utf-8")


def _laid_out(value: Any, depth: int = 0) -> str:
    flat = json.dumps(value, ensure_ascii=False)
    if len(flat) + depth <= 200 or not isinstance(value, dict | list) or _is_short_inside(value):
        return flat
    inner = "\n" + " " * (depth + 1)
    if isinstance(value, dict):
        parts = [f"{json.dumps(key)}: {_laid_out(each, depth + 1)}" for key, each in value.items()]
        return "{" + inner + f",{inner}".join(parts) + "\n" + " " * depth + "}"
    parts = [_laid_out(each, depth + 1) for each in value]
    return "[" + inner + f",{inner}".join(parts) + "\n" + " " * depth + "]"


def _is_short_inside(value: dict[str, Any] | Sequence[Any]) -> bool:
    """A case of a failure, a row of a grid."""
    if isinstance(value, dict):
        return "do" in value
    return all(isinstance(each, int) for each in chain.from_iterable(_rows(value)))


def _rows(value: Sequence[Any]) -> Sequence[Sequence[Any]]:
    return [each if isinstance(each, list) else [each] for each in value]


def main() -> None:
    """Writes all of tests/vectors but identities.json and README.md."""
    epochs = {plan.name: made(plan) for plan in (one_group(), two_groups(), threshold())}
    for name, epoch in epochs.items():
        fields = described(epoch)
        if name == "threshold":
            fields["sidecar_base64"] = b64(sidecar(epoch))
        write(name, fields)
    altered = altered_epochs()
    write("basics", basics())
    write("packages", packages(epochs))
    write("altered_epochs", altered)
    write("failures", failures(epochs, altered))


if __name__ == "__main__":
    main()
