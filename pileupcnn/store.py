"""The packed store: labelled images on disk, as flat NumPy files.

A store is a directory that holds one directory a run (one aligned sample with
its truth) and ``store.json``, the list of the runs that training reads. A
run's directory, named by the signature of its inputs and settings, holds for
its ``n`` images, in genome order:

================ ============= ============================================
``rows.npy``     uint8 [R, W, C] rows of all images, one image after the other:
                               each from its first (reference) row to its last
                               row that is not blank
``offset.npy``   int64 [n + 1] image ``i`` is ``rows[offset[i]:offset[i + 1]]``,
                               then blank rows to the full height
``label.npy``    int8 [n]      copies of the image's ALT alleles: 0, 1, 2
``type.npy``     uint8 [n]     1 SNP, 2 indel
``contig.npy``   int32 [n]     index into the ``contigs`` of ``run.json``
``start.npy``    int64 [n]     start of the candidate, 0-based
``alts.npy``     int8 [n, 2]   indices among the candidate's ALT alleles of those
                               in the image; the second is -1 if it shows one
``features.npy`` int32 [n, 72] what `small_model.INPUTS` names; not there if the images
                               came without reads
``run.json``     ``format``, ``version``, ``signature``, ``name``, ``contigs``,
                 ``settings`` (reading, candidates and image geometry),
                 ``images``, ``labels`` (how many images of each)
================ ============= ============================================

``store.json`` has ``format``, ``version`` and ``runs``: ``directory``, ``split``
("train", "validation" or "") and ``weight`` of each.

A run is written under a temporary name and renamed when it is whole, so after a
kill the whole runs are there and are kept, as long as their signature is the
same. Reading maps ``rows.npy`` into memory.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from pileupcnn.errors import InputError, OutputError
from pileupcnn.examples import ExampleSettings
from pileupcnn.model import CLASSES, replace_folder
from pileupcnn.pileup import PileupSpec
from pileupcnn.resources import write_whole
from pileupcnn.settings_json import from_json, settings_from_json, settings_to_json, to_json
from pileupcnn.small_model import INPUTS

FORMAT = "pileupcnn-store"
FORMAT_VERSION = 4
"""To be raised also when images or numbers of the same settings come to be drawn otherwise."""

FEATURES_COLUMN = "features"
"""The column that only images drawn from reads have."""

_COLUMNS: dict[str, tuple[type, tuple[int, ...]]] = {
    "label": (np.int8, ()),
    "type": (np.uint8, ()),
    "contig": (np.int32, ()),
    "start": (np.int64, ()),
    "alts": (np.int8, (2,)),
    FEATURES_COLUMN: (np.int32, (len(INPUTS),)),
}
"""The files with one entry an image: type and shape of an entry."""


@dataclass(slots=True)
class LabelledImages:
    """Images with their labels, packed: the columns of a run, or a part of one.

    Attributes
    ----------
    rows : uint8 [R, W, C]
    length : int64 [n]
        Rows of each image.
    columns : dict of arrays
        ``label``, ``type``, ``contig``, ``start``, ``alts`` and, if there were
        reads, ``features``, each [n, ...].
    """

    rows: NDArray[np.uint8]
    length: NDArray[np.int64]
    columns: dict[str, NDArray[Any]]


def pack(images: NDArray[np.uint8], **columns: NDArray[Any]) -> LabelledImages:
    """Cut the blank rows off the bottom of images, uint8 [n, H, W, C]."""
    height = images.shape[1]
    filled = images.reshape(len(images), height, int(np.prod(images.shape[2:]))).any(axis=2)
    # one more than the last filled row, 0 for an image without any
    length = (filled * np.arange(1, height + 1)).max(axis=1)
    kept = np.arange(height) < length[:, None]
    return LabelledImages(images[kept], length.astype(np.int64), columns)


class RunWriter:
    """Writes one run; as a context manager: whole on clean exit, nothing otherwise.

    Parameters
    ----------
    store : path
        Directory of the store; is made.
    signature : str
        Names the run's directory: a digest of its inputs and settings.
    settings : ExampleSettings
    contigs : sequence of str
        What the ``contig`` column counts.
    name : str
        For reports.

    Raises
    ------
    OutputError
        If it cannot be written.
    """

    def __init__(
        self,
        store: str | Path,
        signature: str,
        settings: ExampleSettings,
        contigs: Sequence[str],
        name: str,
    ) -> None:
        self.path = Path(store) / signature
        self._temporary = Path(store) / f"{signature}.part"
        self._row_shape = settings.pileup.shape[1:]
        self._description = {
            "format": FORMAT,
            "version": FORMAT_VERSION,
            "signature": signature,
            "name": name,
            "contigs": list(contigs),
            "settings": settings_to_json(settings),
        }
        self._lengths: list[NDArray[np.int64]] = []
        self._columns: dict[str, list[NDArray[Any]]] = {column: [] for column in _COLUMNS}
        self._rows: BinaryIO | None = None

    def __enter__(self) -> RunWriter:
        try:
            shutil.rmtree(self._temporary, ignore_errors=True)
            self._temporary.mkdir(parents=True)
            self._rows = open(self._temporary / "rows.npy", "wb")
            self._write_header(0)
        except OSError as error:
            raise self._failure(error) from error
        return self

    def _failure(self, error: OSError) -> OutputError:
        return OutputError(
            f"{self.path.parent}: the store cannot be written ({error.strerror}); choose a "
            "directory on a disk with space that you may write to"
        )

    def _write_header(self, rows: int) -> None:
        """NumPy pads the header so that the first axis may grow without moving the data."""
        assert self._rows is not None
        self._rows.seek(0)
        shape = (rows, *self._row_shape)
        np.lib.format.write_array_header_1_0(
            self._rows, {"descr": "|u1", "fortran_order": False, "shape": shape}
        )

    def add(self, images: LabelledImages) -> None:
        """Append images; the order of the calls is the order in the run."""
        assert self._rows is not None
        try:
            self._rows.write(np.ascontiguousarray(images.rows).data)
        except OSError as error:
            raise self._failure(error) from error
        self._lengths.append(images.length)
        for column, values in images.columns.items():
            self._columns[column].append(values)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        assert self._rows is not None
        try:
            if kind is None:
                self._finish()
        except OSError as error:
            raise self._failure(error) from error
        finally:
            # what is not written yet may fail once more, and would hide why
            with suppress(OSError):
                self._rows.close()
            shutil.rmtree(self._temporary, ignore_errors=True)

    def _finish(self) -> None:
        assert self._rows is not None
        lengths = np.concatenate([np.zeros(1, np.int64), *self._lengths])
        offset = np.cumsum(lengths)
        self._write_header(int(offset[-1]))
        self._rows.close()
        np.save(self._temporary / "offset.npy", offset)
        for column, (dtype, shape) in _COLUMNS.items():
            if column == FEATURES_COLUMN and not self._columns[column]:
                continue
            values = np.concatenate([np.empty((0, *shape), dtype), *self._columns[column]])
            np.save(self._temporary / f"{column}.npy", values.astype(dtype))
            if column == "label":
                self._description["labels"] = np.bincount(values, minlength=len(CLASSES)).tolist()
        self._description["images"] = len(offset) - 1
        write_json(self._temporary / "run.json", self._description)
        replace_folder(self._temporary, self.path)


def write_json(path: Path, value: Mapping[str, Any]) -> None:
    """Write a JSON file whole or not at all."""
    write_whole(path, (json.dumps(value, indent=2) + "\n").encode())


@dataclass(frozen=True, slots=True)
class StoredRun:
    """An entry of ``store.json``: a run and its part in training.

    Attributes
    ----------
    directory : str
        Its name within the store.
    split : str
        "train", "validation", or "" to train, and, where no run is for
        validation, have its last tenth validate.
    weight : float
        How often each of its images counts in an epoch, on average.
    """

    directory: str
    split: str = ""
    weight: float = 1.0


def write_index(store: str | Path, runs: Sequence[StoredRun]) -> None:
    """Write ``store.json``: what training reads from now on."""
    entries = [to_json(run) for run in runs]
    try:
        write_json(
            Path(store) / "store.json",
            {"format": FORMAT, "version": FORMAT_VERSION, "runs": entries},
        )
    except OSError as error:
        raise OutputError(
            f"{store}: the list of runs cannot be written ({error.strerror}); check permissions"
        ) from error


def is_whole(path: Path) -> bool:
    """Whether a run's directory is there and complete."""
    return (path / "run.json").is_file()


class PackedStore:
    """Reads the images of a store by number, over all of its runs.

    Parameters
    ----------
    path : path
        Directory with ``store.json``.

    Attributes
    ----------
    settings : ExampleSettings
        With what all of its images were made.
    runs : list of StoredRun
    descriptions : list of dict
        ``run.json`` of each.
    label, type, start : arrays [n]
        Columns of all runs, one run after the other.
    length : int64 [n]
        Rows of each image that are not blank.
    run : int32 [n]
        Index into `runs`.

    Raises
    ------
    InputError
        If it is no store, is damaged, or its runs were drawn with different
        settings.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        index = self._read_json("store.json")
        try:
            self.runs = [from_json(StoredRun, entry, "runs") for entry in index["runs"]]
        except (KeyError, TypeError, ValueError) as error:
            raise self._damage("store.json", error) from error
        self.descriptions = [self._read_json(f"{run.directory}/run.json") for run in self.runs]
        self.settings = self._common_settings()
        self._rows: list[NDArray[np.uint8]] = []
        self._first: list[NDArray[np.int64]] = []
        columns: dict[str, list[NDArray[Any]]] = {"label": [], "type": [], "start": []}
        for run in self.runs:
            rows, offset = self._map(run, "rows"), self._load(run, "offset")
            if rows.shape[1:] != self.spec.shape[1:] or offset[-1] != len(rows):
                raise self._damage(run.directory, ValueError("rows and offsets do not fit"))
            self._rows.append(rows)
            self._first.append(offset)
            for name, values in columns.items():
                values.append(self._load(run, name))
        self.label, self.type, self.start = (
            np.concatenate([np.empty(0, _COLUMNS[name][0]), *values])
            for name, values in columns.items()
        )
        sizes = [len(offset) - 1 for offset in self._first]
        self.length = np.concatenate([np.empty(0, np.int64), *map(np.diff, self._first)])
        self.run = np.repeat(np.arange(len(sizes), dtype=np.int32), sizes)
        self._base = np.cumsum([0, *sizes])

    @property
    def spec(self) -> PileupSpec:
        """What its images look like."""
        return self.settings.pileup

    def __len__(self) -> int:
        return len(self.label)

    def _damage(self, name: str, error: Exception) -> InputError:
        return InputError(
            f"{self.path / name}: cannot be read as part of a packed store ({error}); draw the "
            "store again with 'pileupcnn train --data'"
        )

    def _read_json(self, name: str) -> dict[str, Any]:
        try:
            value = json.loads((self.path / name).read_text("utf-8"))
            if value["format"] != FORMAT or value["version"] != FORMAT_VERSION:
                raise ValueError(f"not {FORMAT} version {FORMAT_VERSION}")
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise self._damage(name, error) from error
        assert isinstance(value, dict)
        return value

    def _common_settings(self) -> ExampleSettings:
        try:
            settings = [
                settings_from_json(description["settings"]) for description in self.descriptions
            ]
        except (KeyError, ValueError) as error:
            raise self._damage("*/run.json", error) from error
        if len(set(settings)) != 1:
            raise InputError(
                f"{self.path}: holds runs drawn with different settings, or none; draw the store "
                "again with 'pileupcnn train --data'"
            )
        return settings[0]

    def _load(self, run: StoredRun, name: str) -> NDArray[Any]:
        return self._map(run, name).copy()

    def _map(self, run: StoredRun, name: str) -> NDArray[Any]:
        path = self.path / run.directory / f"{name}.npy"
        try:
            # a plain view: slicing a memmap object costs 10 times as much
            return np.asarray(np.load(path, mmap_mode="r", allow_pickle=False))
        except (OSError, ValueError, EOFError) as error:
            raise self._damage(f"{run.directory}/{name}.npy", error) from error

    def features(self, images: NDArray[np.int64]) -> NDArray[np.int32] | None:
        """What `small_model.INPUTS` names of images, by number; int32 [k, 72].

        None if some run came without.
        """
        names = [run.directory for run in self.runs]
        if not all((self.path / name / f"{FEATURES_COLUMN}.npy").exists() for name in names):
            return None
        found = np.empty((len(images), len(INPUTS)), np.int32)
        runs = self.run[images]
        for index, run in enumerate(self.runs):
            chosen = runs == index
            found[chosen] = self._map(run, FEATURES_COLUMN)[images[chosen] - self._base[index]]
        return found

    def gather(
        self, images: NDArray[np.int64], out: NDArray[np.uint8] | None = None
    ) -> NDArray[np.uint8]:
        """Copy images, blank rows included.

        Parameters
        ----------
        images : int64 [k]
            Their numbers.
        out : uint8 [>= k, H, W, C], optional
            Is overwritten and returned, cut to `k`.
        """
        if out is None:
            out = np.empty((len(images), *self.spec.shape), np.uint8)
        runs = self.run[images]
        numbers = images - self._base[runs]
        for image, run, number in zip(out, runs.tolist(), numbers.tolist(), strict=False):
            first, last = self._first[run][number], self._first[run][number + 1]
            image[: last - first] = self._rows[run][first:last]
            image[last - first :] = 0
        return out[: len(images)]

    def batches(
        self, images: NDArray[np.int64], size: int
    ) -> Iterator[tuple[NDArray[np.uint8], NDArray[np.int64]]]:
        """Images in batches of `size`, in the order given, with their numbers.

        The last batch may be smaller. Each batch is a new array.
        """
        for first in range(0, len(images), size):
            numbers = images[first : first + size]
            yield self.gather(numbers), numbers


def split_images(store: PackedStore) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Numbers of the images that train, and of those that validate.

    Runs say which; of those that do not, if no run validates, the last tenth
    of each does: a stretch of the genome of its own.
    """
    numbers = np.arange(len(store))
    splits = np.array([run.split for run in store.runs], dtype=object)[store.run]
    validate = splits == "validation"
    if not validate.any():
        for index, run in enumerate(store.runs):
            own = numbers[store.run == index]
            if run.split == "" and len(own):
                border = own[len(own) * 9 // 10 :]
                validate[border] = True
    return numbers[~validate], numbers[validate]
