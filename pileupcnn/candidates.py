"""Allele counts to candidate variants, with the reads that support each allele."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from pileupcnn.errors import check_range
from pileupcnn.kernels.alleles import AlleleCounter
from pileupcnn.reads import ReadBatch
from pileupcnn.reference import ReferenceWindow
from pileupcnn.regions import Region


@dataclass(frozen=True, slots=True)
class CandidateSettings:
    """When an allele is a candidate. Defaults are DeepVariant's for WGS.

    Attributes
    ----------
    min_base_quality : int
        Bases below it do not count.
    min_count_snps, min_count_indels : int
        Fewest supporting reads of an ALT allele.
    min_fraction_snps, min_fraction_indels : float
        Smallest share of the depth; compared as float32, as DeepVariant does.
    """

    min_base_quality: int = 10
    min_count_snps: int = 2
    min_count_indels: int = 2
    min_fraction_snps: float = 0.12
    min_fraction_indels: float = 0.06

    def __post_init__(self) -> None:
        check_range("min_base_quality", self.min_base_quality, 0, 255)
        check_range("min_count_snps", self.min_count_snps, 1, 1_000_000)
        check_range("min_count_indels", self.min_count_indels, 1, 1_000_000)
        check_range("min_fraction_snps", self.min_fraction_snps, 0, 1)
        check_range("min_fraction_indels", self.min_fraction_indels, 0, 1)


class Detail(IntEnum):
    """What is listed of the reads at a candidate."""

    ALTS = 0
    """Which support each ALT."""

    SUPPORT = 1
    """And which support no ALT, what each is like, and the reads at the positions around."""

    REFERENCE = 2
    """And which support REF (DeepVariant's ``track_ref_reads``).

    As in DeepVariant these then count among the reads unlike the reference
    where they are listed, and overwrite alleles of their twins.
    """


@dataclass(slots=True)
class SupportDetails:
    """More of the reads at candidates: what DeepVariant's candidate files and small model have.

    Attributes
    ----------
    low_quality, base_quality : uint8 [s]
        Of each of the batch's `support`: whether the read's allele is of low
        quality, and the mean quality of its bases (of a deletion that of the
        base before it), cut to an integer.
    uncalled_offset : int64 [n + 1]
    uncalled : int32 [u]
        ``uncalled[uncalled_offset[i]:uncalled_offset[i + 1]]`` are the reads
        that show another allele than REF and candidate `i`'s ALTs there, soft
        clips included.
    uncalled_low_quality, uncalled_base_quality : uint8 [u]
        As for `support`.
    context : int8 [n, 51]
        Percentage of reads unlike the reference at the positions from 25 bp
        before each candidate to 25 bp after; -1 outside its partition.
    """

    low_quality: NDArray[np.uint8]
    base_quality: NDArray[np.uint8]
    uncalled_offset: NDArray[np.int64]
    uncalled: NDArray[np.int32]
    uncalled_low_quality: NDArray[np.uint8]
    uncalled_base_quality: NDArray[np.uint8]
    context: NDArray[np.int8]


@dataclass(frozen=True, slots=True)
class PositionCounts:
    """Reads at every position of a run's partitions, one partition after another.

    Attributes
    ----------
    reference : int32 [positions]
        Reads of sufficient quality with the reference base.
    depth : int32 [positions]
        Reads of sufficient quality with any allele: what DP is of a candidate.
    """

    reference: NDArray[np.int32]
    depth: NDArray[np.int32]


@dataclass(slots=True)
class CandidateBatch:
    """The candidates of one run of partitions, as a structure of arrays.

    Candidate ``i`` has the alleles ``allele_offset[i]`` (REF) to
    ``allele_offset[i + 1]`` (exclusive; ALTs sorted bytewise).

    Attributes
    ----------
    contig : str
    start, end : int64 [n]
        Span of REF, 0-based half-open; ascending by start.
    partition : int32 [n]
        Place of the candidate's partition in its run.
    depth : int32 [n]
        DP: reads with a usable allele here.
    allele_offset : int64 [n + 1]
    base_offset : int64 [a + 1]
        Allele ``j`` has the bases ``bases[base_offset[j]:base_offset[j + 1]]``.
    bases : uint8
        ASCII.
    allele_depth : int32 [a]
        AD, REF included.
    support_offset : int64 [a + 1]
    support : int32
        Reads (index into the `ReadBatch`) that support allele ``j``,
        low-quality ones included; for REF only those listed by
        `Detail.REFERENCE`.
    matches, mismatches : int
        Aligned bases of sufficient quality that are the reference's, or not,
        over the whole run: do these reads belong to this reference?
    details : SupportDetails, optional
        If asked for.
    counts : PositionCounts, optional
        If asked for.
    allele_frequency : float32 [a], optional
        In a population, 0 for REF; None if nothing wants it.
    """

    contig: str
    start: NDArray[np.int64]
    end: NDArray[np.int64]
    partition: NDArray[np.int32]
    depth: NDArray[np.int32]
    allele_offset: NDArray[np.int64]
    base_offset: NDArray[np.int64]
    bases: NDArray[np.uint8]
    allele_depth: NDArray[np.int32]
    support_offset: NDArray[np.int64]
    support: NDArray[np.int32]
    matches: int
    mismatches: int
    details: SupportDetails | None = None
    counts: PositionCounts | None = None
    allele_frequency: NDArray[np.float32] | None = None

    def __len__(self) -> int:
        return len(self.start)

    def alleles(self, index: int) -> tuple[str, ...]:
        """REF and ALT alleles of one candidate."""
        first, last = int(self.allele_offset[index]), int(self.allele_offset[index + 1])
        bounds = self.base_offset[first : last + 1].tolist()
        text = self.bases[bounds[0] : bounds[-1]].tobytes().decode("ascii")
        origin = bounds[0]
        return tuple(text[a - origin : b - origin] for a, b in itertools.pairwise(bounds))

    def allele_depths(self, index: int) -> tuple[int, ...]:
        """AD of one candidate, REF first."""
        first, last = self.allele_offset[index], self.allele_offset[index + 1]
        return tuple(self.allele_depth[first:last].tolist())


def find_candidates(
    reads: ReadBatch,
    run: tuple[Region, ...],
    window: ReferenceWindow,
    settings: CandidateSettings,
    detail: Detail = Detail.ALTS,
    *,
    with_counts: bool = False,
) -> CandidateBatch:
    """Count alleles in every partition of a run and pick the candidate variants.

    Parameters
    ----------
    reads : ReadBatch
        The run's reads; a partition's candidates come from its own reads only.
    run : tuple of Region
        The partitions, as given to `Scanner.scan`.
    window : ReferenceWindow
        Bases under the partitions and the reads.
    settings : CandidateSettings
    detail : Detail
        What is listed of the reads.
    with_counts : bool
        Keep the counts of every position, too.
    """
    counter = AlleleCounter(
        settings.min_base_quality,
        settings.min_count_snps,
        settings.min_count_indels,
        settings.min_fraction_snps,
        settings.min_fraction_indels,
        detail,
        keep_counts=with_counts,
    )
    counter.count(
        reads,
        np.array([partition.start for partition in run], dtype=np.int64),
        np.array([partition.end for partition in run], dtype=np.int64),
        window.bases,
        window.start,
    )
    return CandidateBatch(
        contig=reads.contig,
        **counter.arrays(),
        matches=counter.matches,
        mismatches=counter.mismatches,
        details=SupportDetails(**counter.details()) if detail else None,
        counts=PositionCounts(**counter.position_counts()) if with_counts else None,
    )
