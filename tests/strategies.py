"""Random contigs and reads for property tests, and the forms the package takes them in."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path

import numpy as np
import pysam
from hypothesis import strategies as st
from hypothesis.vendor.pretty import RepresentationPrinter
from reference import (
    DUPLICATE,
    FIRST,
    MATE_UNMAPPED,
    PAIRED,
    PROPER,
    QC_FAIL,
    REVERSE,
    SECOND,
    SECONDARY,
    SUPPLEMENTARY,
    Read,
    overlaps,
    read_length,
    reference_length,
)
from reference.drawing import Geometry
from reference.sampling import reservoir

from pileupcnn.reads import ReadBatch
from pileupcnn.reference import ReferenceWindow

OPERATIONS = "MIDNSHP=X"
"""By their number in BAM."""

IUPAC = "ACGTMRWSYKVHDBN"
Cigar = list[tuple[str, int]]


@dataclass(frozen=True, repr=False)
class Scene:
    """One contig with reads, cut into partitions."""

    contig: str
    partitions: tuple[tuple[int, int], ...]
    reads: tuple[Read, ...]

    def __repr__(self) -> str:
        shown = ", ".join(map(repr, self.reads[:8]))
        return f"Scene({self.contig!r}, {self.partitions}, {len(self.reads)} reads: {shown})"

    def _repr_pretty_(self, printer: RepresentationPrinter, cycle: bool) -> None:
        # hypothesis would print every field, and warns where that is very long
        printer.text("Scene(...)" if cycle else repr(self))


@dataclass(frozen=True)
class Contig:
    """A reference of one contig, in memory."""

    bases: str
    name: str = "c"
    path: Path = Path("contig.fa")

    @property
    def lengths(self) -> dict[str, int]:
        return {self.name: len(self.bases)}

    def window(self, contig: str, start: int, end: int) -> ReferenceWindow:
        start, end = max(start, 0), min(end, len(self.bases))
        bases = np.frombuffer(self.bases[start:end].encode(), np.uint8)
        return ReferenceWindow(contig, start, bases, len(self.bases))


def contigs(min_size: int = 30, max_size: int = 150) -> st.SearchStrategy[str]:
    """Bases of a contig: mostly ACGT in short repeats, some N and IUPAC codes."""
    unit = st.text("ACGT", min_size=1, max_size=12)
    repeat = st.tuples(unit, st.integers(1, 6)).map(lambda pair: pair[0] * pair[1])
    odd = st.text(IUPAC, min_size=1, max_size=3)
    pieces = st.lists(st.one_of(repeat, repeat, repeat, odd), min_size=4, max_size=20)
    joined = pieces.map("".join)
    return st.builds(
        lambda text, filler: (text + filler * max_size)[: max(min_size, min(len(text), max_size))],
        joined,
        st.text("ACGT", min_size=1, max_size=8),
    )


@st.composite
def cigars(draw: st.DrawFn, longest: int) -> Cigar:
    """A valid CIGAR that consumes 1 to `longest` reference bases."""
    match = st.tuples(st.sampled_from("MMM=X"), st.integers(1, 40))
    other = st.tuples(st.sampled_from("IIDDNP"), st.integers(1, 6))
    core: Cigar = [
        *draw(st.lists(other, max_size=2)),
        draw(match),
        *draw(st.lists(st.one_of(match, other), max_size=5)),
    ]
    cut: Cigar = []
    for op, length in core:
        room = longest - reference_length(cut)
        if op in "M=XDN":
            length = min(length, room)
        if length:
            cut.append((op, length))
    if not any(op in "M=X" for op, _ in cut):
        cut = [("M", longest)]
    clip = st.one_of(st.just(0), st.integers(0, 8))
    ends = [(op, draw(clip)) for op in "HSSH"]
    whole = [*ends[:2], *cut, *ends[2:]]
    return [(op, length) for op, length in whole if length]


@dataclass(frozen=True)
class Noise:
    """How often the bases of a scene's reads differ, and how good they are."""

    sites: float
    """Share of the positions where reads may show another base."""
    mismatch: float
    """How often they do there."""
    anywhere: float
    """How often any base is a random one, N and IUPAC codes included."""
    low_quality: float


noises = st.builds(
    Noise,
    sites=st.sampled_from([0.05, 0.1, 0.3]),
    mismatch=st.sampled_from([0.2, 0.5, 1.0]),
    anywhere=st.sampled_from([0.0, 0.01, 0.1]),
    low_quality=st.sampled_from([0.0, 0.05, 0.3]),
)


def sequenced(contig: str, start: int, cigar: Cigar, noise: Noise, rng: random.Random) -> str:
    """Bases of a read: the contig's but for what `noise` says; insertions recur."""
    bases: list[str] = []
    position = start
    for op, length in cigar:
        if op in "M=X":
            for base in contig[position : position + length]:
                shown = base
                site = (position * 2_654_435_761) % 1_000 < noise.sites * 1_000
                if site and rng.random() < noise.mismatch:
                    shown = "ACGT"[(position + rng.choice([0, 0, 0, 1])) % 4]
                bases.append(shown)
                position += 1
        elif op in "IS":
            phase = position + rng.choice([0, 0, 0, 1])
            bases.extend("ACGT"[(phase + i * i) % 4] for i in range(length))
        elif op in "DN":
            position += length
    return "".join(rng.choice(IUPAC) if rng.random() < noise.anywhere else b for b in bases)


def qualities_of(length: int, noise: Noise, rng: random.Random) -> tuple[int, ...]:
    """Phred scores of 0 to 93, many of them next to the limits of 10 and 40."""
    low, high = [0, 2, 8, 9, 10, 11], [10, 20, 30, 39, 40, 41, 60, 93]
    return tuple(
        rng.choice(low if rng.random() < noise.low_quality else high) for _ in range(length)
    )


FLAG_SETS = (
    0,
    0,
    PAIRED | PROPER | FIRST,
    PAIRED | PROPER | SECOND,
    PAIRED | FIRST,
    PAIRED | MATE_UNMAPPED | SECOND,
    PAIRED | PROPER,
    PAIRED | FIRST | SECOND,
)
DROPPED = (DUPLICATE, SECONDARY, SUPPLEMENTARY, QC_FAIL)


def make_read(
    contig: str, start: int, cigar: Cigar, name: str, noise: Noise, rng: random.Random
) -> Read:
    """One read; what it is not told is drawn from `rng`."""
    flag = rng.choice(FLAG_SETS) | rng.choice([0, REVERSE])
    if rng.random() < 0.05:
        flag |= rng.choice(DROPPED)
    bases = sequenced(contig, start, cigar, noise, rng)
    return Read(
        name=name,
        number=int(bool(flag & PAIRED) and not flag & FIRST),
        start=start,
        mapq=rng.choice([0, 4, 5, 6, 20, 29, 59, 60, 60, 60, 60, 255]),
        flag=flag,
        tlen=rng.choice([-1, 1]) * rng.choice([0, 1, 99, 350, 999, 1_000, 1_001, 2**31 - 1]),
        cigar=tuple(cigar),
        bases=bases,
        qualities=qualities_of(len(bases), noise, rng),
        hp=rng.choice([0, 0, 1, 2]),
        mate_elsewhere=bool(flag & PAIRED) and not flag & MATE_UNMAPPED and rng.random() < 0.1,
    )


@st.composite
def scenes(draw: st.DrawFn, max_copies: int = 12) -> Scene:
    """A contig and reads sorted by start.

    Reads come as copies of a few alignments, so that alleles are shared; with
    a large `max_copies` there are often more than a small image has rows.
    Some names recur, on both numbers of a pair and on true duplicates.
    """
    contig = draw(contigs())
    noise = draw(noises)
    rng = random.Random(draw(st.integers(0, 2**32)))
    reads = []
    for _ in range(draw(st.integers(1, 8))):
        start = draw(st.integers(0, len(contig) - 1))
        cigar = draw(cigars(len(contig) - start))
        if read_length(cigar) == 0:
            continue
        for _ in range(draw(st.integers(1, max_copies))):
            name = f"r{rng.randrange(10**6)}"
            if reads and rng.random() < 0.1:
                name = rng.choice(reads).name
            reads.append(make_read(contig, start, cigar, name, noise, rng))
    reads.sort(key=lambda read: read.start)
    first = draw(st.integers(0, len(contig) // 3))
    last = draw(st.integers(2 * len(contig) // 3, len(contig)))
    size = -(-(last - first) // draw(st.integers(1, 4)))
    partitions = tuple((a, min(a + size, last)) for a in range(first, last, size))
    return Scene(contig, partitions, tuple(reads))


geometries = st.builds(
    lambda height, half: Geometry(height, 2 * half + 1, reference_rows=5),
    st.integers(10, 20),
    st.sampled_from([5, 6, 7, *range(8, 21)]),
)


def offsets(lengths: Sequence[int]) -> np.ndarray:
    """Running sum from 0, int64."""
    return np.array([0, *accumulate(lengths)], np.int64)


def joined(parts: Sequence[str]) -> np.ndarray:
    """ASCII codes of all texts in a row."""
    return np.frombuffer("".join(parts).encode(), np.uint8).copy()


def twins(reads: Sequence[Read]) -> list[int]:
    """For each read the first with its name and number."""
    first: dict[str, int] = {}
    return [first.setdefault(read.key, i) for i, read in enumerate(reads)]


def pools_of(
    reads: Sequence[Read], partitions: Sequence[tuple[int, int]], cap: int = 0
) -> list[list[int]]:
    """Indices of the reads of each partition, after the reservoir (0: without)."""
    return [
        reservoir([i for i, read in enumerate(reads) if overlaps(read, start, end)], cap)
        for start, end in partitions
    ]


def to_batch(
    reads: Sequence[Read],
    partitions: Sequence[tuple[int, int]],
    cap: int = 0,
    contig: str = "c",
    pools: Sequence[Sequence[int]] | None = None,
) -> ReadBatch:
    """The arrays that the scanner would make of `reads`; filter them before.

    Parameters
    ----------
    reads : sequence of Read
        In file order.
    partitions : sequence of (int, int)
        Start and end, 0-based half-open.
    cap : int
        Most reads of a partition, 0 for no limit.
    contig : str
        Its name.
    pools : sequence of sequences of int, optional
        Each partition's reads, if not those that overlap it.
    """
    pools = pools_of(reads, partitions, cap) if pools is None else pools
    cigars = [length << 4 | OPERATIONS.index(op) for read in reads for op, length in read.cigar]
    return ReadBatch(
        contig=contig,
        start=np.array([read.start for read in reads], np.int64),
        end=np.array([read.end for read in reads], np.int64),
        flag=np.array([read.flag for read in reads], np.uint16),
        mapping_quality=np.array([read.mapq for read in reads], np.uint8),
        fragment_length=np.array([read.tlen for read in reads], np.int32),
        haplotype=np.array([read.hp for read in reads], np.int32),
        read_number=np.array([read.number for read in reads], np.uint8),
        twin=np.array(twins(reads), np.int32),
        base_offset=offsets([len(read.bases) for read in reads]),
        bases=joined([read.bases for read in reads]),
        qualities=np.array([q for read in reads for q in read.qualities], np.uint8),
        cigar_offset=offsets([len(read.cigar) for read in reads]),
        cigar=np.array(cigars, np.uint32),
        name_offset=offsets([len(read.name) for read in reads]),
        names=joined([read.name for read in reads]),
        partition_offset=offsets([len(pool) for pool in pools]),
        partition_reads=np.array([i for pool in pools for i in pool], np.int32),
        methylation=modifications([read.methylation for read in reads], reads),
        methylation_6ma=modifications([read.methylation_6ma for read in reads], reads),
    )


def modifications(values: Sequence[Sequence[int]], reads: Sequence[Read]) -> np.ndarray:
    """One probability a base, 0 for reads that say nothing."""
    filled = [own or [0] * len(read.bases) for own, read in zip(values, reads, strict=True)]
    return np.array([value for own in filled for value in own], np.uint8)


def write_bam(path: Path, contigs: Mapping[str, int], reads: Sequence[Read]) -> None:
    """Write reads on the first of `contigs` (name to length) as an indexed BAM.

    A mate that lies elsewhere is put on the last contig.
    """
    header = {
        "HD": {"VN": "1.6", "SO": "coordinate"},
        "SQ": [{"SN": name, "LN": length} for name, length in contigs.items()],
        "RG": [{"ID": "rg", "SM": "sample"}],
    }
    with pysam.AlignmentFile(str(path), "wb", header=header) as bam:
        for read in reads:
            record = pysam.AlignedSegment(bam.header)
            record.query_name = read.name
            record.flag = read.flag
            record.reference_id = 0
            record.reference_start = read.start
            record.mapping_quality = read.mapq
            record.cigartuples = [(OPERATIONS.index(op), length) for op, length in read.cigar]
            record.query_sequence = read.bases
            record.query_qualities = list(read.qualities)
            record.template_length = read.tlen
            if read.flag & PAIRED:
                record.next_reference_id = len(contigs) - 1 if read.mate_elsewhere else 0
                record.next_reference_start = 0 if read.mate_elsewhere else read.start
            if read.hp:
                record.set_tag("HP", read.hp, "i")
            bam.write(record)
    pysam.index(str(path))


def write_fasta(path: Path, contigs: Mapping[str, str]) -> None:
    """Write contigs (name to bases) as an indexed plain FASTA."""
    path.write_text("".join(f">{name}\n{bases}\n" for name, bases in contigs.items()))
    pysam.faidx(str(path))
