"""The report: one page that holds everything, whatever is in its texts."""

from __future__ import annotations

import base64
import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from pipeline.recover.gaps import NO_RECORD, Gap
from pipeline.recover.report import MOST_GAPS, as_html
from support.recoveries import A_REQUEST, HASHES, PNG, a_recovery

VOID = {"meta", "img", "br"}
EVIL = "<script>alert(1)</script>&\"' {{STILLS}} \x1b[31m"


class Page(HTMLParser):
    """Everything is closed in order; its tags, attributes and text."""

    def __init__(self, page: bytes) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str]] = []
        self.shown = ""
        self.feed(page.decode())
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "style" not in self.open:
            self.shown += data


def test_everything_is_on_the_page() -> None:
    page = Page(as_html(a_recovery()))
    for text in (
        "17/26",
        "theft, hall 3",
        "dana, 2026-11-21T10:00:00Z",
        "ORIGIN UNVERIFIED",
        "age1dpo",
        "SHA256:dpo",
        "signed by SHA256:police, who says: case 16/26: asked for; made 2026-11-20T09",
        "1:20.0 to 1:45.5",
        "40 in 42 of 50 frames",
        "the face of another frame, moved",
        "frames 40–47 (0:01.6–0:01.8): no record fits",
        "North, gate-3",
        "dpo, police by package (of dpo, police)",
        *HASHES.values(),
        "3 entries",
        "bauta 0",
    ):
        assert text in page.shown, text
    assert "{{" not in page.shown


def test_it_asks_no_network() -> None:
    page = as_html(a_recovery())
    sources = [value for name, value in Page(page).attributes if name in ("src", "href")]
    assert len(sources) == 2 and all(s.startswith("data:image/png;base64,") for s in sources)
    assert not re.search(rb"https?:|//[a-z]|url\(|@import", re.sub(rb"base64,[^\"]*", b"", page))
    assert b"default-src 'none'" in page and b"prefers-color-scheme: dark" in page


def test_stills_are_pictures_before_and_after() -> None:
    page = as_html(a_recovery(stills=(replace(a_recovery().stills[0], after=PNG + b"x"),)))
    found = [base64.b64decode(data) for data in re.findall(rb'base64,([^"]*)"', page)]
    assert found == [PNG, PNG + b"x"]
    assert "Track 12, frame 30 (0:01.2)" in Page(page).shown


def test_what_comes_from_outside_is_text_and_nothing_else() -> None:
    recovery = a_recovery(request=A_REQUEST)
    plain = Page(as_html(recovery))
    evil = a_recovery(
        case=EVIL,
        reason=EVIL,
        user=EVIL,
        clip=replace(recovery.clip, name=EVIL),
        keys=(replace(recovery.keys[0], age=EVIL),),
        packages=(replace(recovery.packages[0], case=EVIL, reason=EVIL, made_utc=EVIL),),
        origin=(EVIL,),
        epochs=(replace(recovery.epochs[0], site=EVIL, camera=EVIL, groups=(EVIL,)),),
        gaps=(replace(recovery.gaps[0], why=EVIL),),
        request=replace(A_REQUEST, id=EVIL, requested_by=EVIL, approved_by=EVIL, signer=EVIL),
    )
    page = as_html(evil)
    attacked = Page(page)
    assert attacked.tags == plain.tags and len(attacked.attributes) == len(plain.attributes)
    assert attacked.shown.count("<script>alert(1)</script>&\"' {{STILLS}} ?[31m") > 8
    assert b"\x1b" not in page


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"is_origin_verified": True, "service": "SHA256:s"}, "signed by SHA256:s"),
        ({"is_marked": False}, "NONE, as was asked"),
        ({"is_lossless": True}, "without loss"),
        ({"gaps": ()}, "everything that was asked for"),
        (
            {"epochs": (replace(a_recovery().epochs[0], opened_by=(), released_by=()),)},
            "nobody (of dpo, police)",
        ),
        ({"stills": ()}, "No face of its own opened"),
        ({"request": A_REQUEST}, "REQUEST UNVERIFIED: no console’s public key was named"),
        ({"request": A_REQUEST}, "R-4QX7ZK2M, North, gate-3"),
        ({"request": A_REQUEST}, "approved by milo, 2026-11-20T09:00:00.000Z, until 2026-11-27"),
        ({"request": A_REQUEST}, "2026-11-19T08:00:00.000Z to 2026-11-19T08:00:10.000Z, in whole"),
        ({"request": A_REQUEST}, "a lock: the approver’s release is in it"),
        ({"request": A_REQUEST}, "10 of the 12 approved are in this clip"),
        ({"request": A_REQUEST}, f"SHA-256 {'cd' * 32}"),
        ({"request": replace(A_REQUEST, is_lock=False)}, "advice: no release"),
        (
            {"request": replace(A_REQUEST, is_verified=True)},
            "REQUEST VERIFIED: signed by the console, SHA256:console",
        ),
        ({"tracks": (), "to_seconds": None}, "all, and what several people may own"),
    ],
)
def test_what_differs_is_said(changes: dict[str, object], text: str) -> None:
    assert text in Page(as_html(a_recovery(**changes))).shown
    assert text not in Page(as_html(a_recovery())).shown


def test_many_gaps_do_not_drown_it() -> None:
    gaps = tuple(Gap(NO_RECORD, None, n, n, n / 25, n / 25) for n in range(2 * MOST_GAPS))
    page = Page(as_html(a_recovery(gaps=gaps)))
    assert f"and {MOST_GAPS} more: see the manifest" in page.shown
    assert page.shown.count("no record fits") == MOST_GAPS
