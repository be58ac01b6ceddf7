"""What happens to one block, and the ordered stream of blocks that ``call`` is.

A block's work is cut where files may be put in between: `BlockScanner` finds its
candidates, `BlockExamples.batches` draws them, `classify` asks the network,
and `block_records` or `block_outputs` make something of the answer.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from pileupcnn import runners
from pileupcnn.classifiers import Classifier
from pileupcnn.confidence import ReferenceConfidence
from pileupcnn.examples import ExampleSettings, RunExamples
from pileupcnn.gvcf import Item, interleave
from pileupcnn.messages.convert import (
    candidate_site,
    encode_blocks,
    encode_call,
    site_to_variant,
)
from pileupcnn.postprocess import Image, genotype, resolve_overlaps
from pileupcnn.regions import DIPLOID, Block, HaploidRegions, Region, blocks
from pileupcnn.scanning import (
    BlockExamples,
    BlockScanner,
    Statistics,
    answers_of,
    counted,
    images_of,
)
from pileupcnn.small_model import MODEL_ID, SmallModel
from pileupcnn.survey import Survey
from pileupcnn.vcf import Record

Result = TypeVar("Result")


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
    joint: bool,
    haploid: HaploidRegions = DIPLOID,
) -> list[Item]:
    """The records of a block's candidates with any reference blocks between, in order.

    Overlaps are not yet resolved, and reference blocks have not made way. `joint` and
    `haploid` as for `genotype`.
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
                joint=joint,
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
    examples: BlockExamples, probabilities: Sequence[Sequence[float]], joint: bool, sample: str
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
            outputs += [encode_call(variant, alts, values, joint) for alts, values in images]
        if made.reference_blocks is not None:
            outputs.append(tuple(encode_blocks(made.reference_blocks, sample)))
    return outputs


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
    joint : bool
        As for `genotype`.
    regions : sequence of Region
        Merged, in the order of the output.
    task : Task
        The part of the run that is done.
    threads : int
    drop_at_ends, small_model, confidence, population, survey
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
    joint: bool
    regions: Sequence[Region]
    task: Task = Task()
    threads: int = 1
    drop_at_ends: bool = False
    small_model: SmallModel | None = None
    confidence: ReferenceConfidence | None = None
    haploid: HaploidRegions = DIPLOID
    population: Sequence[str | Path] = ()
    survey: Survey | None = None
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
        finish = partial(block_records, joint=self.joint, haploid=self.haploid)
        for item in resolve_overlaps(self._stream(finish, statistics)):
            statistics.records += isinstance(item, Record)
            yield item

    def outputs(self, statistics: Statistics) -> Generator[bytes | EncodedBlocks, None, None]:
        """The stream of the images' CallVariantsOutputs and any reference blocks, in order.

        Else as `records`.
        """
        finish = partial(block_outputs, joint=self.joint, sample=self.sample)
        for output in self._stream(finish, statistics):
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
            survey=self.survey,
        )
        return BlockCaller(scanner, self.settings, self.classifier, finish)
