"""A gVCF: variant records and, between them, reference-confidence blocks.

As in DeepVariant 1.9 (its ``merge_variants``) a block gives way to the REF of
every record. So a base A, C, G or T of the called regions is under exactly one
line: under a record's REF, or else in one block. Two exceptions: bases under
several records that overlap each other are under each of these, and the REF
of a deletion may reach beyond the called regions. Other reference bases (N and
IUPAC codes), of which there is no call, are under no line.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np

from pileupcnn.confidence import ANY_ALLELE, ReferenceBlocks
from pileupcnn.vcf import Record, VcfWriter

UNNAMED_LOG10_LIKELIHOOD = -99.0
"""Of every genotype with `ANY_ALLELE`, in the record of a variant."""

Item = Record | ReferenceBlocks


def interleave(
    records: Iterable[Record], blocks: Iterable[ReferenceBlocks], rank: Mapping[str, int]
) -> Iterator[Item]:
    """One stream of two, by contig and start; a block that begins with a record comes after it.

    Parameters
    ----------
    records : iterable of Record
        In order.
    blocks : iterable of ReferenceBlocks
        In order.
    rank : mapping of str to int
        Place of each contig in the order.
    """
    waiting = iter(blocks)
    current = next(waiting, None)
    for record in records:
        while current is not None:
            earlier = _begin_before(current, record, rank)
            if earlier:
                yield current.part(0, earlier)
            if earlier < len(current):
                current = current.part(earlier, len(current))
                break
            current = next(waiting, None)
        yield record
    while current is not None:
        if len(current):
            yield current
        current = next(waiting, None)


def _begin_before(blocks: ReferenceBlocks, record: Record, rank: Mapping[str, int]) -> int:
    """How many of the blocks begin before a record does."""
    if blocks.contig == record.contig:
        return int(np.searchsorted(blocks.start, record.start))
    return len(blocks) if rank[blocks.contig] < rank[record.contig] else 0


def make_way(items: Iterable[Item], base_at: Callable[[str, int], int]) -> Iterator[Item]:
    """Cut the blocks of an interleaved stream where records lie.

    What is left of a block keeps its GQ, depth and likelihoods.

    Parameters
    ----------
    items : iterable of Record or ReferenceBlocks
        From `interleave`.
    base_at : callable
        The reference's base (ASCII) at a position of a contig.
    """
    contig, covered = "", 0
    pending: ReferenceBlocks | None = None
    for item in items:
        if item.contig != contig:
            if pending is not None:
                yield pending
            contig, covered, pending = item.contig, 0, None
        if isinstance(item, ReferenceBlocks):
            # no later item begins before this one does, and it begins where pending ends at least
            if pending is not None:
                yield pending
            pending = _from(item, covered, base_at)
            continue
        covered = max(covered, item.end)
        if pending is not None:
            before = _until(pending, item.start)
            if before is not None:
                yield before
            pending = _from(pending, covered, base_at)
        yield item
    if pending is not None:
        yield pending


def _until(blocks: ReferenceBlocks, position: int) -> ReferenceBlocks | None:
    """What of the blocks lies before a position."""
    count = int(np.searchsorted(blocks.start, position))
    if not count:
        return None
    before = blocks.part(0, count)
    if before.end[-1] > position:
        before.end = before.end.copy()
        before.end[-1] = position
    return before


def _from(
    blocks: ReferenceBlocks, position: int, base_at: Callable[[str, int], int]
) -> ReferenceBlocks | None:
    """What of the blocks lies at a position or after it."""
    gone = int(np.searchsorted(blocks.end, position, side="right"))
    if gone == len(blocks):
        return None
    after = blocks.part(gone, len(blocks))
    if after.start[0] < position:
        after.start, after.base = after.start.copy(), after.base.copy()
        after.start[0] = position
        after.base[0] = base_at(blocks.contig, position)
    return after


def with_any_allele(record: Record) -> Record:
    """A variant's record as a gVCF has it: with an allele for all those that are not named."""
    best = max(record.log10_likelihoods)
    unnamed = (UNNAMED_LOG10_LIKELIHOOD,) * (len(record.alleles) + 1)
    return replace(
        record,
        alleles=(*record.alleles, ANY_ALLELE),
        allele_depths=(*record.allele_depths, 0),
        allele_fractions=(*record.allele_fractions, 0.0),
        log10_likelihoods=(*(value - best for value in record.log10_likelihoods), *unnamed),
    )


class VariantFiles:
    """A VCF and, if it is wanted, the gVCF of the same calls: they appear together, complete.

    A context manager.

    Parameters
    ----------
    output : path
        As for `VcfWriter`.
    gvcf : path, optional
        Another such path.
    sample, contigs, source, with_model_ids
        As for `VcfWriter`.

    Raises
    ------
    PileupCNNError
        As from `VcfWriter`.
    """

    def __init__(
        self,
        output: str | Path,
        gvcf: str | Path | None,
        sample: str,
        contigs: Mapping[str, int],
        source: str,
        *,
        with_model_ids: bool = False,
    ) -> None:
        self._gvcf: VcfWriter | None = None
        writer = partial(
            VcfWriter,
            sample=sample,
            contigs=contigs,
            source=source,
            with_model_ids=with_model_ids,
        )
        with ExitStack() as stack:
            self._vcf = stack.enter_context(writer(output))
            if gvcf is not None:
                self._gvcf = stack.enter_context(writer(gvcf, gvcf=True, option="--gvcf"))
            self._stack = stack.pop_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is None:
            try:
                self._vcf.complete()
                if self._gvcf is not None:
                    self._gvcf.complete()
            except BaseException as error:
                self._stack.__exit__(type(error), error, error.__traceback__)
                raise
        self._stack.__exit__(kind, value, trace)

    def write(self, item: Item) -> None:
        """Append an item of the stream that `make_way` gives, or of records alone."""
        if isinstance(item, Record):
            self._vcf.write(item)
            if self._gvcf is not None:
                self._gvcf.write(with_any_allele(item))
        elif self._gvcf is not None:
            self._gvcf.write_reference(item)
