"""The pages for people name what the program has, and nothing it has not."""

from __future__ import annotations

import argparse
import re
from pathlib import Path

import pytest

from pipeline import errors
from pipeline.cli import _parser
from pipeline.version import __version__

ROOT = Path(__file__).resolve().parents[2]


def parsers() -> dict[str, argparse.ArgumentParser]:
    for action in _parser()._actions:
        if isinstance(action, argparse._SubParsersAction):
            return dict(action.choices)
    raise AssertionError("there are no commands")


def options_of(parser: argparse.ArgumentParser) -> set[str]:
    """Its own and those of its actions, such as `bauta engine bench`."""
    found = {option for action in parser._actions for option in action.option_strings}
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            found = found.union(*map(options_of, action.choices.values()))
    return found


def pages() -> dict[str, str]:
    paths = [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")]
    return {path.name: path.read_text(encoding="utf-8") for path in paths}


def test_every_command_is_documented() -> None:
    text = "\n".join(pages().values())
    missing = [name for name in parsers() if not re.search(rf"\b(bauta|make) {name}\b", text)]
    assert missing == []


def test_every_documented_command_exists() -> None:
    """Only in code: prose may say what is to come."""
    known = set(parsers())
    for page, text in pages().items():
        blocks = re.findall(r"^```(?:sh|bash|console|shell)?\n(.*?)^```", text, re.M | re.S)
        for block in blocks:
            for name in re.findall(r"^\s*(?:\$ )?(?:\S*/)?bauta ([a-z]+)", block, re.M):
                assert name in known, f"{page} shows `bauta {name}`"


@pytest.mark.parametrize("name", sorted(parsers()))
def test_every_command_has_help_for_each_option(name: str) -> None:
    for action in parsers()[name]._actions:
        if action.option_strings and action.dest != "help":
            documented = action.help or action.choices or action.metavar
            assert documented, f"bauta {name} {action.option_strings[0]}"
    assert parsers()[name].format_help()


def test_documented_options_exist() -> None:
    for page, text in pages().items():
        for block in re.findall(r"^```\w*\n(.*?)^```", text, re.M | re.S):
            for line in block.splitlines():
                match = re.match(r"\s*(?:\$ )?(?:\S*/)?bauta ([a-z]+)(.*)", line)
                if not match or match[1] not in parsers():
                    continue
                known = options_of(parsers()[match[1]])
                given = set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", match[2].split("#")[0]))
                assert given <= known, f"{page}: {line.strip()}"


def test_the_error_tree_is_drawn_as_it_is() -> None:
    drawn = set(
        re.findall(
            r"^\s*(?:\* )?([A-Z]\w+(?:Error|Timeout|Refused|Failed|Video|Opened))\b",
            errors.__doc__ or "",
            re.M,
        )
    )
    real = {
        name
        for name, item in vars(errors).items()
        if isinstance(item, type) and issubclass(item, Exception)
    }
    assert drawn == real
    for line in (errors.__doc__ or "").splitlines():
        if match := re.match(r"(\s*)\* (\w+)", line):
            parents = {base.__name__ for base in getattr(errors, match[2]).__mro__}
            depth = len(match[1]) // 2 + 1
            assert len([base for base in parents if hasattr(errors, base)]) == depth + 1, line


def test_the_changelog_knows_the_version() -> None:
    text = pages()["CHANGELOG.md"]
    assert re.search(rf"^## .*({re.escape(__version__)}|Unreleased)", text, re.M | re.I)


def test_links_between_pages_lead_somewhere() -> None:
    for path in [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")]:
        for target in re.findall(
            r"\]\((?!https?://|#|mailto:)([^)#\s]+)", path.read_text(encoding="utf-8")
        ):
            assert (path.parent / target).exists(), f"{path.name} links to {target}"
