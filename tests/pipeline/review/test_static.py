"""The console's page as files: nothing is missing, nothing from elsewhere, all can be read."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from pipeline.review import server
from pipeline.review.passwords import LEAST_CHARACTERS

STATIC = Path(server.__file__).parent / "static"
SCRIPTS = sorted(STATIC.glob("*.js"))
STYLES = sorted(STATIC.glob("*.css"))
PAGES = sorted(STATIC.glob("*.html"))
NAMESPACE = "http://www.w3.org/2000/svg"

IMPORTS = re.compile(
    r"""^(?:import|export)\s+(?:(?P<names>\{[^}]*\}|\*\s+as\s+\w+|\w+)\s+from\s+)?["'](?P<from>[^"']+)["']"""
    r"""|import\(\s*["'](?P<dynamic>[^"']+)["']\s*\)""",
    re.MULTILINE,
)
EXPORTS = re.compile(
    r"^export\s+(?:async\s+)?(?:function\*?|class|const|let)\s+(\w+)", re.MULTILINE
)
HANDED_ON = re.compile(r"^export\s+\{([^}]*)\}", re.MULTILINE)
COMMENTS = re.compile(r"/\*.*?\*/|(?<![:\"'`])//[^\n]*", re.DOTALL)
CLASS_LITERAL = re.compile(
    r"""\bclass: (?:\w+ \? )?((?:["'`])[^"'`\n]*["'`](?: : ["'`][^"'`\n]*["'`])?)"""
)
CLASS_LIST = re.compile(r"""classList\.(?:add|remove|toggle)\(\s*["'`]([\w-]+)["'`]""")
WORDS = re.compile(r"""["'`]([^"'`]*)["'`]""")
ICON = re.compile(r"""\bicon\(\s*["'](\w+)["']""")
ICON_PROPERTY = re.compile(r"""\bicon: ["'](\w+)["']""")


class Tags(HTMLParser):
    """Every tag of a page with its attributes, and the text of scripts and styles."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.inline: list[str] = []
        self._inside: str | None = None
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, {name: value or "" for name, value in attrs}))
        self._inside = tag

    def handle_endtag(self, tag: str) -> None:
        self._inside = None

    def handle_data(self, data: str) -> None:
        if self._inside in ("script", "style") and data.strip():
            self.inline.append(data)


def text_of(path: Path) -> str:
    return path.read_text("utf-8")


def code_of(path: Path) -> str:
    """Without comments."""
    return COMMENTS.sub("", text_of(path))


def imports_of(path: Path) -> list[tuple[str, list[str]]]:
    """(module, names) of each import, static and dynamic."""
    found = []
    for match in IMPORTS.finditer(code_of(path)):
        names = match["names"] or ""
        wanted = [name.split(" as ")[0].strip() for name in names.strip("{}").split(",")]
        module = match["from"] or match["dynamic"]
        found.append((module, [name for name in wanted if name] if names[:1] == "{" else []))
    return found


def exports_of(path: Path) -> set[str]:
    code = code_of(path)
    handed = [name for part in HANDED_ON.findall(code) for name in part.split(",")]
    return {*EXPORTS.findall(code), *(name.split(" as ")[-1].strip() for name in handed)}


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.name)
def test_what_a_module_imports_exists(path: Path) -> None:
    for module, names in imports_of(path):
        assert module.startswith("./"), f"{path.name} imports {module}"
        target = STATIC / module
        assert target.is_file(), f"{path.name} imports {module}, which is no file"
        missing = set(names) - exports_of(target)
        assert not missing, f"{module} does not export {missing}, as {path.name} thinks"


def test_every_module_and_style_is_used() -> None:
    started = {
        Path(attributes.get("src", "") or attributes.get("href", "")).name
        for page in PAGES
        for tag, attributes in Tags(text_of(page)).tags
        if tag == "script" or attributes.get("rel") == "stylesheet"
    }
    reached: set[str] = set()
    waiting = {name for name in started if name.endswith(".js")}
    while waiting:
        name = waiting.pop()
        reached.add(name)
        waiting |= {Path(module).name for module, _ in imports_of(STATIC / name)} - reached
    assert reached == {path.name for path in SCRIPTS}
    assert {name for name in started if name.endswith(".css")} == {path.name for path in STYLES}


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_pages_hold_no_code_and_name_files_that_exist(path: Path) -> None:
    page = Tags(text_of(path))
    assert page.inline == []
    for tag, attributes in page.tags:
        assert not [name for name in attributes if name.startswith("on") or name == "style"], tag
        for name in ("src", "href"):
            address = attributes.get(name, "")
            if address.startswith("/static/"):
                assert (STATIC / address.removeprefix("/static/")).is_file(), address
    assert ("html", {"lang": "en"}) in page.tags


@pytest.mark.parametrize(
    "path", [*SCRIPTS, *STYLES, *PAGES, STATIC / "icon.svg"], ids=lambda path: path.name
)
def test_nothing_comes_from_elsewhere(path: Path) -> None:
    text = text_of(path).replace(NAMESPACE, "")
    assert not re.findall(r"https?://[\w.]+|[\"'(]//\w[\w.]*", text)
    for address in re.findall(r"url\(\s*[\"']?([^\"')]+)", text):
        assert address.startswith("/static/"), address
        assert (STATIC / address.removeprefix("/static/")).is_file(), address


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.name)
def test_scripts_make_no_code_and_no_html_from_text(path: Path) -> None:
    """The page shows names and reasons that people typed: as text only."""
    forbidden = (
        r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function\("
        r"|setAttribute\(\s*[\"'](?:on|style)|window\.bauta|globalThis\.bauta"
    )
    assert not re.findall(forbidden, code_of(path))


def used_classes() -> dict[str, str]:
    """Class to the file that uses it. Parts of a name put together at run time are left out."""
    used: dict[str, str] = {}
    for path in SCRIPTS:
        code = code_of(path)
        literals = [word for part in CLASS_LITERAL.findall(code) for word in WORDS.findall(part)]
        for literal in [*literals, *CLASS_LIST.findall(code)]:
            for name in re.sub(r"\S*\$\{[^}]*\}?\S*", " ", literal).split():
                if re.fullmatch(r"[a-z][\w-]*", name):
                    used.setdefault(name, path.name)
    for path in PAGES:
        for _, attributes in Tags(text_of(path)).tags:
            for name in attributes.get("class", "").split():
                used.setdefault(name, path.name)
    return used


def test_every_class_has_a_rule() -> None:
    ruled = {name for path in STYLES for name in re.findall(r"\.([a-z][\w-]*)", code_of(path))}
    used = used_classes()
    assert len(used) > 150  # else the search above has gone blind
    missing = {name: where for name, where in used.items() if name not in ruled}
    assert missing == {}


def test_every_token_is_defined() -> None:
    sources = "\n".join(code_of(path) for path in [*STYLES, *SCRIPTS])
    defined = set(re.findall(r"[\"'\s;{](--[\w-]+)[\"']?\s*[:,]", sources))
    for path in STYLES:
        missing = set(re.findall(r"var\((--[\w-]+)", code_of(path))) - defined
        assert not missing, f"{path.name}: {missing}"


def test_every_icon_is_drawn() -> None:
    drawn = set(re.findall(r"^  (\w+): \"M", text_of(STATIC / "icons.js"), re.MULTILINE))
    code = "\n".join(code_of(path) for path in SCRIPTS)
    used = {*ICON.findall(code), *ICON_PROPERTY.findall(code)}
    assert len(used) > 20
    assert used <= drawn


def test_the_page_says_the_servers_rule_for_passwords() -> None:
    (said,) = re.findall(r"SHORTEST_PASSWORD = (\d+);", text_of(STATIC / "session.js"))
    assert int(said) == LEAST_CHARACTERS


# --- contrast (WCAG 2.2: 4.5 for text, 3 for what marks a control) ---


def palette() -> tuple[dict[str, str], dict[str, str]]:
    """(light, dark): token to #rrggbb."""
    pairs = re.findall(
        r"(--[\w-]+): light-dark\((#[0-9a-f]{6}), (#[0-9a-f]{6})\)", text_of(STATIC / "theme.css")
    )
    assert len(pairs) > 15
    return {name: light for name, light, _ in pairs}, {name: dark for name, _, dark in pairs}


def contrast(one: str, other: str) -> float:
    """Of two colours, 1 to 21."""

    def luminance(colour: str) -> float:
        parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
        red, green, blue = (
            part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts
        )
        return 0.2126 * red + 0.7152 * green + 0.0722 * blue

    brighter, darker = sorted((luminance(one), luminance(other)), reverse=True)
    return (brighter + 0.05) / (darker + 0.05)


GROUNDS = ("--ground", "--raised", "--sunken", "--hover")
TEXT_ON = {
    **{name: GROUNDS for name in ("--text", "--dim", "--accent", "--attention", "--danger")},
    "--on-accent": ("--accent",),
}
ON_OWN_GROUND = ("--accent", "--attention", "--danger")


@pytest.mark.parametrize("theme", [0, 1], ids=["light", "dark"])
def test_text_can_be_read_in_both_themes(theme: int) -> None:
    colours = palette()[theme]
    pairs = [(text, ground) for text, grounds in TEXT_ON.items() for ground in grounds]
    pairs += [(name, f"{name}-ground") for name in ON_OWN_GROUND]
    pairs += [("--text", f"{name}-ground") for name in ON_OWN_GROUND]
    low = {pair: contrast(colours[pair[0]], colours[pair[1]]) for pair in pairs}
    assert {pair: round(value, 2) for pair, value in low.items() if value < 4.5} == {}
    for ground in ("--ground", "--raised", "--sunken"):
        assert contrast(colours["--line-strong"], colours[ground]) >= 3
