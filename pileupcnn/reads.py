"""The region scanner: aligned reads of one sample, block by block, as arrays."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class ReadSettings:
    """Which reads are used, and how many. Defaults are DeepVariant's for WGS.

    Attributes
    ----------
    min_mapping_quality : int
        Smallest MAPQ of a read that is used.
    keep_duplicates, keep_secondary, keep_supplementary : bool
        Whether reads with these flags are used.
    partition_size : int
        Length in bp of the partitions that reads are pooled in.
    max_reads_per_partition : int
        Cap by reservoir sampling; 0 for none.
    """

    min_mapping_quality: int = 5
    keep_duplicates: bool = False
    keep_secondary: bool = False
    keep_supplementary: bool = False
    partition_size: int = 1_000
    max_reads_per_partition: int = 1_500


@dataclass(slots=True)
class ReadBatch:
    """The reads of one run of partitions on one contig, as a structure of arrays.

    Reads are in file order, one file after the other. Read ``i`` has bases
    ``bases[base_offset[i]:base_offset[i + 1]]`` and qualities at the same
    places, and likewise a CIGAR and a name.

    Attributes
    ----------
    contig : str
    start, end : int64 [n]
        Reference span, 0-based half-open; ``end`` counts M, D, N, = and X.
    flag : uint16 [n]
        SAM flags.
    mapping_quality : uint8 [n]
    fragment_length : int32 [n]
        TLEN.
    haplotype : int32 [n]
        HP tag, 0 where absent.
    read_number : uint8 [n]
        1 for the second read of a pair, else 0.
    key : uint64 [n]
        Hash of fragment name and read number: equal keys are one read to the
        allele counter.
    base_offset, cigar_offset, name_offset : int64 [n + 1]
    bases : uint8
        ASCII, upper case.
    qualities : uint8
        Phred scores.
    cigar : uint32
        BAM encoding, ``length << 4 | operation``.
    names : uint8
        ASCII fragment names.
    partition_offset : int64 [p + 1]
    partition_reads : int32
        Partition ``k`` of the run has the reads
        ``partition_reads[partition_offset[k]:partition_offset[k + 1]]``, in
        the order of the reservoir (file order below the cap).
    """

    contig: str
    start: NDArray[np.int64]
    end: NDArray[np.int64]
    flag: NDArray[np.uint16]
    mapping_quality: NDArray[np.uint8]
    fragment_length: NDArray[np.int32]
    haplotype: NDArray[np.int32]
    read_number: NDArray[np.uint8]
    key: NDArray[np.uint64]
    base_offset: NDArray[np.int64]
    bases: NDArray[np.uint8]
    qualities: NDArray[np.uint8]
    cigar_offset: NDArray[np.int64]
    cigar: NDArray[np.uint32]
    name_offset: NDArray[np.int64]
    names: NDArray[np.uint8]
    partition_offset: NDArray[np.int64]
    partition_reads: NDArray[np.int32]

    def __len__(self) -> int:
        return len(self.start)

    def name(self, index: int) -> str:
        """Fragment name and read number of one read, ``name/number``."""
        name = self.names[self.name_offset[index] : self.name_offset[index + 1]].tobytes()
        return f"{name.decode('ascii', 'replace')}/{self.read_number[index]}"
