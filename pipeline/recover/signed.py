"""Which of a clip's records count, for whoever opens it or hands on what opens it.

The recipients' public keys are public: anybody can seal. What counts is signed by the service whose
key was pinned; without a pin by whom the record itself names, which proves no origin.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from ..errors import UsageError
from ..evidence.group_record import EntryKind, GroupRecord
from ..evidence.key_record import KeyRecord
from ..vault.signing import is_signed
from .clip_records import ClipRecords, Epoch
from .origin import begins_session
from .wording import clock

MOST_SESSIONS = 4  # told in one line


@dataclass(frozen=True, slots=True)
class SignedEpoch:
    """An epoch whose key record's signature holds."""

    epoch: Epoch
    session: int  # from 1; the same track in another session is another person

    def signed_groups(self) -> tuple[GroupRecord, ...]:
        """Those whose signature holds as well. Each call checks them all."""
        record = self.epoch.record
        return tuple(group for group in self.epoch.groups if is_group_signed(record, group))


def is_record_signed(record: KeyRecord, pinned: bytes | None) -> bool:
    """By the service that is `pinned` (its public key), or without one by that which it names."""
    signer = record.service_key if pinned is None else pinned
    return signer == record.service_key and is_signed(signer, record.signature, record.to_sign)


def is_group_signed(record: KeyRecord, group: GroupRecord) -> bool:
    """By the service that the epoch's key record names."""
    return is_signed(record.service_key, group.signature, group.to_sign(record.context))


def signed_epochs(clip: ClipRecords, pinned: bytes | None) -> tuple[SignedEpoch, ...]:
    """In order. What lies between two of them and is not signed joins no sessions."""
    found: list[SignedEpoch] = []
    session, before = 0, None
    for epoch in clip.epochs:
        if is_record_signed(epoch.record, pinned):
            session += begins_session(before, epoch.record)
            before = epoch.record
            found.append(SignedEpoch(epoch, session))
    return tuple(found)


def tracks_in(groups: Iterable[GroupRecord]) -> frozenset[int]:
    """That have entries of their own; pixels of the scene are nobody's."""
    return frozenset(
        entry.place.track
        for group in groups
        for entry in group.entries
        if entry.place.kind is not EntryKind.SCENE
    )


def check_one_session(
    clip: ClipRecords,
    present: Iterable[tuple[SignedEpoch, Collection[int]]],
    tracks: Collection[int],
) -> None:
    """`present`: the epochs that would be opened, with their tracks. Raises UsageError."""
    for track in sorted(tracks):
        sessions: dict[int, list[Epoch]] = defaultdict(list)
        for each, there in present:
            if track in there:
                sessions[each.session].append(each.epoch)
        if len(sessions) > 1:
            raise UsageError(
                f"track {track} is in {len(sessions)} sessions of this clip "
                f"({_times(sessions, clip.seconds)}), which are different people: give --from and "
                "--to inside one"
            )


def _times(sessions: Mapping[int, Sequence[Epoch]], seconds: Sequence[float]) -> str:
    told = [
        f"{clock(seconds[epochs[0].start])}–{clock(seconds[epochs[-1].end - 1])}"
        for epochs in sessions.values()
    ]
    more = [f"and {len(told) - MOST_SESSIONS} more"] if len(told) > MOST_SESSIONS else []
    return ", ".join([*told[:MOST_SESSIONS], *more])
