"""What the product makes of the cases in tests/vectors: who opens what, and what is refused."""

from __future__ import annotations

import json

import pytest

from pipeline.errors import RecordError
from pipeline.evidence.key_record import parse_key_record
from pipeline.vault.opening import open_epoch
from pipeline.vault.package import Package, Purpose, make_disclosure, make_release, open_package
from pipeline.vault.signing import officer_key, public_line
from support import vector_cases as cases
from support.vector_cases import GOOD, base, key_of, prepared
from support.vector_seeds import Fields, load, person

CASES: list[Fields] = load("failures")["cases"]
PACKAGES = load("packages")


def cases_of(what: str) -> pytest.MarkDecorator:
    found = [pytest.param(case, id=case["name"]) for case in CASES if case["do"] == what]
    assert found
    return pytest.mark.parametrize("case", found)


@pytest.mark.parametrize("name", sorted(PACKAGES["good"]))
def test_a_package_opens_what_it_is_for(name: str) -> None:
    fields, file = cases.package_file(name)
    package = open_package(file, person(fields["receiver"]))
    content = json.loads(fields["content"])
    assert package.maker_public == officer_key(person("dpo")).public
    assert public_line(package.maker_public) == content["maker"]
    for told in ("what", "case", "reason", "made_utc", "maker_age", "clip_sha256"):
        assert getattr(package, told) == content[told]
    assert (None if package.tracks is None else list(package.tracks)) == content["tracks"]
    for people, rows in fields["opens"].items():
        case = {"base": PACKAGES["epoch"], "packages": [[name, fields["receiver"]]]}
        prepared_case = prepared({**case, "identities": people.split()})
        assert cases.opened(prepared_case) == list(map(tuple, rows))


@pytest.mark.parametrize("name", sorted(PACKAGES["good"]))
def test_the_same_package_is_made_again(name: str) -> None:
    fields, file = cases.package_file(name)
    content = json.loads(fields["content"])
    receiver, maker = person(fields["receiver"]), person(fields["maker"])
    record = parse_key_record(key_of(base(PACKAGES["epoch"])))
    keys = [open_epoch(record, identities=[maker, person("police")])]
    purpose = Purpose(
        maker=maker,
        receiver=receiver.recipient,
        case=content["case"],
        reason=content["reason"],
        clip_sha256=content["clip_sha256"],
    )
    if content["what"] == "disclosure":
        made = make_disclosure(keys, content["tracks"][0], purpose)
    else:
        present = {record.epoch_id: (1, 2_000_000)}
        made = make_release(keys, "dpo", content["tracks"], purpose, present=present)
    now = json.loads(receiver.open(made)[20:-64])["made_utc"]
    assert len(now) == len(content["made_utc"])
    inside = receiver.open(made)[:-64].replace(now.encode(), content["made_utc"].encode())
    assert inside == receiver.open(file)[:-64]
    signature = officer_key(maker).sign(b"bauta/1 package" + inside[16:])
    assert receiver.open(file)[-64:] == signature == bytes.fromhex(fields["signature"])


# --- cases ---


@cases_of("open")
def test_what_opens(case: Fields) -> None:
    assert cases.opened(prepared(case)) == list(map(tuple, case["expect"]))
    if case.get("sign_again"):
        assert not cases.verified(prepared(case, signs_again=False)).is_whole


@cases_of("verify")
def test_what_is_verified(case: Fields) -> None:
    origin = cases.verified(prepared(case))
    said = {
        "verified": origin.is_verified,
        "complete": origin.is_complete,
        "unaltered": origin.is_unaltered,
        "whole": origin.is_whole,
    }
    assert {name: said[name] for name in case["expect"]} == case["expect"]


@cases_of("read")
def test_what_is_refused(case: Fields) -> None:
    assert case["expect"] == "refused"
    with pytest.raises(RecordError):
        cases.READERS[case["what"]](cases.bytes_of(case))


@cases_of("read package")
def test_packages_that_are_refused(case: Fields) -> None:
    outcome = cases.read_package(case)
    assert not isinstance(outcome, Package)
    assert outcome == case["expect"]


@pytest.mark.parametrize("name", GOOD)
def test_what_the_refused_ones_were_made_of_is_good(name: str) -> None:
    epoch = base(name)
    whole = prepared({"base": name})
    assert cases.opened(whole) == list(map(tuple, epoch["opens"]))
    assert cases.verified(whole).is_whole
