"""Do ids ever go from one person to another where two faces cross and one hides the other?

Made crossings, seeded: two faces with a detector's jitter, at walking and standing speeds, that
pass, meet and turn back, or go on together. The one behind is not found while the other hides it;
partly hidden it is found now and then, and any face is missed now and then. The real `Tracker` is
fed every `--every` frames, as the look-ahead window feeds it.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from benchmarks.report import Column, Report, add_output_options
from pipeline.frames import Detections, FaceBox, FloatArray
from pipeline.settings import DetectorSettings, ProtectSettings
from pipeline.track.tracker import Tracker

FPS = 25
SECONDS = 3.2
MEET_SECONDS = 1.5  # when they are at one place
# Speed in face sizes a second, to each side. A face is 0.15 m wide: somebody who walks past the
# camera moves by 9 of them a second, somebody who walks towards it by less than one.
SPEEDS = (0.0, 0.5, 1.0, 2.0, 4.0, 9.0)
KINDS = ("pass", "turn", "together")
TURN_FRAMES = 8  # nobody turns on the spot at full speed
JITTER = 0.03  # of the face size, standard deviation of each side of a found box
MISSED = 0.03  # share of looks that miss a face in full view
HIDDEN = 0.5  # covered share from which a face is never found
DIM = 0.2  # covered share from which it is found every second time, and weakly
SURE, WEAK = 0.9, 0.3
TRACE_CELLS = 16  # to a face: how finely a new face is traced back
COVERED = 0.95  # of the visible part of a face's box; a box that is a little off covers less
BARE = 0.5  # covered less than this it can be recognised
LEAST_VISIBLE = 0.2  # of its box: below that there is no face to cover
GRID = 12  # points to a side at which covering is checked
ROW = (
    Column("crossings", "crossings"),
    Column("swapped", "swapped"),
    Column("swapped_share", "swapped %", 2),
    Column("ids_per_person", "ids/person", 2),
    Column("face_frames", "face-frames"),
    Column("uncovered", "uncovered"),
    Column("uncovered_share", "uncovered %", 2),
    Column("bare", "bare"),
)


@dataclass(frozen=True, slots=True)
class Crossing:
    """Two people; [0] is in front. Paths are centres in px, one a frame."""

    kind: str
    size_px: tuple[float, float]
    centre_px: FloatArray = field(repr=False)  # (2, frames, 2)

    def boxes(self, frame: int) -> FloatArray:
        """(2, 4) true boxes."""
        half = np.array(self.size_px, np.float32)[:, None] / 2
        centre = self.centre_px[:, frame]
        return np.concatenate([centre - half, centre + half], axis=1).astype(np.float32)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What the tracker made of one crossing."""

    is_swapped: bool  # some id was given to both
    ids: int
    face_frames: int
    uncovered: int
    bare: int


def crossings(count: int, seed: int) -> Iterator[Crossing]:
    """The same for one seed; kinds and speeds in turn, the rest by chance."""
    rng = np.random.default_rng(seed)
    seconds = np.arange(round(SECONDS * FPS)) / FPS - MEET_SECONDS
    for number in range(count):
        kind = KINDS[number % len(KINDS)]
        front = float(np.exp(rng.uniform(np.log(16), np.log(200))))
        size = (front, front * float(rng.uniform(0.7, 1.0)))
        speed = [float(rng.choice(SPEEDS)) * float(rng.uniform(0.8, 1.2)) for _ in range(2)]
        if max(speed) < 0.4:
            speed[1] = float(rng.uniform(0.5, 9.0))  # somebody has to come along
        scale = np.array(size) / front
        away = np.zeros((2, len(seconds), 2))
        side = float(rng.choice((-1, 1)))
        away[0, :, 0] = -side * speed[0] * seconds
        away[1, :, 0] = side * speed[1] * seconds
        away[1, :, 1] = rng.uniform(-0.3, 0.3)  # people are not of one height
        first = int(np.argmax(seconds >= float(rng.uniform(-0.1, 0.3))))
        stay = round(float(rng.uniform(0.3, 1.2)) * FPS)
        if kind == "turn":  # the one behind goes back, unseen
            away[1, first:, 0] = 2 * away[1, first, 0] - away[1, first:, 0]
        elif kind == "together":  # or goes along for a while, and then to either side
            last = min(first + stay, len(seconds) - 1)
            away[1, first:, 0] = away[1, first, 0] + (away[0, first:, 0] - away[0, first, 0])
            aside = float(rng.choice((-1, 1))) * speed[1] * (seconds[last:] - seconds[last])
            away[1, last:, 0] = away[1, last, 0] + aside
        away *= scale[:, None, None]
        away[1, :, 0] = _smooth(away[1, :, 0], TURN_FRAMES)
        yield Crossing(kind, size, (away * front + (2000.0, 1000.0)).astype(np.float32))


def _smooth(values: npt.NDArray[np.float64], width: int) -> npt.NDArray[np.float64]:
    padded = np.pad(values, width // 2, mode="reflect", reflect_type="odd")
    return np.convolve(padded, np.ones(width + 1) / (width + 1), mode="valid")[: len(values)]


def run(crossing: Crossing, every: int, rng: np.random.Generator) -> Outcome:
    """One crossing through the tracker."""
    settings, detector = ProtectSettings(), DetectorSettings()
    tracker = Tracker(
        sure_score=detector.sure_score,
        hold_frames=round(settings.hold * FPS),
        back_frames=max(settings.lookahead, every),
    )
    owners: dict[int, set[int]] = {}
    covered: list[float] = []  # share of each face that is to be seen, frame by frame
    for look in range(0, crossing.centre_px.shape[1], every):
        found, people = _look(crossing, look, rng)
        for track in tracker.update(found, look):
            track.lead_in(_traced(crossing, look, every - 1, track.last.box_xyxy_px))
        for box in tracker.boxes_at(look):
            for person, seen in zip(people, found.box_xyxy_px, strict=True):
                if box.slack_px == 0 and np.array_equal(box.box_xyxy_px, seen):
                    owners.setdefault(box.track_id, set()).add(person)
        for frame in range(max(look - every + 1, 0), look + 1):
            covered += _covered(crossing, frame, tracker.boxes_at(frame))
        tracker.forget_before(look + 1)
    swapped = any(len(who) > 1 for who in owners.values())
    return Outcome(
        swapped,
        tracker.next_id - 1,
        face_frames=len(covered),
        uncovered=sum(share < COVERED for share in covered),
        bare=sum(share < BARE for share in covered),
    )


def _hidden_share(boxes: FloatArray) -> float:
    """How much of the one behind is covered by the one in front."""
    top_left = np.maximum(boxes[0, :2], boxes[1, :2])
    overlap = np.clip(np.minimum(boxes[0, 2:], boxes[1, 2:]) - top_left, 0, None).prod()
    return float(overlap / (boxes[1, 2:] - boxes[1, :2]).prod())


def _look(crossing: Crossing, frame: int, rng: np.random.Generator) -> tuple[Detections, list[int]]:
    """What the detector says, and whose each box is."""
    boxes = crossing.boxes(frame)
    hidden = (0.0, _hidden_share(boxes))
    rows, scores, people = [], [], []
    for person in (0, 1):
        # as many draws for every face: one more found must not change all that follows
        noise = rng.normal(0, JITTER, 4) * crossing.size_px[person]
        chance, dim = float(rng.random()), hidden[person] >= DIM
        if hidden[person] < HIDDEN and chance >= (0.5 if dim else MISSED):
            rows.append(boxes[person] + noise)
            scores.append(WEAK if dim else SURE)
            people.append(person)
    count = len(rows)
    return (
        Detections(
            np.array(rows, np.float32).reshape(count, 4),
            np.full((count, 5, 2), np.nan, np.float32),
            np.array(scores, np.float32),
        ),
        people,
    )


def _traced(crossing: Crossing, look: int, frames: int, found: FloatArray) -> list[FloatArray]:
    """Where a new face was before, as far as it shows: what `trace_back` finds in the pictures."""
    now = crossing.boxes(look)
    person = int(np.abs(now - found).sum(axis=1).argmin())
    earlier: list[FloatArray] = []
    for frame in range(look - 1, max(look - frames, 0) - 1, -1):
        boxes = crossing.boxes(frame)
        if person and _hidden_share(boxes) >= DIM:
            break
        step = crossing.size_px[person] / TRACE_CELLS
        moved = np.rint((boxes[person] - now[person]) / step) * step
        earlier.append((found + moved).astype(np.float32))
    return earlier


def _covered(crossing: Crossing, frame: int, covering: list[FaceBox]) -> list[float]:
    """Of each face that is to be seen: the covered share of its visible part."""
    boxes = crossing.boxes(frame)
    steps = (np.arange(GRID, dtype=np.float32) + 0.5) / GRID
    shares = []
    for person in (0, 1):
        x1, y1, x2, y2 = boxes[person]
        x, y = np.meshgrid(x1 + steps * (x2 - x1), y1 + steps * (y2 - y1))
        shows = ~_inside(x, y, boxes[0], 0.0) if person else np.ones(x.shape, np.bool_)
        if shows.mean() < LEAST_VISIBLE:
            continue
        hidden = np.zeros(x.shape, np.bool_)
        for box in covering:
            hidden |= _inside(x, y, box.box_xyxy_px, box.slack_px)
        shares.append(float(hidden[shows].mean()))
    return shares


def _inside(
    x: FloatArray, y: FloatArray, box_xyxy_px: FloatArray, slack_px: float
) -> npt.NDArray[np.bool_]:
    x1, y1, x2, y2 = box_xyxy_px + np.array([-1, -1, 1, 1], np.float32) * slack_px
    return np.asarray((x >= x1) & (x < x2) & (y >= y1) & (y < y2), np.bool_)


def measure(count: int, every: int, seed: int) -> list[dict[str, str | float | int]]:
    """A row for each kind of crossing, and one for all."""
    rng = np.random.default_rng(seed + 1)
    outcomes: dict[str, list[Outcome]] = {kind: [] for kind in KINDS}
    for crossing in crossings(count, seed):
        outcomes[crossing.kind].append(run(crossing, every, rng))
    outcomes["all"] = [each for several in outcomes.values() for each in several]
    return [_row(name, several) for name, several in outcomes.items()]


def _row(name: str, several: list[Outcome]) -> dict[str, str | float | int]:
    swapped = sum(each.is_swapped for each in several)
    frames = sum(each.face_frames for each in several)
    uncovered = sum(each.uncovered for each in several)
    return {
        "kind": name,
        "crossings": len(several),
        "swapped": swapped,
        "swapped_share": 100 * swapped / max(len(several), 1),
        "ids_per_person": sum(each.ids for each in several) / 2 / max(len(several), 1),
        "face_frames": frames,
        "uncovered": uncovered,
        "uncovered_share": 100 * uncovered / max(frames, 1),
        "bare": sum(each.bare for each in several),
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """The rows of one run."""
    parser = argparse.ArgumentParser(prog="bauta bench crossings", description=__doc__)
    parser.add_argument("--crossings", type=int, default=3000, metavar="N")
    parser.add_argument("--every", type=int, default=4, metavar="FRAMES", help="frames per look")
    parser.add_argument("--seed", type=int, default=1)
    add_output_options(parser)
    options = parser.parse_args(arguments)
    report = Report(
        "crossings",
        (Column("kind", "kind"), *ROW),
        {"crossings": options.crossings, "every": options.every, "seed": options.seed},
    )
    report.rows += measure(options.crossings, options.every, options.seed)
    report.finish(as_json=options.json, save_as=options.save_as)
    return 0


if __name__ == "__main__":
    sys.exit(main())
