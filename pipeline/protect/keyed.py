"""The overlay of a keyed protector: fused keyframes, and what is carried along between them.

What `choose.py` made hides every face already and lies below. Whatever fails in here, a face keeps
that plain obfuscation in this frame.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from ..frames import Doubt, FaceBox, FacePatch, FrameMoment, YuvPlanes
from .fuse import FaceFusion, Waiting
from .propagate import Propagation


class Policy(Waiting, Protocol):
    """Which faces are due for a keyframe: `track/keyframe.py`."""

    reasons: Counter[str]

    def due(
        self, faces: Sequence[FaceBox], moment: FrameMoment, doubts: Mapping[int, Doubt]
    ) -> list[FaceBox]:
        """The longest waiting first."""
        ...


@dataclass(frozen=True, slots=True)
class KeyedCounts:
    """What became of the faces, frame by frame; for status lines."""

    fused: int = 0
    not_fused: Mapping[str, int] = field(default_factory=dict)  # due, by reason why not
    keyframes: Mapping[str, int] = field(default_factory=dict)  # became due, by reason
    carried: int = 0
    not_carried: Mapping[str, int] = field(default_factory=dict)  # let go, by reason


class KeyedProtection:
    """One session's `Overlay` of the gate. Used by one thread."""

    def __init__(self, policy: Policy, fusion: FaceFusion, propagation: Propagation) -> None:
        self._policy = policy
        self._fusion = fusion
        self._propagation = propagation

    def __call__(
        self,
        planes: YuvPlanes,
        faces: Sequence[FaceBox],
        patches: Sequence[FacePatch],
        moment: FrameMoment,
    ) -> list[FacePatch]:
        """Patches to lie over `patches`; reads `planes`, which are untouched, writes nothing."""
        # what is merely held or weak is hidden, but there may be no face to fuse, or another one's
        seen = [face for face in faces if face.is_found]
        carried, doubts = self._propagation.carry(planes, seen, patches, moment)
        due = self._policy.due(seen, moment, doubts)
        held = {face.track_id for face in faces if not face.is_found}
        fused = self._fusion.fuse(planes, due, patches, moment, held)
        made: list[FacePatch] = []
        for each in fused:
            carried.pop(each.face.track_id, None)
            self._propagation.start(each, planes, seen, moment)
            made += [each.ring, each.square]
        return [*carried.values(), *made]

    def forget(self) -> None:
        """The stream pauses: nothing of an original stays in memory."""
        self._propagation.forget()

    @property
    def counts(self) -> KeyedCounts:
        """Since the session began."""
        flow = self._propagation
        not_carried = Counter(flow.doubts)
        if flow.too_slow:
            not_carried["too slow"] = flow.too_slow
        return KeyedCounts(
            self._fusion.fused,
            dict(self._fusion.not_fused),
            dict(self._policy.reasons),
            flow.carried,
            dict(not_carried),
        )
