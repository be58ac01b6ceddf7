"""First stage: aligned reads to files of examples (images with their candidates)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, closing, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import TracebackType
from typing import Literal

import numpy as np

from pileupcnn import runners
from pileupcnn.candidates import Detail
from pileupcnn.confidence import ReferenceConfidence
from pileupcnn.example_info import ExampleInfo, info_path, write_info
from pileupcnn.examples import ExampleSettings, RunExamples
from pileupcnn.genotypes import Genotype
from pileupcnn.labels import DROPPED, UNKNOWN, Labeller, Truth
from pileupcnn.messages.convert import (
    candidate_site,
    encode_blocks,
    encode_call,
    encode_candidate,
    encode_example,
    site_to_variant,
)
from pileupcnn.messages.variants_pb2 import Variant
from pileupcnn.pileup import PileupSpec
from pileupcnn.regions import BLOCK_PARTITIONS, Block, Region, blocks, partitions
from pileupcnn.scanning import (
    BlockExamples,
    BlockScanner,
    Statistics,
    answers_of,
    counted,
    images_of,
)
from pileupcnn.settings_json import settings_to_json
from pileupcnn.small_model import MODEL_ID, SmallModel
from pileupcnn.survey import Survey
from pileupcnn.tfrecords import RecordWriter

IMAGES = 32
"""Images drawn at once."""

Scheme = Literal["blocks", "deepvariant"]
"""How the genome is dealt out to shards: in blocks, or in DeepVariant's single partitions."""


@dataclass(frozen=True, slots=True)
class ExampleRun:
    """A run of ``make-examples``.

    Attributes
    ----------
    reads, reference, settings, sample
        As for `ExampleMaker`, of which each thread has one.
    regions : sequence of Region
        Merged, in order.
    joint : bool
        As for `postprocess.genotype`, where what the small model says will go.
    truth : Truth, optional
        If given, examples have labels.
    threads : int
    drop_at_ends, small_model, confidence, population, survey
        As for `BlockScanner`.
    progress : callable
        Told the base pairs of each block when it is done.
    """

    reads: Sequence[str | Path]
    reference: str | Path
    settings: ExampleSettings
    sample: str
    regions: Sequence[Region]
    joint: bool
    truth: Truth | None = None
    threads: int = 1
    drop_at_ends: bool = False
    small_model: SmallModel | None = None
    confidence: ReferenceConfidence | None = None
    population: Sequence[str | Path] = ()
    survey: Survey | None = None
    progress: Callable[[int], object] = lambda _: None

    def write(
        self,
        examples: Sequence[Path],
        candidates: Sequence[Path],
        statistics: Statistics,
        *,
        small_model_calls: Sequence[Path] = (),
        reference_blocks: Sequence[Path] = (),
        task: int | None = None,
        scheme: Scheme = "blocks",
    ) -> None:
        """Write the shards, each with its ``example_info.json``.

        Parameters
        ----------
        examples : sequence of Path
            A file for each shard. What is no regular file gets no
            ``example_info.json``.
        candidates : sequence of Path
            As many, for the candidates; or none.
        statistics : Statistics
            Filled meanwhile; its `records` are the examples.
        small_model_calls : sequence of Path
            As many as `examples`, for what the small model says instead of an
            image (CallVariantsOutput); or none.
        reference_blocks : sequence of Path
            As many as `examples`, for the reference-confidence blocks; or none.
        task : int, optional
            Write this shard only.
        scheme : {"blocks", "deepvariant"}

        Raises
        ------
        PileupCNNError
            If an input is damaged, reads and reference do not belong together,
            or an output cannot be written; then nothing is.
        """
        numbers = range(len(examples)) if task is None else [task]
        size = self.settings.reads.partition_size
        dealt = _deal(self.regions, size, len(examples), scheme)
        work = ((shard, block) for shard, block in dealt if shard in numbers)
        with ExitStack() as stack:
            shards = {
                number: stack.enter_context(
                    _ShardWriter(
                        examples[number],
                        candidates[number] if candidates else None,
                        small_model_calls[number] if small_model_calls else None,
                        reference_blocks[number] if reference_blocks else None,
                        self.settings,
                        in_blocks=scheme == "blocks",
                    )
                )
                for number in numbers
            }
            done = counted(
                runners.run(
                    lambda: self._make_encoder(numbers[0], bool(candidates)), work, self.threads
                ),
                self.reads,
                self.reference,
                statistics,
            )
            with closing(done) as stream:
                for encoded in stream:
                    with statistics.timed("write"):
                        shards[encoded.shard].add(encoded)
                    statistics.records += len(encoded.examples)
                    self.progress(encoded.length)
            # all of them, before any appears under its name: a part would mix with an earlier run's
            for shard in shards.values():
                shard.complete()

    def _make_encoder(self, first_block: int, with_candidates: bool) -> _BlockEncoder:
        scanner = BlockScanner(
            self.reads,
            self.reference,
            self.settings,
            self.sample,
            first_block=first_block,
            drop_at_ends=self.drop_at_ends,
            detail=Detail.SUPPORT if with_candidates else Detail.ALTS,
            small_model=self.small_model,
            confidence=self.confidence,
            population=self.population,
            survey=self.survey,
        )
        labeller = None if self.truth is None else Labeller(self.truth, self.reference)
        # DeepVariant notes the reads' file in training
        reads_name = "" if labeller is None else Path(self.reads[0]).name
        return _BlockEncoder(
            *(scanner, self.settings.pileup, self.sample, labeller, reads_name),
            *(with_candidates, self.joint),
        )


def _deal(
    regions: Iterable[Region], size: int, shards: int, scheme: Scheme
) -> Iterator[tuple[int, Block]]:
    """The blocks of all shards, each with its shard's number.

    The first block of shard `k` has the index `k`.
    """
    if scheme == "blocks":
        for block in blocks(regions, size):
            yield block.index % shards, block
        return
    pending: list[list[Region]] = [[] for _ in range(shards)]
    rounds = [0] * shards
    for index, partition in enumerate(partitions(regions, size)):
        shard = index % shards
        pending[shard].append(partition)
        if len(pending[shard]) == BLOCK_PARTITIONS:
            yield shard, Block(shard + rounds[shard] * shards, tuple(pending[shard]))
            rounds[shard] += 1
            pending[shard] = []
    for shard, rest in enumerate(pending):
        if rest:
            yield shard, Block(shard + rounds[shard] * shards, tuple(rest))


@dataclass(slots=True)
class _Beside:
    """The records of a block that are written beside its images, encoded."""

    candidates: list[bytes] = field(default_factory=list)
    small_model_calls: list[bytes] = field(default_factory=list)
    reference_blocks: list[bytes] = field(default_factory=list)


@dataclass(slots=True)
class _EncodedBlock:
    """The records of one block.

    Attributes
    ----------
    shard : int
    length : int
        Base pairs covered.
    examples : list of bytes
    beside : _Beside
    statistics : Statistics
    """

    shard: int
    length: int
    examples: list[bytes]
    beside: _Beside
    statistics: Statistics


@dataclass(frozen=True, slots=True)
class _Row:
    """What an example holds besides its image."""

    variant: Variant
    alts: tuple[int, ...]
    label: int | None


class _BlockEncoder:
    """Scans, draws and encodes blocks; one thread's own."""

    def __init__(
        self,
        scanner: BlockScanner,
        spec: PileupSpec,
        sample: str,
        labeller: Labeller | None,
        reads_name: str,
        with_candidates: bool,
        joint: bool,
    ) -> None:
        self._scanner = scanner
        self._sample = sample
        self._labeller = labeller
        self._reads_name = reads_name
        self._with_candidates = with_candidates
        self._joint = joint
        self._images = np.empty((IMAGES, *spec.shape), np.uint8)

    def close(self) -> None:
        """Close the thread's files."""
        self._scanner.close()
        if self._labeller is not None:
            self._labeller.close()

    def __call__(self, item: tuple[int, Block], /) -> _EncodedBlock:
        """The records of one block of a shard."""
        shard, block = item
        made = self._scanner(block)
        with made.statistics.timed("encode"):
            described, beside = self._describe(made)
        rows = iter(described)
        encoded = []
        for batch in made.batches(self._images):
            with made.statistics.timed("encode"):
                for image in batch:
                    row = next(rows)
                    encoded.append(encode_example(image, row.variant, row.alts, row.label))
        return _EncodedBlock(shard, made.length, encoded, beside, made.statistics)

    def _describe(self, block: BlockExamples) -> tuple[list[_Row], _Beside]:
        """What belongs to each image of a block, in order, and what is written beside images."""
        rows, beside = list[_Row](), _Beside()
        for made in block.runs:
            labels, genotypes = self._label(made, block.statistics)
            label = iter(labels)
            images: dict[int, list[tuple[int, ...]]] = {}
            for index, alts in images_of(made.plan):
                images.setdefault(index, []).append(alts)
            answers = answers_of(made)
            for index in range(len(made.candidates)):
                wanted, answered = images.get(index, []), answers.get(index, [])
                if not (wanted or answered or self._with_candidates):
                    continue
                model_id = MODEL_ID if answered else ""
                site = candidate_site(made.candidates, index, self._sample, model_id)
                site = replace(site, genotype=genotypes.get(index, UNKNOWN))
                if self._with_candidates:
                    left = wanted if made.answers is not None else []
                    beside.candidates.append(
                        encode_candidate(made.candidates, made.reads, index, site, left)
                    )
                variant = site_to_variant(site, self._reads_name)
                rows += [_Row(variant, alts, next(label)) for alts in wanted]
                beside.small_model_calls += [
                    encode_call(variant, alts, probabilities, self._joint)
                    for alts, probabilities in answered
                ]
            if made.reference_blocks is not None:
                beside.reference_blocks += encode_blocks(made.reference_blocks, self._sample)
        return rows, beside

    def _label(
        self, made: RunExamples, statistics: Statistics
    ) -> tuple[Sequence[int | None], dict[int, Genotype]]:
        """Labels of a run's images, those without one taken out; genotypes of candidates."""
        if self._labeller is None:
            return [None] * len(made.plan), {}
        labels = self._labeller.label(made.run, made.candidates, made.plan)
        statistics.labels.update(labels.counts)
        kept = labels.images != DROPPED
        made.plan = made.plan.where(kept)
        genotypes = dict(enumerate(map(tuple, labels.genotypes.tolist())))
        return labels.images[kept].tolist(), genotypes


class _ShardWriter:
    """The files of one shard, which appear under their names when all is well."""

    def __init__(
        self,
        examples: Path,
        candidates: Path | None,
        small_model_calls: Path | None,
        reference_blocks: Path | None,
        settings: ExampleSettings,
        *,
        in_blocks: bool,
    ) -> None:
        self._path = examples
        self._settings = settings
        self._blocks: list[int] | None = [] if in_blocks else None
        self._described = not examples.exists() or examples.is_file()
        self._stack = ExitStack()
        try:
            self._examples = self._stack.enter_context(RecordWriter(examples))
            self._candidates, self._small_model_calls, self._reference_blocks = (
                None if path is None else self._stack.enter_context(RecordWriter(path))
                for path in (candidates, small_model_calls, reference_blocks)
            )
        except BaseException as error:
            self._stack.__exit__(type(error), error, error.__traceback__)
            raise

    def __enter__(self) -> _ShardWriter:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        # the description comes first: an example file without one would be read otherwise
        if kind is None and self._described:
            try:
                write_info(self._path, self._info())
            except BaseException as error:
                self._stack.__exit__(type(error), error, error.__traceback__)
                raise
        try:
            self._stack.__exit__(kind, value, trace)
        except BaseException:
            with suppress(OSError):
                info_path(self._path).unlink()
            raise

    def add(self, block: _EncodedBlock) -> None:
        """Append a block."""
        for record in block.examples:
            self._examples.write(record)
        for writer, records in (
            (self._candidates, block.beside.candidates),
            (self._small_model_calls, block.beside.small_model_calls),
            (self._reference_blocks, block.beside.reference_blocks),
        ):
            if writer is not None:
                for record in records:
                    writer.write(record)
        if self._blocks is not None:
            self._blocks.append(len(block.examples))

    def complete(self) -> None:
        """Have all of it on disk, under temporary names."""
        writers = self._examples, self._candidates, self._small_model_calls, self._reference_blocks
        for writer in writers:
            if writer is not None:
                writer.complete()

    def _info(self) -> ExampleInfo:
        spec = self._settings.pileup
        return ExampleInfo(
            shape=spec.shape if self._examples.count else None,
            channels=tuple(map(int, spec.layers)),
            blocks=None if self._blocks is None else tuple(self._blocks),
            settings=settings_to_json(self._settings),
            has_small_model_calls=self._small_model_calls is not None
            and self._small_model_calls.count > 0,
        )
