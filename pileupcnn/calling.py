"""What happens to one block, and the ordered stream of blocks that ``call`` is.

A block's work is cut where files may be put in between: `BlockScanner` finds its
candidates, `BlockExamples.batches` draws them, `classify` asks the network,
and `block_records` or `block_outputs` make something of the answer.
"""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Generic, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from pileupcnn import runners
from pileupcnn.candidates import Detail
from pileupcnn.classifiers import Classifier
from pileupcnn.confidence import ReferenceConfidence
from pileupcnn.examples import (
    CHECKED_BASES,
    ExampleMaker,
    ExampleSettings,
    RunExamples,
    check_fit,
)
from pileupcnn.gvcf import Item, interleave
from pileupcnn.kernels.clock import released_seconds
from pileupcnn.messages.convert import (
    candidate_site,
    encode_blocks,
    encode_call,
    site_to_variant,
)
from pileupcnn.pileup import ImagePlan
from pileupcnn.postprocess import Image, genotype, resolve_overlaps
from pileupcnn.regions import DIPLOID, Block, HaploidRegions, Region, blocks
from pileupcnn.small_model import MODEL_ID, SmallModel
from pileupcnn.vcf import Record

Result = TypeVar("Result")


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
    detail, small_model, confidence, population
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


def classify(
    examples: BlockExamples, classifier: Classifier, images: NDArray[np.uint8]
) -> list[list[float]]:
    """Probabilities of all images of a block, drawn into `images` batch by batch."""
    probabilities: list[list[float]] = []
    for batch in examples.batches(images):
        with examples.statistics.timed("classify"):
            probabilities += classifier(batch).tolist()
    return probabilities


def block_records(
    examples: BlockExamples,
    probabilities: Sequence[Sequence[float]],
    haploid: HaploidRegions = DIPLOID,
) -> list[Item]:
    """The records of a block's candidates with any reference blocks between, in order.

    Overlaps are not yet resolved, and reference blocks have not made way.
    """
    items: list[Item] = []
    rows = iter(probabilities)
    for made in examples.runs:
        candidates = made.candidates
        contig = candidates.contig
        starts, depths = candidates.start.tolist(), candidates.depth.tolist()
        records = (
            genotype(
                contig,
                starts[i],
                candidates.alleles(i),
                depths[i],
                candidates.allele_depths(i),
                images,
                haploid=haploid.cover(contig, starts[i]),
                model_id=model_id,
            )
            for i, images, model_id in _answered(made, rows)
        )
        reference = [] if made.reference_blocks is None else [made.reference_blocks]
        items += interleave(records, reference, {contig: 0})
    return items


EncodedBlocks = tuple[bytes, ...]
"""Reference-confidence blocks as ``postprocess-variants`` reads them."""


def _answered(
    made: RunExamples, rows: Iterator[Sequence[float]]
) -> Iterator[tuple[int, list[Image], str]]:
    """Each candidate with what was said of its images, and the small model's MID if by that.

    `rows` are the probabilities of the images that were drawn.
    """
    images: dict[int, list[Image]] = defaultdict(list)
    for index, alts in images_of(made.plan):
        images[index].append((alts, next(rows)))
    small = answers_of(made)
    for index in sorted(images.keys() | small.keys()) if small else images:
        # one ALT after another, then their pairs, whoever answered
        together = sorted(images[index] + small.get(index, []), key=_by_alts)
        yield index, together, MODEL_ID if index in small else ""


def _by_alts(image: Image) -> tuple[int, tuple[int, ...]]:
    return len(image[0]), image[0]


def block_outputs(
    examples: BlockExamples, probabilities: Sequence[Sequence[float]], sample: str
) -> list[bytes | EncodedBlocks]:
    """The same for ``postprocess-variants``: a CallVariantsOutput for each image, in order.

    And for what the small model said instead of an image. After those of a run
    any reference blocks of the run.
    """
    outputs: list[bytes | EncodedBlocks] = []
    rows = iter(probabilities)
    for made in examples.runs:
        for index, images, model_id in _answered(made, rows):
            variant = site_to_variant(candidate_site(made.candidates, index, sample, model_id))
            outputs += [encode_call(variant, alts, values) for alts, values in images]
        if made.reference_blocks is not None:
            outputs.append(tuple(encode_blocks(made.reference_blocks, sample)))
    return outputs


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


@dataclass(slots=True)
class BlockResults(Generic[Result]):
    """What came of one block.

    Attributes
    ----------
    length : int
        Base pairs covered.
    results : list
        In order.
    statistics : Statistics
    """

    length: int
    results: list[Result]
    statistics: Statistics


class BlockCaller(Generic[Result]):
    """Calls the variants of blocks; one thread's own, but for the classifier.

    Parameters
    ----------
    scanner : BlockScanner
    settings : ExampleSettings
    classifier : Classifier
        Shared by all threads.
    finish : callable
        Takes a block's examples and the probabilities of their images:
        `block_records`, for instance.
    """

    def __init__(
        self,
        scanner: BlockScanner,
        settings: ExampleSettings,
        classifier: Classifier,
        finish: Callable[[BlockExamples, list[list[float]]], list[Result]],
    ) -> None:
        self._scanner = scanner
        self._classifier = classifier
        self._finish = finish
        self._images = np.empty((classifier.at_once, *settings.pileup.shape), dtype=np.uint8)

    def close(self) -> None:
        """Close the thread's files."""
        self._scanner.close()

    def __call__(self, block: Block) -> BlockResults[Result]:
        """Scan, draw and classify one block, and make its results."""
        examples = self._scanner(block)
        probabilities = classify(examples, self._classifier, self._images)
        with examples.statistics.timed("postprocess"):
            results = self._finish(examples, probabilities)
        return BlockResults(block.length, results, examples.statistics)


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


@dataclass(frozen=True, slots=True)
class Task:
    """One of several equal parts of a run.

    Attributes
    ----------
    index : int
        From 0 to ``count - 1``; it has the blocks ``i`` with
        ``i % count == index``.
    count : int
    """

    index: int = 0
    count: int = 1


@dataclass(frozen=True, slots=True)
class CallRun:
    """A run of ``call``.

    Attributes
    ----------
    reads, reference, settings, sample
        As for `ExampleMaker`, of which each thread has one.
    classifier : Classifier
    regions : sequence of Region
        Merged, in the order of the output.
    task : Task
        The part of the run that is done.
    threads : int
    drop_at_ends, small_model, confidence, population
        As for `BlockScanner`.
    haploid : HaploidRegions
    progress : callable
        Told the base pairs of each block when it is done.
    """

    reads: Sequence[str | Path]
    reference: str | Path
    settings: ExampleSettings
    sample: str
    classifier: Classifier
    regions: Sequence[Region]
    task: Task = Task()
    threads: int = 1
    drop_at_ends: bool = False
    small_model: SmallModel | None = None
    confidence: ReferenceConfidence | None = None
    haploid: HaploidRegions = DIPLOID
    population: Sequence[str | Path] = ()
    progress: Callable[[int], object] = lambda _: None

    def records(self, statistics: Statistics) -> Generator[Item, None, None]:
        """The stream of records and any reference blocks, in order, overlaps resolved.

        The blocks still have to `make_way`.

        Parameters
        ----------
        statistics : Statistics
            Filled while the stream is read.

        Raises
        ------
        InputError
            If an input is damaged, or the reads were aligned to another reference.
        """
        finish = partial(block_records, haploid=self.haploid)
        for item in resolve_overlaps(self._stream(finish, statistics)):
            statistics.records += isinstance(item, Record)
            yield item

    def outputs(self, statistics: Statistics) -> Generator[bytes | EncodedBlocks, None, None]:
        """The stream of the images' CallVariantsOutputs and any reference blocks, in order.

        Else as `records`.
        """
        for output in self._stream(partial(block_outputs, sample=self.sample), statistics):
            statistics.records += isinstance(output, bytes)
            yield output

    def _stream(
        self,
        finish: Callable[[BlockExamples, list[list[float]]], list[Result]],
        statistics: Statistics,
    ) -> Iterator[Result]:
        work = blocks(self.regions, self.settings.reads.partition_size)
        ours = (block for block in work if block.index % self.task.count == self.task.index)
        done = runners.run(lambda: self._make_caller(finish), ours, self.threads)
        for block in counted(done, self.reads, self.reference, statistics):
            yield from block.results
            self.progress(block.length)

    def _make_caller(
        self, finish: Callable[[BlockExamples, list[list[float]]], list[Result]]
    ) -> BlockCaller[Result]:
        scanner = BlockScanner(
            self.reads,
            self.reference,
            self.settings,
            self.sample,
            first_block=self.task.index,
            drop_at_ends=self.drop_at_ends,
            small_model=self.small_model,
            confidence=self.confidence,
            population=self.population,
        )
        return BlockCaller(scanner, self.settings, self.classifier, finish)
