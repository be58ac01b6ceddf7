"""The packed store: every pixel comes back, and a run is there whole or not at all."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pileupcnn.errors import InputError, OutputError
from pileupcnn.examples import ExampleSettings
from pileupcnn.pileup import PileupSpec
from pileupcnn.store import (
    PackedStore,
    RunWriter,
    StoredRun,
    is_whole,
    pack,
    write_index,
)

SETTINGS = ExampleSettings(pileup=PileupSpec(height=8, width=5))
SHAPE = SETTINGS.pileup.shape


def random_images(n: int, seed: int) -> np.ndarray:
    """Images with blank rows at the end, and a few in between."""
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 256, (n, *SHAPE), dtype=np.uint8)
    images[rng.random((n, SHAPE[0])) < 0.2] = 0
    for image, rows in zip(images, rng.integers(0, SHAPE[0] + 1, n), strict=True):
        image[rows:] = 0
    return images


def columns(n: int, seed: int) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    return {
        "label": rng.integers(0, 3, n).astype(np.int8),
        "type": rng.integers(1, 3, n).astype(np.uint8),
        "contig": np.zeros(n, np.int32),
        "start": np.arange(n, dtype=np.int64),
        "alts": np.tile(np.array([0, -1], np.int8), (n, 1)),
    }


def write_run(store: Path, name: str, sizes: list[int], seed: int = 0) -> np.ndarray:
    images = random_images(sum(sizes), seed)
    values = columns(len(images), seed)
    with RunWriter(store, name, SETTINGS, ["chr1"], f"{name}.bam") as writer:
        first = 0
        for size in sizes:
            part = slice(first, first + size)
            writer.add(pack(images[part], **{key: v[part] for key, v in values.items()}))
            first += size
    return images


def test_images_of_several_runs_come_back(tmp_path: Path) -> None:
    images = np.concatenate(
        [
            write_run(tmp_path, "one", [3, 0, 7], seed=1),
            write_run(tmp_path, "empty", []),
            write_run(tmp_path, "two", [5], seed=2),
        ]
    )
    write_index(tmp_path, [StoredRun("one"), StoredRun("empty"), StoredRun("two", "train", 2.5)])
    store = PackedStore(tmp_path)
    assert store.settings == SETTINGS
    assert len(store) == 15
    assert store.run.tolist() == [0] * 10 + [2] * 5
    assert store.runs[2] == StoredRun("two", "train", 2.5)
    assert np.array_equal(store.gather(np.arange(15)), images)
    order = np.random.default_rng(0).permutation(15)
    parts = list(store.batches(order, 4))
    assert [len(numbers) for _, numbers in parts] == [4, 4, 4, 3]
    assert np.array_equal(np.concatenate([part for part, _ in parts]), images[order])
    assert np.array_equal(store.label[10:], columns(5, 2)["label"])
    assert sum(store.descriptions[0]["labels"]) == 10


@given(st.integers(0, 2**32), st.integers(1, 6))
@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_packing_loses_nothing(tmp_path: Path, seed: int, n: int) -> None:
    images = write_run(tmp_path, "run", [n], seed)
    write_index(tmp_path, [StoredRun("run")])
    store = PackedStore(tmp_path)
    out = np.full((n + 1, *SHAPE), 7, np.uint8)
    assert np.array_equal(store.gather(np.arange(n), out), images)
    filled = images.any(axis=(2, 3))
    assert store.length.tolist() == [
        max((i + 1 for i in np.flatnonzero(f)), default=0) for f in filled
    ]


def test_rows_are_a_plain_numpy_file(tmp_path: Path) -> None:
    images = write_run(tmp_path, "run", [4, 4])
    rows = np.load(tmp_path / "run" / "rows.npy", allow_pickle=False)
    offset = np.load(tmp_path / "run" / "offset.npy")
    assert rows.shape == (offset[-1], *SHAPE[1:])
    third = rows[offset[2] : offset[3]]
    assert np.array_equal(third, images[2, : len(third)])


def test_an_interrupted_run_leaves_nothing_whole(tmp_path: Path) -> None:
    writer = RunWriter(tmp_path, "run", SETTINGS, [], "run")
    with suppress(KeyboardInterrupt), writer:
        writer.add(pack(random_images(2, 0), **columns(2, 0)))
        raise KeyboardInterrupt
    assert not is_whole(tmp_path / "run")
    assert list(tmp_path.iterdir()) == []
    # a kill leaves the temporary directory, which does not get in the way
    (tmp_path / "run.part").mkdir()
    (tmp_path / "run.part" / "rows.npy").write_bytes(b"half")
    write_run(tmp_path, "run", [2])
    assert is_whole(tmp_path / "run")
    assert [entry.name for entry in tmp_path.iterdir()] == ["run"]


def test_a_full_disk_is_named(tmp_path: Path) -> None:
    def write_to_a_full_disk() -> None:
        with RunWriter(tmp_path, "run", SETTINGS, [], "run") as writer:
            assert writer._rows is not None
            writer._rows.close()
            writer._rows = open("/dev/full", "wb")  # noqa: SIM115 - the writer closes it
            writer.add(pack(random_images(40, 0), **columns(40, 0)))

    with pytest.raises(OutputError, match="No space left"):
        write_to_a_full_disk()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["store.json", "run/run.json", "run/rows.npy", "run/offset.npy"])
def test_damage_is_named(tmp_path: Path, name: str) -> None:
    write_run(tmp_path, "run", [3])
    write_index(tmp_path, [StoredRun("run")])
    (tmp_path / name).write_bytes((tmp_path / name).read_bytes()[:-9])
    with pytest.raises(InputError, match="draw the store again"):
        PackedStore(tmp_path)
    (tmp_path / name).unlink()
    with pytest.raises(InputError, match="draw the store again"):
        PackedStore(tmp_path)


def test_runs_of_different_settings_do_not_mix(tmp_path: Path) -> None:
    write_run(tmp_path, "run", [3])
    write_run(tmp_path, "other", [3])
    file = tmp_path / "other" / "run.json"
    fields = json.loads(file.read_text())
    fields["settings"]["reads"]["min_mapping_quality"] = 20
    file.write_text(json.dumps(fields))
    write_index(tmp_path, [StoredRun("run"), StoredRun("other")])
    with pytest.raises(InputError, match="different settings"):
        PackedStore(tmp_path)
