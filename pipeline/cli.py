"""The command line: parse, call, print. Exit codes: 0 done, 1 failed, 2 wrong use."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn, TypeAlias

import av

from .cli_audit import add_audit
from .cli_clip import add_tracks, add_verify
from .cli_console import add_cameras, add_console, add_recordings, add_requests
from .cli_handover import add_disclose
from .cli_users import add_users
from .cli_vault import add_keys, add_recover
from .errors import BautaError, UsageError
from .runtime.credentials import CredentialFilter, hide_arguments, without_credentials
from .runtime.printable import LineFormatter
from .runtime.process import end_process, forbid_core_dumps
from .settings import DETECTOR_PRESETS, ProtectSettings
from .terminal import warn
from .version import __version__

COMMANDS = (
    "run",
    "protect",
    "tracks",
    "verify",
    "recover",
    "keys",
    "disclose",
    "audit",
    "console",
    "cameras",
    "recordings",
    "requests",
    "users",
    "demo",
    "doctor",
    "engine",
    "train",
    "bench",
)
OBFUSCATIONS = ("pixelate", "solid", "median", "noise", "mask", "blur")


def console() -> NoReturn:
    """The command `bauta`: `main`, then the end of the process."""
    end_process(main())


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; the process's exit code."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    # only a known word: what was typed by mistake may be a URL with a password
    hide_arguments(next((word for word in given if word in COMMANDS), ""))
    forbid_core_dumps()
    parser = _parser()
    options = parser.parse_args(given)
    _set_up_logging(options.verbose)
    try:
        return int(options.run(options))
    except UsageError as error:
        return _complain(error, 2)
    except BautaError as error:
        return _complain(error, 1)
    except KeyboardInterrupt:
        return 1


def _complain(error: Exception, code: int) -> int:
    warn(without_credentials(str(error)))
    return code


def _set_up_logging(verbose: bool) -> None:
    # libav prints URLs, credentials included: what matters comes as an error of ours
    av.logging.set_level(None)
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(LineFormatter("%(asctime)s %(levelname)s %(message)s", "%H:%M:%S"))
    handler.addFilter(CredentialFilter())
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(logging.INFO if verbose else logging.WARNING)


class _Parser(argparse.ArgumentParser):
    """One line on a wrong use, and no credentials of a mistyped URL in it."""

    def error(self, message: str) -> NoReturn:
        """Exit code 2."""
        warn(f"{without_credentials(message)}; see {self.prog} --help")
        sys.exit(2)


Commands: TypeAlias = "argparse._SubParsersAction[_Parser]"


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="bauta", description="Hides every face of a camera stream before anyone sees it."
    )
    parser.add_argument("--version", action="version", version=f"bauta {__version__}")
    parser.add_argument("-v", "--verbose", action="store_true", help="log what is going on")

    def help_only(_: argparse.Namespace) -> int:
        parser.print_help(sys.stderr)
        return 2

    parser.set_defaults(run=help_only)
    commands = parser.add_subparsers(title="commands", metavar="COMMAND")
    _add_run(commands)
    _add_protect(commands)
    add_tracks(commands)
    add_verify(commands)
    add_recover(commands)
    add_keys(commands)
    add_disclose(commands)
    add_audit(commands)
    add_console(commands)
    add_cameras(commands)
    add_recordings(commands)
    add_requests(commands)
    add_users(commands)
    _add_demo(commands)
    _add_doctor(commands)
    _add_engine(commands)
    _add_train(commands)
    _add_bench(commands)
    return parser


def _add_run(commands: Commands) -> None:
    parser = commands.add_parser("run", help="all cameras of a configuration, until stopped")
    parser.add_argument("config", type=Path, metavar="CONFIG")
    parser.add_argument("--json", action="store_true", help="status as JSON lines on stdout")
    parser.add_argument(
        "--status-every", type=float, default=5.0, metavar="SECONDS", help="default: 5"
    )

    def call(options: argparse.Namespace) -> int:
        from .run import run_config

        return run_config(
            options.config, as_json=options.json, status_every_seconds=options.status_every
        )

    parser.set_defaults(run=call)


def _add_protect(commands: Commands) -> None:
    defaults = ProtectSettings()
    parser = commands.add_parser("protect", help="one file or stream")
    parser.add_argument("source", metavar="SOURCE", help="a file or an rtsp:// URL")
    parser.add_argument("dest", metavar="DEST", help="a file (.mp4 .mkv .ts) or an rtsp:// URL")
    parser.add_argument("--obfuscation", choices=OBFUSCATIONS, default=defaults.obfuscation)
    parser.add_argument(
        "--strength",
        type=float,
        default=defaults.strength,
        metavar="SHARE",
        help="smallest detail left, in face widths (default: %(default)s)",
    )
    parser.add_argument(
        "--protector",
        choices=("obfuscate", "proface-s"),
        default=defaults.protector,
        help="obfuscate: for good (default); proface-s: recoverable from keyframes, with the key",
    )
    parser.add_argument(
        "--recipient",
        action="append",
        metavar="[GROUP=]FILE.pub",
        help="seal the original faces into DEST for this public key (bauta keys new); may be "
        "repeated; of several groups one key each is needed. Without GROUP= and with proface-s: "
        "who can recover the faces of keyframes",
    )
    parser.add_argument(
        "--evidence",
        choices=("stream", "sidecar", "both"),
        help="where sealed faces go: into DEST, beside it (DEST.bauta), or both (default: stream)",
    )
    parser.add_argument(
        "--detail",
        choices=("default", "lossless", "keyframes"),
        help="of sealed faces: about 41 dB, bit by bit, or whole ones once a second only",
    )
    parser.add_argument(
        "--password", action="store_true", help="of proface-s: ask for one that recovers the faces"
    )
    parser.add_argument(
        "--password-from-env", action="store_true", help="the same, from BAUTA_PASSPHRASE"
    )
    parser.add_argument(
        "--fusion-model", default=None, metavar="NAME", help=f"default: {defaults.fusion_model}"
    )
    parser.add_argument(
        "--sidecar", type=Path, default=None, metavar="FILE", help="default: DEST.inband.jsonl"
    )
    parser.add_argument("--everything", action="store_true", help="obscure the whole picture")
    parser.add_argument("--keep-audio", action="store_true", help="copy the sound (default: drop)")
    detector = parser.add_mutually_exclusive_group()
    detector.add_argument(
        "--detector-preset",
        choices=tuple(DETECTOR_PRESETS),
        help="how small a face is found, at what cost (default: fine for files, else default)",
    )
    detector.add_argument(
        "--model", metavar="NAME", help="a detector of models.yaml instead of a preset"
    )
    parser.add_argument("--codec", choices=("h264", "h265"), default="h264")
    parser.add_argument("--preset", default="auto", help="encoder preset (default: auto)")
    parser.add_argument("--crf", type=int, default=23, help="quality 0..51 (default: 23)")
    parser.add_argument("--detect-every", type=int, default=None, metavar="FRAMES")
    parser.add_argument("--lookahead", type=int, default=None, metavar="FRAMES")
    parser.add_argument("--overwrite", action="store_true", help="replace DEST if it exists")
    parser.add_argument("--json", action="store_true", help="the result as JSON on stdout")

    def call(options: argparse.Namespace) -> int:
        from .protect_command import protect

        return protect(options)

    parser.set_defaults(run=call)


def _add_demo(commands: Commands) -> None:
    parser = commands.add_parser("demo", help="a simulated camera, protected, in the browser")
    parser.add_argument("--port", type=int, default=8080, help="of the console (default: 8080)")
    parser.add_argument("--no-browser", action="store_true", help="do not open a browser")
    parser.add_argument("--seconds", type=float, default=None, help="stop after this long")
    parser.add_argument(
        "--snapshot", type=Path, default=Path("bauta-demo.png"), help="PNG of a protected frame"
    )
    parser.add_argument(
        "--keep",
        type=Path,
        default=None,
        metavar="DIR",
        help="keep keys, recordings and accounts in this folder (default: they go at the end)",
    )

    def call(options: argparse.Namespace) -> int:
        from .demo import run_demo

        return run_demo(
            port=options.port,
            open_browser=not options.no_browser,
            seconds=options.seconds,
            snapshot=options.snapshot,
            keep=options.keep,
        )

    parser.set_defaults(run=call)


def _add_doctor(commands: Commands) -> None:
    parser = commands.add_parser("doctor", help="what works here and what to install for the rest")
    parser.add_argument(
        "config", nargs="?", type=Path, help="a configuration: how its cameras hide faces"
    )
    parser.add_argument("--json", action="store_true", help="JSON on stdout")

    def call(options: argparse.Namespace) -> int:
        from .doctor import run_doctor

        return run_doctor(as_json=options.json, config=options.config)

    parser.set_defaults(run=call)


def _add_engine(commands: Commands) -> None:
    parser = commands.add_parser("engine", help="fusion models on this machine's runtimes")
    actions = parser.add_subparsers(title="actions", metavar="ACTION", required=True)
    lists = actions.add_parser("list", help="which model runs on what, one line each")
    builds = actions.add_parser("build", help="compile ahead: TensorRT's plans are kept")
    parities = actions.add_parser("parity", help="every runtime against the reference, PyTorch")
    parities.add_argument(
        "--half", action="store_true", help="also float16 as a GPU rounds, on the CPU: slow"
    )
    benches = actions.add_parser("bench", help="milliseconds a face on every runtime here")
    benches.add_argument("--size", type=int, default=112, metavar="PX", help="default: 112")
    benches.add_argument(
        "--batch", type=int, nargs="+", default=[1, 16], metavar="N", help="default: 1 16"
    )
    benches.add_argument("--threads", type=int, default=0, help="CPU threads (default: all)")
    for action in (builds, parities, benches):
        action.add_argument("model", nargs="?", metavar="MODEL", help="default: all of models.yaml")
    for action in (lists, parities, benches):
        action.add_argument("--json", action="store_true", help="JSON on stdout")

    def run_list(options: argparse.Namespace) -> int:
        from .engine_command import list_engines

        return list_engines(as_json=options.json)

    def run_build(options: argparse.Namespace) -> int:
        from .engine_command import build

        return build(options.model)

    def run_parity(options: argparse.Namespace) -> int:
        from .engine_command import parity

        return parity(options.model, half=options.half, as_json=options.json)

    def run_bench(options: argparse.Namespace) -> int:
        from .engine_command import bench

        return bench(
            options.model,
            size_px=options.size,
            batches=options.batch,
            threads=options.threads,
            as_json=options.json,
        )

    lists.set_defaults(run=run_list)
    builds.set_defaults(run=run_build)
    parities.set_defaults(run=run_parity)
    benches.set_defaults(run=run_bench)


def _add_train(commands: Commands) -> None:
    parser = commands.add_parser("train", help="train a fusion network from a zip of faces")
    parser.add_argument(
        "recipe", metavar="NET", help="a recipe: proface-s-light, …; see docs/fusion.md"
    )
    parser.add_argument(
        "--data", type=Path, required=True, metavar="ZIP", help="IDENTITY/FACE.jpg, 112x112"
    )
    parser.add_argument(
        "--out", type=Path, required=True, metavar="DIR", help="checkpoint and curve"
    )
    parser.add_argument("--steps", type=int, default=None, help="default: the recipe's")
    parser.add_argument(
        "--batch", type=int, default=None, help="faces a step (default: the recipe's)"
    )
    parser.add_argument("--rate", type=float, default=None, help="Adam's (default: the recipe's)")
    parser.add_argument("--seed", type=int, default=None, help="default: 0")
    parser.add_argument("--threads", type=int, default=0, help="CPU threads (default: all)")
    parser.add_argument("--device", default="cpu", help="cpu or cuda (default: cpu)")
    parser.add_argument(
        "--start-from", type=Path, default=None, metavar="CHECKPOINT", help="its weights"
    )
    parser.add_argument(
        "--fresh", action="store_true", help="begin anew even if DIR holds a checkpoint"
    )

    def call(options: argparse.Namespace) -> int:
        from .train_command import train

        return train(options)

    parser.set_defaults(run=call)


def _add_bench(commands: Commands) -> None:
    parser = commands.add_parser("bench", help="a benchmark of the checkout: throughput, latency…")
    parser.add_argument("name", metavar="NAME")
    parser.add_argument(
        "rest", nargs=argparse.REMAINDER, metavar="…", help="its own options; --json, --help"
    )

    def call(options: argparse.Namespace) -> int:
        from .bench import run_benchmark

        return run_benchmark(options.name, options.rest)

    parser.set_defaults(run=call)


if __name__ == "__main__":
    console()
