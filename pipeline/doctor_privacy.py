"""What `bauta doctor` says of how faces are hidden: in general, and for the cameras of a file."""

from __future__ import annotations

from collections.abc import Iterator

from .doctor_checks import Finding
from .protect.weak import CHANCE_PERCENT, NAMED, weakness
from .settings import ProtectSettings, Settings

AREA = "Privacy"
WEAK = "weak"
_FIX = "Set obfuscation: solid (docs/privacy.md)"


def obfuscations() -> Iterator[Finding]:
    """Which of them tell who somebody is, at the default strength."""
    default = ProtectSettings()
    told = ", ".join(
        f"{name} {by_strength[default.strength].parrot:.1f} %"
        for name, by_strength in NAMED.items()
    )
    yield Finding(
        AREA,
        "obfuscations",
        weakness(default) is None,
        f"{default.obfuscation}, the default: nobody is named above chance. Of 200 people named by "
        f"one who has pictures hidden in the same way: {told} (chance {CHANCE_PERCENT:g} %)",
    )


def cameras(settings: Settings) -> Iterator[Finding]:
    """Each camera of a configuration: what its settings leave open."""
    for camera in settings.cameras:
        if camera.privacy == "everything":
            yield Finding(AREA, camera.id, True, "the whole picture is obscured")
            continue
        weak = weakness(camera.protect)
        clear = len(camera.zones.never)
        if weak is not None:
            yield Finding(AREA, camera.id, False, weak, _FIX, word=WEAK)
        if clear:
            zones = "one zone is" if clear == 1 else f"{clear} zones are"
            detail = f"{zones} published clear (zones.never): faces there are not hidden"
            yield Finding(AREA, camera.id, False, detail, word=WEAK)
        if weak is None and not clear:
            detail = f"{camera.protect.obfuscation}: nobody was named above chance"
            yield Finding(AREA, camera.id, True, detail)
