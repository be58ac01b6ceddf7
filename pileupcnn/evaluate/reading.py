"""Variant files as streams of allelic primitives, contig by contig."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import pysam

from pileupcnn.errors import InputError
from pileupcnn.evaluate.primitives import Primitive, slices
from pileupcnn.genotypes import Genotype
from pileupcnn.labels import ConfidentRegions
from pileupcnn.reference import Reference
from pileupcnn.regions import Region, merge
from pileupcnn.resources import Closing

MAX_ALLELE = 1000
"""Longest allele in bp; records with longer ones are left out, as `rtg vcfeval` does."""


MARGIN = 10_000
"""bp around the confident regions in which truth is read: more than variants reach."""


class VariantStream(Closing):
    """The variants of a file's first sample, as allelic primitives in order.

    Taken are records with FILTER ``PASS`` or ``.`` whose genotype has an ALT.
    An allele that is missing, symbolic or ``*`` counts as the reference, a
    haploid genotype as homozygous. A genotype's phase is ignored.

    Parameters
    ----------
    path : path
        VCF or BCF; need not be indexed if its contigs come in the reference's
        order.
    reference : Reference
    what : str
        Name of the option that gave it, for messages.
    near : ConfidentRegions, optional
        If the file has an index, only what lies within `MARGIN` of these is
        read.

    Attributes
    ----------
    records : int
        Read so far.
    too_long, outside : int
        Left out so far: alleles longer than `MAX_ALLELE`, and records that end
        after the reference's contig does.

    Raises
    ------
    InputError
        If the file cannot be read, has no sample, or no contig of the
        reference.
    """

    def __init__(
        self,
        path: str | Path,
        reference: Reference,
        what: str,
        near: ConfidentRegions | None = None,
    ) -> None:
        self.path, self.records = Path(path), 0
        self.too_long = self.outside = 0
        self._reference, self._what = reference, what
        self._near = near
        self._next: pysam.VariantRecord | None = None
        self._foreign = ""
        pysam.set_verbosity(0)  # htslib's own lines on stderr say the same as ours
        try:
            self._file = pysam.VariantFile(str(path))
        except (OSError, ValueError) as error:
            raise InputError(
                f"{path}: cannot be opened as a VCF or BCF ({error}); check {what}"
            ) from error
        try:
            self._check()
        except BaseException:
            self.close()
            raise

    def _check(self) -> None:
        header = self._file.header
        if not len(header.samples):
            raise InputError(f"{self.path}: no sample column; {self._what} needs genotypes (GT)")
        self._indexed = self._file.index is not None
        # names in the header without a record are not in a .tbi, and the other way round
        known = {*header.contigs, *(self._file.index or ())}
        if known and known.isdisjoint(self._reference.lengths):
            raise self._stranger(header.contigs)
        # without names in the header only the records tell
        self._known = known or set(self._reference.lengths)
        self._rows: Iterator[pysam.VariantRecord] = iter(())
        if not self._indexed:
            self._rows = iter(self._file)
            self._advance()

    def _stranger(self, names: Iterable[str]) -> InputError:
        ours = ", ".join(itertools.islice(self._reference.lengths, 3))
        theirs = ", ".join(itertools.islice(names, 3))
        return InputError(
            f"{self.path}: no contig in common, it names {theirs} and the reference {ours}; "
            "give files of one assembly (20 and chr20 are different names)"
        )

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def of(self, contig: str) -> Iterator[Primitive]:
        """Primitives of a contig by start, then end.

        Contigs are to be asked for in the reference's order.

        Raises
        ------
        InputError
            If a record is damaged or out of order.
        """
        waiting: list[tuple[int, int, int, Primitive]] = []
        serial = itertools.count()
        last = 0
        for record in self._of(contig):
            if record.start < last:
                raise InputError(
                    f"{self.path}: {contig}:{record.start + 1:,} comes after {last + 1:,}; sort it "
                    "with 'bcftools sort'"
                )
            last = record.start
            # parts of a record never start before it
            while waiting and waiting[0][0] < last:
                yield heapq.heappop(waiting)[-1]
            for primitive in self._primitives(record):
                entry = (primitive.start, primitive.end, next(serial), primitive)
                heapq.heappush(waiting, entry)
        while waiting:
            yield heapq.heappop(waiting)[-1]

    def _of(self, contig: str) -> Iterator[pysam.VariantRecord]:
        """Records of a contig."""
        if contig not in self._known:
            return
        if not self._indexed:
            while self._next is not None and self._next.contig == contig:
                self.records += 1
                yield self._next
                self._advance()
            return
        last = 0
        try:
            for start, end in self._spans(contig):
                for record in self._file.fetch(contig, start, end):
                    if record.start >= last:  # a long one is found again
                        self.records += 1
                        yield record
                last = end or 0
        except (OSError, ValueError) as error:
            raise self._damaged(contig, error) from error

    def _spans(self, contig: str) -> list[tuple[int, int | None]]:
        """Start and end of what is read of a contig of an indexed file."""
        if self._near is None:
            return [(0, None)]
        own = [region for region in self._near.regions if region.contig == contig]
        wide = [Region(contig, max(r.start - MARGIN, 0), r.end + MARGIN) for r in own]
        return [(region.start, region.end) for region in merge(wide, [contig])]

    def _advance(self) -> None:
        """Read the next record of a file without index that is on a contig of the reference."""
        try:
            self._next = next(self._rows, None)
            while self._next is not None and self._next.contig not in self._reference.lengths:
                self._foreign = self._next.contig
                self._next = next(self._rows, None)
        except (OSError, ValueError) as error:
            raise self._damaged(self._next.contig if self._next else "start", error) from error

    def _damaged(self, where: str, error: Exception) -> InputError:
        return InputError(
            f"{self.path}: cannot be read at {where} ({error}); the file or its index is damaged, "
            "check it with 'bcftools view'"
        )

    def finish(self) -> None:
        """Make sure that all was read.

        Raises
        ------
        InputError
            If a file without index has contigs in another order, or none of
            the reference.
        """
        if self._foreign and not self.records:
            raise self._stranger([self._foreign])
        if self._next is not None:
            raise InputError(
                f"{self.path}: {self._next.contig} comes later than in the reference; compress "
                "it with 'bgzip' and index it with 'tabix -p vcf'"
            )

    def _primitives(self, record: pysam.VariantRecord) -> Iterable[Primitive]:
        alts = record.alts
        if alts is None or any(name != "PASS" for name in record.filter):
            return ()
        sample = record.samples[0]
        if "GT" not in record.format:
            return ()
        indices = [index or 0 for index in sample.get("GT", ())]
        if not 0 < len(indices) < 3 or not any(indices):
            return ()
        ref, alts = record.ref.upper(), tuple(alt.upper() for alt in alts)
        called = [_or_reference(index, alts) for index in (indices[0], indices[-1])]
        if not any(called):
            return ()
        if max(len(ref), *map(len, alts)) > MAX_ALLELE:
            self.too_long += 1
            return ()
        if record.start + len(ref) > self._reference.lengths[record.contig]:
            self.outside += 1
            return ()
        quality = sample.get("GQ")
        genotype_quality = None if quality is None else float(quality)
        if len(alts) == 1 and len(ref) == len(alts[0]) == 1:
            return (self._snp(record, ref, alts, sum(called), genotype_quality),)
        parts = slices(ref, alts)
        made = (self._primitive(record, ref, part, called, genotype_quality) for part in parts)
        return [primitive for primitive in made if primitive is not None]

    def _snp(
        self,
        record: pysam.VariantRecord,
        ref: str,
        alts: tuple[str, ...],
        copies: int,
        genotype_quality: float | None,
    ) -> Primitive:
        """What most records are, without further ado."""
        start = record.start
        genotype = (1, 1) if copies == 2 else (0, 1)
        return Primitive(
            start=start,
            end=start + 1,
            alleles=(ref, alts[0]),
            genotype=genotype,
            position=start,
            ref=ref,
            alts=alts,
            shown=f"{genotype[0]}/{genotype[1]}",
            record=self.records,
            quality=record.qual,
            genotype_quality=genotype_quality,
        )

    def _primitive(
        self,
        record: pysam.VariantRecord,
        ref: str,
        part: tuple[int, tuple[str, ...]],
        called: Sequence[int],
        genotype_quality: float | None,
    ) -> Primitive | None:
        """One part of a record, or None if none of its ALTs is called there."""
        offset, texts = part
        distinct = list(dict.fromkeys(texts))
        first, second = sorted(distinct.index(texts[index]) for index in called)
        if not second:
            return None
        anchor = ""
        if not all(texts):
            before = record.start - 1
            anchor = (
                ref[offset - 1]
                if offset
                else self._reference.fetch(record.contig, before, before + 1).decode()
            )
        place = record.start + offset
        own, alleles = _trim(place, texts[0], [distinct[i] for i in (first, second) if i])
        return Primitive(
            start=own,
            end=own + len(alleles[0]),
            alleles=alleles,
            genotype=_genotype(first, second),
            position=place - len(anchor),
            ref=anchor + texts[0],
            alts=tuple(anchor + text for text in distinct[1:]),
            shown=f"{first}/{second}",
            record=self.records,
            quality=record.qual,
            genotype_quality=genotype_quality,
        )


def _genotype(first: int, second: int) -> Genotype:
    """The genotype in terms of the called alleles alone."""
    if first == second:
        return 1, 1
    return (1, 2) if first else (0, 1)


def _or_reference(index: int, alts: Sequence[str]) -> int:
    """0 for an allele without bases of its own."""
    if index and (alts[index - 1] == "*" or not alts[index - 1].isalpha()):
        return 0
    return index


def _trim(start: int, ref: str, alts: Sequence[str]) -> tuple[int, tuple[str, ...]]:
    """Take bases off that all alleles share: start, and the alleles left."""
    alleles = [ref, *dict.fromkeys(alts)]
    most = min(map(len, alleles))
    end = 0
    while end < most and len({allele[len(allele) - 1 - end] for allele in alleles}) == 1:
        end += 1
    begin = 0
    while begin < most - end and len({allele[begin] for allele in alleles}) == 1:
        begin += 1
    return start + begin, tuple(allele[begin : len(allele) - end] for allele in alleles)
