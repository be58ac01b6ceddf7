"""Training data: aligned samples with their truth, or labelled examples, into a packed store."""

from __future__ import annotations

import csv
import hashlib
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
from tqdm import tqdm

from pileupcnn import runners
from pileupcnn.candidates import Detail
from pileupcnn.errors import InputError
from pileupcnn.example_info import info_path, read_info
from pileupcnn.examples import ExampleMaker, ExampleSettings, check_fit
from pileupcnn.labels import (
    DEFAULT_SCHEME,
    DROPPED,
    ConfidentRegions,
    Labeller,
    Scheme,
    Truth,
    image_types,
)
from pileupcnn.messages.convert import decode_variant, read_examples
from pileupcnn.model import CLASSES
from pileupcnn.pileup import spec_from_info
from pileupcnn.realign import RealignSettings
from pileupcnn.regions import Block, Region, blocks, read_bed, resolve_regions
from pileupcnn.settings_json import settings_from_json, settings_to_json
from pileupcnn.small_model import inputs
from pileupcnn.store import (
    FORMAT_VERSION,
    LabelledImages,
    PackedStore,
    RunWriter,
    StoredRun,
    is_whole,
    pack,
    write_index,
)
from pileupcnn.survey import Survey
from pileupcnn.tfrecords import find_shards

_FILES = ("reads", "ref", "truth", "confident")
_OPTIONAL = ("regions", "weight", "split")
_PACKED_TOGETHER = 1_000  # examples held at a time


@dataclass(frozen=True, slots=True)
class TrainingRun:
    """A line of the table of training data.

    Attributes
    ----------
    reads, ref, truth, confident : Path
        BAM or CRAM, FASTA, VCF with genotypes, BED.
    regions : str
        As for ``call --regions``; empty for all of `confident`.
    weight : float
        How often each image counts in an epoch, on average.
    split : str
        "train", "validation", or "" to train, and, where no run of the table is
        for validation, have the last tenth validate.
    """

    reads: Path
    ref: Path
    truth: Path
    confident: Path
    regions: str = ""
    weight: float = 1.0
    split: str = ""

    @property
    def name(self) -> str:
        """The reads' file with its folder, which usually tells samples apart."""
        return f"{self.reads.absolute().parent.name}/{self.reads.name}"

    def signature(self, settings: ExampleSettings, scheme: Scheme) -> str:
        """Digest of all that images and labels depend on; files by path, size and time."""
        stats = []
        for name in _FILES:
            path: Path = getattr(self, name)
            try:
                stat = path.stat()
            except OSError as error:
                raise InputError(
                    f"{path}: cannot be read ({error.strerror}); correct the column '{name}'"
                ) from error
            stats.append([str(path.resolve()), stat.st_size, stat.st_mtime_ns])
        parts = [FORMAT_VERSION, settings_to_json(settings), stats, self.regions, scheme]
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]


def read_runs(path: str | Path) -> list[TrainingRun]:
    """Read the table of training data.

    Parameters
    ----------
    path : path
        Tab-separated with a header line: ``reads``, ``ref``, ``truth``,
        ``confident`` and, if wanted, ``regions``, ``weight`` and ``split``.
        Relative paths start at the table's folder.

    Raises
    ------
    InputError
        If it cannot be read, a column is missing or unknown, or a value is
        none.
    """
    path = Path(path)
    try:
        with open(path, newline="", encoding="utf-8") as lines:
            reader = csv.DictReader(lines, delimiter="\t", restval="")
            columns = reader.fieldnames or []
            rows = list(reader)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path}: cannot be read as a table ({error}); check --data") from error
    wrong = [f"lacks '{c}'" for c in _FILES if c not in columns]
    wrong += [f"has an unknown '{c}'" for c in columns if c not in _FILES + _OPTIONAL]
    if wrong or not rows:
        raise InputError(
            f"{path}: {'; '.join(wrong) or 'no runs'}; expected tab-separated columns "
            f"{', '.join(_FILES)} (and {', '.join(_OPTIONAL)}) and a line for each run"
        )
    return [_training_run(path, number, row) for number, row in enumerate(rows, 2)]


def _training_run(path: Path, number: int, row: dict[str, str]) -> TrainingRun:
    files = {name: path.parent / row[name] for name in _FILES}
    split = row.get("split", "")
    try:
        weight = float(row.get("weight") or 1)
        if None in row or not all(row[name] for name in _FILES):
            raise ValueError("a path is missing, or there are too many columns")
        if not 0 <= weight <= 1000:
            raise ValueError(f"weight {weight:g} is not between 0 and 1,000")
        if split not in ("", "train", "validation"):
            raise ValueError(f"split '{split}' is neither train nor validation")
    except ValueError as error:
        raise InputError(f"{path}, line {number}: {error}; correct the line") from error
    return TrainingRun(**files, regions=row.get("regions", ""), weight=weight, split=split)


def draw_store(
    runs: Sequence[TrainingRun],
    store: str | Path,
    settings: ExampleSettings,
    threads: int = 1,
    scheme: Scheme = DEFAULT_SCHEME,
) -> PackedStore:
    """Draw the labelled images of all runs into a packed store.

    Runs that are there whole, from the same files and settings, are kept.

    Parameters
    ----------
    runs : sequence of TrainingRun
    store : path
        Directory; see `pileupcnn.store`.
    settings : ExampleSettings
    threads : int
    scheme : {"haplotype", "positional"}
        How candidates get their true genotypes.

    Raises
    ------
    InputError
        If an input cannot be used, or two runs are the same.
    OutputError
        If the store cannot be written.
    """
    signatures = [run.signature(settings, scheme) for run in runs]
    for number, signature in enumerate(signatures):
        if (first := signatures.index(signature)) < number:
            raise InputError(
                f"runs {first + 1} and {number + 1} of the table are both {runs[number].name} in "
                "the same regions; leave one out, and give it a weight to count more often"
            )
    for run, signature in zip(runs, signatures, strict=True):
        if not is_whole(Path(store) / signature):
            _draw_run(run, signature, Path(store), settings, threads, scheme)
    return _opened(
        store,
        [
            StoredRun(signature, run.split, run.weight)
            for run, signature in zip(runs, signatures, strict=True)
        ],
    )


def _opened(store: str | Path, runs: Sequence[StoredRun]) -> PackedStore:
    """Say which runs the store is made of, open it, and report its labels."""
    write_index(store, runs)
    drawn = PackedStore(store)
    for description in drawn.descriptions:
        counts = ", ".join(
            f"{count:,} {name}" for count, name in zip(description["labels"], CLASSES, strict=True)
        )
        tqdm.write(f"{description['name']}: {counts}", file=sys.stderr)
    return drawn


def pack_examples(names: Sequence[str | Path], store: str | Path) -> PackedStore:
    """Pack labelled TFRecords of examples, DeepVariant's or ours, into a store.

    How their reads were chosen is not in DeepVariant's files: its settings for
    whole genomes, realignment included, are taken to hold. Ours tell.

    Parameters
    ----------
    names : sequence of path
        As `tfrecords.find_shards` takes them; each file has its
        ``example_info.json`` beside it.
    store : path
        The store's directory. Files that are there whole already are kept.

    Raises
    ------
    InputError
        If a file is missing or damaged, has no labels, or images that differ
        from the first file's.
    OutputError
        If the store cannot be written.
    """
    paths = find_shards(names)
    settings: ExampleSettings | None = None
    runs = []
    for path in paths:
        found = _settings_of(path)
        if found is None:
            continue
        settings = settings or found
        if found != settings:
            raise InputError(
                f"{path}: its images, or how reads were chosen, differ from those of {paths[0]}; "
                "train on one kind"
            )
        stat = path.stat()
        parts = [FORMAT_VERSION, settings_to_json(settings), str(path.resolve())]
        parts += [stat.st_size, stat.st_mtime_ns]
        signature = hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]
        if not is_whole(Path(store) / signature):
            _pack_file(path, signature, Path(store), settings)
        runs.append(StoredRun(signature))
    if not runs:
        raise InputError(f"{paths[0]}: holds no example, nor does any other file given")
    return _opened(store, runs)


def _settings_of(path: Path) -> ExampleSettings | None:
    """What a file's description says of its images; None if it holds none."""
    info = read_info(path)
    if info is None:
        raise InputError(f"{path}: no {info_path(path).name} beside it; copy it there, too")
    if info.shape is None:
        return None
    try:
        if info.settings is None:
            return ExampleSettings(pileup=spec_from_info(info), realign=RealignSettings())
        settings = settings_from_json(info.settings)
    except ValueError as error:
        raise InputError(f"{info_path(path)}: images that cannot be drawn ({error})") from error
    spec = settings.pileup
    if (info.shape, info.channels) != (spec.shape, tuple(map(int, spec.layers))):
        raise InputError(
            f"{info_path(path)}: 'shape' and 'channels' are not those of its 'settings'; make the "
            "examples again, with this file"
        )
    return settings


def _pack_file(path: Path, signature: str, store: Path, settings: ExampleSettings) -> None:
    """Pack one file of examples; read twice, as contigs are numbered by the first pass."""
    contigs = list(
        dict.fromkeys(
            decode_variant(example.variant).reference_name for example in read_examples(path)
        )
    )
    rank = {contig: i for i, contig in enumerate(contigs)}
    with RunWriter(store, signature, settings, contigs, path.name) as writer:
        examples = read_examples(path)
        while several := list(islice(examples, _PACKED_TOGETHER)):
            if any(example.label is None for example in several):
                raise InputError(
                    f"{path}: an example without a label; make them with --truth and --confident"
                )
            variants = [decode_variant(example.variant) for example in several]
            writer.add(
                pack(
                    np.stack([example.image for example in several]),
                    label=np.array([example.label for example in several], np.int8),
                    type=np.array([example.variant_type for example in several], np.uint8),
                    contig=np.array([rank[v.reference_name] for v in variants], np.int32),
                    start=np.array([v.start for v in variants], np.int64),
                    alts=np.array([(*example.alts, -1)[:2] for example in several], np.int8),
                )
            )


def _draw_run(
    run: TrainingRun,
    signature: str,
    store: Path,
    settings: ExampleSettings,
    threads: int,
    scheme: Scheme,
) -> None:
    """Draw one run, block by block, and write it in genome order."""
    size = settings.reads.partition_size
    with ExampleMaker([run.reads], run.ref, settings) as maker:
        contigs = maker.contigs
        asked = resolve_regions([run.regions] if run.regions else [], contigs)
        confident = ConfidentRegions(
            ConfidentRegions(read_bed(run.confident, contigs)).intersect(asked)
        )
        regions = confident.cover(asked, size)
        if not regions:
            raise InputError(
                f"{run.confident}: no interval on a contig of {run.reads}"
                f"{' within the regions' if run.regions else ''}; compare the contig names"
            )
        survey = maker.take_survey(regions)
    total = sum(len(region) for region in regions)
    truth = Truth(run.truth, tuple(contigs), confident, scheme)
    with (
        RunWriter(store, signature, settings, list(contigs), run.name) as writer,
        tqdm(total=total, desc=run.name, unit="bp", unit_scale=True, disable=None) as bar,
    ):
        for length, parts in runners.run(
            lambda: _BlockLabeller(run, settings, truth, survey), blocks(regions, size), threads
        ):
            for part in parts:
                writer.add(part)
            bar.update(length)


class _BlockLabeller:
    """Draws and labels blocks; one thread's own."""

    def __init__(
        self, run: TrainingRun, settings: ExampleSettings, truth: Truth, survey: Survey
    ) -> None:
        self._run, self._survey = run, survey
        self._rank = {contig: i for i, contig in enumerate(truth.contigs)}
        self._labeller = Labeller(truth, run.ref)
        self._maker = ExampleMaker(
            [run.reads], run.ref, settings, detail=Detail.REFERENCE, survey=survey
        )

    def close(self) -> None:
        """Close the files."""
        self._maker.close()
        self._labeller.close()

    def __call__(self, block: Block, /) -> tuple[int, list[LabelledImages]]:
        """Base pairs of the block, and its images run by run."""
        return block.length, [self._label(run) for run in block.runs()]

    def _label(self, run: tuple[Region, ...]) -> LabelledImages:
        examples = self._maker.run_examples(run)
        found = examples.candidates
        check_fit([self._run.reads], self._run.ref, found.matches, found.mismatches)
        contig, candidates, plan = run[0].contig, examples.candidates, examples.plan
        label = self._labeller.label(run, candidates, plan).images
        kept = label != DROPPED
        start = candidates.start[plan.candidate[kept]]
        return pack(
            examples.draw(0, len(plan))[kept],
            features=inputs(candidates, examples.reads, plan, self._survey)[kept],
            label=label[kept],
            type=image_types(candidates, plan)[kept],
            contig=np.full(len(start), self._rank[contig], np.int32),
            start=start,
            alts=plan.alts[kept].astype(np.int8),
        )
