import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import BaseModel

from pipeline.config import expand, load_settings, settings_from
from pipeline.errors import SettingsError, UsageError
from pipeline.resources import config_path
from pipeline.settings import CameraSettings, Settings

SECRET = "hunter2"
URL = f"rtsp://ops:{SECRET}@10.0.0.9/cam1"


def camera(**changes: object) -> dict[str, Any]:
    return {"cameras": [{"id": "lobby", "source": "rtsp://10.0.0.9/cam1", **changes}]}


def written(folder: Path, text: str) -> Path:
    path = folder / "bauta.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def flat(node: object, where: str = "") -> dict[str, object]:
    """A tree as {'cameras[0].protect.hold': 1.0}."""
    if isinstance(node, dict) and node:
        return {
            k: v for key, value in node.items() for k, v in flat(value, f"{where}.{key}").items()
        }
    if isinstance(node, list) and node:
        return {
            k: v for i, value in enumerate(node) for k, v in flat(value, f"{where}[{i}]").items()
        }
    return {where.removeprefix("."): node}


# --- the shipped default ---


def test_default_yaml_is_exactly_the_settings() -> None:
    path = config_path("default.yaml")
    given = load_settings(path).cameras[0]
    defaults = Settings(cameras=[CameraSettings(id=given.id, source=given.source)])

    assert load_settings(path) == defaults
    written_keys = flat(yaml.safe_load(path.read_text(encoding="utf-8")))
    assert set(written_keys) == set(flat(defaults.model_dump()))


def test_every_key_of_default_yaml_has_a_comment() -> None:
    bare = []
    for number, line in enumerate(
        config_path("default.yaml").read_text(encoding="utf-8").splitlines(), 1
    ):
        content, _, comment = line.partition(" #")
        has_value = re.match(r"^\s*(- )?\w+:\s*\S", content)
        if has_value and len(comment.split()) < 2:
            bare.append(f"{number}: {line}")
    assert not bare


def test_optional_blocks_are_shown_with_keys_that_exist() -> None:
    text = config_path("default.yaml").read_text(encoding="utf-8")
    for name, example in re.findall(r"^\s+(record|hls): null\s+# (\{.*\})$", text, re.MULTILINE):
        inner = yaml.safe_load(example)
        settings = settings_from(camera(**{name: inner}))
        block = getattr(settings.cameras[0], name)
        assert set(inner) == set(type(block).model_fields)


# --- unknown keys ---


@pytest.mark.parametrize(
    ("tree", "where", "near"),
    [
        ({"sites": "x"}, "sites", "site"),
        ({"detector": {"treads": 2}}, "detector.treads", "threads"),
        (camera(sorce="x"), "cameras[0].sorce", "source"),
        (camera(protect={"detect_evry": 2}), "cameras[0].protect.detect_evry", "detect_every"),
        (camera(zones={"nevr": []}), "cameras[0].zones.nevr", "never"),
        (camera(encode={"gops": "2s"}), "cameras[0].encode.gops", "gop"),
        (camera(reconnect={"read_timout": 1}), "cameras[0].reconnect.read_timout", "read_timeout"),
        (
            camera(record={"dir": "r", "retension": "1d"}),
            "cameras[0].record.retension",
            "retention",
        ),
        (camera(hls={"dir": "r", "segments": "2s"}), "cameras[0].hls.segments", "segment"),
    ],
)
def test_an_unknown_key_names_the_nearest(tree: dict[str, Any], where: str, near: str) -> None:
    with pytest.raises(SettingsError) as caught:
        settings_from(tree)
    assert str(caught.value) == f"{where}: unknown key; did you mean {near}?"


def test_an_unknown_key_without_a_neighbour_lists_the_known_ones() -> None:
    with pytest.raises(SettingsError) as caught:
        settings_from(camera(zones={"qqq": 1}))
    assert str(caught.value) == "cameras[0].zones.qqq: unknown key; known keys: always, never"


def models(model: type[BaseModel]) -> set[type[BaseModel]]:
    found = {model}
    for field in model.model_fields.values():
        for part in [field.annotation, *getattr(field.annotation, "__args__", ())]:
            if isinstance(part, type) and issubclass(part, BaseModel):
                found |= models(part)
    return found


def test_every_level_is_strict_and_frozen() -> None:
    assert len(models(Settings)) >= 9
    for model in models(Settings):
        assert model.model_config.get("extra") == "forbid", model
        assert model.model_config.get("frozen") is True, model


# --- messages ---


@pytest.mark.parametrize(
    ("tree", "message"),
    [
        ({"cameras": [{"id": "lobby"}]}, "cameras[0].source: is required"),
        ({"cameras": [{"source": "x"}]}, "cameras[0].id: is required"),
        (camera(record={"segment": "5m"}), "cameras[0].record.dir: is required"),
        (
            camera(protect={"hold": "soon"}),
            "cameras[0].protect.hold: must be a duration such as 500ms, 2s, 5m, 12h or 30d, "
            "got 'soon'",
        ),
        (
            camera(record={"dir": "r", "max_size": "big"}),
            "cameras[0].record.max_size: must be a size such as 500MB, 20GB or 1TB, got 'big'",
        ),
        (
            camera(protect={"detect_every": 9, "lookahead": 3}),
            "cameras[0].protect: detect_every must be at most lookahead + 1 = 4, got 9: a face "
            "would be published before it was looked for. Raise lookahead to 8 or lower "
            "detect_every",
        ),
        (
            {"cameras": [*camera()["cameras"], *camera()["cameras"]]},
            "camera id must be unique, got 'lobby' twice",
        ),
    ],
)
def test_a_message_says_where_and_what(tree: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingsError) as caught:
        settings_from(tree)
    assert str(caught.value) == message
    assert isinstance(caught.value, UsageError)  # exit code 2


# --- credentials ---


@pytest.mark.parametrize(
    "tree",
    [
        camera(source=[URL]),
        camera(source={"url": URL}),
        camera(publish=URL),
        camera(publish=[{"url": URL}]),
        camera(source=URL, transport=URL),
        camera(source=URL, audio="loud"),
        camera(source=URL, publish=[URL, 7]),
        camera(id=URL),
        camera(record=URL),
        camera(hls={"dir": "x", "keep": URL}),
        camera(zones=URL),
        camera(source=URL, sorce=URL),
        {"cameras": [URL]},
        {"cameras": URL},
        {"site": [URL]},
        {"detector": URL},
    ],
)
def test_a_password_never_reaches_an_error(tree: dict[str, Any]) -> None:
    with pytest.raises(SettingsError) as caught:
        settings_from(tree)

    error: BaseException | None = caught.value
    while error is not None:  # the chain as a stack trace would print it
        assert SECRET not in str(error)
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)


def test_a_password_from_the_environment_never_reaches_an_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("LOBBY_PASSWORD", SECRET)
    with pytest.raises(SettingsError) as caught:
        settings_from(camera(source=["rtsp://ops:${LOBBY_PASSWORD}@10.0.0.9/cam1"]))
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize(
    "text",
    [
        f"cameras:\n  - id: a\n    source: {URL}: x\n",
        f"cameras:\n  - {{id: a, source: '{URL}\n",
        f"cameras:\n\t- source: {URL}\n",
        f"cameras: [{URL}\n",
    ],
)
def test_a_password_in_broken_yaml_never_reaches_an_error(tmp_path: Path, text: str) -> None:
    with pytest.raises(SettingsError) as caught:
        load_settings(written(tmp_path, text))
    assert SECRET not in str(caught.value)


# --- references ---


def test_environment_references(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOBBY_PASSWORD", "s3cr:t@${X}")
    monkeypatch.setenv("LOBBY_HOST", "10.0.0.9")

    settings = settings_from(
        camera(
            source="rtsp://ops:${LOBBY_PASSWORD}@${LOBBY_HOST}/cam1",
            publish=["rtsp://${LOBBY_HOST}/out"],
        )
    )

    # what a variable holds is taken as it is, never expanded again
    assert settings.cameras[0].source == "rtsp://ops:s3cr:t@${X}@10.0.0.9/cam1"
    assert settings.cameras[0].publish == ["rtsp://10.0.0.9/out"]


def test_a_missing_variable_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_SUCH_THING", raising=False)
    with pytest.raises(SettingsError, match=r"\$\{NO_SUCH_THING\} is not set"):
        settings_from(camera(source="rtsp://x:${NO_SUCH_THING}@h/c"))


def test_text_without_references_stays() -> None:
    assert expand("a$b {c} $ {d} ${} ${1x}") == "a$b {c} $ {d} ${} ${1x}"


def test_file_references(tmp_path: Path) -> None:
    secret = tmp_path / "lobby.url"
    secret.write_text(f"  {URL}  \nsecond line\n", encoding="utf-8")

    settings = settings_from(camera(source=f"file:{secret}", publish=[f"file:{secret}"]))

    assert settings.cameras[0].source == URL
    assert settings.cameras[0].publish == [URL]


def test_a_file_reference_goes_only_where_a_secret_belongs(tmp_path: Path) -> None:
    secret = tmp_path / "site"
    secret.write_text("x", encoding="utf-8")
    assert settings_from({"site": f"file:{secret}"}).site == f"file:{secret}"


@pytest.mark.parametrize("content", [None, b"", b"\xff\xfe\x00secret"])
def test_a_file_reference_that_cannot_be_read(tmp_path: Path, content: bytes | None) -> None:
    secret = tmp_path / "lobby.url"
    if content is not None:
        secret.write_bytes(content)
    with pytest.raises(SettingsError) as caught:
        settings_from(camera(source=f"file:{secret}"))
    assert str(caught.value) == f"source: file:{secret} cannot be read or is empty"


# --- files ---


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "must hold keys such as 'cameras:'"),
        ("- a\n- b\n", "must hold keys such as 'cameras:'"),
        ("just text", "must hold keys such as 'cameras:'"),
        ("cameras: [\n", "in line 2"),
        ("site: a\ncameras:\n\t- id: x\n", "in line 3"),
        ("site: !!python/object:os.system x\n", "could not determine a constructor"),
        ("sitte: x\n", "did you mean site?"),
    ],
)
def test_a_file_that_is_no_configuration(tmp_path: Path, text: str, message: str) -> None:
    path = written(tmp_path, text)
    with pytest.raises(SettingsError) as caught:
        load_settings(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="no such configuration file"):
        load_settings(tmp_path / "none.yaml")
    with pytest.raises(SettingsError, match="cannot be read"):
        load_settings(tmp_path)
    (tmp_path / "latin.yaml").write_bytes(b"site: caf\xe9\n")
    with pytest.raises(SettingsError, match="cannot be read"):
        load_settings(tmp_path / "latin.yaml")


def test_a_whole_file(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        """
site: head-office
detector: {min_score: 0.3}
cameras:
  - id: lobby
    source: clip.mp4
    record: {dir: rec, segment: 5m, retention: 30d, max_size: 2GB}
    zones: {never: [[[0, 0], [0.5, 0], [0.5, 0.5]]]}
    encode: {codec: h265, gop: 1s}
""",
    )
    settings = load_settings(path)

    assert settings.detector.min_score == 0.3
    lobby = settings.cameras[0]
    assert lobby.record is not None
    assert (lobby.record.segment, lobby.record.retention) == (300.0, 30 * 86_400.0)
    assert lobby.record.max_size == 2 * 10**9
    assert (lobby.encode.codec, lobby.encode.gop) == ("h265", 1.0)
    assert lobby.zones.never == [[(0, 0), (0.5, 0), (0.5, 0.5)]]
