"""What is derived from an epoch's secrets (docs/evidence-format.md, section 3), and the seal.

Pure: the service (`epoch.py`) derives the same in memory that it can overwrite, from these labels.
"""

from __future__ import annotations

from collections.abc import Sequence

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from ..errors import NothingOpened, VaultError
from ..evidence.group_record import Entry, EntryKind, GroupHead, Place, associated_data, nonce
from ..evidence.wire import number, text

SECRET_BYTES = 32
SHARED_BYTES = 16  # of W, what a group with a threshold shares
NONCE_BYTES = 12
ZERO_NONCE = bytes(NONCE_BYTES)  # for a key that is used once
THRESHOLD_DATA = b"bauta/1 threshold"


def commitment_info(group_name: str) -> bytes:
    """HKDF's info of a group's commitment."""
    return b"bauta/1 commitment" + text(group_name)


def threshold_info(group_name: str) -> bytes:
    """HKDF's info of the key under which a group with a threshold has its secret."""
    return b"bauta/1 threshold" + text(group_name)


def track_info(context: bytes, group_name: str, track: int) -> bytes:
    """HKDF's info of a group's secret of one track.

    With the context: a secret that is handed on for one key record opens nothing under another
    that has the same age files and epoch id.
    """
    return b"bauta/1 track" + context + text(group_name) + number(track, 4)


def entry_info(kind: EntryKind) -> bytes:
    """HKDF's info of the key of a kind's entries."""
    return b"bauta/1 entry" + number(kind, 1)


def hkdf(secret: bytes, salt: bytes, info: bytes) -> bytes:
    """(32,) HKDF-SHA-256."""
    return HKDF(hashes.SHA256(), SECRET_BYTES, salt=salt, info=info).derive(secret)


def commitment(secret: bytes, epoch_id: bytes, group_name: str) -> bytes:
    """(32,) Tells the right S_g from a wrong one, and nothing else."""
    return hkdf(secret, epoch_id, commitment_info(group_name))


def track_secret(
    secret: bytes, epoch_id: bytes, context: bytes, group_name: str, track: int
) -> bytes:
    """(32,) S_g,t of S_g: what can be handed on for one track, or for SCENE_TRACK."""
    return hkdf(secret, epoch_id, track_info(context, group_name, track))


def entry_key(track_secrets: Sequence[bytes], epoch_id: bytes, kind: EntryKind) -> bytes:
    """(32,) Of all groups' S_g,t, in the key record's order."""
    return hkdf(b"".join(track_secrets), epoch_id, entry_info(kind))


def seal_entry(key: bytes, context: bytes, head: GroupHead, place: Place, plain: bytes) -> Entry:
    """An entry as it travels. Raises VaultError under a key that was wiped."""
    data = associated_data(context, head, place)
    content = ChaCha20Poly1305(key).encrypt(nonce(head, place), plain, data)
    # Looked at afterwards: a key that is there now was there all the time, also where another
    # thread ends the epoch. Under zeros anybody could open it.
    if not any(key):
        raise VaultError("an entry's key was wiped: its epoch has ended")
    return Entry(place, content)


def open_entry(key: bytes, context: bytes, head: GroupHead, entry: Entry) -> bytes:
    """The padded content. Raises NothingOpened; why is not told apart."""
    data = associated_data(context, head, entry.place)
    try:
        return ChaCha20Poly1305(key).decrypt(nonce(head, entry.place), entry.sealed, data)
    except InvalidTag:
        raise NothingOpened("an entry does not open: keys and clip do not fit") from None
