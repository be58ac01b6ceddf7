"""Fixtures: where shared data lie, and the decoder of DeepVariant's files."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest
from hypothesis import settings

# how long an example takes depends on what else the machine does
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def testdata() -> Path:
    """The project's own simulated data."""
    return ROOT / "testdata"


@pytest.fixture(scope="session")
def shared() -> Path:
    """Real data and DeepVariant's files; PILEUPCNN_SHARED, by default ../shared."""
    path = Path(os.environ.get("PILEUPCNN_SHARED", ROOT.parent / "shared"))
    if not path.is_dir():
        pytest.skip(f"no shared data at {path} (set PILEUPCNN_SHARED)")
    return path


@pytest.fixture(scope="session")
def golden(shared: Path) -> Path:
    """DeepVariant's golden files."""
    return shared / "data" / "deepvariant_golden"


@pytest.fixture(scope="session")
def read_examples(shared: Path) -> ModuleType:
    """Standard-library decoder of TFRecords and the messages in them."""
    path = shared / "spec" / "read_examples.py"
    spec = importlib.util.spec_from_file_location("read_examples", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def show(capsys: pytest.CaptureFixture[str]) -> Callable[[str], None]:
    """Print although pytest captures."""

    def print_it(text: str) -> None:
        with capsys.disabled():
            print(f"\n{text}")

    return print_it
