"""Whom the attacker looks for: galleries of known people, other pictures of them to be protected,
and many people of neither, on whom an attack is learned.

Aligned crops of 112 px, RGB. Where something was trained (the restoration, keyed protectors), the
people are held out (engines/train/split.py); where nothing was, everybody of LFW is asked for.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import cv2
import numpy as np
from numpy.typing import NDArray

from engines import EngineError
from engines.train.data import FACE_PX, FaceSet, load_faces

from . import _fusion
from ._flow_scenes import HALF_PX, _portrait
from ._similarity import U8

PICTURES = 3  # of a held-out person at most are protected; the first of everybody come first
FACE_SHARE = (
    2 * float(np.sqrt(HALF_PX[0] * HALF_PX[1])) / FACE_PX
)  # size of a face / side of a crop
_MADE_PEOPLE = 24  # without the test data
_MADE_OTHERS = 160


@dataclass(frozen=True, slots=True)
class Lineup:
    """Galleries of `each` people, disjoint, and who is looked for in his own one."""

    known: U8 = field(repr=False)  # (galleries * each, 112, 112, 3)
    probes: U8 = field(repr=False)  # (P, 112, 112, 3) other pictures than the galleries'
    owner: NDArray[np.int64] = field(repr=False)  # (P,) whom of `known` a probe shows
    each: int

    @property
    def galleries(self) -> int:
        """How many."""
        return len(self.known) // self.each

    def part(self, galleries: int, probes_of_one: int = PICTURES) -> Lineup:
        """The first galleries, and so many probes of everybody at most."""
        end = galleries * self.each
        turn: dict[int, int] = {}
        kept = []
        for index, owner in enumerate(self.owner.tolist()):
            turn[owner] = turn.get(owner, 0) + 1
            if owner < end and turn[owner] <= probes_of_one:
                kept.append(index)
        return Lineup(self.known[:end], self.probes[kept], self.owner[kept], self.each)


@dataclass(frozen=True, slots=True)
class People:
    """All that take part."""

    everybody: Lineup = field(repr=False)  # one probe each
    held_out: Lineup = field(repr=False)  # one gallery
    others: U8 = field(repr=False)  # (M, 112, 112, 3) none of them is held out
    source: str


def find_people(gallery: int, galleries: int, others: int, seed: int) -> tuple[People, str | None]:
    """People of LFW, or made ones and a note."""
    try:
        path = _fusion.faces_file()
    except EngineError as error:
        note = f"{_MADE_PEOPLE} made people, warped out of one portrait: {error}"
        return made_people(min(gallery, _MADE_PEOPLE), min(others, _MADE_OTHERS), seed), note
    held_out, learned = (load_faces(path, held_out=held_out) for held_out in (True, False))
    rng = np.random.default_rng([seed, 1])
    unknown = _lineup(held_out, rng, gallery, probes_of_one=PICTURES)
    both = FaceSet(
        np.concatenate([held_out.i420, learned.i420]),
        held_out.identities + learned.identities,
        held_out.source,
        held_out.sha256,
    )
    everybody = _lineup(both, rng, gallery, galleries=galleries, probes_of_one=1)
    chosen = rng.permutation(len(learned))[:others]
    found = People(
        everybody, unknown, _rgb([learned.i420[index] for index in chosen]), held_out.source
    )
    return found, None


def _lineup(
    faces: FaceSet,
    rng: np.random.Generator,
    each: int,
    *,
    probes_of_one: int,
    galleries: int | None = None,
) -> Lineup:
    """One gallery, filled up with people of one picture; or as many full ones as there are."""
    by_person: dict[str, list[int]] = {}
    for index in rng.permutation(len(faces)):
        by_person.setdefault(faces.identities[index], []).append(int(index))
    people = sorted(by_person.values(), key=lambda pictures: len(pictures) < 2)
    if galleries is not None:
        sought = [pictures for pictures in people if len(pictures) > 1]
        each = min(each, len(sought))
        people = sought[: each * min(galleries, len(sought) // max(each, 1))]
    else:
        people = people[:each]
        each = len(people)
    probes = [
        (pictures[turn], person)
        for turn in range(1, probes_of_one + 1)
        for person, pictures in enumerate(people)
        if len(pictures) > turn
    ]
    if len(probes) < 2:
        raise EngineError(f"{faces.source}: too few people with two pictures")
    return Lineup(
        _rgb([faces.i420[pictures[0]] for pictures in people]),
        _rgb([faces.i420[index] for index, _ in probes]),
        np.array([person for _, person in probes]),
        each,
    )


def _rgb(pictures: list[U8]) -> U8:
    found = [cv2.cvtColor(each, cv2.COLOR_YUV2RGB_I420) for each in pictures]
    return np.stack(found).astype(np.uint8, copy=False)


# --- without the test data ---


def made_people(gallery: int, others: int, seed: int) -> People:
    """Two pictures each of people who differ by a smooth warp of one portrait and by their skin."""
    rng = np.random.default_rng([seed, 2])
    pairs = [_made_pair(rng) for _ in range(gallery)]
    lineup = Lineup(
        np.stack([first for first, _ in pairs]),
        np.stack([second for _, second in pairs]),
        np.arange(gallery),
        gallery,
    )
    unlike = np.stack([_made_pair(rng)[0] for _ in range(others)])
    return People(lineup, lineup, unlike, "scikit-image's astronaut")


def _made_pair(rng: np.random.Generator) -> tuple[U8, U8]:
    bend = rng.normal(0, 5.0, (4, 4, 2)).astype(np.float32)  # px: who it is
    skin = rng.uniform(0.6, 1.1) * (1 + rng.normal(0, 0.06, 3))
    pictures = []
    for _ in range(2):
        # the day: a nod, a step, the light
        moved = bend + rng.normal(0, 0.8, (4, 4, 2)).astype(np.float32) + rng.normal(0, 1.5, 2)
        flow = cv2.resize(moved.astype(np.float32), (FACE_PX, FACE_PX), None, 0, 0, cv2.INTER_CUBIC)
        ys, xs = np.mgrid[:FACE_PX, :FACE_PX].astype(np.float32)
        warped = cv2.remap(
            _portrait(0),
            xs + flow[..., 0],
            ys + flow[..., 1],
            cv2.INTER_LINEAR,
            borderMode=cv2.BORDER_REPLICATE,
        )
        lit = warped * skin * rng.uniform(0.85, 1.1) + rng.normal(0, 2, warped.shape)
        pictures.append(np.clip(lit, 0, 255).astype(np.uint8))
    return pictures[0], pictures[1]


# --- sizes ---


def shrunk(pictures: U8, size_px: float) -> U8:
    """As a camera sees faces of that size, enlarged again for the recognizer."""
    side = max(2, round(size_px / FACE_SHARE))
    found = [
        cv2.resize(
            cv2.resize(each, (side, side), interpolation=cv2.INTER_AREA),
            (FACE_PX, FACE_PX),
            interpolation=cv2.INTER_CUBIC,
        )
        for each in pictures
    ]
    return np.stack(found).astype(np.uint8, copy=False)
