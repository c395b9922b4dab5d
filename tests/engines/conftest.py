"""Exported networks, made once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import pytest
import torch

from engines.catalog import FusionEntry
from support.fusion_nets import SPECS, exported


@pytest.fixture(scope="session")
def entries(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, FusionEntry]:
    """By name. Tests that change a file export their own."""
    home = tmp_path_factory.mktemp("models")
    return {spec.name: exported(spec, home) for spec in SPECS}


@pytest.fixture(autouse=True, scope="session")
def _one_thread() -> Iterator[None]:
    """The networks are tiny: a second thread only waits."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
