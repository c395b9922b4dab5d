"""Vectors of disclosures and releases: good ones, refused ones, and such as open nothing."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence

from pipeline.evidence.group_record import SCENE_TRACK
from pipeline.vault.epoch_keys import track_secret
from pipeline.vault.signing import officer_key, public_line

from .vector_epochs import Made
from .vector_seeds import Change, Fields, age_file, b64, changes, person, seeded

_MAGIC, _LABEL = b"bauta/1 package\n", b"bauta/1 package"


def packages(epochs: Mapping[str, Made]) -> Fields:
    """All of them by name."""
    epoch = epochs["two_groups"]
    opens_1 = [[0, 2, 1, 0b0001], [0, 3, 1, 0b1010]]
    opens_all = [*opens_1[:1], [0, 2, 2_000_000, 0b0010], *opens_1[1:], [0, 4, 1, 0b0100]]
    disclosure = _disclosure(epoch)
    release = _content(epoch, "release", ("dpo",), [1], (1,))
    everything = _content(epoch, "release", ("dpo",), None, (1, 2_000_000, SCENE_TRACK))
    found: Fields = {
        "disclosure": {
            **_packed("disclosure", disclosure, "lawyer"),
            "opens": {"": opens_1, "dpo": opens_1, "stranger": opens_1},
        },
        "release": {
            **_packed("release", release, "police"),
            "opens": {"": [], "police": opens_1, "dpo": []},
        },
        "release_of_everything": {
            **_packed("release_of_everything", everything, "police"),
            "opens": {"": [], "police": opens_all, "dpo": []},
        },
    }
    return {
        "about": "'opens': with which keys beside the package",
        "epoch": "two_groups",
        "good": found,
        "fitting_nothing": _fitting_nothing(disclosure),
    }


def _disclosure(epoch: Made) -> Fields:
    return _content(epoch, "disclosure", ("dpo", "police"), [1], (1,))


def _content(
    epoch: Made, what: str, groups: Sequence[str], tracks: list[int] | None, held: Sequence[int]
) -> Fields:
    plan = epoch.plan
    return {
        "what": what,
        "case": "117/26",
        "reason": "Anlaß",
        "made_utc": "2026-09-21T14:13:20+00:00",
        "maker": public_line(officer_key(person("dpo")).public),
        "maker_age": person("dpo").recipient.public,
        "clip_sha256": seeded("clip", 32).hex(),
        "tracks": tracks,
        "epochs": [
            {
                "id": plan.epoch_id.hex(),
                "context": epoch.record.context.hex(),
                "groups": {
                    name: {
                        str(track): track_secret(
                            plan.secret(name), plan.epoch_id, epoch.record.context, name, track
                        ).hex()
                        for track in held
                    }
                    for name in groups
                },
            }
        ],
    }


def _packed(label: str, content: Fields, receiver: str) -> Fields:
    inside, text, signature = _inside(content)
    return {
        "receiver": receiver,
        "maker": "dpo",
        "content": text.decode(),
        "signature": signature.hex(),
        "file_base64": b64(age_file(inside, [receiver], label)),
    }


def _inside(
    content: Fields, *, signer: str = "dpo", shorter: int = 0
) -> tuple[bytes, bytes, bytes]:
    """What the age file holds; JSON, cut by `shorter`; signature."""
    text = json.dumps(content, sort_keys=True, separators=(",", ":")).encode("ascii")
    text = text[: len(text) - shorter]
    length = len(text).to_bytes(4, "big")
    signature = officer_key(person(signer)).sign(_LABEL + length + text)
    return _MAGIC + length + text + signature, text, signature


def _fitting_nothing(good: Fields) -> Fields:
    """They open, and then nothing in them is of the epoch."""
    groups = good["epochs"][0]["groups"]
    swapped = {"dpo": groups["police"], "police": groups["dpo"]}
    found = {
        "of_another_clip": _but(good, context=seeded("another context", 32).hex()),
        "of_another_epoch": _but(good, id=bytes(16).hex()),
        "swapped_secrets": _but(good, groups=swapped),
    }
    return {name: _packed(name, content, "lawyer") for name, content in found.items()}


def _but(content: Fields, **changes: object) -> Fields:
    """With another epoch in it."""
    return {**content, "epochs": [{**content["epochs"][0], **changes}]}


def broken_packages(epochs: Mapping[str, Made]) -> Iterator[tuple[str, list[Change]]]:
    """What was done inside of the disclosure, before it was put into an age file."""
    good = _disclosure(epochs["two_groups"])
    inside, text, _ = _inside(good)
    secret = good["epochs"][0]["groups"]["dpo"]["1"]
    short, odd = {"dpo": {"1": secret[2:]}}, {"dpo": {"01": secret}}
    no_case = {name: value for name, value in good.items() if name != "case"}
    after_signing = inside.replace(b"117/26", b"117/27")
    for name, new in (
        ("of an unknown kind", _inside({**good, "what": "gift"})[0]),
        ("without a case", _inside(no_case)[0]),
        ("with an epoch twice", _inside({**good, "epochs": good["epochs"] * 2})[0]),
        ("with a short secret", _inside(_but(good, groups=short))[0]),
        ("with a track written 01", _inside(_but(good, groups=odd))[0]),
        ("that is no JSON", _inside(good, shorter=2)[0]),
        ("altered after it was signed", after_signing),
        ("signed by another", _inside(good, signer="police")[0]),
        ("a byte longer", inside + b"\0"),
        ("a byte shorter", inside[:-1]),
        ("of another version", inside.replace(b"bauta/1 p", b"bauta/2 p", 1)),
        ("whose length is wrong", inside.replace(len(text).to_bytes(4, "big"), bytes(4), 1)),
    ):
        yield f"a package {name}", changes(inside, new)
