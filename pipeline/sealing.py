"""Evidence in one session: where originals wait, the seal stage, and when the picture goes dark.

The service has the recipients' public keys and a signing key of its own: what is sealed here it
cannot open.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from .errors import UsageError, VaultError
from .frames import CarriedFace, EncodedPacket, FusedFace
from .seal.epoch import Scene
from .seal.originals import Originals
from .seal.sealer import SealCounts, Sealer, SealPlan
from .seal.tile_encoder import TileEncoder
from .settings import CameraSettings, EvidenceSettings, GroupSettings
from .vault.audit import state_dir
from .vault.epoch import RecipientGroup
from .vault.identity import Recipient, load_recipient
from .vault.signing import SigningKey, fingerprint, service_key

DARK = "evidence cannot be sealed"
NO_SIDECAR = "evidence cannot be written beside the video"
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Site:
    """What all cameras of an installation have in common for evidence."""

    name: str
    recipients: Mapping[str, GroupSettings]
    key: Path | None = None  # of the service; None: in the state folder

    def signing_key(self) -> SigningKey:
        """Made where there is none, and said. Raises VaultError."""
        path = self.key or state_dir() / "service.key"
        is_new = not path.exists()
        key = service_key(path)
        if is_new:
            _log.warning(
                "%s made: it signs evidence. Give %s to whoever will check recordings (%s)",
                path,
                path.with_suffix(".pub"),
                fingerprint(key.public),
            )
        return key


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamFacts:
    """What is known once the encoder is open."""

    size_px: tuple[int, int]
    fps: float
    live: bool


class Evidence:
    """One session's. `gate` side: `originals` and `refusal`; encode thread: the rest."""

    def __init__(self, camera: CameraSettings, settings: EvidenceSettings, site: Site) -> None:
        """Raises VaultError where the service's key cannot be used.

        Recipients that cannot be used raise nothing: the camera starts, dark or without records.
        """
        self.originals = Originals()
        self._camera, self._settings, self._site = camera, settings, site
        self._key = site.signing_key()
        self._recipients = site.recipients
        self._is_sidecar_lost: Callable[[], bool] = lambda: False
        self._counts = SealCounts()
        self._sealer: Sealer | None = None
        self._told: frozenset[str] = frozenset()  # of single keys
        try:
            self._groups_now()
        except VaultError as error:
            self._counts.alarm = str(error)
            _log.error("%s: EVIDENCE IS NOT SEALED: %s", camera.id, error)

    @property
    def counts(self) -> SealCounts:
        """For status lines."""
        return self._counts

    def refusal(self) -> str | None:
        """Why no picture may be shown now; None: it may. Any thread."""
        if self._settings.on_failure != "dark":
            return None
        if self._counts.alarm is not None:
            return DARK
        # "both" has it in the stream as well
        is_lost = self._settings.carrier == "sidecar" and self._is_sidecar_lost()
        return NO_SIDECAR if is_lost else None

    def watch(self, is_sidecar_lost: Callable[[], bool]) -> None:
        """`is_sidecar_lost`: whether what writes sidecars cannot, now. Any thread."""
        self._is_sidecar_lost = is_sidecar_lost

    def set_recipients(self, recipients: Mapping[str, GroupSettings]) -> None:
        """From the next epoch on. Any thread."""
        self._recipients = recipients

    def open(self, facts: StreamFacts) -> None:
        """The encoder is open."""
        camera, settings = self._camera, self._settings
        is_keyframes = settings.detail == "keyframes"
        self._sealer = Sealer(
            SealPlan(
                scene=Scene(self._site.name, camera.id, facts.size_px, settings.detail),
                codec=camera.encode.codec,
                epoch_seconds=camera.encode.gop,
                frame_seconds=1 / facts.fps,
                key_every_seconds=camera.protect.keyframe_every if is_keyframes else None,
                live=facts.live,
                in_stream=settings.carrier != "sidecar",
                beside=settings.carrier != "stream",
            ),
            load_groups=self._groups_now,
            key=self._key,
            open_encoder=partial(
                TileEncoder, lossless=settings.detail == "lossless", live=facts.live
            ),
            counts=self._counts,
        )

    def begin(
        self,
        frame: int,
        *,
        number: int,
        is_idr: bool,
        seconds: float,
        carried: Sequence[CarriedFace],
        fused: Sequence[FusedFace],
        is_dark: bool,
    ) -> bool:
        """A frame goes into the encoder as its `frame`-th; it left the gate as `number`.

        False: it must not, for it shows a picture of which nothing can be sealed.
        """
        assert self._sealer is not None
        return self._sealer.begin(
            frame,
            is_idr=is_idr,
            seconds=seconds,
            originals=self.originals.take(number),
            carried=tuple(carried),
            fused_tracks=frozenset(face.track_id for face in fused),
            withhold=not is_dark and self._settings.on_failure == "dark",
        )

    def take(self, packet: EncodedPacket) -> list[EncodedPacket]:
        """See Sealer.take."""
        assert self._sealer is not None
        return self._sealer.take(packet)

    def pause(self) -> None:
        """See Sealer.pause: nothing of an original stays in memory."""
        assert self._sealer is not None
        self._sealer.pause()
        self.originals.forget()

    def finish(self) -> list[EncodedPacket]:
        """See Sealer.finish. Idempotent."""
        ready = self._sealer.finish() if self._sealer is not None else []
        self._sealer = None
        self.originals.forget()
        return ready

    def _groups_now(self) -> list[RecipientGroup]:
        """Once for each epoch: what is wrong with single keys is said when it changes."""
        groups, problems = load_groups(self._recipients)
        for problem in problems:
            if problem not in self._told:
                _log.error("%s: %s; sealed for the others", self._camera.id, problem)
        self._told = frozenset(problems)
        return groups


def load_groups(
    recipients: Mapping[str, GroupSettings],
) -> tuple[list[RecipientGroup], list[str]]:
    """Public keys from their files, now, and what is wrong with those that cannot be read.

    A group can be used while enough of its keys are left. Raises VaultError where one cannot.
    """
    groups: list[RecipientGroup] = []
    unreadable: list[str] = []
    owner: dict[Recipient, str] = {}
    for name, settings in sorted(recipients.items()):
        found = []
        problems = []
        for path in settings.keys:
            try:
                found.append(load_recipient(path))
            except (UsageError, VaultError) as error:
                problems.append(str(error))
        if len(found) < settings.threshold or len(set(found)) < len(found):
            reason = problems[0] if problems else "a key is named twice"
            raise VaultError(f"recipients.{name} cannot be used: {reason}")
        for key in found:
            if (other := owner.setdefault(key, name)) != name:
                raise VaultError(
                    f"recipients: one key is in the groups {other} and {name}: whoever has it "
                    "would open alone what was to need both; give each group keys of its own"
                )
        unreadable += [f"recipients.{name}: {problem}" for problem in problems]
        groups.append(RecipientGroup(name, settings.threshold, tuple(found)))
    return groups, unreadable
