"""Local realignment: reads near likely indels, aligned again through assembled haplotypes."""

from __future__ import annotations

import dataclasses
import itertools
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pileupcnn.errors import check_range
from pileupcnn.kernels.alignment import WindowAligner
from pileupcnn.kernels.assembly import Assembler
from pileupcnn.kernels.realign import STATES, Realigner, append_slices
from pileupcnn.kernels.windows import WindowSelector
from pileupcnn.reads import ReadBatch
from pileupcnn.reference import ReferenceWindow
from pileupcnn.regions import Region


@dataclass(frozen=True, slots=True)
class WindowSettings:
    """Where reads are realigned.

    Attributes
    ----------
    min_mapping_quality, min_base_quality : int
        Reads and bases below do not count.
    min_allele_support : int
        Reads that must share an allele for it to count.
    min_reads, max_reads : int
        Reads at a position that make it a candidate.
    region_expansion : int
        Positions this many bp outside a partition are looked at, too.
    distance : int
        A window reaches so many bp beyond its candidates; candidates twice as
        far from each other still share one.
    max_size : int
        Longer windows are skipped, in bp.
    """

    min_mapping_quality: int = 20
    min_base_quality: int = 20
    min_allele_support: int = 2
    min_reads: int = 2
    max_reads: int = 300
    region_expansion: int = 20
    distance: int = 80
    max_size: int = 1_000

    def __post_init__(self) -> None:
        """Raise ValueError if one of them is out of its range."""
        for name in ("min_mapping_quality", "min_base_quality"):
            check_range(name, getattr(self, name), 0, 255)
        for name in ("min_allele_support", "min_reads", "max_reads"):
            check_range(name, getattr(self, name), 1, 1_000_000)
        for name in ("region_expansion", "distance", "max_size"):
            check_range(name, getattr(self, name), 0, 100_000)


@dataclass(frozen=True, slots=True)
class AssemblySettings:
    """How a window's haplotypes are assembled.

    Attributes
    ----------
    min_k, max_k, step_k : int
        Lengths of k-mers, tried in turn.
    min_mapping_quality, min_base_quality : int
        Reads below do not count; bases below part a read.
    min_edge_weight : int
        Times that two k-mers must follow each other.
    max_paths : int
        With more haplotypes a window is given up.
    """

    min_k: int = 10
    max_k: int = 101
    step_k: int = 1
    min_mapping_quality: int = 14
    min_base_quality: int = 15
    min_edge_weight: int = 2
    max_paths: int = 256

    def __post_init__(self) -> None:
        """Raise ValueError if one of them is out of its range."""
        check_range("min_k", self.min_k, 1, 1_000)
        check_range("max_k", self.max_k, self.min_k, 1_000)
        check_range("step_k", self.step_k, 1, 1_000)
        for name in ("min_mapping_quality", "min_base_quality"):
            check_range(name, getattr(self, name), 0, 255)
        check_range("min_edge_weight", self.min_edge_weight, 1, 1_000_000)
        check_range("max_paths", self.max_paths, 1, 100_000)


@dataclass(frozen=True, slots=True)
class AlignmentSettings:
    """How reads are aligned to haplotypes.

    Attributes
    ----------
    match, mismatch, gap_open, gap_extend : int
        Scores; all but `match` are subtracted.
    kmer_size : int
        Length of the k-mers that place reads without gaps.
    max_mismatches : int
        Most mismatches of a read placed so.
    similarity_threshold : float
        Least similarity of a read placed with gaps.
    """

    match: int = 4
    mismatch: int = 6
    gap_open: int = 8
    gap_extend: int = 2
    kmer_size: int = 32
    max_mismatches: int = 2
    similarity_threshold: float = 0.16934

    def __post_init__(self) -> None:
        """Raise ValueError if one of them is out of its range: scores must fit bytes."""
        check_range("mismatch", self.mismatch, 1, 100)
        check_range("match", self.match, 1, self.mismatch)
        for name in ("gap_open", "gap_extend"):
            check_range(name, getattr(self, name), 1, 100)
        check_range("kmer_size", self.kmer_size, 1, 1_000)
        check_range("max_mismatches", self.max_mismatches, 0, 1_000)
        check_range("similarity_threshold", self.similarity_threshold, 0, 1)


@dataclass(frozen=True, slots=True)
class RealignSettings:
    """How reads are realigned. Defaults are DeepVariant's for WGS.

    Attributes
    ----------
    windows : WindowSettings
    assembly : AssemblySettings
    alignment : AlignmentSettings
    max_read_length : int
        Longer reads keep their alignment; 0 for no limit.
    reference_margin : int
        Reads are aligned to a stretch of the reference that reaches so many
        bp beyond the window and its reads.
    """

    windows: WindowSettings = dataclasses.field(default_factory=WindowSettings)
    assembly: AssemblySettings = dataclasses.field(default_factory=AssemblySettings)
    alignment: AlignmentSettings = dataclasses.field(default_factory=AlignmentSettings)
    max_read_length: int = 500
    reference_margin: int = 20

    def __post_init__(self) -> None:
        """Raise ValueError if one of them is out of its range."""
        check_range("max_read_length", self.max_read_length, 0, 1_000_000)
        check_range("reference_margin", self.reference_margin, 0, 100_000)

    @property
    def reach(self) -> int:
        """Bases outside partitions and reads that realignment may look at."""
        return self.windows.region_expansion + self.windows.distance + self.reference_margin


@dataclass(frozen=True, slots=True)
class AssembledWindow:
    """What became of one window.

    Attributes
    ----------
    partition : int
        Place of its partition in the run.
    start, end : int
        0-based half-open; may leave the contig.
    state : str
        ``assembled``; ``refonly``, if no haplotype but the reference came
        out; ``overflow``, if there are more than `AssemblySettings.max_paths`;
        ``nograph``, if no k gives a graph without a cycle; ``skipped``, if it
        is too long or leaves the contig.
    reads : int
        Reads that overlap it; 0 if skipped.
    k : int
        The k chosen; 0 without a graph.
    haplotypes : tuple of str
        Sorted; empty unless assembled.
    """

    partition: int
    start: int
    end: int
    state: str
    reads: int
    k: int
    haplotypes: tuple[str, ...]


def realign_reads(
    reads: ReadBatch,
    run: tuple[Region, ...],
    window: ReferenceWindow,
    settings: RealignSettings,
) -> ReadBatch:
    """Realign the reads of every partition of a run, each for itself.

    Parameters
    ----------
    reads : ReadBatch
        The run's reads.
    run : tuple of Region
        The partitions, as given to `Scanner.scan`.
    window : ReferenceWindow
        Bases under partitions and reads, and `RealignSettings.reach` around
        them as far as the contig goes.
    settings : RealignSettings

    Raises
    ------
    ValueError
        If the window holds less than that.

    Returns
    -------
    ReadBatch
        The same reads, then copies with another start, end and CIGAR of those
        that changed, one for each partition where they did; twins of the
        originals. Partitions have their reads in DeepVariant's order: too long
        ones, those of no window, then window by window.
    """
    found = _realigner(reads, run, window, settings).arrays()
    partition_reads = found["partition_reads"]
    source = found["source"]
    if not len(source):
        return dataclasses.replace(reads, partition_reads=partition_reads)
    by_base = [reads.bases, reads.qualities, reads.methylation, reads.methylation_6ma]
    base_offset, bases, qualities, methylation, methylation_6ma = _append(
        source, reads.base_offset, *by_base
    )
    name_offset, names = _append(source, reads.name_offset, reads.names)
    return ReadBatch(
        contig=reads.contig,
        start=np.concatenate([reads.start, found["start"]]),
        end=np.concatenate([reads.end, found["end"]]),
        flag=np.concatenate([reads.flag, reads.flag[source]]),
        mapping_quality=np.concatenate([reads.mapping_quality, reads.mapping_quality[source]]),
        fragment_length=np.concatenate([reads.fragment_length, reads.fragment_length[source]]),
        haplotype=None
        if reads.haplotype is None
        else np.concatenate([reads.haplotype, reads.haplotype[source]]),
        read_number=np.concatenate([reads.read_number, reads.read_number[source]]),
        twin=np.concatenate([reads.twin, reads.twin[source]]),
        base_offset=base_offset,
        bases=bases,
        qualities=qualities,
        cigar_offset=np.concatenate(
            [reads.cigar_offset, found["cigar_offset"][1:] + reads.cigar_offset[-1]]
        ),
        cigar=np.concatenate([reads.cigar, found["cigar"]]),
        name_offset=name_offset,
        names=names,
        partition_offset=reads.partition_offset,
        partition_reads=partition_reads,
        methylation=methylation,
        methylation_6ma=methylation_6ma,
    )


def list_windows(
    reads: ReadBatch,
    run: tuple[Region, ...],
    window: ReferenceWindow,
    settings: RealignSettings,
) -> list[AssembledWindow]:
    """What becomes of the windows of a run, in order; parameters as for `realign_reads`."""
    found = _realigner(reads, run, window, settings, list_them=True).window_arrays()
    text = found["haplotype_bases"].tobytes().decode("ascii")
    bounds = [0, *found["haplotype_end"].tolist()]
    haplotypes = [text[a:b] for a, b in itertools.pairwise(bounds)]
    counts = [0, *found["haplotype_count"].tolist()]
    names = ("partition", "start", "end", "state", "reads", "k")
    return [
        AssembledWindow(partition, start, end, STATES[state], n, k, tuple(haplotypes[a:b]))
        for (a, b), partition, start, end, state, n, k in zip(
            itertools.pairwise(counts), *(found[name].tolist() for name in names), strict=True
        )
    ]


def _realigner(
    reads: ReadBatch,
    run: tuple[Region, ...],
    window: ReferenceWindow,
    settings: RealignSettings,
    list_them: bool = False,
) -> Realigner:
    """The kernel, after its work."""
    low = min(run[0].start, int(reads.start.min(initial=run[0].start))) - settings.reach
    high = max(run[-1].end, int(reads.end.max(initial=run[-1].end))) + settings.reach
    if max(low, 0) < window.start or (
        min(high, window.contig_length) > window.start + len(window.bases)
    ):
        raise ValueError("the reference window is too short to realign reads")
    windows, assembly, alignment = settings.windows, settings.assembly, settings.alignment
    realigner = Realigner(
        WindowSelector(
            windows.min_mapping_quality,
            windows.min_base_quality,
            windows.min_allele_support,
            windows.min_reads,
            windows.max_reads,
            windows.region_expansion,
            windows.distance,
        ),
        Assembler(
            assembly.min_k,
            assembly.max_k,
            assembly.step_k,
            assembly.min_mapping_quality,
            assembly.min_base_quality,
            assembly.min_edge_weight,
            assembly.max_paths,
        ),
        WindowAligner(
            alignment.match,
            alignment.mismatch,
            alignment.gap_open,
            alignment.gap_extend,
            alignment.kmer_size,
            alignment.max_mismatches,
            alignment.similarity_threshold,
        ),
        settings.max_read_length,
        windows.max_size,
        settings.reference_margin,
        list_them,
    )
    realigner.realign(
        reads,
        np.array([partition.start for partition in run], dtype=np.int64),
        np.array([partition.end for partition in run], dtype=np.int64),
        window.bases,
        window.start,
        window.contig_length,
    )
    return realigner


def _append(
    source: NDArray[np.int32], offset: NDArray[np.int64], *values: NDArray[np.uint8] | None
) -> list[Any]:
    """Offsets and values of variable length, with those of the reads `source` again at the end."""
    ends = np.cumsum(np.diff(offset)[source]) + offset[-1]
    new_offset = np.concatenate([offset, ends])
    return [
        new_offset,
        *(
            None if array is None else append_slices(array, offset, source, new_offset)
            for array in values
        ),
    ]
