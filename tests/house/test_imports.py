"""Who may import whom, read from the source: nothing is run."""

from __future__ import annotations

import ast
import re
import sys
from collections import defaultdict
from collections.abc import Mapping
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PIPELINE, ENGINES = ROOT / "pipeline", ROOT / "engines"
STAGES = ("source", "detect", "track", "protect", "compose", "encode", "seal", "publish")

SHARED = {"frames", "motion", "settings", "errors", "runtime", "streams", "evidence", "presence"}
"""What any stage may import."""

EXCEPTIONS = {
    # the only way in is a protected frame, and its type lives where it is made
    ("encode/encoder.py", "compose.gate.ProtectedFrame"),
    # it seals with keys; what they are is the vault's alone
    ("seal/group.py", "vault.epoch.EpochSecrets"),
    ("seal/group.py", "vault.epoch_keys.seal_entry"),
    ("seal/epoch.py", "vault.epoch.EpochSecrets"),
    ("seal/epoch.py", "vault.epoch.RecipientGroup"),
    ("seal/epoch.py", "vault.signing.SigningKey"),
    ("seal/sealer.py", "vault.epoch.RecipientGroup"),
    ("seal/sealer.py", "vault.signing.SigningKey"),
    # a program of its own, run by push.py
    ("publish/push_child.py", "pipeline.runtime.credentials.without_credentials"),
}

ENGINE_NAMES = {
    *("Engine", "EngineError", "ModelEntry", "catalog"),
    "fusion",  # arrays only: protect prepares pictures as its models expect them
}
"""What a stage may name of `engines`: opening one is for build.py."""

OPENERS = ("open_engine", "open_fusion", "open_on")
OPENS_ENGINES = ("build.py", "doctor.py", "engine_command.py")
READ_CLIPS = ("tracks_command.py", "verify_command.py", "disclose_command.py")
KNOW_RECOVERY = ("recover/", "recover_", *READ_CLIPS, "review/")
"""Who may import the mirror of protect: what takes a face out of a picture is kept apart."""

MAKER = "compose/gate.py"
NAMES_PROTECTED_FRAME = {
    "compose/gate.py",
    "encode/encoder.py",
    "window.py",
    "session.py",
    "demo.py",
}
"""Who handles protected frames; nobody here but the maker calls the class."""


def modules(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*.py") if "_data" not in path.parts)


def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


def name(path: Path) -> str:
    return path.relative_to(PIPELINE).as_posix()


# What many tests ask of a file is read from it once; the files do not change meanwhile.


@cache
def imports(path: Path) -> tuple[str, ...]:
    """Dotted names, absolute: `from ..errors import X` in pipeline/a/b.py is pipeline.errors.X."""
    package = path.relative_to(ROOT).parent.parts
    found: list[str] = []
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            found += (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else ()
            parts = [*base, *(node.module.split(".") if node.module else [])]
            found += (".".join([*parts, alias.name]) for alias in node.names)
    return tuple(found)


def test_there_is_something_to_check() -> None:
    assert len(modules(PIPELINE)) > 40 and len(modules(ENGINES)) > 5
    assert "pipeline.errors.SinkError" in set(imports(PIPELINE / "publish" / "mux.py"))
    assert {stage for stage in STAGES if not (PIPELINE / stage).is_dir()} == set()


def test_engines_never_import_pipeline() -> None:
    """They know no video, no camera and no key."""
    for path in modules(ENGINES):
        wrong = [item for item in imports(path) if item.split(".")[0] in ("pipeline", "av")]
        assert not wrong, f"{path.name} imports {wrong}"


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_knows_no_other_stage(stage: str) -> None:
    wrong = []
    for path in modules(PIPELINE / stage):
        for item in imports(path):
            package, _, inner = item.partition(".")
            if package == "engines":
                allowed = inner.split(".")[0] in ENGINE_NAMES
            elif package == "pipeline":
                allowed = (
                    inner.split(".")[0] in SHARED | {stage}
                    or (name(path), inner) in EXCEPTIONS
                    or (name(path), item) in EXCEPTIONS
                )
            else:
                allowed = True
            if not allowed:
                wrong.append(f"{name(path)} imports {item}")
    assert wrong == []


def test_the_exceptions_are_still_needed() -> None:
    for file, item in EXCEPTIONS:
        full = item if item.startswith("pipeline.") else f"pipeline.{item}"
        assert full in set(imports(PIPELINE / file)), f"{file} no longer imports {item}"


def test_shared_modules_import_no_stage() -> None:
    folders = {"runtime", "evidence"}
    paths = [PIPELINE / f"{module}.py" for module in sorted(SHARED - folders)]
    for path in [*paths, *(path for folder in folders for path in modules(PIPELINE / folder))]:
        rooms = {item.split(".")[1] for item in imports(path) if item.startswith("pipeline.")}
        assert rooms <= SHARED, f"{name(path)} imports {rooms - SHARED}"


def test_only_the_composition_root_opens_engines() -> None:
    for path in modules(PIPELINE):
        opens = [item for item in imports(path) if item.split(".")[-1] in OPENERS]
        if name(path) not in OPENS_ENGINES:
            assert not opens, f"{name(path)} imports {opens}"


def test_the_live_path_knows_no_way_back() -> None:
    for path in modules(PIPELINE):
        if not name(path).startswith(KNOW_RECOVERY):
            wrong = [item for item in imports(path) if item.startswith("pipeline.recover")]
            # the command line imports a command when it is asked for
            assert not wrong or name(path) == "cli_vault.py", f"{name(path)} imports {wrong}"


def test_the_service_holds_no_identity() -> None:
    """Public keys go in; what opens a seal is imported by the commands of people alone."""
    opens = {"Identity", "load_identity", "open_with_identity", "open_with_password"}
    for path in modules(PIPELINE):
        if not name(path).startswith(
            ("vault/", "recover_", "keys_command.py", "disclose_command.py")
        ):
            assert not words(path) & opens, f"{name(path)} uses {words(path) & opens}"


def test_keys_stay_out_of_the_protect_stage() -> None:
    for path in modules(PIPELINE / "protect"):
        assert not [item for item in imports(path) if "vault" in item], name(path)


def test_tests_and_benchmarks_are_not_imported_by_the_product() -> None:
    for path in [*modules(PIPELINE), *modules(ENGINES)]:
        wrong = {item.split(".")[0] for item in imports(path)} & {"tests", "support", "skimage"}
        # the simulated camera shows the face that ships with scikit-image, where it is installed
        assert not wrong or (wrong == {"skimage"} and "scene" in path.name), f"{path}: {wrong}"


# --- the gate ---


def calls(path: Path, called: str) -> tuple[int, ...]:
    """Lines where something called `called` is called, whatever stands before the dot."""
    return all_calls(path).get(called, ())


@cache
def all_calls(path: Path) -> Mapping[str, tuple[int, ...]]:
    """Lines by the last word of what is called."""
    lines = defaultdict(list)
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Call):
            function = node.func
            last = (
                function.attr
                if isinstance(function, ast.Attribute)
                else getattr(function, "id", "")
            )
            lines[last].append(node.lineno)
    return {last: tuple(found) for last, found in lines.items()}


@cache
def words(path: Path) -> frozenset[str]:
    """Every identifier of a file's code: names, attributes, imports, and names in strings."""
    found: set[str] = set()
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Name):
            found.add(node.id)
        elif isinstance(node, ast.Attribute):
            found.add(node.attr)
        elif isinstance(node, ast.alias):
            found.update((node.name, node.asname or ""))
    return frozenset(found)


def test_only_the_gate_makes_a_protected_frame() -> None:
    makers = {name(path) for path in modules(PIPELINE) if calls(path, "ProtectedFrame")}
    assert makers == {MAKER}
    assert len(calls(PIPELINE / MAKER, "ProtectedFrame")) == 1


def test_nobody_else_touches_the_seal() -> None:
    for path in modules(PIPELINE):
        if name(path) != MAKER:
            touched = words(path) & {"_SEAL", "_sealed", "seal", "_owner"}
            assert not touched, f"{name(path)} uses {touched}"


def test_no_frame_is_remade_around_the_gate() -> None:
    """`dataclasses.replace` and `copy` would carry the seal over to another picture."""
    for path in modules(PIPELINE):
        if "ProtectedFrame" in words(path):
            around = {"dataclasses.replace", "copy.copy", "copy.replace", "copy.deepcopy", "copy"}
            wrong = set(imports(path)) & around
            assert not wrong, f"{name(path)} handles protected frames and imports {wrong}"
            assert not words(path) & {"__setattr__", "__new__", "setattr"}, name(path)


def test_who_handles_protected_frames() -> None:
    handlers = {name(path) for path in modules(PIPELINE) if "ProtectedFrame" in words(path)}
    assert handlers <= NAMES_PROTECTED_FRAME, f"new: {handlers - NAMES_PROTECTED_FRAME}"


def test_the_gate_is_the_only_writer_of_planes() -> None:
    """`make_writable` is the mark of somebody who means to write into a decoded frame."""
    writers = {name(path) for path in modules(PIPELINE) if calls(path, "make_writable")}
    # recovery works on a protected clip, for a case, and leaves a mark in the log
    assert writers == {MAKER, "recover/video.py"}


MAKES_ITS_OWN_PICTURES = ("source/scene", "source/simulated", "source/rtp_", "encode/probe.py")
HANDED_PROTECTED_FRAMES = ("encode/encoder.py", "demo.py")
TRIES_WHAT_WORKS = ("doctor_checks.py",)
NO_CAMERA = ("train_command.py",)  # what it saves are weights
FOR_A_CASE = (  # logged before the first frame, readable by its owner alone
    "recover/video.py",
    "recover/stills.py",
)
OF_PROTECTED_CLIPS = (  # no key is near
    "recover/contact_sheet.py",
    # the console decodes what has left the gate and the encoder: live streams and recordings
    "review/live/snapshot.py",
    "review/media/thumbnails.py",
)


def test_nothing_else_turns_pictures_into_bytes() -> None:
    """A picture on a disk or a socket that did not come through the gate would be a leak."""
    excused = (
        *(*MAKES_ITS_OWN_PICTURES, *HANDED_PROTECTED_FRAMES, *TRIES_WHAT_WORKS),
        *(*NO_CAMERA, *FOR_A_CASE, *OF_PROTECTED_CLIPS),
    )
    for path in modules(PIPELINE):
        if name(path).startswith(excused):
            continue
        for way in ("imwrite", "imencode", "to_image", "save", "tofile", "imshow", "add_stream"):
            assert not calls(path, way), f"{name(path)} calls {way}"
        wrong = [
            item for item in imports(path) if item.startswith(("PIL", "imageio", "matplotlib"))
        ]
        assert not wrong, f"{name(path)} imports {wrong}"


# --- manners ---


def test_no_module_is_named_like_one_of_pythons() -> None:
    """Running a file puts its folder first on the path: `import select` would find ours."""
    for path in [*modules(PIPELINE), *modules(ENGINES)]:
        part = path.parent.name if path.name == "__init__.py" else path.stem
        if path.name != "__main__.py":
            assert part not in sys.stdlib_module_names, path


@pytest.mark.parametrize("stage", [*STAGES, "runtime"])
def test_stages_do_not_print(stage: str) -> None:
    for path in modules(PIPELINE / stage):
        if name(path).startswith("source/simulated"):
            continue  # a program of its own, for trying things out
        assert not calls(path, "print"), f"{name(path)} prints; use its logger"


def test_engines_do_not_print() -> None:
    for path in modules(ENGINES):
        assert not calls(path, "print"), path.name


def test_urls_of_cameras_are_never_logged_raw() -> None:
    """`camera.source` and `camera.publish` may hold a password; loggers get a cleaned name."""
    for path in modules(PIPELINE):
        for node in ast.walk(tree(path)):
            if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)):
                continue
            if node.func.attr not in ("debug", "info", "warning", "error", "exception"):
                continue
            for argument in node.args:
                raw = [
                    inner.attr
                    for inner in ast.walk(argument)
                    if isinstance(inner, ast.Attribute) and inner.attr in ("source", "publish")
                ]
                assert not raw, f"{name(path)}:{node.lineno} logs .{raw}"


def test_no_bare_except() -> None:
    for path in [*modules(PIPELINE), *modules(ENGINES)]:
        for node in ast.walk(tree(path)):
            if isinstance(node, ast.ExceptHandler):
                assert node.type is not None, f"{path}:{node.lineno}"


def test_every_module_says_what_it_is_for() -> None:
    for path in [*modules(PIPELINE), *modules(ENGINES)]:
        assert ast.get_docstring(tree(path)), path


def test_files_stay_readable_in_one_sitting() -> None:
    for path in [*modules(PIPELINE), *modules(ENGINES)]:
        lines = len(path.read_text(encoding="utf-8").splitlines())
        assert lines <= 450, f"{path}: {lines} lines"


def test_nothing_of_a_developers_machine_is_in_the_product() -> None:
    paths = [*modules(PIPELINE), *modules(ENGINES), *sorted((ROOT / "configs").rglob("*.yaml"))]
    for path in paths:
        text = path.read_text(encoding="utf-8")
        assert not re.search(r"(?<![\w.~])/(home|Users|root|work)/\w", text), path
