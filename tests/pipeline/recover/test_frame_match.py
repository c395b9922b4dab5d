from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from pipeline.recover.frame_match import Expected, Known, match

FEW = st.lists(st.sampled_from([bytes((value,)) for value in range(4)]), max_size=60)


def expected(digests: list[bytes], first: int = 0) -> list[Expected]:
    return [Expected(number, digest) for number, digest in enumerate(digests, start=first)]


def letters(text: str) -> list[bytes]:
    return [letter.encode() for letter in text]


def matched(wanted: str, found: str, before: Known | None = None) -> dict[int, int]:
    return match(expected(letters(wanted)), letters(found), before)


def test_what_is_whole() -> None:
    assert matched("abcdef", "abcdef") == {at: at for at in range(6)}
    assert matched("", "abc") == {} == matched("abc", "")


def test_a_lost_frame() -> None:
    assert matched("abcdef", "abdef") == {0: 0, 1: 1, 3: 2, 4: 3, 5: 4}


def test_an_altered_frame() -> None:
    assert matched("abcdef", "abXdef") == {0: 0, 1: 1, 3: 3, 4: 4, 5: 5}


def test_a_doubled_frame_has_one_place() -> None:
    found = matched("abcdef", "abbcdef")
    assert len(found) == 6 and found[0] == 0 and found[1] in (1, 2) and found[2] == 3


def test_moved_frames_lose_their_places() -> None:
    """The end was put before the middle: only one of both can be where it was."""
    assert matched("abcdefgh", "abghcdef") == {0: 0, 1: 1, 2: 4, 3: 5, 4: 6, 5: 7}


def test_a_still_picture_goes_by_order() -> None:
    assert matched("aaaaaa", "aaaaaa") == {at: at for at in range(6)}
    assert matched("aaaab", "xxaaaab") == {at: at + 2 for at in range(5)}


def test_of_equal_pictures_those_beside_known_ones() -> None:
    """`a` begins both scenes; only the second is here."""
    assert matched("abcade", "ade") == {3: 0, 4: 1, 5: 2}


def test_frames_that_no_record_speaks_of_are_passed_over() -> None:
    wanted = [Expected(0, b"a"), *expected(letters("zzzz"), first=40)]
    found = [b"a", *letters("-" * 39), *letters("zzzz")]
    assert match(wanted, found) == {0: 0, 1: 40, 2: 41, 3: 42, 4: 43}


def test_what_came_before_tells_where_it_goes_on() -> None:
    assert matched("aa", "aaaa", Known(-3, -1)) == {0: 2, 1: 3}


@given(FEW, FEW)
def test_any_two_sequences(wanted: list[bytes], found: list[bytes]) -> None:
    pairs = sorted(match(expected(wanted), found).items())
    assert all(wanted[i] == found[j] for i, j in pairs)
    assert all(a < c and b < d for (a, b), (c, d) in pairwise(pairs))


@given(st.lists(st.sampled_from(["keep", "lose", "alter", "put in"]), min_size=1, max_size=80))
def test_every_frame_that_is_left_is_found(fates: list[str]) -> None:
    wanted = [number.to_bytes(2, "big") for number in range(len(fates))]
    found: list[bytes] = []
    truth: dict[int, int] = {}
    for number, fate in enumerate(fates):
        if fate == "put in":
            found.append(b"put in")
        if fate in ("keep", "put in"):
            truth[number] = len(found)
            found.append(wanted[number])
        elif fate == "alter":
            found.append(b"altered")
    assert match(expected(wanted), found) == truth


def test_a_long_clip_that_was_made_to_take_long() -> None:
    """Every frame fits every other, and then none fits any: the work must not be their product."""
    many = 40_000
    assert len(match(expected([b"a"] * many), [b"a"] * (many // 2))) == many // 2
    turning = [bytes((number % 7,)) for number in range(many)]
    other = [bytes((number % 5 + 100,)) for number in range(many)]
    assert match(expected(turning), other) == {}
    assert len(match(expected(turning[::-1]), turning)) > many // 10


def test_counters_of_any_size() -> None:
    wanted = [Expected(0, b"a"), Expected(2**32 - 1, b"b"), Expected(2**40, b"c")]
    assert match(wanted, [b"a", b"b", b"c"]) == {0: 0, 1: 1, 2: 2}
