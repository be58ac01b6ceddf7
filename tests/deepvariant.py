"""DeepVariant's own program's answers for further reads, and the reads it had in hand.

The sets are those of ``deepvariant_oracle`` in the shared data. Candidates and
images depend on the realigned reads, which are listed there too, so they can
be tested without a realigner.
"""

from __future__ import annotations

import dataclasses
import gzip
import hashlib
import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pysam
from numpy.typing import NDArray
from reference import Read, is_used, overlaps
from reference.sampling import reservoir

NA12878 = "NA12878_HiSeq_50x_hg19_chr20"
SIMULATED = "HG002_sim_30x_GRCh38_chr20_5-6Mb"
GRCH38 = Path("GRCh38_chr20_chr21_10Mb", "grch38.chr20_and_21_10M.fa.gz")
ORACLE_SETS = (
    ("na12878", 287, 304),
    ("fuzz3", 216, 239),
    ("fuzz5", 278, 248),
    ("fuzz6", 331, 313),
    ("fuzz7", 360, 227),
)
"""Name, candidates and images."""

MAX_READS = 1_500
MAX_REALIGNED_LENGTH = 500
REFERENCE_MARGIN = 20

Site = tuple[int, str, tuple[str, ...]]
"""Start, REF and ALTs."""


@dataclasses.dataclass
class OraclePartition:
    """One partition as DeepVariant saw it, and what it found there.

    Attributes
    ----------
    name : str
        ``contig:start-end``, 1-based and inclusive.
    contig : str
        All its bases.
    start, end : int
        0-based half-open.
    pool : list of Read
        Realigned, in the order of DeepVariant's pool (long reads first).
    candidates : dict
        DP, AD and the digest of the reads that support each allele.
    images : dict
        Digest by site and indices shown.
    """

    name: str
    contig: str
    start: int
    end: int
    pool: list[Read]
    candidates: dict[Site, tuple[int, tuple[int, ...], str]]
    images: dict[tuple[Site, tuple[int, ...]], str]

    @property
    def counted(self) -> list[int]:
        """Indices of the reads that still overlap the partition: those that count."""
        span = self.start, self.end
        return [i for i, read in enumerate(self.pool) if overlaps(read, *span)]


def to_read(record: pysam.AlignedSegment) -> Read:
    """One BAM record as the reference takes it."""
    assert record.query_name is not None
    return Read(
        name=record.query_name,
        number=int(record.is_paired and not record.is_read1),
        start=record.reference_start,
        mapq=record.mapping_quality,
        flag=record.flag,
        tlen=record.template_length,
        cigar=tuple(("MIDNSHP=X"[op], length) for op, length in record.cigartuples or ()),
        bases=record.query_sequence or "",
        qualities=tuple(record.query_qualities or ()),
        mate_elsewhere=record.is_paired and record.next_reference_id != record.reference_id,
    )


def support_digest(support: dict[str, set[str]]) -> str:
    """Checksum of the read keys listed for each ALT or ``UNCALLED_ALLELE``."""
    lines = (f"{allele}\t{','.join(sorted(support[allele]))}" for allele in sorted(support))
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def image_digest(image: NDArray[np.uint8]) -> str:
    """Checksum of an image's bytes."""
    return hashlib.sha256(image.tobytes()).hexdigest()


def rows_of(path: Path) -> Iterator[list[str]]:
    """Fields of the lines of a table, its ``#`` line left out."""
    with gzip.open(path, "rt") if path.suffix == ".gz" else open(path) as lines:
        yield from (line.rstrip("\n").split("\t") for line in lines if line[0] != "#")


def parse_span(text: str) -> tuple[str, int, int]:
    """Contig, start and end (0-based half-open) of ``contig:start-end``."""
    contig, span = text.rsplit(":", 1)
    start, end = span.split("-")
    return contig, int(start) - 1, int(end)


def oracle_paths(shared: Path, name: str) -> tuple[Path, Path, Path]:
    """Folder of answers, reads and reference of one set."""
    folder = shared / "data" / "deepvariant_oracle" / name
    if name.startswith("sim30x"):
        data = shared / "data" / SIMULATED
        return folder, data / "HG002.sim30x.chr20_5-6Mb.bam", shared / "data" / GRCH38
    if name == "na12878":
        data = shared / "data" / NA12878
        return (
            folder,
            data / "NA12878_S1.chr20.10_10p1mb.bam",
            data / "ucsc.hg19.chr20.unittest.fasta.gz",
        )
    return folder, folder / f"{name}.bam", folder / f"{name}.fa.gz"


def realignments(folder: Path) -> dict[tuple[str, str, int, str], tuple[int, str]]:
    """New start and CIGAR by partition, read key, old start and old CIGAR."""
    return {
        (partition, key, int(old), old_cigar): (int(new), new_cigar)
        for partition, key, old, old_cigar, new, new_cigar in rows_of(folder / "realigned.tsv.gz")
    }


def realigned(read: Read, alignment: tuple[int, str] | None) -> Read:
    """The read with another start and CIGAR, if there is one."""
    if alignment is None:
        return read
    operations = re.findall(r"(\d+)(\D)", alignment[1])
    cigar = tuple((op, int(length)) for length, op in operations)
    return dataclasses.replace(read, start=alignment[0], cigar=cigar)


def oracle_answers(folder: Path) -> tuple[dict[str, dict], dict[str, dict]]:
    """Candidates and images by contig."""
    candidates: dict[str, dict] = defaultdict(dict)
    for contig, position, ref, alts, depth, depths, digest, *_ in rows_of(
        folder / "candidates.tsv"
    ):
        site = int(position) - 1, ref, tuple(alts.split(","))
        answer = int(depth), tuple(map(int, depths.split(","))), digest
        candidates[contig][site] = answer
    images: dict[str, dict] = defaultdict(dict)
    for locus, ref, alts, shown, _, digest, _ in rows_of(folder / "images.tsv"):
        contig, start, _ = parse_span(locus)
        site = start, ref, tuple(alts.split(","))
        images[contig][site, tuple(map(int, shown.split(",")))] = digest
    return candidates, images


def oracle_partitions(shared: Path, name: str) -> Iterator[OraclePartition]:
    """The partitions of one set, in order."""
    folder, bam_path, fasta_path = oracle_paths(shared, name)
    moved = realignments(folder)
    candidates, images = oracle_answers(folder)
    bases: dict[str, str] = {}
    with pysam.AlignmentFile(str(bam_path)) as bam, pysam.FastaFile(str(fasta_path)) as fasta:
        for partition, *_ in rows_of(folder / "partitions.tsv"):
            contig, start, end = parse_span(partition)
            if contig not in bases:
                bases[contig] = fasta.fetch(contig).upper()
            fetched = (record for record in bam.fetch(contig, start, end) if not record.is_unmapped)
            used = [read for read in map(to_read, fetched) if is_used(read)]
            pool = reservoir(used, MAX_READS)
            pool.sort(key=lambda read: len(read.bases) <= MAX_REALIGNED_LENGTH)
            here = range(start, end)
            texts = (read.cigar_text for read in pool)
            yield OraclePartition(
                partition,
                bases[contig],
                start,
                end,
                [
                    realigned(read, moved.get((partition, read.key, read.start, text)))
                    for read, text in zip(pool, texts, strict=True)
                ],
                {site: found for site, found in candidates[contig].items() if site[0] in here},
                {key: digest for key, digest in images[contig].items() if key[0][0] in here},
            )


@dataclasses.dataclass
class OracleWindow:
    """One window that DeepVariant realigned.

    Attributes
    ----------
    reference : str
        Prefix, window and suffix.
    reference_start : int
        Its position, 0-based.
    prefix, suffix : int
        Their lengths.
    haplotypes : list of str
        Sorted, with prefix and suffix.
    reads : list of Read
        Those assigned to the window, as they were.
    wanted : list of (int, str)
        Start and CIGAR of each afterwards.
    """

    reference: str
    reference_start: int
    prefix: int
    suffix: int
    haplotypes: list[str]
    reads: list[Read]
    wanted: list[tuple[int, str]]


def oracle_windows(shared: Path, name: str) -> Iterator[OracleWindow]:
    """The windows of one set whose reads were realigned, in order."""
    folder, bam_path, fasta_path = oracle_paths(shared, name)
    moved = realignments(folder)
    kept: dict[str, list[tuple[int, int, list[str]]]] = defaultdict(list)
    for partition, start, end, state, _, _, _, haplotypes in rows_of(folder / "windows.tsv.gz"):
        if state == "assembled":
            kept[partition].append((int(start), int(end), haplotypes.split(",")))
    bases: dict[str, str] = {}
    with pysam.AlignmentFile(str(bam_path)) as bam, pysam.FastaFile(str(fasta_path)) as fasta:
        for partition, windows in kept.items():
            contig, start, end = parse_span(partition)
            if contig not in bases:
                bases[contig] = fasta.fetch(contig).upper()
            fetched = (record for record in bam.fetch(contig, start, end) if not record.is_unmapped)
            pool = reservoir([read for read in map(to_read, fetched) if is_used(read)], MAX_READS)
            assigned: list[list[Read]] = [[] for _ in windows]
            for read in pool:
                if len(read.bases) > MAX_REALIGNED_LENGTH:
                    continue
                overlap = [
                    min(last, read.end) - max(first, read.start) for first, last, _ in windows
                ]
                if max(overlap) > 0:
                    assigned[overlap.index(max(overlap))].append(read)
            for (first, last, haplotypes), reads in zip(windows, assigned, strict=True):
                if reads:
                    window = _oracle_window(bases[contig], first, last, haplotypes, reads)
                    for read in reads:
                        old = read.start, read.cigar_text
                        window.wanted.append(moved.get((partition, read.key, *old), old))
                    # at the end of a contig DeepVariant leaves the reads as they are
                    if window.suffix > 0:
                        yield window


def _oracle_window(
    contig: str, start: int, end: int, haplotypes: list[str], reads: list[Read]
) -> OracleWindow:
    first = max(0, min(start, *(read.start for read in reads)) - REFERENCE_MARGIN)
    last = min(len(contig), max(end, *(read.end for read in reads)) + REFERENCE_MARGIN)
    prefix, suffix = contig[first:start], contig[end:last]
    return OracleWindow(
        reference=contig[first:last],
        reference_start=first,
        prefix=len(prefix),
        suffix=len(suffix),
        haplotypes=[prefix + haplotype + suffix for haplotype in haplotypes],
        reads=reads,
        wanted=[],
    )
