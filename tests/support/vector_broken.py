"""Bytes that no reader of `bauta/1` may take: records, contents and sidecars that break a rule."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping, Sequence

from pipeline.evidence.body import padded

from .vector_epochs import Made
from .vector_seeds import Change, Fields, changes

Field = tuple[str, int, int]
"""Its name, where it begins, and how many bytes it has."""

_SMALL_BOX = bytes.fromhex("0010 0008 0010 0010")  # 16 x 16 px: a mask of 8 rows of a byte
_MASK = bytes.fromhex("ff818181818181ff")
_PACKET = bytes.fromhex("00000001 09 f0")


def broken(epochs: Mapping[str, Made]) -> Iterator[Fields]:
    """Cases; all of them are refused."""
    one, shared = epochs["one_group"], epochs["threshold"]
    key, group = shared.record.encode(), one.groups[0].encode()
    for name, new in _broken_keys(shared, key):
        yield _edited(f"key record: {name}", "threshold", "key", key, new)
    for name, new in _broken_groups(one, group):
        yield _edited(f"group record: {name}", "one_group", "group 0", group, new)
    yield _whole("key record: a group record", "key", bytes((2,)))
    yield _whole("key record: nothing", "key", b"")
    yield _whole("group record: nothing", "group", b"")
    for name, plain in _broken_tiles():
        yield _whole(f"face: {name}", "face", plain)
    for name, plain in _broken_motions(epochs["two_groups"]):
        yield _whole(f"motion: {name}", "motion", plain)
    magic = b"bauta/1 sidecar\n"
    yield _whole("sidecar: another name", "sidecar", b"bauta/2 sidecar\n\0\0\0\1\1")
    yield _whole("sidecar: a record without bytes", "sidecar", magic + bytes(4))
    yield _whole("sidecar: a record above 4 MiB", "sidecar", magic + b"\0\x40\0\1")


def key_fields(epoch: Made) -> list[Field]:
    """Of its key record."""
    record = epoch.record
    sizes = [("kind", 1), ("epoch id", 16), ("previous epoch id", 16), ("previous frames", 4)]
    sizes += [("sequence", 4), ("started", 8), ("width", 2), ("height", 2), ("detail", 1)]
    for name, text in (("site", record.site), ("camera", record.camera)):
        sizes += [(f"{name} length", 1), (name, len(text.encode()))]
    sizes += [("service key", 32), ("groups", 1)]
    for at, group in enumerate(record.groups):
        of = f"group {at} "
        sizes += [(f"{of}name length", 1), (f"{of}name", len(group.name.encode()))]
        sizes += [(f"{of}threshold", 1), (f"{of}commitment", 32), (f"{of}keys", 1)]
        for number, file in enumerate(group.age_files):
            sizes += [(f"{of}age file {number} length", 2), (f"{of}age file {number}", len(file))]
        if group.sealed_secret is not None:
            sizes.append((f"{of}sealed secret", 48))
    return _placed([*sizes, ("slice digest", 16), ("parameter digest", 16), ("signature", 64)])


def group_fields(epoch: Made, index: int) -> list[Field]:
    """Of one of its group records."""
    group = epoch.groups[index]
    sizes = [("kind", 1), ("epoch id", 16), ("first", 4), ("frames", 1), ("flags", 1)]
    sizes += [(f"slice digest {at}", 16) for at in range(len(group.head.digests))]
    sizes.append(("entries", 2))
    for at, entry in enumerate(group.entries):
        of = f"entry {at} "
        sizes += [(f"{of}kind", 1), (f"{of}track", 4), (f"{of}presence", 1)]
        sizes += [(f"{of}{side}", 2) for side in "xywh"]
        sizes += [(f"{of}length", 3), (f"{of}sealed", len(entry.sealed) - 16), (f"{of}tag", 16)]
    return _placed([*sizes, ("signature", 64)])


def _placed(sizes: Sequence[tuple[str, int]]) -> list[Field]:
    found, at = [], 0
    for name, size in sizes:
        found.append((name, at, size))
        at += size
    return found


def _edited(name: str, base: str, part: str, old: bytes, new: bytes) -> Fields:
    what = part.split(maxsplit=1)[0]
    edits: list[Change] = changes(old, new)
    if len(new) < len(old) and old.startswith(new):
        edits = [(len(new), len(old) - len(new), "")]
    fields = {"name": name, "do": "read", "what": what, "base": base, "part": part}
    return {**fields, "edits": edits, "expect": "refused"}


def _whole(name: str, what: str, data: bytes) -> Fields:
    """Zeros at the end are counted instead."""
    bare = data.rstrip(b"\0")
    fields: Fields = {"name": name, "do": "read", "what": what, "bytes": bare.hex()}
    if len(bare) < len(data):
        fields["zeros"] = len(data) - len(bare)
    return {**fields, "expect": "refused"}


def _put(data: bytes, fields: Sequence[Field], name: str, value: bytes) -> bytes:
    """Instead of what is in the field; the rest moves."""
    at, size = next((at, size) for other, at, size in fields if other == name)
    return data[:at] + value + data[at + size :]


def _broken_keys(epoch: Made, data: bytes) -> Iterator[tuple[str, bytes]]:
    fields = key_fields(epoch)
    for name in (
        *("epoch id", "started", "site", "service key", "group 0 commitment"),
        *("group 0 age file 0", "group 1 name", "group 1 age file 2", "group 1 sealed secret"),
        *("slice digest", "parameter digest", "signature"),
    ):
        at, size = next((at, size) for other, at, size in fields if other == name)
        yield f"cut short in {name}", data[: at + size // 2]
    yield "a byte longer", data + b"\0"
    for name, value in (
        ("kind", "00"),
        ("kind", "03"),
        ("width", "0001"),
        ("height", "0000"),
        ("detail", "03"),
        ("detail", "ff"),
        ("groups", "00"),
        ("groups", "01"),
        ("groups", "03"),
        ("groups", "11"),
        ("group 0 threshold", "00"),
        ("group 0 keys", "00"),
        ("group 1 threshold", "01"),
        ("group 1 threshold", "04"),
        ("group 1 threshold", "ff"),
        ("group 1 keys", "04"),
    ):
        yield f"{name} {value}", _put(data, fields, name, bytes.fromhex(value))
    yield "site is no UTF-8", _put(data, fields, "site", b"Nor\xff\xfe")
    unnamed = _put(data, fields, "group 0 name", b"")
    yield "a group without a name", _put(unnamed, fields, "group 0 name length", b"\0")
    one, two, end = (
        next(at for other, at, _ in fields if other == name)
        for name in ("group 0 name length", "group 1 name length", "slice digest")
    )
    yield "groups out of order", data[:one] + data[two:end] + data[one:two] + data[end:]
    twice = data[:one] + data[one:two] * 2 + data[end:]
    yield "a group twice", twice


def _broken_groups(epoch: Made, data: bytes) -> Iterator[tuple[str, bytes]]:
    fields = group_fields(epoch, 0)
    cuts = ("epoch id", "slice digest 0", "slice digest 7", "entry 0 track", "entry 0 sealed")
    for name in (*cuts, "entry 2 tag", "signature"):
        at, size = next((at, size) for other, at, size in fields if other == name)
        yield f"cut short in {name}", data[: at + size // 2]
    yield "a byte longer", data + b"\0"
    for name, value in (
        ("kind", "00"),
        ("kind", "03"),
        ("frames", "00"),
        ("frames", "09"),
        ("frames", "07"),
        ("flags", "02"),
        ("flags", "80"),
        ("entries", "0002"),
        ("entries", "0004"),
        ("entries", "1001"),
        ("entry 0 kind", "00"),
        ("entry 0 kind", "01"),
        ("entry 0 kind", "05"),
        ("entry 0 kind", "04"),  # no longer sorted
        ("entry 0 track", "ffffffff"),
        ("entry 0 track", "00000007"),  # as entry 1
        ("entry 0 track", "00000008"),
        ("entry 0 presence", "00"),
        ("entry 0 length", "ffffff"),
        ("entry 2 length", "0000af"),
    ):
        yield f"{name} {value}", _put(data, fields, name, bytes.fromhex(value))
    at, end = (
        next(at for name, at, _ in fields if name == field)
        for field in ("entry 0 length", "entry 1 kind")
    )
    yield "an entry shorter than a tag", data[:at] + b"\0\0\x0f" + bytes(15) + data[end:]
    begins = next(at for name, at, _ in fields if name == "frames")
    end = next(at for name, at, _ in fields if name == "entries")
    seven = data[:begins] + b"\7" + data[begins + 1 : end - 16] + data[end:]
    yield "an entry in a frame that is not there", seven


def _tiles(
    *,
    codec: int = 1,
    items: int = 1,
    flags: int = 3,
    box: bytes = _SMALL_BOX,
    masks: bytes | None = None,
    length: int = len(_PACKET),
    more: bytes = b"",
) -> bytes:
    """One item, padded."""
    squeezed = zlib.compress(_MASK, 9) if masks is None else masks
    head = bytes((codec, items, flags)) + box + length.to_bytes(3, "big")
    if flags & 2:
        head += len(squeezed).to_bytes(3, "big") + squeezed
    return padded(head + _PACKET + more)


def _broken_tiles() -> Iterator[tuple[str, bytes]]:
    stream = zlib.compress(_MASK, 9)
    good = _tiles()
    yield "nothing", b""
    yield "codec 0", _tiles(codec=0)
    yield "codec 2", _tiles(codec=2)
    yield "no items", _tiles(items=0)
    yield "nine items", _tiles(items=9)
    yield "more items than there are", _tiles(items=2)
    yield "unknown flags", _tiles(flags=11)
    yield "the first item has the size of the one before", _tiles(flags=7)
    yield "an odd corner", _tiles(box=bytes.fromhex("0011 0008 0010 0010"))
    yield "an odd size", _tiles(flags=1, box=bytes.fromhex("0010 0008 0010 0011"))
    yield "a size of 0", _tiles(box=bytes.fromhex("0010 0008 0000 0010"))
    yield "wider than 8192 px", _tiles(flags=1, box=bytes.fromhex("0010 0008 2002 0010"))
    yield "a huge mask", _tiles(box=bytes.fromhex("0010 0008 fffe fffe"))
    yield "a packet longer than the entry", _tiles(length=2**24 - 1)
    yield "cut short", good[:20]
    yield "padding that is not zeros", good[:-1] + b"\1"
    yield "something behind the packets", _tiles(more=b"\x80")
    yield "a mask that is too short", _tiles(masks=zlib.compress(_MASK[:-1], 9))
    yield "a mask that is too long", _tiles(masks=zlib.compress(_MASK + b"\0", 9))
    yield "a mask that is a bomb", _tiles(masks=zlib.compress(bytes(2**16), 9))
    yield "a mask that is cut short", _tiles(masks=stream[:-1])
    yield "a mask with a wrong checksum", _tiles(masks=stream[:-1] + bytes((stream[-1] ^ 1,)))
    yield "something behind a mask", _tiles(masks=stream + b"\0")
    yield "a mask that is no zlib", _tiles(masks=bytes(len(stream)))
    yield "a mask without bytes", _tiles(masks=b"")


def _broken_motions(epoch: Made) -> Iterator[tuple[str, bytes]]:
    sealed = next(entry for entry in epoch.plan.groups[0][1] if entry.kind == 3)
    plain = sealed.padded
    head = plain[3:35]  # count, length, then the first motion's fixed fields
    grid = zlib.compress(bytes(324), 9)

    def motions(data: bytes, count: int = 1, length: int | None = None) -> bytes:
        said = len(data) if length is None else length
        return padded(bytes((count,)) + said.to_bytes(2, "big") + data)

    def with_head(at: int, value: int) -> bytes:
        """`at`: which of keyframe's left, top, side, then those of here."""
        begins = 8 + 4 * at
        number = (value % 2**32).to_bytes(4, "big")
        return motions(head[:begins] + number + head[begins + 4 :] + grid)

    yield "nothing", b""
    yield "no items", motions(head + grid, 0)
    yield "nine items", motions(head + grid, 9)
    yield "more items than there are", motions(head + grid, 2)
    yield "longer than a motion can be", motions(head + grid + bytes(421 - 32 - len(grid)))
    yield "a motion that is too short", motions(head[:31])
    yield "a length beyond the end", motions(head + grid, length=400)
    yield "a square out of range", with_head(0, 16_386)
    yield "a square out of range on the left", with_head(3, -16_386)
    yield "an odd square", with_head(1, 11)
    yield "a side of 0", with_head(2, 0)
    yield "a side out of range", with_head(5, 2**31)
    yield "a grid that is too short", motions(head + zlib.compress(bytes(323), 9))
    yield "a grid that is too long", motions(head + zlib.compress(bytes(325), 9))
    yield "a grid that is a bomb", motions(head + zlib.compress(bytes(2**16), 9))
    yield "a grid that is cut short", motions(head + grid[:-1])
    yield "something behind a grid", motions(head + grid + b"\0")
    yield "a grid that is no zlib", motions(head + bytes(len(grid)))
    yield "padding that is not zeros", motions(head + grid)[:-1] + b"\1"
