"""Second stage: files of examples to a file of the network's answers."""

from __future__ import annotations

import functools
import itertools
import logging
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pileupcnn import runners
from pileupcnn.classifiers import Classifier
from pileupcnn.errors import InputError
from pileupcnn.example_info import ExampleInfo, info_path, read_info
from pileupcnn.messages.convert import MessageError, decode_variant, encode_call, read_examples
from pileupcnn.messages.variants_pb2 import Variant
from pileupcnn.pileup import Channel, PileupSpec
from pileupcnn.tfrecords import RecordWriter, Shards

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Row:
    """One example: its image and what the answer repeats of it."""

    image: NDArray[np.uint8]
    variant: Variant
    alts: tuple[int, ...]
    has_small_model_calls: bool


class _ExampleFile:
    """One file of examples, read block by block.

    Parameters
    ----------
    path : Path
    spec : PileupSpec
        What the images must be like.

    Raises
    ------
    InputError
        If it cannot be opened, or its description says other images.
    """

    def __init__(self, path: Path, spec: PileupSpec) -> None:
        self.path = path
        self._spec = spec
        self._rows = self._read()
        self._left: list[int] | None = None
        self._has_small_model_calls = False
        info = read_info(path)
        if info is None:
            logger.warning(
                f"{path}: no {info_path(path).name} beside it, so channels are not checked, and "
                "qualities may differ by 1 from those of 'pileupcnn call'"
            )
        else:
            self._check(info)
            self._left = None if info.blocks is None else list(reversed(info.blocks))
            self._has_small_model_calls = info.has_small_model_calls

    def _check(self, info: ExampleInfo) -> None:
        """Are the images that are described those of the model?"""
        wanted = tuple(map(int, self._spec.layers))
        if info.channels != wanted:
            raise InputError(
                f"{self.path}: its images have the channels {_names(info.channels)}, the model's "
                f"{_names(wanted)}; take the model that they were made for, or make them again "
                "with --model"
            )
        if info.shape is not None:
            self._check_shape(info.shape, str(self.path))

    def _check_shape(self, shape: tuple[int, ...], where: str) -> None:
        if shape != self._spec.shape:
            raise InputError(
                f"{where}: images of {_size(shape)}, the model's are {_size(self._spec.shape)}; "
                "take the model that they were made for, or make them again with --model"
            )

    def _read(self) -> Iterator[_Row]:
        for number, example in enumerate(read_examples(self.path), 1):
            where = f"{self.path}: record {number}"
            self._check_shape(example.image.shape, where)
            try:
                variant = decode_variant(example.variant)
            except MessageError as error:
                raise InputError(f"{where} has no variant ({error}); make it again") from error
            yield _Row(example.image, variant, example.alts, self._has_small_model_calls)

    def blocks(self) -> Iterator[Iterator[_Row]]:
        """The file's records in the blocks in which it was made; each to be used up at once."""
        if self._left is None:
            yield self._rows
            return
        while self._left:
            yield self._block(self._left.pop())
        if next(self._rows, None) is not None:
            raise self._misfit("more")

    def _block(self, size: int) -> Iterator[_Row]:
        """The next records, one at a time: blocks of many shards would fill the memory."""
        for _ in range(size):
            row = next(self._rows, None)
            if row is None:
                raise self._misfit("fewer")
            yield row

    def _misfit(self, relation: str) -> InputError:
        return InputError(
            f"{self.path}: holds {relation} records than {info_path(self.path).name} says; the two "
            "are not of one run, make both again"
        )


def _names(channels: Sequence[int]) -> str:
    """Names of channels, numbers where they have none here."""
    known = {int(channel): channel.name.lower() for channel in Channel}
    return ", ".join(known.get(number, str(number)) for number in channels) or "none"


def _size(shape: Sequence[int]) -> str:
    return " x ".join(map(str, shape))


def _batches(files: Sequence[_ExampleFile], size: Callable[[], int]) -> Iterator[list[_Row]]:
    """Batches of examples, none across a block's edge.

    Shards have the blocks in turn, so taking them in turn gives the order of
    the genome. `size` is not asked before a first example was read.
    """
    streams = [file.blocks() for file in files]
    while streams:
        going = []
        for stream in streams:
            block = next(stream, None)
            if block is not None:
                for row in block:
                    yield [row, *itertools.islice(block, size() - 1)]
                going.append(stream)
        streams = going


class _Answerer:
    """Classifies batches; one thread's own, but for the classifier."""

    def __init__(self, classifier: Classifier, joint: bool) -> None:
        self._classifier, self._joint = classifier, joint

    def close(self) -> None:
        """Nothing to close."""

    def __call__(self, rows: list[_Row], /) -> list[bytes]:
        """A CallVariantsOutput for each example."""
        probabilities = self._classifier(np.stack([row.image for row in rows])).tolist()
        return [
            encode_call(row.variant, row.alts, values, self._joint, row.has_small_model_calls)
            for row, values in zip(rows, probabilities, strict=True)
        ]


def classify_files(
    examples: Sequence[Path],
    output: str | Path,
    spec: PileupSpec,
    make_classifier: Callable[[], Classifier],
    *,
    joint: bool,
    threads: int = 1,
) -> int:
    """Write what the network says of the images in files of examples.

    Parameters
    ----------
    examples : sequence of Path
        In any order.
    output : path
        TFRecord file of CallVariantsOutputs, in the order of the genome if the
        examples were made by our ``make-examples`` in blocks.
    spec : PileupSpec
        The model's images.
    make_classifier : callable
        Loads the model; called when the first image was read.
    joint : bool
        As for `postprocess.genotype`, where the answers will go.
    threads : int

    Returns
    -------
    int
        Images.

    Raises
    ------
    InputError
        If a file is damaged, or its images are not the model's; then nothing is
        written.
    """
    files = [_ExampleFile(path, spec) for path in sorted(examples, key=_shard_number)]
    classifier = functools.cache(make_classifier)
    batches = _batches(files, lambda: classifier().at_once)
    with RecordWriter(output) as writer:
        first = next(batches, None)
        if first is not None:
            everything = itertools.chain([first], batches)
            stream = _in_order(classifier(), joint, everything, threads)
            with closing(stream):
                for answers in stream:
                    for answer in answers:
                        writer.write(answer)
    return writer.count


def _in_order(
    classifier: Classifier, joint: bool, batches: Iterable[list[_Row]], threads: int
) -> Generator[list[bytes], None, None]:
    yield from runners.run(lambda: _Answerer(classifier, joint), batches, threads)


def _shard_number(path: Path) -> int:
    """Place of a file among the shards of its name."""
    found = Shards.parse_file(path)
    return found[1] if found else 0
