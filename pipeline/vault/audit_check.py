"""Whether an audit log is as it was written, and if not, where it first is not. Opens no file."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from .audit_line import FIRST, Head, Line, line_hash, parse_line
from .signing import fingerprint

END = b"\n"


@dataclass(frozen=True, slots=True)
class Report:
    """What a log holds and what is wrong with it, a plain line for each thing."""

    lines: tuple[Line | None, ...] = field(repr=False)  # None: damaged
    hashes: tuple[str, ...] = field(repr=False)  # of the lines
    faults: tuple[str, ...]  # none: whole
    remarks: tuple[str, ...]  # what an officer should know of a log that is whole

    @property
    def head(self) -> Head | None:
        """None: there is no entry."""
        return Head(len(self.hashes), self.hashes[-1]) if self.hashes else None

    @property
    def signatures(self) -> Mapping[bytes, int]:
        """How many entries each public key has signed, and signed rightly."""
        signers = (line.signer for line in self.lines if line is not None and line.is_intact)
        return Counter(signer for signer in signers if signer is not None)

    @property
    def unsigned(self) -> tuple[int, ...]:
        """The places, from 1, of entries that nobody signed."""
        return tuple(
            place
            for place, line in enumerate(self.lines, start=1)
            if line is not None and line.signer is None
        )


def examine(
    log: bytes,
    *,
    signers: Collection[bytes] | None = None,
    heads: Mapping[str, Head] | None = None,
) -> Report:
    """For bytes from anywhere; never raises.

    `signers`: public keys (32 bytes each); who else signed is a fault. `heads`: by the name of the
    manifest that each is from.
    """
    raw = split_lines(log)
    lines = tuple(map(parse_line, raw))
    hashes = tuple(map(line_hash, raw))
    faults = [found] if (found := _first_fault(raw, lines, hashes)) else []
    if not faults and not log.endswith(END) and raw:
        faults = [f"{_named(len(raw), lines)} was altered: the end of its line is missing"]
    remarks: list[str] = []
    if signers is not None:
        faults += _strangers(lines, signers)
        tail, bound = _unsigned(lines, signers)
        if tail:
            faults.append(
                f"{_entries(tail)} unsigned, and no officer's signature follows: whoever can write "
                "the log could have written this"
            )
        if bound:
            remarks.append(f"{_entries(bound)} unsigned; signed entries that follow bind them")
    for name, head in (heads or {}).items():
        faults += _head_fault(name, head, hashes)
    return Report(lines, hashes, tuple(faults), tuple(remarks))


def split_lines(log: bytes) -> list[bytes]:
    """Without their line feeds; the last may have had none."""
    lines = log.split(END)
    return lines[:-1] if lines[-1] == b"" else lines


def fits_at_end(log: bytes) -> bool:
    """Whether the last line is whole, numbered rightly, signed rightly, bound to the one before."""
    raw = split_lines(log)
    if not raw:
        return True
    last, count = parse_line(raw[-1]), len(raw)
    if last is None or not log.endswith(END) or not last.is_intact:
        return False
    earlier = parse_line(raw[-2]) if count > 1 else None
    number = None if earlier is None or earlier.number is None else count
    before = line_hash(raw[-2]) if count > 1 else FIRST
    # an older log's last line has no number, and needs none
    return last.before == before and last.number in (number, count)


def ranges(places: Sequence[int]) -> str:
    """[1, 2, 3, 7] to "1-3, 7"; ascending."""
    found: list[list[int]] = []
    for place in places:
        if found and found[-1][1] == place - 1:
            found[-1][1] = place
        else:
            found.append([place, place])
    return ", ".join(str(a) if a == b else f"{a}-{b}" for a, b in found)


# --- the chain ---


def _first_fault(
    raw: Sequence[bytes], lines: Sequence[Line | None], hashes: Sequence[str]
) -> str | None:
    before, numbered = FIRST, False
    for place, line in enumerate(lines, start=1):
        if line is None:
            return f"entry {place} was altered: its line is damaged"
        if not line.is_intact:
            return f"{_named(place, lines)} was altered: its signature does not fit"
        in_place = line.number == place or (line.number is None and not numbered)
        if line.before != before or not in_place:
            return _what_happened(place, line, raw, lines, hashes)
        before, numbered = hashes[place - 1], line.number is not None
    return None


def _what_happened(
    place: int,
    line: Line,
    raw: Sequence[bytes],
    lines: Sequence[Line | None],
    hashes: Sequence[str],
) -> str:
    """`line`, at `place`, is the first that does not fit where it stands; those before do."""
    here = _named(place, lines)
    if raw.count(raw[place - 1]) > 1:
        return f"{here} was inserted: the same line stands in the log twice"
    if line.before == (hashes[place - 2] if place > 1 else FIRST):
        said = "has no number" if line.number is None else f"says that it is number {line.number}"
        return f"{here} was altered: it {said}"
    if line.number is None:
        return _without_numbers(place, line, lines, hashes)
    if line.number == place:
        return _altered_before(place, line, lines, hashes)
    later = [other.number for other in lines[place:] if other is not None]
    if place in later:
        moved = place + 1 + later.index(place)
        return f"entry {place}{_time(moved, lines)} was moved: entry {line.number} stands before it"
    if line.number > place:
        last = line.number - 1  # from anywhere: may be large, so nothing is counted up to it
        gone = f"entry {place} was" if last == place else f"entries {place}-{last} were"
        follows = f" after {_named(place - 1, lines)}" if place > 1 else " at the beginning"
        return f"{gone} removed: entry {line.number} ({line.time}) comes next{follows}"
    return f"{here} was inserted, or a line before it: it says that it is number {line.number}"


def _without_numbers(
    place: int, line: Line, lines: Sequence[Line | None], hashes: Sequence[str]
) -> str:
    """Of the older format: what a line names as the one before it says where it belongs."""
    here = _named(place, lines)
    if line.before in hashes[place:]:
        return f"{here} was moved: it belongs after the line that is entry {_place(line, hashes)}"
    if line.before in hashes[:place]:
        return f"{_named(place - 1, lines)} was inserted, or moved: {here} does not follow from it"
    if line.before == FIRST:
        return f"{here} was moved: it belongs at the beginning"
    if place == 1:
        return f"{here} is not the first: what stood before it was removed"
    return (
        f"{_named(place - 1, lines)} was altered, or what followed it was removed: {here} does not "
        "follow from it"
    )


def _altered_before(
    place: int, line: Line, lines: Sequence[Line | None], hashes: Sequence[str]
) -> str:
    """The numbers are right and the hash is not: this line was altered, or the one before it."""
    here = _named(place, lines)
    if place == 1:
        return f"{here} was altered: it names a line before it"
    following = lines[place] if place < len(lines) else None
    is_as_written = line.signer is not None or (
        following is not None and following.before == hashes[place - 1]
    )
    earlier = _named(place - 1, lines)
    if is_as_written:
        return f"{earlier} was altered or exchanged: entry {place} holds another hash of it"
    if following is not None:
        return f"{here} was altered: it does not follow from entry {place - 1}"
    return f"{earlier} was altered, or {here}: one does not follow from the other"


# --- signatures and manifests ---


def _strangers(lines: Sequence[Line | None], signers: Collection[bytes]) -> list[str]:
    by: dict[bytes, list[int]] = {}
    for place, line in enumerate(lines, start=1):
        if line is not None and line.signer is not None and line.signer not in signers:
            by.setdefault(line.signer, []).append(place)
    return [
        f"{_entries(places)} signed by {fingerprint(public)}, which is none of the officers"
        for public, places in by.items()
    ]


def _unsigned(
    lines: Sequence[Line | None], signers: Collection[bytes]
) -> tuple[list[int], list[int]]:
    """Places of unsigned entries: after the last signature of an officer, and before it."""
    signed = 0
    for place, line in enumerate(lines, start=1):
        if line is not None and line.signer in signers:
            signed = place
    places = [n for n, line in enumerate(lines, start=1) if line is not None and not line.signer]
    return [n for n in places if n > signed], [n for n in places if n < signed]


def _head_fault(name: str, head: Head, hashes: Sequence[str]) -> list[str]:
    if head.count > len(hashes):
        end = f"it ends after entry {len(hashes)}" if hashes else "it is empty"
        return [f"{name}: entry {head.count} is missing from the log: {end}, cut off"]
    if hashes[head.count - 1] != head.hash:
        return [f"{name}: entry {head.count} of the log is another one: the log was rewritten"]
    return []


# --- words ---


def _named(place: int, lines: Sequence[Line | None]) -> str:
    return f"entry {place}{_time(place, lines)}"


def _time(place: int, lines: Sequence[Line | None]) -> str:
    line = lines[place - 1]
    return "" if line is None else f" ({line.time})"


def _place(line: Line, hashes: Sequence[str]) -> int:
    return hashes.index(line.before) + 1


def _entries(places: Sequence[int]) -> str:
    return f"entry {places[0]} is" if len(places) == 1 else f"entries {ranges(places)} are"
