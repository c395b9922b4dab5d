"""The seal stage of one camera: packets in, packets with records out.

Tiles are coded on a thread of their own beside the encoder; their results are needed when a group
is full. Whatever fails in here loses evidence and nothing else: the packets are protected already.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace

from ..errors import RecordError, VaultError
from ..evidence.nal import ANNEX_B, Codec, parameter_digest, slice_digest, split_nals
from ..evidence.sei import with_records
from ..frames import CarriedFace, EncodedPacket, FrameOriginals
from ..vault.epoch import RecipientGroup
from ..vault.signing import SigningKey
from .epoch import Before, Epoch, Scene
from .tiles import FrameToSeal, OpenEncoder, Part, TileStreams

TILE_SECONDS = 10.0  # a tile codec that takes longer hangs
FORESEEN = 0.3  # of a frame: how far a live clock may be off when an epoch's last frame is foreseen
_log = logging.getLogger(__name__)

LoadGroups = Callable[[], Sequence[RecipientGroup]]
"""The recipients of the next epoch. Raises VaultError: the message is shown to the operator."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SealPlan:
    """What the seal stage has to know of a stream."""

    scene: Scene
    codec: Codec
    epoch_seconds: float  # when the next IDR is to be expected
    frame_seconds: float
    key_every_seconds: float | None  # detail keyframes: whole tiles only so often
    live: bool  # no packet waits for the next: an epoch's last frame is foreseen by the clock
    in_stream: bool  # records go into the packets
    beside: bool  # records go with the packets, for who writes sidecars


@dataclass(slots=True)
class SealCounts:
    """For status lines; written by the encode thread."""

    epochs: int = 0
    records: int = 0
    record_bytes: int = 0
    faces: int = 0  # tiles and motions that were sealed
    unsealed_frames: int = 0
    withheld_frames: int = 0  # that were not sent: clear ones that nothing could be sealed of
    alarm: str | None = None  # why nothing is sealed now


@dataclass(frozen=True, slots=True)
class _Coming:
    """A frame that is in the encoder."""

    frame: int  # as EncodedPacket.frame
    is_idr: bool
    parts: Future[tuple[Part, ...]]
    groups: Sequence[RecipientGroup] | VaultError  # of the epoch that it begins, if it does


class Sealer:
    """Used by the encode thread."""

    def __init__(
        self,
        plan: SealPlan,
        *,
        load_groups: LoadGroups,
        key: SigningKey,
        open_encoder: OpenEncoder,
        counts: SealCounts,
        now: Callable[[], float] = time.time,
    ) -> None:
        """`now`: seconds since 1970."""
        self.counts = counts
        self._plan = plan
        self._load_groups, self._key, self._now = load_groups, key, now
        self._streams = TileStreams(open_encoder, key_every_seconds=plan.key_every_seconds)
        self._pool = ThreadPoolExecutor(1, thread_name_prefix=f"{plan.scene.camera} tiles")
        self._coming: deque[_Coming] = deque()
        self._counter = -1  # of the frame that went into the encoder last
        self._epoch: Epoch | None = None
        self._epoch_began_seconds = 0.0
        self._before = Before()
        self._is_refused = False  # the recipients could not be had when last they were needed
        self._late: list[bytes] = []  # of an epoch that a pause has ended
        self._held: tuple[EncodedPacket, list[bytes]] | None = None

    def begin(
        self,
        frame: int,
        *,
        is_idr: bool,
        seconds: float,
        originals: FrameOriginals | None,
        carried: tuple[CarriedFace, ...] = (),
        fused_tracks: frozenset[int] = frozenset(),
        withhold: bool = False,
    ) -> bool:
        """A frame goes into the encoder; its tiles are coded beside it.

        `withhold`: not if there is an alarm. False: then it must not be encoded.
        """
        groups = self._groups_now() if is_idr else ()
        if withhold and self.counts.alarm is not None:
            self.counts.withheld_frames += 1
            return False
        self._counter = 0 if is_idr else self._counter + 1
        to_seal = FrameToSeal(self._counter, seconds, originals, carried, fused_tracks)
        parts = self._pool.submit(self._tiles, to_seal)
        self._coming.append(_Coming(frame, is_idr, parts, groups))
        return True

    def take(self, packet: EncodedPacket) -> list[EncodedPacket]:
        """The video packets that are ready, in order. Never raises where evidence fails.

        Of a file the last one is held back, until it is known whether its epoch goes on.
        """
        ending, own = self._records_for(packet)
        if self._plan.live:
            return [self._with(packet, ending + own)]
        ready = [self._with(self._held[0], self._held[1] + ending)] if self._held else []
        self._held = packet, own
        return ready

    def pause(self) -> None:
        """Live: nothing comes for a while. The epoch ends now, and its secrets with it.

        The record of its last frames goes into the next packet. That must be an IDR frame's.
        """
        self._late += self._end_epoch()
        self._coming.clear()
        self._pool.submit(self._streams.close)  # they hold the last pictures

    def finish(self) -> list[EncodedPacket]:
        """The stream has ended: what was held back. The tile codec ends as well. Idempotent."""
        ending = self._end_epoch()
        ready = [self._with(self._held[0], self._held[1] + ending)] if self._held else []
        self._held = None
        self._coming.clear()
        self._pool.submit(self._streams.close)
        self._pool.shutdown(wait=False)
        return ready

    # --- records ---

    def _records_for(self, packet: EncodedPacket) -> tuple[list[bytes], list[bytes]]:
        """Those that end the epoch before this packet, and those of its own frame."""
        coming = self._coming_of(packet)
        ending, self._late = self._late, []
        if coming is None or coming.is_idr:
            ending += self._end_epoch()
        own: list[bytes] = []
        try:
            nals = split_nals(packet.data, ANNEX_B)
            digest = slice_digest(nals, self._plan.codec)
            if coming is not None and coming.is_idr:
                parameters = parameter_digest(nals, self._plan.codec)
                own.append(self._begin_epoch(packet, digest, parameters, coming.groups))
            if self._epoch is None or coming is None:
                self.counts.unsealed_frames += 1
                return ending, own
            self._epoch.add(digest, self._parts_of(coming))
            if self._epoch.is_group_full or self._is_last_foreseen(packet):
                own.append(self._close_group(is_last=False))
        except VaultError as error:
            self._fail(str(error))
            self.counts.unsealed_frames += 1
        except Exception as error:  # a defect in here must not end a protected stream
            _log.debug("sealing", exc_info=True)
            self._fail(f"sealing failed: {type(error).__name__}")
            self.counts.unsealed_frames += 1
        return ending, own

    def _coming_of(self, packet: EncodedPacket) -> _Coming | None:
        while self._coming and self._coming[0].frame < packet.frame:
            self._coming.popleft()  # the encoder gave no packet for it
        if self._coming and self._coming[0].frame == packet.frame:
            return self._coming.popleft()
        return None

    def _groups_now(self) -> Sequence[RecipientGroup] | VaultError:
        """Before the frame is encoded: dark is then dark from this frame on."""
        groups: Sequence[RecipientGroup] | VaultError
        try:
            groups = self._load_groups()
        except VaultError as error:
            groups = error
        except Exception as error:  # as in _records_for
            _log.debug("sealing", exc_info=True)
            groups = VaultError(f"sealing failed: {type(error).__name__}")
        self._is_refused = isinstance(groups, VaultError)
        if isinstance(groups, VaultError):
            self._alarm(str(groups))
        return groups

    def _begin_epoch(
        self,
        packet: EncodedPacket,
        digest: bytes,
        parameters: bytes,
        groups: Sequence[RecipientGroup] | VaultError,
    ) -> bytes:
        if isinstance(groups, VaultError):
            raise groups
        self._epoch = Epoch(
            self._plan.scene,
            groups,
            self._key,
            before=self._before,
            started_utc_ms=int(self._now() * 1000),
            digest=digest,
            parameters=parameters,
        )
        self._epoch_began_seconds = float(packet.pts * packet.time_base)
        record = self._epoch.record.encode()
        self.counts.epochs += 1
        self._count(record)
        if self.counts.alarm is not None and not self._is_refused:
            _log.warning("%s: evidence: sealed again", self._plan.scene.camera)
            self.counts.alarm = None
        return record

    def _parts_of(self, coming: _Coming) -> tuple[Part, ...]:
        try:
            parts = coming.parts.result(TILE_SECONDS)
        except Exception as error:  # the frame stays in its group: digests go on
            self._alarm(f"a face could not be coded: {type(error).__name__}")
            self.counts.unsealed_frames += 1
            return ()
        self.counts.faces += len(parts)
        return parts

    def _is_last_foreseen(self, packet: EncodedPacket) -> bool:
        """Live: whether the next frame will begin an epoch."""
        if not self._plan.live:
            return False
        seconds = float(packet.pts * packet.time_base) - self._epoch_began_seconds
        ahead = (1 + FORESEEN) * self._plan.frame_seconds
        return seconds + ahead >= self._plan.epoch_seconds

    def _close_group(self, *, is_last: bool) -> bytes:
        assert self._epoch is not None
        record = self._epoch.close_group(is_last=is_last)
        self._count(record)
        return record

    def _end_epoch(self) -> list[bytes]:
        """The record of what waited in the epoch that ends here."""
        if self._epoch is None:
            return []
        records = []
        try:
            if self._epoch.has_pending:
                records.append(self._close_group(is_last=True))
        except VaultError as error:
            self._fail(str(error))
        if self._epoch is not None:
            self._before = self._epoch.end()
            self._epoch = None
        return records

    def _with(self, packet: EncodedPacket, records: list[bytes]) -> EncodedPacket:
        if not records:
            return packet
        data = packet.data
        try:
            if self._plan.in_stream:
                data = with_records(data, records, self._plan.codec)
        except RecordError as error:
            self._fail(str(error))
        return replace(packet, data=data, records=tuple(records) if self._plan.beside else ())

    def _count(self, record: bytes) -> None:
        self.counts.records += 1
        self.counts.record_bytes += len(record)

    # --- what goes wrong ---

    def _fail(self, reason: str) -> None:
        """Nothing is sealed until the next epoch."""
        self._alarm(reason)
        if self._epoch is not None:
            self._before = self._epoch.end()
            self._epoch = None

    def _alarm(self, reason: str) -> None:
        if self.counts.alarm != reason:
            _log.error("%s: EVIDENCE IS NOT SEALED: %s", self._plan.scene.camera, reason)
        self.counts.alarm = reason

    # --- tile thread ---

    def _tiles(self, frame: FrameToSeal) -> tuple[Part, ...]:
        try:
            return self._streams.encode(frame)
        except BaseException:
            self._streams.close()  # what follows a lost packet could not be decoded
            raise
