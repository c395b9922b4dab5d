"""Coverage-guided: bytes from anywhere into each reader of the format; RecordError may come out.

`make fuzz` runs it, beginning with real records. What it learns and what it finds lies in
build/fuzz/; `make fuzz ARGS=build/fuzz/crash-...` runs a finding again.
"""

from __future__ import annotations

import sys
from pathlib import Path

FOLDER = Path("build", "fuzz")
MOST_INPUT_BYTES = 16_384  # above the first places where lengths grow by a byte
MOST_MEMORY_MB = 1_024  # a bomb is a finding


def main() -> None:
    import atheris

    with atheris.instrument_imports(include=["pipeline"]):
        from support.record_readers import read_any, seeds

    corpus = FOLDER / "corpus"
    corpus.mkdir(parents=True, exist_ok=True)
    for at, seed in enumerate(seeds()):
        (corpus / f"seed-{at}").write_bytes(seed)
    options = [
        f"-max_len={MOST_INPUT_BYTES}",
        "-len_control=0",  # seeds are whole records: nothing is to grow first
        f"-rss_limit_mb={MOST_MEMORY_MB}",
        f"-artifact_prefix={FOLDER}/",
    ]
    given = sys.argv[1:]
    if not any(Path(argument).is_file() for argument in given):
        options.append(str(corpus))
    atheris.Setup([sys.argv[0], *options, *given], read_any)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
