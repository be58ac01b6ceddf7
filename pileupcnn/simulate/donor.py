"""A donor: what its two haplotypes read, region by region."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pileupcnn.errors import OptionError
from pileupcnn.reference import Reference
from pileupcnn.regions import Region
from pileupcnn.simulate.population import PopulationSettings, invent
from pileupcnn.simulate.variants import DonorVariant, phased, settle
from pileupcnn.vcf import TruthReader

HELD_OUT = (
    Region("chr20", 4_990_000, 6_010_000),
    Region("chr20", 6_990_000, 8_010_000),
    Region("chr20", 10_000_000, 10_100_000),
    Region("chr21", 16_700_000, 16_800_000),
    Region("20", 20_525_000, 20_605_000),
)
"""Regions that models are judged on: no training donor covers them.

Of GRCh38, but for the real reads of chr20:10.0-10.1 Mb (hg19) and 20:20.5 Mb (b37).
"""

EDGE = 1_000
"""bp at both ends of a region that are not confident: reads are missing there."""

FLANK = 1_000
"""bp of foreign sequence on either side of a duplicated segment's second copy."""

_N = ord("N")
_IUPAC = {
    "R": "AG", "Y": "CT", "S": "CG", "W": "AT", "K": "GT",
    "M": "AC", "B": "CGT", "D": "AGT", "H": "ACT", "V": "ACG",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class DonorSettings:
    """Where a donor's variants come from.

    Attributes
    ----------
    truth : Path or None
        VCF whose variants the donor has.
    population : PopulationSettings or None
        How variants are invented, between those of the truth.
    duplications : int
        Segments of which the donor has a diverged second copy that the
        reference lacks.
    contamination : float
        Share of the reads that are another, invented person's.
    """

    truth: Path | None = None
    population: PopulationSettings | None = field(default_factory=PopulationSettings)
    duplications: int = 0
    contamination: float = 0.0


@dataclass(frozen=True, slots=True)
class Segment:
    """One region of the donor.

    Attributes
    ----------
    region : Region
    bases : bytes
        The reference of the region.
    variants : list of DonorVariant
        By position, not overlapping.
    haplotypes : two uint8 arrays
        ASCII sequences with the variants applied.
    contaminants : two uint8 arrays, or none
        Those of the person whose reads contaminate the donor's.
    """

    region: Region
    bases: bytes
    variants: list[DonorVariant]
    haplotypes: tuple[NDArray[np.uint8], NDArray[np.uint8]]
    contaminants: tuple[NDArray[np.uint8], ...] = ()

    def confident(self) -> list[Region]:
        """The region less `EDGE` bp at both ends and less runs of N."""
        known = np.frombuffer(self.bases, np.uint8) != _N
        known[:EDGE] = False
        known[-EDGE:] = False
        edges = np.flatnonzero(np.diff(np.concatenate(([False], known, [False])).astype(np.int8)))
        offset = self.region.start
        return [
            Region(self.region.contig, offset + start, offset + end)
            for start, end in zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True)
        ]


@dataclass(frozen=True, slots=True)
class Donor:
    """All segments, the second copies of duplicated ones (uint8 arrays), foreign reads' share."""

    segments: list[Segment]
    copies: list[NDArray[np.uint8]]
    contamination: float = 0.0


def subtract(regions: Iterable[Region], holes: Sequence[Region]) -> list[Region]:
    """What of `regions` no hole covers."""
    left = list(regions)
    for hole in holes:
        remaining = []
        for region in left:
            if region.contig != hole.contig or not (
                region.start < hole.end and hole.start < region.end
            ):
                remaining.append(region)
                continue
            if region.start < hole.start:
                remaining.append(Region(region.contig, region.start, hole.start))
            if hole.end < region.end:
                remaining.append(Region(region.contig, hole.end, region.end))
        left = remaining
    return left


def make_donor(
    reference: Reference,
    regions: Sequence[Region],
    settings: DonorSettings,
    rng: np.random.Generator,
) -> Donor:
    """Draw a donor's variants and build its haplotypes.

    Parameters
    ----------
    reference : Reference
    regions : sequence of Region
        Not overlapping; held-out regions already taken out.
    settings : DonorSettings
    rng : numpy.random.Generator

    Raises
    ------
    OptionError
        If no region is long enough to sequence.
    """
    segments = []
    for region in regions:
        bases = reference.fetch(region.contig, region.start, region.end)
        if len(bases) - bases.count(b"N") < 2 * EDGE:
            continue
        variants = _draw_variants(region, bases, settings, rng)
        sequence = _resolve_iupac(bases, rng)
        haplotypes = (apply(sequence, variants, region, 0), apply(sequence, variants, region, 1))
        contaminants: tuple[NDArray[np.uint8], ...] = ()
        if settings.contamination > 0:
            other = _other_person(region, bases, settings, rng)
            contaminants = (apply(sequence, other, region, 0), apply(sequence, other, region, 1))
        segments.append(Segment(region, bases, variants, haplotypes, contaminants))
    if not segments:
        raise OptionError(
            f"no region holds {2 * EDGE:,} known bases outside the held-out regions; give "
            "longer --regions, or --no-mask if the reference is not GRCh38"
        )
    copies = [_copy(segments, rng) for _ in range(settings.duplications)]
    return Donor(segments, copies, settings.contamination)


def _other_person(
    region: Region, bases: bytes, settings: DonorSettings, rng: np.random.Generator
) -> list[DonorVariant]:
    """Variants of somebody unrelated."""
    population = settings.population or PopulationSettings()
    invented = invent(region, bases, population, np.zeros(len(bases), bool), rng)
    return settle(invented, bases, region)


def _draw_variants(
    region: Region, bases: bytes, settings: DonorSettings, rng: np.random.Generator
) -> list[DonorVariant]:
    variants: list[DonorVariant] = []
    if settings.truth is not None:
        with TruthReader(settings.truth) as truth:
            variants = settle(phased(truth.fetch(region), rng), bases, region)
    if settings.population is not None:
        taken = np.zeros(len(bases), bool)
        for variant in variants:
            # also the base before, lest an insertion touch it
            first = max(0, variant.start - region.start - 1)
            taken[first : variant.end - region.start + 1] = True
        invented = invent(region, bases, settings.population, taken, rng)
        variants = settle([*variants, *invented], bases, region)
    return variants


def apply(
    sequence: bytes, variants: Sequence[DonorVariant], region: Region, haplotype: int
) -> NDArray[np.uint8]:
    """One haplotype of a region.

    Parameters
    ----------
    sequence : bytes
        The region's reference.
    variants : sequence of DonorVariant
        By position, not overlapping.
    region : Region
    haplotype : int
        0 or 1.

    Returns
    -------
    uint8 array
        ASCII.
    """
    pieces, at = [], 0
    for variant in variants:
        allele = variant.genotype[haplotype]
        if allele:
            pieces += [
                sequence[at : variant.start - region.start],
                variant.alleles[allele].encode(),
            ]
            at = variant.end - region.start
    pieces.append(sequence[at:])
    return np.frombuffer(b"".join(pieces), np.uint8)


def _resolve_iupac(bases: bytes, rng: np.random.Generator) -> bytes:
    """A donor has one base where the reference leaves several open; N stays."""
    for code, choices in _IUPAC.items():
        while (at := bases.find(code.encode())) >= 0:
            bases = bases[:at] + choices[int(rng.integers(len(choices)))].encode() + bases[at + 1 :]
    return bases


def _copy(segments: Sequence[Segment], rng: np.random.Generator) -> NDArray[np.uint8]:
    """A diverged copy of a stretch of 1 to 5 kb, between foreign sequence."""
    weights = np.array([len(segment.region) for segment in segments], float)
    for _ in range(100):
        segment = segments[int(rng.choice(len(segments), p=weights / weights.sum()))]
        source = segment.haplotypes[int(rng.integers(2))]
        size = min(int(rng.integers(1_000, 5_001)), len(source) - 1)
        start = int(rng.integers(0, len(source) - size))
        stretch = source[start : start + size]
        if not (stretch == _N).any():
            break
    else:
        raise OptionError("--duplications: the regions are almost all N; give others")
    acgt = np.frombuffer(b"ACGT", np.uint8)
    foreign = acgt[rng.integers(0, 4, 2 * FLANK)]
    return np.concatenate((foreign[:FLANK], _diverge(stretch, rng), foreign[FLANK:]))


def _diverge(stretch: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    """Substitute 1 to 3 % of the bases and add an indel about every 500 bp."""
    acgt = np.frombuffer(b"ACGT", np.uint8)
    changed = np.flatnonzero(rng.random(len(stretch)) < rng.uniform(0.01, 0.03))
    diverged = stretch.copy()
    rank = np.searchsorted(acgt, stretch[changed])
    diverged[changed] = acgt[(rank + rng.integers(1, 4, len(changed))) % 4]
    for at in np.sort(rng.integers(1, len(stretch) - 20, rng.poisson(len(stretch) / 500)))[::-1]:
        size = min(int(rng.geometric(0.4)), 10)
        if rng.random() < 0.5:
            diverged = np.delete(diverged, slice(at, at + size))
        else:
            diverged = np.insert(diverged, at, acgt[rng.integers(0, 4, size)])
    return diverged
