"""What a dump of the service's memory gives away: the epoch that goes on, and no other.

A process makes epochs, seals entries with them and wipes all but the last, then that one as well.
From what it published and the identities, which it never had, all secrets are worked out here, down
to those inside the age files, and looked for in its memory.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import itertools
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pytest
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from pipeline.evidence.group_record import SCENE_TRACK, EntryKind
from pipeline.evidence.key_record import KeyGroup, KeyRecord, parse_key_record
from pipeline.vault.epoch_keys import entry_key, hkdf, threshold_info, track_secret
from pipeline.vault.identity import Identity
from pipeline.vault.key_files import key_bytes
from pipeline.vault.opening import open_epoch
from pipeline.vault.threshold import combine
from support.people import people

ROOT = Path(__file__).resolve().parents[3]
EPOCHS = 4
TRACKS = (1, 77)

SERVICE = f"""
import json, sys
from pipeline.evidence.group_record import EntryKind, GroupHead, Place
from pipeline.evidence.key_record import KeyRecord
from pipeline.vault.epoch import EpochSecrets, RecipientGroup
from pipeline.vault.epoch_keys import seal_entry
from pipeline.vault.identity import Recipient

if sys.argv[2] == "all is held":
    import support.held_memory
groups = [
    RecipientGroup(name, threshold, tuple(map(Recipient, keys)))
    for name, threshold, keys in json.loads(sys.argv[1])
]
for number in range({EPOCHS}):
    epoch_id = bytes((number + 1,)) * 16
    secrets = EpochSecrets(epoch_id, groups)
    record = KeyRecord(
        epoch_id=epoch_id, sequence=number, started_utc_ms=0, width_px=64, height_px=64,
        detail="default", site="s", camera="c", service_key=bytes(32),
        groups=secrets.key_groups, digest=bytes(16),
    )
    secrets.bind(record.context)
    head = GroupHead(epoch_id, 0, (bytes(16),), False)
    for track in {TRACKS}:
        for kind in EntryKind:
            place = Place(kind, track, 1, (0, 0, 2, 2))
            seal_entry(secrets.key_for(kind, track), record.context, head, place, bytes(300))
    print(record.encode().hex(), flush=True)
    if number + 1 < {EPOCHS}:
        secrets.wipe()
sys.stdin.readline()
secrets.wipe()
print("ended", flush=True)
sys.stdin.readline()
"""


# --- all that there is of an epoch ---


def secrets_of(record: KeyRecord, officers: list[Identity]) -> Mapping[str, bytes]:
    """Name to bytes; whoever finds one of them opens something."""
    keys = open_epoch(record, identities=officers)
    assert keys.opens_everything
    found: dict[str, bytes] = {}
    names = [group.name for group in record.groups]
    for group in record.groups:
        whole = keys.group_secrets[group.name]
        found[f"S {group.name}"] = whole
        found[f"extracted {group.name}"] = extracted(whole, record.epoch_id)
        found |= of_threshold(group, record.epoch_id, officers)
        for index, file in enumerate(group.age_files):
            for identity in officers:
                for name, value in inside(file, identity).items():
                    found[f"{group.name} file {index} {name}"] = value
        for track in (*TRACKS, SCENE_TRACK):
            secret = track_secret(whole, record.epoch_id, record.context, group.name, track)
            found[f"S {group.name} {track}"] = secret
    for track in (*TRACKS, SCENE_TRACK):
        parts = [found[f"S {name} {track}"] for name in names]
        found[f"extracted {track}"] = extracted(b"".join(parts), record.epoch_id)
        for kind in EntryKind:
            found[f"key {kind.name} {track}"] = entry_key(parts, record.epoch_id, kind)
    return found


def of_threshold(
    group: KeyGroup, epoch_id: bytes, officers: list[Identity]
) -> Iterator[tuple[str, bytes]]:
    if group.threshold == 1:
        return
    shares = {}
    for file in group.age_files:
        for identity in officers:
            if inside(file, identity):
                share = identity.open(file)
                shares[share[0]] = share[1:]
                yield f"{group.name} share {share[0]}", share[1:]
    between = combine(dict(list(shares.items())[: group.threshold]))
    yield f"{group.name} W", between
    assert group.threshold == 2  # share 1 = W + coefficient
    coefficient = bytes(a ^ b for a, b in zip(shares[1], between, strict=True))
    yield f"{group.name} coefficient", coefficient
    # Python's own integers keep 30 bits in each 32
    value, digits = int.from_bytes(between, "big"), b""
    while value:
        digits, value = digits + (value & 2**30 - 1).to_bytes(4, "little"), value >> 30
    yield f"{group.name} W as an integer", digits
    yield f"{group.name} key behind W", hkdf(between, epoch_id, threshold_info(group.name))


def inside(file: bytes, identity: Identity) -> Mapping[str, bytes]:
    """The keys of an age file: with one of them it opens. Empty where it is for others."""
    header, _, rest = file.partition(b"\n---")
    nonce = rest.split(b"\n", 1)[1][:16]
    own = X25519PrivateKey.from_private_bytes(key_bytes(identity.secret))
    lines = header.split(b"\n")
    for line, body in itertools.pairwise(lines):
        if not line.startswith(b"-> X25519 "):
            continue
        public = unpadded(line.split()[2])
        shared = own.exchange(X25519PublicKey.from_public_bytes(public))
        salt = public + own.public_key().public_bytes_raw()
        wrap = hkdf(shared, salt, b"age-encryption.org/v1/X25519")
        try:
            file_key = ChaCha20Poly1305(wrap).decrypt(bytes(12), unpadded(body), None)
        except InvalidTag:
            continue
        return {
            "shared secret": shared,
            "extracted shared secret": extracted(shared, salt),
            "wrap key": wrap,
            "file key": file_key,
            "extracted file key": extracted(file_key, nonce),
            "payload key": hkdf(file_key, nonce, b"payload"),
        }
    return {}


def unpadded(data: bytes) -> bytes:
    return base64.b64decode(data + b"=" * (-len(data) % 4))


def extracted(secret: bytes, salt: bytes) -> bytes:
    """HKDF's first step: as good as the secret."""
    return hmac.digest(salt, secret, hashlib.sha256)


# --- the memory ---


def memory_of(pid: int) -> list[bytes]:
    """Whatever the process can write: heap, stacks, libraries' data."""
    regions = []
    with Path(f"/proc/{pid}/mem").open("rb", buffering=0) as memory:
        for line in Path(f"/proc/{pid}/maps").read_text().splitlines():
            match = re.match(r"([0-9a-f]+)-([0-9a-f]+) rw", line)
            if match is None:
                continue
            begin, end = (int(part, 16) for part in match.groups())
            memory.seek(begin)
            regions.append(memory.read(end - begin))
    return regions


def is_there(regions: list[bytes], secret: bytes) -> bool:
    """Half of it is too much as well, and only half may have been overwritten."""
    halves = (secret[:16], secret[-16:])
    return any(half in region for region in regions for half in halves)


@pytest.mark.skipif(sys.platform != "linux", reason="reads another process's memory by /proc")
@pytest.mark.parametrize(
    "groups",
    [
        "one",
        pytest.param("two, one with a threshold", marks=[pytest.mark.slow, pytest.mark.untimed]),
    ],
)
@pytest.mark.parametrize("holding", ["nothing is held", "all is held"])
def test_what_is_past_is_not_in_the_memory(groups: str, holding: str) -> None:
    """`all is held`: what is freed is not used again, so only wiping takes it away."""
    officers = people(4)
    keys = [identity.recipient.public for identity in officers]
    asked: list[tuple[str, int, list[str]]] = [("dpo", 1, keys[:1])]
    if groups != "one":
        asked = [("dpo", 1, keys[:2]), ("police", 2, keys[1:])]
    process = subprocess.Popen(
        [sys.executable, "-c", SERVICE, json.dumps(asked), holding],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT / "tests")},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        assert process.stdin is not None and process.stdout is not None
        lines = [process.stdout.readline().strip() for _ in range(EPOCHS)]
        running = memory_of(process.pid)
        print(file=process.stdin, flush=True)
        assert process.stdout.readline() == "ended\n"
        ended = memory_of(process.pid)
        process.stdin.close()
    records = [parse_key_record(bytes.fromhex(line)) for line in lines]
    secrets = [secrets_of(record, officers) for record in records]

    assert left_in(running, secrets[:-1]) == []
    assert left_in(ended, secrets) == []
    for identity in officers:
        assert not is_there(running, identity.secret.removeprefix("AGE-SECRET-KEY-1").encode())
        assert not is_there(running, key_bytes(identity.secret))
    # it looks where secrets are: those of the epoch that goes on
    current = secrets[-1]
    for kind in (EntryKind.FACE, EntryKind.MOTION):
        assert all(is_there(running, current[f"key {kind.name} {track}"]) for track in TRACKS)
    # and even of that one there is nothing that says more than its entries' keys come from
    kept = {name for name in current if name.startswith(("key ", "extracted dpo", "extracted pol"))}
    beyond = {name: value for name, value in current.items() if name not in kept}
    assert "S dpo" in beyond and left_in(running, [beyond]) == []


def left_in(regions: list[bytes], epochs: Sequence[Mapping[str, bytes]]) -> list[str]:
    return [
        f"epoch {number}: {name}"
        for number, found in enumerate(epochs)
        for name, value in found.items()
        if is_there(regions, value)
    ]
