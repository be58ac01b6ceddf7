"""Training data: a table of aligned samples with their truth, drawn into a packed store."""

from __future__ import annotations

import csv
import hashlib
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tqdm import tqdm

from pileupcnn import runners
from pileupcnn.errors import InputError
from pileupcnn.examples import ExampleMaker, ExampleSettings, check_fit
from pileupcnn.labels import DROPPED, ConfidentRegions, image_types, label_images
from pileupcnn.model import CLASSES, settings_to_json
from pileupcnn.regions import Block, Region, blocks, merge, read_bed, resolve_regions
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
from pileupcnn.vcf import TruthReader

_FILES = ("reads", "ref", "truth", "confident")
_OPTIONAL = ("regions", "weight", "split")


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
        How often each image is shown in an epoch, on average.
    split : str
        "train", "validation", or "" for a last tenth that validates.
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

    def signature(self, settings: ExampleSettings) -> str:
        """Digest of all that the run's images depend on; files by path, size and time."""
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
        parts = [FORMAT_VERSION, settings_to_json(settings), stats, self.regions]
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
    runs: Sequence[TrainingRun], store: str | Path, settings: ExampleSettings, threads: int = 1
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

    Raises
    ------
    InputError
        If an input cannot be used.
    OutputError
        If the store cannot be written.
    """
    signatures = [run.signature(settings) for run in runs]
    for run, signature in zip(runs, signatures, strict=True):
        if not is_whole(Path(store) / signature):
            _draw_run(run, signature, Path(store), settings, threads)
    write_index(
        store,
        [
            StoredRun(signature, run.split, run.weight)
            for run, signature in zip(runs, signatures, strict=True)
        ],
    )
    drawn = PackedStore(store)
    for description in drawn.descriptions:
        counts = ", ".join(
            f"{count:,} {name}" for count, name in zip(description["labels"], CLASSES, strict=True)
        )
        tqdm.write(f"{description['name']}: {counts}", file=sys.stderr)
    return drawn


def _draw_run(
    run: TrainingRun, signature: str, store: Path, settings: ExampleSettings, threads: int
) -> None:
    """Draw one run, block by block, and write it in genome order."""
    with ExampleMaker([run.reads], run.ref, settings) as maker:
        contigs = maker.contigs
    bed = ConfidentRegions(read_bed(run.confident, contigs))
    regions = bed.regions
    if run.regions:
        regions = bed.intersect(resolve_regions([run.regions], contigs))
    regions = merge(regions, list(contigs))
    if not regions:
        raise InputError(
            f"{run.confident}: no interval on a contig of {run.reads}"
            f"{' within the regions' if run.regions else ''}; compare the contig names"
        )
    total = sum(len(region) for region in regions)
    with (
        RunWriter(store, signature, settings, list(contigs), run.name) as writer,
        tqdm(total=total, desc=run.name, unit="bp", unit_scale=True, disable=None) as bar,
    ):
        work = blocks(regions, settings.reads.partition_size)
        for length, parts in runners.run(
            lambda: _BlockLabeller(run, settings, bed, list(contigs)), work, threads
        ):
            for part in parts:
                writer.add(part)
            bar.update(length)


class _BlockLabeller:
    """Draws and labels blocks; one thread's own."""

    def __init__(
        self,
        run: TrainingRun,
        settings: ExampleSettings,
        confident: ConfidentRegions,
        contigs: Sequence[str],
    ) -> None:
        self._run = run
        self._confident = confident
        self._rank = {contig: i for i, contig in enumerate(contigs)}
        self._truth = TruthReader(run.truth, contigs)
        self._maker = ExampleMaker([run.reads], run.ref, settings)

    def close(self) -> None:
        """Close the files."""
        self._maker.close()
        self._truth.close()

    def __call__(self, block: Block, /) -> tuple[int, list[LabelledImages]]:
        """Base pairs of the block, and its images run by run."""
        return block.length, [self._label(run) for run in block.runs()]

    def _label(self, run: tuple[Region, ...]) -> LabelledImages:
        examples = self._maker.run_examples(run)
        found = examples.candidates
        check_fit([self._run.reads], self._run.ref, found.matches, found.mismatches)
        contig, candidates, plan = run[0].contig, examples.candidates, examples.plan
        truth = self._truth.fetch(Region(contig, run[0].start, run[-1].end))
        label = label_images(candidates, plan, truth, self._confident)
        kept = label != DROPPED
        start = candidates.start[plan.candidate[kept]]
        return pack(
            examples.draw(0, len(plan))[kept],
            label=label[kept],
            type=image_types(candidates, plan)[kept],
            contig=np.full(len(start), self._rank[contig], np.int32),
            start=start,
            alts=plan.alts[kept].astype(np.int8),
        )
