"""A donor's variants: phasing, normalising, choosing, writing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pysam

from pileupcnn.regions import Region
from pileupcnn.vcf import TruthVariant

_ACGT = frozenset("ACGT")
_MAX_SLIDE = 1_000


@dataclass(frozen=True, slots=True)
class DonorVariant:
    """One site at which the donor differs from the reference.

    Attributes
    ----------
    contig : str
    start : int
        0-based position of the first reference base.
    alleles : tuple of str
        REF, then the ALTs.
    genotype : tuple of int
        Allele of the first and of the second haplotype.
    """

    contig: str
    start: int
    alleles: tuple[str, ...]
    genotype: tuple[int, int]

    @property
    def end(self) -> int:
        """End of the reference allele, 0-based, exclusive."""
        return self.start + len(self.alleles[0])


def normalise(
    bases: bytes, start: int, alleles: Sequence[str]
) -> tuple[int, tuple[str, ...]] | None:
    """Left-align and trim the alleles of a site together.

    The procedure of Tan, Abecasis and Kang (Bioinformatics 2015): drop a
    shared last base, extend to the left where an allele is empty, until
    neither applies; then drop shared first bases.

    Parameters
    ----------
    bases : bytes
        Reference of a window, upper case.
    start : int
        Position of the site in the window.
    alleles : sequence of str
        REF, then the ALTs.

    Returns
    -------
    tuple or None
        Start and alleles; None if the indel shifts out of the window.
    """
    texts = list(alleles)
    while len({text[-1] for text in texts}) == 1:
        texts = [text[:-1] for text in texts]
        if not all(texts):
            if start == 0:
                return None
            start -= 1
            texts = [chr(bases[start]) + text for text in texts]
    while min(map(len, texts)) > 1 and len({text[0] for text in texts}) == 1:
        texts = [text[1:] for text in texts]
        start += 1
    return start, tuple(texts)


def shift_end(bases: bytes, start: int, alleles: Sequence[str]) -> int:
    """End of the stretch in which a left-aligned indel could equally be placed.

    For anything but a plain insertion or deletion, the end of the REF allele.
    """
    ref = alleles[0]
    end = start + len(ref)
    for alt in alleles[1:]:
        if len(alt) == len(ref) or min(len(alt), len(ref)) != 1:
            continue
        longer = max(ref, alt, key=len)[1:].encode()
        # it may slide while the base after it repeats its first base
        first, slid = start + 1, 0
        tail = bases[start + len(ref) : start + len(ref) + _MAX_SLIDE]
        unit = len(longer)
        while slid < len(tail) and tail[slid] == (
            longer[slid] if slid < unit else tail[slid - unit]
        ):
            slid += 1
        end = max(end, first + (unit if len(ref) > len(alt) else 0) + slid)
    return end


def phased(truth: Iterable[TruthVariant], rng: np.random.Generator) -> list[DonorVariant]:
    """Give variants of a truth set a random phase; drop those that the sample lacks."""
    variants = []
    for variant in truth:
        first, second = variant.genotype
        if rng.random() < 0.5:
            first, second = second, first
        if min(first, second) >= 0 and (first or second):
            variants.append(
                DonorVariant(variant.contig, variant.start, variant.alleles, (first, second))
            )
    return variants


def settle(variants: Iterable[DonorVariant], bases: bytes, region: Region) -> list[DonorVariant]:
    """Normalise variants, drop ALTs that no haplotype has, and resolve conflicts.

    Parameters
    ----------
    variants : iterable of DonorVariant
        What reaches out of `region` is dropped; where two overlap on the
        reference, the first by position is kept.
    bases : bytes
        The reference of `region`.
    region : Region

    Returns
    -------
    list of DonorVariant
        By position, REF equal to the reference.
    """
    settled = []
    for variant in variants:
        offset = variant.start - region.start
        if offset < 0 or variant.end > region.end:
            continue
        if bases[offset : variant.end - region.start] != variant.alleles[0].encode():
            continue
        used = sorted(set(variant.genotype) - {0})
        rank = {allele: number for number, allele in enumerate([0, *used])}
        found = normalise(bases, offset, [variant.alleles[i] for i in (0, *used)])
        if found is None or not set("".join(found[1])) <= _ACGT:
            continue
        first, second = variant.genotype
        settled.append(
            DonorVariant(
                variant.contig, region.start + found[0], found[1], (rank[first], rank[second])
            )
        )
    kept: list[DonorVariant] = []
    for variant in sorted(settled, key=lambda v: (v.start, v.end, v.alleles)):
        if not kept or variant.start >= kept[-1].end:
            kept.append(variant)
    return kept


def write_truth(
    path: Path, variants: Iterable[DonorVariant], contigs: Mapping[str, int], sample: str
) -> None:
    """Write the truth as a bgzipped VCF with its index, genotypes phased.

    Parameters
    ----------
    path : Path
        Ends in ``.vcf.gz``; ``.tbi`` is added for the index.
    variants : iterable of DonorVariant
        Sorted as `contigs`.
    contigs : mapping of str to int
        Contigs of the reference and their lengths in bp.
    sample : str
    """
    lines = ["##fileformat=VCFv4.2"]
    lines += [f"##contig=<ID={name},length={length}>" for name, length in contigs.items()]
    lines.append('##FORMAT=<ID=GT,Number=1,Type=String,Description="Genotype">')
    lines.append(f"#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\tFORMAT\t{sample}")
    for variant in variants:
        ref, *alts = variant.alleles
        first, second = variant.genotype
        lines.append(
            f"{variant.contig}\t{variant.start + 1}\t.\t{ref}\t{','.join(alts)}\t.\tPASS\t.\tGT"
            f"\t{first}|{second}"
        )
    with pysam.BGZFile(str(path), "wb") as out:
        out.write("\n".join(lines).encode() + b"\n")
    pysam.tabix_index(str(path), preset="vcf", force=True)
