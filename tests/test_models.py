"""The list of models and their cards."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from pileupcnn.cards import model_card
from pileupcnn.cli.models import models, run_models
from pileupcnn.errors import ModelError
from pileupcnn.examples import ExampleSettings
from pileupcnn.model import DEFAULT_MODEL, load_bundle


def test_the_shipped_model_is_listed() -> None:
    (line,) = run_models().splitlines()
    name, shape, *_, path = line.split("\t")
    bundle = load_bundle()
    assert (name, path) == (bundle.name, str(DEFAULT_MODEL))
    assert shape == "x".join(map(str, bundle.spec.shape))
    assert bundle.sha256[:12] in line


def test_its_card_says_what_it_was_trained_on() -> None:
    result = CliRunner().invoke(models, ["--card"])
    assert result.exit_code == 0
    bundle = load_bundle()
    assert f"# Model {bundle.name}" in result.output
    for run in bundle.training["runs"]:
        assert run["name"] in result.output
    assert f"after epoch {bundle.training['best_epoch']}" in result.output


def test_a_card_says_which_part_a_run_had() -> None:
    runs = [
        {"name": name, "images": 1, "split": split, "weight": 1}
        for name, split in (("a", ""), ("b", "validation"))
    ]
    card = model_card("m", "strided", ExampleSettings(), {"runs": runs}, None)
    assert "| a | 1 | train |" in card
    card = model_card("m", "strided", ExampleSettings(), {"runs": runs[:1]}, None)
    assert "| a | 1 | last tenth |" in card


def test_what_is_no_bundle_is_told(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no model bundle"):
        run_models([tmp_path])
