"""Truth to labels of images, in one of three ways.

The haplotype-aware labeler, the default, asks which genotypes of the
candidates give the same two sequences as the truth, however either is written.
The positional one compares position and alleles. With classes of one's own the
truth says in an INFO field which class a variant is of.

All three are DeepVariant 1.9's.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from pileupcnn.candidates import CandidateBatch
from pileupcnn.errors import InputError
from pileupcnn.genotypes import Genotype, genotype_options, simplify
from pileupcnn.haplotypes import Matches, VariantTable, group_variants, match_haplotypes
from pileupcnn.pileup import ImagePlan
from pileupcnn.reference import Reference
from pileupcnn.regions import Region, merge
from pileupcnn.resources import Closing
from pileupcnn.vcf import TruthReader, TruthVariant

Scheme = Literal["haplotype", "positional"]
"""How a candidate's true genotype is found."""

DEFAULT_SCHEME: Scheme = "haplotype"

DROPPED = -1
"""Label of an image that is none: its candidate starts where the truth says nothing."""

UNKNOWN: Genotype = (-1, -1)
"""Genotype of a candidate that has none."""

SNP, INDEL = 1, 2
"""Types of an image's variant; INDEL if one of its ALT alleles has another length than REF."""

MISSED_ALLELE = 1 << 20
"""Price of a truth allele that no candidate explains; a candidate without an ALT costs 1."""


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

    def cover(self, regions: Iterable[Region], size: int) -> list[Region]:
        """The partitions of `regions`, `size` bp each, that overlap; touching ones merged.

        Partitions of the result lie where those of `regions` do.
        """
        covered = []
        for region in regions:
            for part in self.intersect([region]):
                first, last = part.start - region.start, part.end - region.start
                start = region.start + first // size * size
                end = min(region.end, region.start + -(-last // size) * size)
                covered.append(Region(region.contig, start, end))
        return merge(covered, list(dict.fromkeys(region.contig for region in covered)))


@dataclass(frozen=True, slots=True)
class ClassField:
    """Classes of one's own.

    Attributes
    ----------
    name : str
        INFO field of the truth whose first value is a class.
    classes : tuple of str
        A class's place is its label; the first is that of candidates that are
        no variant.
    """

    name: str
    classes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Truth:
    """Known variants, for labels.

    Attributes
    ----------
    variants : Path
        Indexed VCF or BCF.
    contigs : tuple of str
        As for `TruthReader`.
    confident : ConfidentRegions
        Candidates outside get no label, and truth outside does not count. They
        lie in the regions that are looked at.
    scheme : {"haplotype", "positional"}
    classes : ClassField, optional
        If given, labels are classes, matched by position.
    """

    variants: Path
    contigs: tuple[str, ...]
    confident: ConfidentRegions
    scheme: Scheme = DEFAULT_SCHEME
    classes: ClassField | None = None


@dataclass(slots=True)
class Labels:
    """What the truth says of one run.

    Attributes
    ----------
    genotypes : int32 [n, 2]
        Of each candidate; `UNKNOWN` where it has none.
    images : int8 [m]
        Label of each image, or `DROPPED`.
    counts : Counter of str
        By name: ``candidates`` (in the confident regions), ``not confident``,
        ``false`` (candidates without an ALT in their genotype); and by
        haplotypes ``truth``, ``missed`` (no allele of it found), ``alleles
        found``, ``alleles missed``.
    """

    genotypes: NDArray[np.int32]
    images: NDArray[np.int8]
    counts: Counter[str] = field(default_factory=Counter)


class Labeller(Closing):
    """Labels the images of runs; one thread's own.

    Parameters
    ----------
    truth : Truth
    reference : path
        Indexed FASTA.

    Raises
    ------
    InputError
        If a file cannot be used.
    """

    def __init__(self, truth: Truth, reference: str | Path) -> None:
        self._truth = truth
        self._reference = Reference(reference)
        wanted = None if truth.classes is None else truth.classes.name
        self._reader = TruthReader(truth.variants, truth.contigs, wanted)

    def close(self) -> None:
        """Close the files."""
        self._reader.close()
        self._reference.close()

    def label(self, run: Sequence[Region], candidates: CandidateBatch, plan: ImagePlan) -> Labels:
        """Label the images of one run of partitions.

        Parameters
        ----------
        run : sequence of Region
            The partitions, as the candidates number them.
        candidates : CandidateBatch
        plan : ImagePlan

        Raises
        ------
        InputError
            If the truth is damaged, lies outside the reference, or a variant
            has no known class.
        """
        contig = candidates.contig
        inside = self._truth.confident.contain(contig, candidates.start)
        found = self._reader.fetch(Region(contig, run[0].start, run[-1].end))
        starts = np.array([variant.start for variant in found], np.int64)
        confident = self._truth.confident.contain(contig, starts).tolist()
        truth = [variant for variant, kept in zip(found, confident, strict=True) if kept]
        counts: Counter[str] = Counter()
        if self._truth.classes is not None:
            genotypes = np.full((len(candidates), 2), UNKNOWN, np.int32)
            images = class_labels(candidates, plan, inside, truth, self._truth.classes)
            known = inside
        else:
            if self._truth.scheme == "positional":
                genotypes = positional_genotypes(candidates, truth)
            else:
                genotypes = haplotype_genotypes(candidates, run, truth, self._reference, counts)
            images = count_copies(genotypes, plan)
            known = inside & (genotypes >= 0).all(axis=1)
            counts["false"] += int((known & (genotypes <= 0).all(axis=1)).sum())
        images[~known[plan.candidate]] = DROPPED
        counts["candidates"] += int(inside.sum())
        counts["not confident"] += int((~inside).sum())
        return Labels(genotypes, images, counts)


def count_copies(genotypes: NDArray[np.int32], plan: ImagePlan) -> NDArray[np.int8]:
    """Copies of the ALT alleles that each image shows in its candidate's genotype, int8 [m]."""
    # genotype alleles count from REF, ALT indices from the first ALT; -2 is no ALT
    shown = np.where(plan.alts >= 0, plan.alts + 1, -2)
    called = genotypes[plan.candidate]
    return (called[:, :, None] == shown[:, None, :]).sum(axis=(1, 2)).astype(np.int8)


def haplotype_genotypes(
    candidates: CandidateBatch,
    run: Sequence[Region],
    truth: Sequence[TruthVariant],
    reference: Reference,
    counts: Counter[str] | None = None,
) -> NDArray[np.int32]:
    """Genotypes with which the candidates give the haplotypes of the truth.

    Candidates and truth are grouped in each partition by itself
    (`group_variants`). A candidate may have any genotype, a truth variant its
    own, or one with alleles missed (0/0, or 0/a for one of its ALTs a). Wanted
    are the fewest missed alleles, then the fewest candidates that are 0/0.
    For ties see `match_haplotypes`; candidates' genotypes are tried in the
    order of `genotype_options`, those of the truth in ascending order.

    Parameters
    ----------
    candidates : CandidateBatch
    run : sequence of Region
        Their partitions.
    truth : sequence of TruthVariant
        In file order; in a partition those count whose REF overlaps it.
        Variants whose allele indices sum to 0 or less are left out, as
        DeepVariant does: 0/0, but also ./. and ./1.
    reference : Reference
    counts : Counter, optional
        Is added to, as in `Labels`.

    Returns
    -------
    int32 [n, 2]
        Ascending; `UNKNOWN` where a group is too complex.
    """
    genotypes = np.full((len(candidates), 2), UNKNOWN, np.int32)
    bounds = np.searchsorted(candidates.partition, np.arange(len(run) + 1))
    called = [variant for variant in truth if sum(variant.genotype) > 0]
    for index, partition in enumerate(run):
        here = [v for v in called if v.start < partition.end and v.end > partition.start]
        first, last = bounds[index : index + 2].tolist()
        if first == last and not here:
            continue
        ours, theirs = _candidate_table(candidates, first, last), _truth_table(here)
        groups = group_variants(ours, theirs)
        matches = match_haplotypes(
            ours, theirs, groups, candidates.contig, reference, like_deepvariant=True
        )
        done = np.repeat(matches.done, np.diff(groups.first))
        genotypes[first:last][done] = matches.first[done]
        if counts is not None:
            _count_truth(here, matches, counts)
    return genotypes


def _candidate_table(candidates: CandidateBatch, first: int, last: int) -> VariantTable:
    """Candidates `first` to `last` (exclusive) with all genotypes they may have."""
    offset = candidates.allele_offset[first : last + 1]
    options = [genotype_options(alts) for alts in (np.diff(offset) - 1).tolist()]
    listed = np.array([pair for row in options for pair in row], np.int32).reshape(-1, 2)
    return VariantTable(
        start=candidates.start[first:last],
        allele_offset=offset,
        base_offset=candidates.base_offset,
        bases=candidates.bases,
        option_offset=np.cumsum([0, *map(len, options)], dtype=np.int64),
        options=listed,
        costs=(listed.sum(axis=1) == 0).astype(np.int64),
    )


def _truth_table(truth: Sequence[TruthVariant]) -> VariantTable:
    """Truth variants with their genotypes, whole or with alleles missed."""
    rows = []
    for variant in truth:
        first, second = (max(allele, 0) for allele in variant.genotype)
        options = sorted({(0, 0), (first, second)} | {(0, a) for a in (first, second)})
        whole = (first, second).count(0)
        costs = [MISSED_ALLELE * (option.count(0) - whole) for option in options]
        rows.append((variant.start, variant.alleles, list(zip(options, costs, strict=True))))
    return VariantTable.of(rows)


def _count_truth(truth: Sequence[TruthVariant], matches: Matches, counts: Counter[str]) -> None:
    """Count what was found of the truth."""
    called = np.array([variant.genotype for variant in truth], np.int32).reshape(-1, 2) > 0
    found = (matches.second > 0).sum(axis=1)
    counts["truth"] += len(truth)
    counts["missed"] += int((found == 0).sum())
    counts["alleles found"] += int(found.sum())
    counts["alleles missed"] += int(called.sum() - found.sum())


def positional_genotypes(
    candidates: CandidateBatch, truth: Iterable[TruthVariant]
) -> NDArray[np.int32]:
    """Genotypes of the candidates by exact position and alleles (`true_genotype`), int32 [n, 2]."""
    by_start = _by_start(truth)
    genotypes = np.zeros((len(candidates), 2), np.int32)
    for index, start in enumerate(candidates.start.tolist()):
        if start in by_start:
            genotypes[index] = true_genotype(candidates.alleles(index), by_start[start])
    return genotypes


def _by_start(truth: Iterable[TruthVariant]) -> dict[int, list[TruthVariant]]:
    by_start: dict[int, list[TruthVariant]] = {}
    for variant in truth:
        by_start.setdefault(variant.start, []).append(variant)
    return by_start


def class_labels(
    candidates: CandidateBatch,
    plan: ImagePlan,
    inside: NDArray[np.bool_],
    truth: Iterable[TruthVariant],
    classes: ClassField,
) -> NDArray[np.int8]:
    """Classes of the images: that of the truth variant at the very position.

    An image is of its class if it shows the first ALT of the truth variant,
    the REF of both is the same, and the genotype is not 0/0; else of the first
    class.

    Parameters
    ----------
    candidates : CandidateBatch
    plan : ImagePlan
    inside : bool [n]
        Which candidates lie in the confident regions: only these are looked at.
    truth : iterable of TruthVariant
        With the field's value.
    classes : ClassField

    Returns
    -------
    int8 [m]

    Raises
    ------
    InputError
        If a variant that is needed has no such field, or another class.
    """
    by_start = _by_start(truth)
    labels = np.zeros(len(plan), np.int8)
    starts = candidates.start.tolist()
    for image, (index, shown) in enumerate(
        zip(plan.candidate.tolist(), plan.alts.tolist(), strict=True)
    ):
        if not inside[index] or starts[index] not in by_start:
            continue
        alleles = simplify(candidates.alleles(index))
        variant = best_match(alleles, by_start[starts[index]])
        true = simplify(variant.alleles)
        if variant.genotype == (0, 0) or alleles[0] != true[0]:
            continue
        label = _class_of(variant, classes)
        if any(alleles[alt + 1] == true[1] for alt in shown if alt >= 0):
            labels[image] = label
    return labels


def _class_of(variant: TruthVariant, classes: ClassField) -> int:
    if variant.value not in classes.classes:
        what = "no value" if variant.value is None else f"'{variant.value}'"
        raise InputError(
            f"{variant.contig}:{variant.start + 1:,}: the truth has {what} in INFO field "
            f"{classes.name}, not one of {', '.join(classes.classes)}; mend the truth or name all "
            "classes"
        )
    return classes.classes.index(variant.value)


def best_match(alleles: tuple[str, ...], truth: Sequence[TruthVariant]) -> TruthVariant:
    """The last of several truth variants with these (simplified) alleles, else the first."""
    same = [variant for variant in truth if simplify(variant.alleles) == alleles]
    return same[-1] if same else truth[0]


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
    best = best_match(ours, truth)
    pairs = [simplify((ours[0], alt)) for alt in ours[1:]]
    true = simplify(best.alleles)
    called = []
    for allele in best.genotype:
        pair = simplify((true[0], true[allele])) if allele > 0 else ()
        called.append(pairs.index(pair) + 1 if pair in pairs else 0)
    return called[0], called[1]


def image_types(candidates: CandidateBatch, plan: ImagePlan) -> NDArray[np.uint8]:
    """`SNP` or `INDEL` for each of the plan's `m` images, uint8 [m]."""
    lengths = np.diff(candidates.base_offset)
    first = candidates.allele_offset[plan.candidate]
    # a second ALT of -1 reads REF's own length
    shown = lengths[first[:, None] + np.maximum(plan.alts + 1, 0)]
    longer = (shown != lengths[first][:, None]).any(axis=1)
    return np.where(longer, INDEL, SNP).astype(np.uint8)
