"""Which settings do not hide who somebody is, by figure.

Measured by `bauta bench reidentify` on 200 people at a time: docs/privacy.md, "Who is recognised
after protection".
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ..settings import ProtectSettings

CHANCE_PERCENT = 0.5  # one of 200
PARROT_MOST_PERCENT = 1.5  # what was set as the limits
RESTORED_MOST_PERCENT = 5.0


@dataclass(frozen=True, slots=True)
class Named:
    """Of 200 people in percent, found first by the strongest recognizer."""

    parrot: float  # among pictures of them that were hidden in the same way
    restored: float | None  # by what was learned on other people; None: not measured


# By obfuscation and strength. Plain grey, the drawn mask and noise hold, and are not here.
NAMED: Mapping[str, Mapping[float, Named]] = {
    "pixelate": {
        0.1: Named(5.0, 31.6),
        0.25: Named(4.1, 7.9),
        0.5: Named(3.9, None),
        1.0: Named(2.1, None),
    },
    "blur": {
        0.1: Named(14.6, 21.8),
        0.25: Named(7.1, 3.8),
        0.5: Named(2.5, None),
        1.0: Named(2.2, None),
    },
    "median": {
        0.1: Named(24.4, 25.9),
        0.25: Named(11.1, 6.8),
        0.5: Named(5.8, None),
        1.0: Named(1.9, None),
    },
}


def weakness(settings: ProtectSettings) -> str | None:
    """One sentence on who is recognised all the same; None where nobody was.

    Between two strengths that were measured, the milder one speaks.
    """
    by_strength = NAMED.get(settings.obfuscation)
    if by_strength is None:
        return None
    milder = [each for each in by_strength if each <= settings.strength]
    measured = max(milder, default=min(by_strength))
    named = by_strength[measured]
    beside = "" if measured == settings.strength else f", measured at {measured:g}"
    sentence = (
        f"{settings.obfuscation} {settings.strength:g}{beside}: {named.parrot:.1f} % of 200 people "
        f"are named by somebody with pictures of them hidden in the same way"
    )
    if named.restored is not None and named.restored > RESTORED_MOST_PERCENT:
        sentence += f", {named.restored:.1f} % by one who learned on other people's faces"
    return f"{sentence} (chance {CHANCE_PERCENT:g} %); choose mask or solid (docs/privacy.md)"
