"""Anything may go wrong in any order: no frame that comes out shows a face."""

from __future__ import annotations

import random
import threading
from pathlib import Path

import pytest

from pipeline.frames import Detections
from support.asserts import assert_faces_hidden
from support.clips import Clip, decode_all, luma, make_clip
from support.flow import LossySource, is_curtain, pictures_of, run_file, truth_service

ROUNDS = 8
TIMEOUT_S = 0.4


@pytest.fixture(scope="module")
def crowd(clip_dir: Path) -> Clip:
    """Two faces that come, move and go."""
    return make_clip(
        clip_dir / "crowd.mp4", frames=80, faces=2, face_px=56, enter_at=9, leave_at=66
    )


@pytest.mark.slow
@pytest.mark.untimed
@pytest.mark.parametrize("seed", range(ROUNDS))
def test_no_order_of_faults_uncovers_a_face(seed: int, crowd: Clip, tmp_path: Path) -> None:
    random_ = random.Random(seed)
    release = threading.Event()

    def fault(run: int, found: list[Detections]) -> list[Detections]:
        kind = random_.choices(
            ["ok", "raises", "slow", "hangs", "miscounts"], weights=[60, 16, 12, 2, 10]
        )[0]
        if kind == "raises":
            raise RuntimeError(f"run {run}")
        if kind == "slow":
            release.wait(random_.uniform(0.01, 0.1))
        if kind == "hangs":
            release.wait(TIMEOUT_S * 2)
        return found[1:] if kind == "miscounts" else found

    detect_every = random_.choice([1, 2, 4, 6])
    window = {
        "detect_every": detect_every,
        "lookahead": detect_every - 1 + random_.randrange(3),
        "obfuscation": random_.choice(["pixelate", "solid", "median", "noise"]),
        "gate": random_.random() < 0.5,
    }
    lost: set[int] = set()
    for _ in range(random_.randrange(3)):
        first = random_.randrange(5, 70)
        lost |= set(range(first, first + random_.randrange(1, 15)))
    source = LossySource(crowd, lost)
    out = tmp_path / "out.mkv"
    try:
        with truth_service(crowd, fault, timeout_s=TIMEOUT_S) as service:
            session = run_file(
                service,
                crowd,
                out,
                protect=window,
                detector={"timeout": TIMEOUT_S},
                open_source=lambda _: source,
            )
    finally:
        release.set()
    before, after = [luma(frame) for frame in decode_all(crowd.path)], pictures_of(out)
    assert len(after) == len(source.kept)
    fallen = 0
    for index, shown in zip(source.kept, after, strict=True):
        if is_curtain(shown):
            fallen += 1
            continue
        where = f"seed {seed} {window}, frame {index}"
        assert_faces_hidden(before[index], shown, crowd.truth[index], where=where)
    assert fallen == sum(session.gate.redactions.values())
