"""What happens to one block, and the ordered stream of blocks that ``call`` is."""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from pileupcnn import runners
from pileupcnn.candidates import CandidateBatch
from pileupcnn.errors import InputError
from pileupcnn.examples import ExampleMaker, ExampleSettings, RunExamples
from pileupcnn.kernels.clock import released_seconds
from pileupcnn.model import Classifier
from pileupcnn.pileup import ImagePlan
from pileupcnn.postprocess import Image, genotype, resolve_overlaps
from pileupcnn.regions import Block, Region, blocks
from pileupcnn.vcf import Record

CHECKED_BASES = 100_000
"""Aligned bases after which it is decided whether reads and reference belong together."""

MIN_CHECKED_BASES = 5_000
"""Fewest aligned bases to decide by, where the whole run has fewer than `CHECKED_BASES`."""

MAX_MISMATCH_SHARE = 0.2
"""More than this share of aligned bases unlike the reference: it is another one."""


@dataclass(slots=True)
class Statistics:
    """What a run did; one for each block, added up in order.

    Attributes
    ----------
    seconds : dict of str to float
        Time by stage, summed over threads.
    gil_seconds : float
        Processor time outside kernels: at most so long the interpreter lock
        was held (TensorFlow, too, lets go of it at times).
    skipped : Counter of str
        Records skipped, by reason.
    candidates, records, dropped : int
        `dropped` are candidates whose image would leave the contig.
    matches, mismatches : int
        Aligned bases like the reference, or not.
    """

    seconds: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    gil_seconds: float = 0.0
    skipped: Counter[str] = field(default_factory=Counter)
    candidates: int = 0
    records: int = 0
    dropped: int = 0
    matches: int = 0
    mismatches: int = 0

    def add(self, other: Statistics) -> None:
        """Add another block's."""
        for stage, seconds in other.seconds.items():
            self.seconds[stage] += seconds
        self.gil_seconds += other.gil_seconds
        self.skipped.update(other.skipped)
        self.candidates += other.candidates
        self.records += other.records
        self.dropped += other.dropped
        self.matches += other.matches
        self.mismatches += other.mismatches

    @property
    def gil_share(self) -> float:
        """Share of the threads' time in which Python's interpreter lock was held, at most."""
        total = sum(seconds for stage, seconds in self.seconds.items() if stage != "start")
        return self.gil_seconds / total if total else 0.0

    @contextmanager
    def timed(self, stage: str) -> Iterator[None]:
        """Count the time of a ``with`` block as `stage`."""
        began, busy = time.perf_counter(), time.thread_time() - released_seconds()
        try:
            yield
        finally:
            self.seconds[stage] += time.perf_counter() - began
            if stage != "start":
                self.gil_seconds += time.thread_time() - released_seconds() - busy


@dataclass(slots=True)
class BlockCalls:
    """What came of one block.

    Attributes
    ----------
    length : int
        Base pairs covered.
    records : list of Record
        In order; overlaps between them not yet resolved.
    statistics : Statistics
    """

    length: int
    records: list[Record]
    statistics: Statistics


class BlockCaller:
    """Calls the variants of blocks; one thread's own, but for the classifier.

    Parameters
    ----------
    reads, reference, settings, sample
        As for `ExampleMaker`.
    classifier : Classifier
        Shared by all threads.
    drop_at_ends : bool
        Drop candidates whose image would leave the contig, as DeepVariant
        does, instead of leaving the columns outside blank.
    """

    def __init__(
        self,
        reads: Sequence[str | Path],
        reference: str | Path,
        settings: ExampleSettings,
        sample: str,
        classifier: Classifier,
        drop_at_ends: bool,
    ) -> None:
        self._reads, self._reference = reads, reference
        self._maker = ExampleMaker(reads, reference, settings, sample)
        self._classifier = classifier
        self._drop_at_ends = drop_at_ends
        self._images = np.empty((classifier.batch_size, *settings.pileup.shape), dtype=np.uint8)

    def close(self) -> None:
        """Close the thread's files."""
        self._maker.close()

    def __call__(self, block: Block) -> BlockCalls:
        """Scan, draw, classify and post-process one block."""
        statistics = Statistics()
        examples: list[RunExamples] = []
        self._maker.scanner.skipped.clear()
        for run in block.runs():
            with statistics.timed("scan"):
                examples.append(self._maker.run_examples(run))
                statistics.candidates += len(examples[-1].candidates)
                statistics.matches += examples[-1].candidates.matches
                statistics.mismatches += examples[-1].candidates.mismatches
        statistics.skipped.update(self._maker.scanner.skipped)
        if block.index == 0:
            # another reference makes every position a candidate: say so before drawing them
            check_fit(self._reads, self._reference, statistics, MIN_CHECKED_BASES)
        probabilities = self._classify(examples, statistics)
        with statistics.timed("postprocess"):
            records: list[Record] = []
            first = 0
            for made in examples:
                last = first + len(made.plan)
                called = _records(made.candidates, made.plan, probabilities[first:last])
                if self._drop_at_ends:
                    called = self._inside(called, made.window.contig_length, statistics)
                records += called
                first = last
        return BlockCalls(block.length, records, statistics)

    def _classify(
        self, examples: Sequence[RunExamples], statistics: Statistics
    ) -> list[list[float]]:
        """Probabilities of all images of a block, in batches that no run's end breaks."""
        total = sum(len(made.plan) for made in examples)
        probabilities: list[list[float]] = []
        filled = 0
        for made in examples:
            done = 0
            while done < len(made.plan):
                n = min(len(self._images) - filled, len(made.plan) - done)
                with statistics.timed("draw"):
                    made.draw(done, done + n, self._images[filled : filled + n])
                done += n
                filled += n
                if filled == len(self._images) or len(probabilities) + filled == total:
                    with statistics.timed("classify"):
                        probabilities += self._classifier(self._images[:filled]).tolist()
                    filled = 0
        return probabilities

    def _inside(
        self, records: list[Record], contig_length: int, statistics: Statistics
    ) -> list[Record]:
        """Without those whose image would leave the contig."""
        half = self._maker.settings.pileup.width // 2
        kept = [r for r in records if half <= r.start < contig_length - half]
        statistics.dropped += len(records) - len(kept)
        return kept


def _records(
    candidates: CandidateBatch, plan: ImagePlan, probabilities: Sequence[Sequence[float]]
) -> list[Record]:
    """The records of one run's candidates."""
    images: list[list[Image]] = [[] for _ in range(len(candidates))]
    rows = zip(plan.candidate.tolist(), plan.alts.tolist(), probabilities, strict=True)
    for index, (first, second), row in rows:
        images[index].append(((first,) if second < 0 else (first, second), row))
    starts, depths = candidates.start.tolist(), candidates.depth.tolist()
    return [
        genotype(
            candidates.contig,
            starts[i],
            candidates.alleles(i),
            depths[i],
            candidates.allele_depths(i),
            images[i],
        )
        for i in range(len(candidates))
    ]


def check_fit(
    reads: Sequence[str | Path], reference: str | Path, statistics: Statistics, enough: int
) -> None:
    """Raise InputError if `enough` bases were counted and too many are unlike the reference."""
    total = statistics.matches + statistics.mismatches
    if total >= enough and statistics.mismatches > MAX_MISMATCH_SHARE * total:
        raise InputError(
            f"{reads[0]}: {statistics.mismatches / total:.0%} of the aligned bases differ "
            f"from {reference}; the reads were aligned to another reference, give that with --ref"
        )


def call_blocks(
    reads: Sequence[str | Path],
    reference: str | Path,
    sample: str,
    settings: ExampleSettings,
    classifier: Classifier,
    regions: Sequence[Region],
    statistics: Statistics,
    *,
    threads: int = 1,
    drop_at_ends: bool = False,
    progress: Callable[[int], object] = lambda _: None,
) -> Generator[Record, None, None]:
    """The stream of records of a run, in order, overlaps resolved.

    Parameters
    ----------
    reads, reference, sample, settings
        As for `ExampleMaker`, of which each thread has one.
    classifier : Classifier
    regions : sequence of Region
        Merged, in the order of the output.
    statistics : Statistics
        Filled while the stream is read.
    threads : int
    drop_at_ends : bool
        As for `BlockCaller`.
    progress : callable
        Told the base pairs of each block when it is done.

    Raises
    ------
    InputError
        If an input is damaged, or the reads were aligned to another reference.
    """
    done = runners.run(
        lambda: BlockCaller(reads, reference, settings, sample, classifier, drop_at_ends),
        blocks(regions, settings.reads.partition_size),
        threads,
    )

    def stream() -> Iterator[Record]:
        for calls in done:
            decided = statistics.matches + statistics.mismatches >= CHECKED_BASES
            statistics.add(calls.statistics)
            if not decided:
                check_fit(reads, reference, statistics, CHECKED_BASES)
            yield from calls.records
            progress(calls.length)
        check_fit(reads, reference, statistics, MIN_CHECKED_BASES)

    for record in resolve_overlaps(stream()):
        statistics.records += 1
        yield record
