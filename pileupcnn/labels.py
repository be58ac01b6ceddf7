"""Truth to labels of images: by exact position and alleles (DeepVariant's positional labeler)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import groupby

import numpy as np
from numpy.typing import NDArray

from pileupcnn.candidates import CandidateBatch
from pileupcnn.pileup import ImagePlan
from pileupcnn.regions import Region, merge
from pileupcnn.vcf import TruthVariant

DROPPED = -1
"""Label of an image that is none: its candidate starts where the truth says nothing."""

SNP, INDEL = 1, 2
"""Types of an image's variant; INDEL if one of its ALT alleles has another length than REF."""


class ConfidentRegions:
    """Where the truth set is complete: what is not in it there is reference.

    Parameters
    ----------
    regions : iterable of Region
        In any order; may overlap.

    Attributes
    ----------
    regions : list of Region
        Merged; by contig in the order in which these came, then by start.
    """

    def __init__(self, regions: Iterable[Region]) -> None:
        regions = list(regions)
        self.regions = merge(regions, list(dict.fromkeys(region.contig for region in regions)))
        self._bounds = {
            contig: np.array([(region.start, region.end) for region in group], np.int64)
            for contig, group in groupby(self.regions, key=lambda region: region.contig)
        }

    def contain(self, contig: str, positions: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Which 0-based positions of a contig lie in a region."""
        bounds = self._bounds.get(contig)
        if bounds is None:
            return np.zeros(len(positions), bool)
        at = np.searchsorted(bounds[:, 0], positions, side="right") - 1
        return (at >= 0) & (positions < bounds[at, 1])

    def intersect(self, others: Iterable[Region]) -> list[Region]:
        """Parts of `others` (in their order) that lie in the regions."""
        parts = []
        for other in others:
            bounds = self._bounds.get(other.contig, np.empty((0, 2), np.int64))
            first = np.searchsorted(bounds[:, 1], other.start, side="right")
            last = np.searchsorted(bounds[:, 0], other.end, side="left")
            parts += [
                Region(other.contig, max(start, other.start), min(end, other.end))
                for start, end in bounds[first:last].tolist()
            ]
        return parts


def label_images(
    candidates: CandidateBatch,
    plan: ImagePlan,
    truth: Iterable[TruthVariant],
    confident: ConfidentRegions,
) -> NDArray[np.int8]:
    """Label the images of a run: copies of their ALT alleles in the true genotype.

    Parameters
    ----------
    candidates : CandidateBatch
    plan : ImagePlan
        The images, `m` of them.
    truth : iterable of TruthVariant
        All that start in the run's partitions, at least.
    confident : ConfidentRegions

    Returns
    -------
    int8 [m]
        0, 1, 2, or `DROPPED` where the candidate starts outside `confident`.
    """
    by_start: dict[int, list[TruthVariant]] = {}
    for variant in truth:
        if variant.contig == candidates.contig:
            by_start.setdefault(variant.start, []).append(variant)
    genotypes = np.zeros((len(candidates), 2), np.int32)
    for index, start in enumerate(candidates.start.tolist()):
        if start in by_start:
            genotypes[index] = true_genotype(candidates.alleles(index), by_start[start])
    # genotype alleles count from REF, ALT indices from the first ALT; -1 is no ALT
    shown = np.where(plan.alts >= 0, plan.alts + 1, -1)
    copies = (genotypes[plan.candidate][:, :, None] == shown[:, None, :]).sum(axis=(1, 2))
    inside = confident.contain(candidates.contig, candidates.start)[plan.candidate]
    return np.where(inside, copies, DROPPED).astype(np.int8)


def true_genotype(alleles: Sequence[str], truth: Sequence[TruthVariant]) -> tuple[int, int]:
    """Genotype of a candidate in terms of its own alleles.

    Of several truth variants at one start the last with the candidate's very
    alleles counts, else the first. A true allele that the candidate lacks, or
    that is missing, counts as the reference.

    Parameters
    ----------
    alleles : sequence of str
        REF and ALTs of the candidate.
    truth : sequence of TruthVariant
        Those with the candidate's start, in file order.
    """
    ours = simplify(alleles)
    theirs = [simplify(variant.alleles) for variant in truth]
    best = max((i for i, other in enumerate(theirs) if other == ours), default=0)
    pairs = [simplify((ours[0], alt)) for alt in ours[1:]]
    true = theirs[best]
    called = []
    for allele in truth[best].genotype:
        pair = simplify((true[0], true[allele])) if allele > 0 else ()
        called.append(pairs.index(pair) + 1 if pair in pairs else 0)
    return called[0], called[1]


def simplify(alleles: Sequence[str]) -> tuple[str, ...]:
    """Cut off what all alleles have in common at the end, leaving each a base."""
    common = 0
    while all(len(allele) > common + 1 for allele in alleles) and (
        len({allele[-1 - common] for allele in alleles}) == 1
    ):
        common += 1
    return tuple(allele[: len(allele) - common] for allele in alleles)


def image_types(candidates: CandidateBatch, plan: ImagePlan) -> NDArray[np.uint8]:
    """`SNP` or `INDEL` for each of the plan's `m` images, uint8 [m]."""
    lengths = np.diff(candidates.base_offset)
    first = candidates.allele_offset[plan.candidate]
    # a second ALT of -1 reads REF's own length
    shown = lengths[first[:, None] + np.maximum(plan.alts + 1, 0)]
    longer = (shown != lengths[first][:, None]).any(axis=1)
    return np.where(longer, INDEL, SNP).astype(np.uint8)
