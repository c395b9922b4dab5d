"""The attacks, in the order in which they are worth their time: networks that are fast first.

Fast recognizers see all galleries; slow ones the first, one probe of a person, and the settings
that decide. Surroundings are judged in fewer galleries than faces.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, partial

from ._recognizers import Recognizer
from ._reid_judge import Found, Judge
from ._reid_people import Lineup, People, shrunk
from ._reid_protect import DEFAULT, STRENGTHS, UNSCALED, Protector, Setting, region_alone
from ._reid_restore import Restorer, Target
from ._reid_tables import CLEAR, SHEET_FACES, Results, size_row
from ._similarity import U8

SLOW = ("dlib",)
WHOLE_GALLERIES = 2  # 400 people: what surroundings tell is a larger share
SLOW_STRENGTHS = {"pixelate": (DEFAULT.strength, 1.0), "noise": (DEFAULT.strength,)}
LEARNED_STRENGTHS = (STRENGTHS[0], DEFAULT.strength)
MOVING = ("pixelate",)  # other obfuscations say no more in several frames than in one

Stage = tuple[str, Callable[[], None]]
"""A name for people, and what is done."""


def decides(setting: Setting) -> bool:
    """Slow recognizers see these alone."""
    if setting.obfuscation in UNSCALED:
        return True
    return setting.strength in SLOW_STRENGTHS.get(setting.obfuscation, ())


def has_whole(setting: Setting) -> bool:
    """Surroundings are the same behind every strength: one is enough."""
    return setting.strength in (None, DEFAULT.strength)


def targets_of(settings: Sequence[Setting], frames: int) -> list[Target]:
    """What restoration is learned for: one frame of each, and several where that says more.

    Not for what leaves nothing of the face: there is nothing to learn from. But a keyed protector's
    texture is made of the face, whatever it lies over. Where strength is more than the default's,
    less is left. Noise leaves its mean, whatever the strength.
    """
    kept = [each for each in settings if each.model is not None or _leaves_something(each)]
    moving = [each for each in kept if each.obfuscation in MOVING and each.model is None]
    return [Target(each) for each in kept] + [Target(each, frames) for each in moving if frames > 1]


def _leaves_something(setting: Setting) -> bool:
    if setting.strength is None:
        return False
    is_noise = setting.obfuscation == "noise"
    return setting.strength in ((DEFAULT.strength,) if is_noise else LEARNED_STRENGTHS)


@dataclass(frozen=True, slots=True)
class View:
    """A line-up as the attacker sees it: the regions alone, or the whole crops."""

    lineup: Lineup = field(repr=False)  # clear
    judge: Judge = field(repr=False)
    alone: bool

    @classmethod
    def of(cls, lineup: Lineup, recognizers: Sequence[Recognizer], *, alone: bool) -> View:
        """Looks at the clear pictures."""
        shown = _alone(lineup) if alone else lineup
        return cls(shown, Judge(shown, recognizers), alone)

    def find(self, hidden: Lineup) -> dict[str, list[Found]]:
        """By recognizer, what was made of the same people: among clear pictures, and as hidden."""
        lineup = hidden.part(self.lineup.galleries)
        shown = _alone(lineup) if self.alone else lineup
        return {
            each.name: self.judge.find(shown.probes, each, [None, shown.known])
            for each in self.judge.recognizers
        }

    def find_clear(self) -> dict[str, list[Found]]:
        """By recognizer: the control."""
        return {
            each.name: self.judge.find(self.lineup.probes, each) for each in self.judge.recognizers
        }


def _alone(lineup: Lineup) -> Lineup:
    return replace(lineup, known=region_alone(lineup.known), probes=region_alone(lineup.probes))


class Attacker:
    """Everything that recognizers of one speed are tried on."""

    def __init__(
        self,
        people: People,
        recognizers: Sequence[Recognizer],
        options: argparse.Namespace,
        results: Results,
        *,
        is_slow: bool,
    ) -> None:
        self._people, self._recognizers, self._options = people, recognizers, options
        self._results, self._is_slow = results, is_slow

    def stages(
        self, settings: Sequence[Setting], restorer: Callable[[], Restorer]
    ) -> Iterator[Stage]:
        """One after the other."""
        options = self._options
        if not self._recognizers:
            return
        if self._is_slow:
            settings = [each for each in settings if decides(each)]
        yield CLEAR, self._clear
        if {"naive", "parrot"} & set(options.attacks):
            for setting in settings:
                yield setting.name, partial(self._hidden, setting)
        for size_px in () if self._is_slow else options.sizes:
            yield f"clear faces of {size_px} px", partial(self._small, size_px)
        if "restored" in options.attacks:
            for target in targets_of(settings, options.frames):
                yield f"restored {target.name}", partial(self._restored, target, restorer)

    @cached_property
    def _everybody(self) -> Lineup:
        return self._seen_of(self._people.everybody)

    @cached_property
    def _held_out(self) -> Lineup:
        return self._seen_of(self._people.held_out)

    def _seen_of(self, lineup: Lineup) -> Lineup:
        return lineup.part(1, probes_of_one=1) if self._is_slow else lineup

    @cached_property
    def _views(self) -> dict[bool, list[View]]:
        """Of everybody and, keyed True, of held-out people: regions, and fewer whole crops.

        Slow recognizers see no whole crops.
        """
        found = {}
        for is_held_out, lineup in ((False, self._everybody), (True, self._held_out)):
            found[is_held_out] = [View.of(lineup, self._recognizers, alone=True)]
            if not self._is_slow:
                whole = lineup.part(WHOLE_GALLERIES)
                found[is_held_out].append(View.of(whole, self._recognizers, alone=False))
        return found

    def _clear(self) -> None:
        views = self._views[False]
        region, *whole = (view.find_clear() for view in views)
        for name in region:
            self._results.add(CLEAR, "naive", region[name][0], *(each[name][0] for each in whole))
        self._show(CLEAR, views[0].lineup.probes)

    def _hidden(self, setting: Setting) -> None:
        """Naive and parrot. Keyed protectors were trained: only held-out people for them."""
        options = self._options
        lineup = self._everybody if setting.model is None else self._held_out
        views = self._views[setting.model is not None]
        if not has_whole(setting):
            views = views[:1]
        protector = Protector(setting, crop_px=options.crop_px, seed=options.seed)
        hidden = replace(
            lineup, probes=protector.hide(lineup.probes), known=protector.hide(lineup.known)
        )
        found = [view.find(hidden) for view in views]
        for recognizer in found[0]:
            seen = zip(*(each[recognizer] for each in found), strict=True)
            for attack, (alone, *whole) in zip(("naive", "parrot"), seen, strict=True):
                if attack in options.attacks:
                    self._results.add(setting.name, attack, alone, whole[0] if whole else None)
        self._show(setting.name, region_alone(hidden.probes[:SHEET_FACES]))

    def _show(self, title: str, pictures: U8) -> None:
        if not self._is_slow:
            self._results.show(title, pictures)

    def _small(self, size_px: int) -> None:
        """Unprotected, enlarged again: whole crops, as nobody covers what is beside them."""
        judge = self._views[False][1].judge
        probes, known = (
            shrunk(pictures, size_px) for pictures in (judge.lineup.probes, judge.lineup.known)
        )
        for each in self._recognizers:
            found = judge.find(probes, each, [None, known])
            self._results.sizes.append(size_row(size_px, found))

    def _restored(self, target: Target, restorer: Callable[[], Restorer]) -> None:
        """The linear guess, what the network makes of it, and a guess of what a recognizer would
        see in the face. Slow ones look at the last picture.
        """
        options = self._options
        seen = target.seen(self._held_out.probes, crop_px=options.crop_px, seed=options.seed)
        ways = {"restored linear": restorer().guess(seen, target)}
        if restorer().has_net:
            ways["restored"] = restorer().restore(seen, target)
        if self._is_slow:
            ways = dict([ways.popitem()])
        suffix = "" if target.frames == 1 else f" {target.frames} frames"
        for way, pictures in ways.items():
            self._show(f"{target.setting.name}{suffix}, {way[9:] or 'net'}", pictures)
            for each in self._recognizers:
                (found,) = self._views[True][0].judge.find(pictures, each)
                self._results.add(target.setting.name, way + suffix, found)
        for each in self._recognizers:
            if each.name in restorer().known_vectors:
                vectors = restorer().vectors(seen, target, each)
                found = self._views[True][0].judge.find_vectors(vectors, each)
                self._results.add(target.setting.name, f"restored vector{suffix}", found)
