"""How frequent candidates' alleles are in a population."""

from __future__ import annotations

import itertools
from bisect import bisect_left
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pysam
from numpy.typing import NDArray

from pileupcnn.candidates import CandidateBatch
from pileupcnn.errors import InputError
from pileupcnn.reference import Reference
from pileupcnn.resources import Closing


@dataclass(frozen=True, slots=True)
class _Site:
    """One record: 0-based half-open span, alleles, and the frequency of each ALT."""

    start: int
    end: int
    ref: str
    alts: tuple[str, ...]
    frequencies: tuple[float | None, ...]


class PopulationFrequencies(Closing):
    """Frequencies of alleles (INFO/AF) from one or several VCF or BCF files.

    An allele has the frequency of one in a record that overlaps the candidate
    and would make the same of the contig, whatever its spelling; as DeepVariant
    has it, that of the last such record.

    Parameters
    ----------
    paths : sequence of path
        Indexed ``.vcf.gz`` or ``.bcf``: one for all contigs, or one a contig.
    contigs : collection of str
        Names of the contigs that will be asked for: at least one must be known.

    Raises
    ------
    InputError
        If a file cannot be read or has no index, no AF or no contig in common;
        if two hold the same contig.
    """

    def __init__(self, paths: Sequence[str | Path], contigs: Collection[str]) -> None:
        self._files: list[pysam.VariantFile] = []
        self._by_contig: dict[str, pysam.VariantFile] = {}
        try:
            for path in paths:
                file = _open(path)
                self._files.append(file)
                for contig in _contigs_of(file, alone=len(paths) == 1):
                    if contig in self._by_contig:
                        raise InputError(
                            f"{path}: contig {contig} is in another --population-vcf, too; give "
                            "one file for all contigs, or one for each"
                        )
                    self._by_contig[contig] = file
            if self._by_contig.keys().isdisjoint(contigs):
                theirs, ours = (
                    ", ".join(itertools.islice(names, 3)) or "none"
                    for names in (self._by_contig, contigs)
                )
                raise InputError(
                    f"{paths[0]}: no contig in common, the population's files name {theirs} and "
                    f"the reads {ours}; give files for the same reference"
                )
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Close the files."""
        for file in self._files:
            file.close()

    def lookup(self, candidates: CandidateBatch, reference: Reference) -> NDArray[np.float32]:
        """The frequency of each allele of a batch; 0 for REF and for alleles not found.

        Raises
        ------
        InputError
            If a file is damaged, or a record of such an allele has no AF.
        """
        found = np.zeros(int(candidates.allele_offset[-1]), np.float32)
        file = self._by_contig.get(candidates.contig)
        if file is None or not len(candidates):
            return found
        sites = _fetch(file, candidates.contig, int(candidates.start[0]), int(candidates.end.max()))
        starts = [site.start for site in sites]
        longest = max((site.end - site.start for site in sites), default=0)
        spans = zip(candidates.start.tolist(), candidates.end.tolist(), strict=True)
        for i, (start, end) in enumerate(spans):
            near = sites[bisect_left(starts, start - longest) : bisect_left(starts, end)]
            near = [site for site in near if site.end > start]
            if near:
                ref, *alts = candidates.alleles(i)
                first = int(candidates.allele_offset[i]) + 1
                for j, alt in enumerate(alts, first):
                    own = _Site(start, end, ref, (alt,), ())
                    found[j] = _frequency(own, near, candidates.contig, reference, file)
        return found


def _frequency(
    own: _Site, sites: list[_Site], contig: str, reference: Reference, file: pysam.VariantFile
) -> float:
    """The frequency of one allele."""
    found: float | None = 0.0
    change = len(own.alts[0]) - len(own.ref)
    for site in sites:
        for alt, frequency in zip(site.alts, site.frequencies, strict=True):
            if len(alt) - len(site.ref) != change:
                continue
            start, end = min(own.start, site.start), max(own.end, site.end)
            bases = reference.fetch(contig, start, end).decode("ascii")
            if _with(own, own.alts[0], start, bases) == _with(site, alt, start, bases):
                found = frequency
                if frequency is None:
                    raise InputError(
                        f"{file.filename.decode()}: the record at {contig}:{site.start + 1:,} has "
                        "no frequency (AF) for each ALT; add it with 'bcftools +fill-tags'"
                    )
    return found or 0.0


def _with(site: _Site, alt: str, start: int, bases: str) -> str:
    """Bases from `start` on with an ALT in place."""
    at = site.start - start
    return bases[:at] + alt + bases[at + len(site.ref) :]


def _fetch(file: pysam.VariantFile, contig: str, start: int, end: int) -> list[_Site]:
    """The records that overlap a stretch, in order."""
    sites = []
    try:
        for record in file.fetch(contig, start, end):
            ref, *alts = (allele.upper() for allele in (record.ref, *(record.alts or ())))
            values = record.info.get("AF", ())
            values = values if isinstance(values, tuple) else (values,)
            frequencies = (*values, *(None for _ in alts))[: len(alts)]
            sites.append(_Site(record.start, record.stop, ref, tuple(alts), frequencies))
    except (OSError, ValueError) as error:
        raise InputError(
            f"{file.filename.decode()}: cannot be read at {contig}:{start + 1:,}-{end:,} "
            f"({error}); check the file with 'bcftools view', then index it again"
        ) from error
    return sites


def _open(path: str | Path) -> pysam.VariantFile:
    pysam.set_verbosity(0)
    try:
        file = pysam.VariantFile(str(path))
    except (OSError, ValueError) as error:
        raise InputError(
            f"{path}: cannot be opened as a VCF or BCF ({error}); check --population-vcf"
        ) from error
    problem = None
    if file.index is None:
        problem = "no index; compress it with bgzip if it is plain text, then run 'bcftools index'"
    elif "AF" not in file.header.info:
        problem = (
            "no allele frequencies (INFO/AF) in the header; add them with 'bcftools +fill-tags'"
        )
    if problem:
        file.close()
        raise InputError(f"{path}: {problem}")
    return file


def _contigs_of(file: pysam.VariantFile, *, alone: bool) -> list[str]:
    """The contigs a file is there for: all, or where there are others that of its first record."""
    names = [name for name in file.index if name in file.header.contigs]
    if alone:
        return names
    return [record.contig for record in itertools.islice(file.fetch(), 1)]
