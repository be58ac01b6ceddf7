"""Variants as a population might have them, for references without a truth set."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pileupcnn.regions import Region
from pileupcnn.repeats import Repeats, find_repeats
from pileupcnn.simulate.variants import DonorVariant, normalise, shift_end

MAX_INDEL = 30
"""Longest invented indel in bp."""

GUARD = 3
"""Least distance in bp between an invented indel and another variant."""

_TRANSITION = {"A": "G", "G": "A", "C": "T", "T": "C"}
_TRANSVERSIONS = {"A": "CT", "G": "CT", "C": "AG", "T": "AG"}

# Relative rate of length changes by period: (units, weight), log-linear
# between. Human indel rates rise about a thousandfold from 4 to 16 bp runs.
_MUTABILITY = {
    1: ((4, 1.0), (8, 10.0), (12, 300.0), (16, 1000.0), (20, 1500.0)),
    2: ((3, 1.0), (6, 30.0), (10, 600.0), (15, 1500.0)),
    3: ((3, 3.0), (6, 100.0), (10, 500.0)),
    4: ((3, 3.0), (6, 100.0), (10, 500.0)),
}


@dataclass(frozen=True, slots=True)
class PopulationSettings:
    """How dense and of what kinds invented variants are.

    Attributes
    ----------
    snp_rate, indel_rate : float
        Sites per bp at which the donor has such a variant.
    transition_ratio : float
        Transitions per transversion (Ti/Tv).
    repeat_share : float
        Share of the indels that change the number of units of a repeat.
    het_ratio : float
        Heterozygous per homozygous variants.
    cluster_share : float
        Chance of a SNP to bring a second one within a few dozen bp.
    mnp_share : float
        Chance of a SNP to be the first of two or three neighbours that changed
        together: each is a variant of its own, on the same haplotype.
    two_alt_indels, two_alt_snps : float
        Share of repeat indels, and of SNPs, with a different ALT on each
        haplotype. Of repeats of 8 units; longer ones have more, in proportion.
    """

    snp_rate: float = 1e-3
    indel_rate: float = 1 / 7000
    transition_ratio: float = 2.1
    repeat_share: float = 0.65
    het_ratio: float = 1.6
    cluster_share: float = 0.1
    mnp_share: float = 0.015
    two_alt_indels: float = 0.08
    two_alt_snps: float = 0.003


def invent(
    region: Region,
    bases: bytes,
    settings: PopulationSettings,
    taken: NDArray[np.bool_],
    rng: np.random.Generator,
) -> list[DonorVariant]:
    """Draw variants for a region.

    No other variant lies in the stretch through which an indel could slide, nor
    within its own length (or `GUARD`) of it, so that its left-aligned form is
    the only natural one.

    Parameters
    ----------
    region : Region
    bases : bytes
        Its reference, upper case.
    settings : PopulationSettings
    taken : bool [len(region)]
        Positions that have a variant already; what is drawn is added.
    rng : numpy.random.Generator

    Returns
    -------
    list of DonorVariant
        Normalised, in no order.
    """
    codes = np.frombuffer(bases, np.uint8)
    known = int(np.isin(codes, np.frombuffer(b"ACGT", np.uint8)).sum())
    indels = settings.indel_rate * known
    proposals = _repeat_indels(bases, find_repeats(codes), indels, settings, rng)
    count = rng.poisson(indels * (1 - settings.repeat_share))
    proposals += _other_indels(bases, int(count), rng)
    proposals += _snps(bases, int(rng.poisson(settings.snp_rate * known)), settings, rng)

    variants = []
    for start, alleles in proposals:
        if not set("".join(alleles)) <= set("ACGT") or len(set(alleles)) < len(alleles):
            continue
        found = normalise(bases, start, alleles)
        if found is None:
            continue
        start, alleles = found
        end = shift_end(bases, start, alleles)
        change = max(map(len, alleles)) - min(map(len, alleles))
        guard = max(change, GUARD) if change else 0
        if taken[max(0, start - guard) : end + guard].any():
            continue
        taken[max(0, start - guard) : end + guard] = True
        genotype = _genotype(len(alleles), settings, rng)
        variants.append(DonorVariant(region.contig, region.start + start, alleles, genotype))
        if change == 0 and len(alleles) == 2 and rng.random() < settings.mnp_share:
            more = 1 if rng.random() < 0.8 else 2
            for at in range(start + 1, min(start + 1 + more, len(bases))):
                if taken[at] or (ref := chr(bases[at])) not in _TRANSITION:
                    break
                taken[at] = True
                others = [base for base in "ACGT" if base != ref]
                alt = others[int(rng.integers(3))]
                where = region.start + at
                variants.append(DonorVariant(region.contig, where, (ref, alt), genotype))
    return variants


def _genotype(
    alleles: int, settings: PopulationSettings, rng: np.random.Generator
) -> tuple[int, int]:
    if alleles == 3:
        return (1, 2) if rng.random() < 0.5 else (2, 1)
    if rng.random() < 1 / (1 + settings.het_ratio):
        return (1, 1)
    return (0, 1) if rng.random() < 0.5 else (1, 0)


def mutability(repeats: Repeats) -> NDArray[np.float64]:
    """Relative rate at which each repeat changes its length, float64 [n]."""
    weight = np.zeros(len(repeats))
    for period, points in _MUTABILITY.items():
        units, values = zip(*points, strict=True)
        mine = repeats.period == period
        weight[mine] = np.exp(np.interp(repeats.units[mine], units, np.log(values)))
    return weight


def _repeat_indels(
    bases: bytes,
    repeats: Repeats,
    indels: float,
    settings: PopulationSettings,
    rng: np.random.Generator,
) -> list[tuple[int, tuple[str, ...]]]:
    """Contractions and expansions by whole units, at the left end of the tract."""
    if not len(repeats):
        return []
    weight = mutability(repeats)
    expected = indels * settings.repeat_share * weight / weight.sum()
    chosen = np.flatnonzero(rng.random(len(repeats)) < np.minimum(expected, 0.5))
    proposals = []
    for index in chosen.tolist():
        start, period = int(repeats.start[index]), int(repeats.period[index])
        if start == 0:
            continue
        units = int(repeats.units[index])
        most = min(units - 1, MAX_INDEL // period)
        changes = [_unit_change(most, period, rng)]
        if rng.random() < settings.two_alt_indels * max(1, units / 8):
            changes.append(_unit_change(most, period, rng))
        lost = max(0, -min(changes))
        ref = bases[start - 1 : start + lost * period].decode()
        unit = bases[start : start + period].decode()
        alts = [ref[0] + unit * (lost + change) for change in changes]
        proposals.append((start - 1, (ref, *alts)))
    return proposals


def _unit_change(most: int, period: int, rng: np.random.Generator) -> int:
    """Units gained or lost: mostly one, now and then many, losses a little more often."""
    size = int(rng.geometric(0.7 if period > 1 else 0.75) if rng.random() < 0.9 else 0)
    size = size or int(rng.geometric(0.3))
    if rng.random() < 0.55:
        return -min(size, most)
    return min(size, MAX_INDEL // period)


def _other_indels(
    bases: bytes, count: int, rng: np.random.Generator
) -> list[tuple[int, tuple[str, ...]]]:
    """Deletions, and insertions half of which repeat the sequence before them."""
    proposals: list[tuple[int, tuple[str, ...]]] = []
    for start in rng.integers(MAX_INDEL, max(MAX_INDEL + 1, len(bases) - MAX_INDEL - 1), count):
        # short ones prevail, but not as much as one geometric law would have it
        size = min(int(rng.geometric(0.25 if rng.random() < 0.85 else 0.05)), MAX_INDEL)
        anchor = chr(bases[start])
        kind = rng.random()
        if kind < 0.55:
            ref = bases[start : start + 1 + size].decode()
            proposals.append((int(start), (ref, anchor)))
            continue
        if kind < 0.8:
            inserted = bases[start + 1 - size : start + 1].decode()
        else:
            inserted = "".join(rng.choice(list("ACGT"), size))
        proposals.append((int(start), (anchor, anchor + inserted)))
    return proposals


def _snps(
    bases: bytes, count: int, settings: PopulationSettings, rng: np.random.Generator
) -> list[tuple[int, tuple[str, ...]]]:
    starts = rng.integers(0, len(bases), count)
    clustered = starts[rng.random(count) < settings.cluster_share]
    near = clustered + rng.geometric(1 / 12, len(clustered)) * rng.choice([-1, 1], len(clustered))
    proposals = []
    for start in np.concatenate((starts, near)).tolist():
        if not 0 <= start < len(bases) or (ref := chr(bases[start])) not in _TRANSITION:
            continue
        transversions = _TRANSVERSIONS[ref]
        alts = [_TRANSITION[ref], transversions[int(rng.integers(2))]]
        if rng.random() >= settings.transition_ratio / (1 + settings.transition_ratio):
            alts.reverse()
        if rng.random() >= settings.two_alt_snps:
            alts.pop()
        proposals.append((start, (ref, *alts)))
    return proposals
