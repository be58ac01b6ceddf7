"""What a block of partitions is before the network sees it, and what is counted on the way.

`BlockScanner` finds a block's candidates, `BlockExamples.batches` draws their
images.
"""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from pileupcnn.candidates import Detail
from pileupcnn.confidence import ReferenceConfidence
from pileupcnn.examples import (
    CHECKED_BASES,
    ExampleMaker,
    ExampleSettings,
    RunExamples,
    check_fit,
)
from pileupcnn.kernels.clock import released_seconds
from pileupcnn.pileup import ImagePlan
from pileupcnn.postprocess import Image
from pileupcnn.regions import Block
from pileupcnn.small_model import SmallModel
from pileupcnn.survey import Survey


@dataclass(slots=True)
class Statistics:
    """What a run did; one for each block, added up in order.

    Attributes
    ----------
    seconds : dict of str to float
        Time by stage, summed over threads.
    gil_seconds : float
        Processor time outside kernels and ONNX Runtime: at most so long the
        interpreter lock was held (TensorFlow, too, lets go of it at times).
    cpu_seconds : float
        Processor time of the whole process while the stream was read.
    skipped : Counter of str
        Records skipped, by reason.
    candidates, records, dropped, answered : int
        `dropped` are candidates whose image would leave the contig, `answered`
        sets of ALTs of which the small model was sure.
    matches, mismatches : int
        Aligned bases like the reference, or not.
    labels : Counter of str
        What was found of the truth, if there was one; as in `labels.Labels`.
    """

    seconds: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    gil_seconds: float = 0.0
    cpu_seconds: float = 0.0
    skipped: Counter[str] = field(default_factory=Counter)
    candidates: int = 0
    records: int = 0
    dropped: int = 0
    answered: int = 0
    matches: int = 0
    mismatches: int = 0
    labels: Counter[str] = field(default_factory=Counter)

    def add(self, other: Statistics) -> None:
        """Add another block's."""
        for stage, seconds in other.seconds.items():
            self.seconds[stage] += seconds
        self.gil_seconds += other.gil_seconds
        self.skipped.update(other.skipped)
        self.candidates += other.candidates
        self.records += other.records
        self.dropped += other.dropped
        self.answered += other.answered
        self.matches += other.matches
        self.mismatches += other.mismatches
        self.labels.update(other.labels)

    @property
    def gil_share(self) -> float:
        """Share of the processor time in which Python's interpreter lock was held, at most."""
        return self.gil_seconds / self.cpu_seconds if self.cpu_seconds else 0.0

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
class BlockExamples:
    """The candidates of one block, ready to be drawn.

    Attributes
    ----------
    length : int
        Base pairs covered.
    runs : list of RunExamples
    statistics : Statistics
        Counts the drawing, too.
    """

    length: int
    runs: list[RunExamples]
    statistics: Statistics

    def batches(self, images: NDArray[np.uint8]) -> Iterator[NDArray[np.uint8]]:
        """Draw all images, in batches that no run's end breaks.

        Parameters
        ----------
        images : uint8 [n, height, width, channels]
            Overwritten by each batch.

        Yields
        ------
        uint8 [k, height, width, channels]
            The first `k` of `images`: all but in the last batch.
        """
        left = sum(len(made.plan) for made in self.runs)
        filled = 0
        for made in self.runs:
            done = 0
            while done < len(made.plan):
                n = min(len(images) - filled, len(made.plan) - done)
                with self.statistics.timed("draw"):
                    made.draw(done, done + n, images[filled : filled + n])
                done += n
                filled += n
                left -= n
                if filled == len(images) or not left:
                    yield images[:filled]
                    filled = 0


class BlockScanner:
    """Finds the candidates of blocks; one thread's own.

    Parameters
    ----------
    reads, reference, settings, sample
        As for `ExampleMaker`.
    first_block : int
        Index of the block by which a wrong reference is noticed before much is
        drawn: the first of the stream.
    drop_at_ends : bool
        Draw no image of candidates whose image would leave the contig, as
        DeepVariant does, instead of leaving the columns outside blank.
    detail, small_model, confidence, population, survey
        As for `ExampleMaker`.
    """

    def __init__(
        self,
        reads: Sequence[str | Path],
        reference: str | Path,
        settings: ExampleSettings,
        sample: str,
        *,
        first_block: int = 0,
        drop_at_ends: bool = False,
        detail: Detail = Detail.ALTS,
        small_model: SmallModel | None = None,
        confidence: ReferenceConfidence | None = None,
        population: Sequence[str | Path] = (),
        survey: Survey | None = None,
    ) -> None:
        self._reads, self._reference = reads, reference
        self._maker = ExampleMaker(
            reads,
            reference,
            settings,
            sample,
            detail=detail,
            small_model=small_model,
            confidence=confidence,
            population=population,
            survey=survey,
        )
        self._first_block = first_block
        self._drop_at_ends = drop_at_ends

    def close(self) -> None:
        """Close the thread's files."""
        self._maker.close()

    def __call__(self, block: Block) -> BlockExamples:
        """Scan one block.

        Raises
        ------
        InputError
            If an input is damaged, or the reads were aligned to another
            reference.
        """
        statistics = Statistics()
        runs: list[RunExamples] = []
        self._maker.scanner.skipped.clear()
        for run in block.runs():
            with statistics.timed("scan"):
                made = self._maker.run_examples(run)
                statistics.candidates += len(made.candidates)
                statistics.matches += made.candidates.matches
                statistics.mismatches += made.candidates.mismatches
                if self._drop_at_ends:
                    statistics.dropped += _drop_at_ends(made, self._maker.settings.pileup.width)
                if made.answers is not None:
                    statistics.answered += len(made.answers.sets)
            runs.append(made)
        statistics.skipped.update(self._maker.scanner.skipped)
        if block.index == self._first_block:
            # another reference makes every position a candidate: say so before drawing them
            check_fit(self._reads, self._reference, statistics.matches, statistics.mismatches)
        return BlockExamples(block.length, runs, statistics)


def _drop_at_ends(made: RunExamples, width: int) -> int:
    """Take candidates of which some image would leave the contig out; how many."""
    half, start = width // 2, made.candidates.start
    inside = (start >= half) & (start < made.window.contig_length - half)
    inside[np.setdiff1d(np.arange(len(start)), made.plan.candidate)] = True
    made.plan = made.plan.where(inside[made.plan.candidate])
    if made.answers is not None:
        made.answers = made.answers.where(inside[made.answers.sets.candidate])
    return int((~inside).sum())


def images_of(plan: ImagePlan) -> Iterator[tuple[int, tuple[int, ...]]]:
    """Candidate and ALT indices of each image of a plan."""
    for index, (first, second) in zip(plan.candidate.tolist(), plan.alts.tolist(), strict=True):
        yield index, (first,) if second < 0 else (first, second)


def answers_of(made: RunExamples) -> dict[int, list[Image]]:
    """What the small model said of a run's candidates instead of an image, by candidate."""
    answers: dict[int, list[Image]] = {}
    if made.answers is not None:
        rows = made.answers.probabilities.tolist()
        for (index, alts), values in zip(images_of(made.answers.sets), rows, strict=True):
            answers.setdefault(index, []).append((alts, values))
    return answers


class Counted(Protocol):
    """What comes of one block, with what was counted."""

    @property
    def statistics(self) -> Statistics: ...


SomeCounted = TypeVar("SomeCounted", bound=Counted)


def counted(
    done: Iterable[SomeCounted],
    reads: Sequence[str | Path],
    reference: str | Path,
    statistics: Statistics,
) -> Generator[SomeCounted, None, None]:
    """Add up the blocks' statistics, and see that reads and reference belong together.

    Raises
    ------
    InputError
        If they do not: after `CHECKED_BASES`, or at the end if there are fewer.
    """
    began = time.process_time()
    for block in done:
        decided = statistics.matches + statistics.mismatches >= CHECKED_BASES
        statistics.add(block.statistics)
        if not decided:
            check_fit(reads, reference, statistics.matches, statistics.mismatches, CHECKED_BASES)
        yield block
        statistics.cpu_seconds = time.process_time() - began
    check_fit(reads, reference, statistics.matches, statistics.mismatches)
