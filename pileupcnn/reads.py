"""The region scanner: aligned reads of one sample, run by run, as arrays."""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pysam
from numpy.typing import NDArray

from pileupcnn.errors import InputError, OptionError, check_range
from pileupcnn.kernels.sweep import ReadSweep
from pileupcnn.reference import Reference
from pileupcnn.regions import PARTITION_SIZE, Region
from pileupcnn.resources import Closing

CHECKSUM_BASES = 100_000_000
"""Most reference bases that are read to compare checksums, well under a second's work."""

DEFAULT_SAMPLE = "default"
"""Sample name of reads whose header names none."""


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
    partition_size: int = PARTITION_SIZE
    max_reads_per_partition: int = 1_500

    def __post_init__(self) -> None:
        check_range("min_mapping_quality", self.min_mapping_quality, 0, 255)
        check_range("partition_size", self.partition_size, 1, 1_000_000)
        check_range("max_reads_per_partition", self.max_reads_per_partition, 0, 1_000_000)

    @property
    def excluded_flags(self) -> int:
        """SAM flags whose reads are not used: failed quality checks always."""
        return (
            pysam.FQCFAIL
            | (0 if self.keep_duplicates else pysam.FDUP)
            | (0 if self.keep_secondary else pysam.FSECONDARY)
            | (0 if self.keep_supplementary else pysam.FSUPPLEMENTARY)
        )


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
    haplotype : int32 [n], optional
        HP tag, 0 where absent; None if nothing wants it.
    read_number : uint8 [n]
        1 for the second read of a pair, else 0.
    twin : int32 [n]
        The first read of the batch with the same name and number, nearly
        always the read itself. Twins are one read to the allele counter.
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
    methylation, methylation_6ma : uint8, optional
        Probabilities in 256ths that a base is 5mC or 6mA, at the same places
        as `bases`, 0 where nothing is said; None if nothing wants them.
    """

    contig: str
    start: NDArray[np.int64]
    end: NDArray[np.int64]
    flag: NDArray[np.uint16]
    mapping_quality: NDArray[np.uint8]
    fragment_length: NDArray[np.int32]
    haplotype: NDArray[np.int32] | None
    read_number: NDArray[np.uint8]
    twin: NDArray[np.int32]
    base_offset: NDArray[np.int64]
    bases: NDArray[np.uint8]
    qualities: NDArray[np.uint8]
    cigar_offset: NDArray[np.int64]
    cigar: NDArray[np.uint32]
    name_offset: NDArray[np.int64]
    names: NDArray[np.uint8]
    partition_offset: NDArray[np.int64]
    partition_reads: NDArray[np.int32]
    methylation: NDArray[np.uint8] | None = None
    methylation_6ma: NDArray[np.uint8] | None = None

    def __len__(self) -> int:
        return len(self.start)

    def name(self, index: int) -> str:
        """Fragment name and read number of one read, ``name/number``."""
        name = self.names[self.name_offset[index] : self.name_offset[index + 1]].tobytes()
        return f"{name.decode('ascii', 'replace')}/{self.read_number[index]}"


class Scanner(Closing):
    """Reads of one sample from one or several BAM or CRAM files, one thread's own.

    Parameters
    ----------
    paths : sequence of path
        The files, each with its index; reads come file by file in this order.
    reference : path
        Indexed FASTA, for CRAM.
    settings : ReadSettings
    sample : str, optional
        The sample, where the headers name several; else the name to give it.
    haplotypes, modifications : bool
        Whether HP tags and modified bases are wanted, which takes time.

    Attributes
    ----------
    sample : str
    lengths : dict of str to int
        Contigs common to the files, with their lengths in bp.
    skipped : Counter of str
        Records skipped so far, by reason, each counted where it starts.

    Raises
    ------
    InputError
        If a file cannot be opened, is truncated or has no index; if one is
        given twice; if the files disagree on contigs, or hold several samples
        and none was chosen.
    """

    def __init__(
        self,
        paths: Sequence[str | Path],
        reference: str | Path,
        settings: ReadSettings,
        sample: str | None = None,
        *,
        haplotypes: bool = False,
        modifications: bool = False,
    ) -> None:
        self.settings = settings
        self._haplotypes, self._modifications = haplotypes, modifications
        _check_different(paths)
        self._files = [_open(path, reference) for path in paths]
        # 0 where it is not known: of a CRAM, and of what htslib alone can find
        self._sizes = [
            os.path.getsize(path) if file.is_bam and os.path.isfile(path) else 0
            for path, file in zip(paths, self._files, strict=True)
        ]
        self.sample, self._read_groups = _choose_sample(self._files, sample)
        self.lengths = _common_lengths(self._files)
        self.skipped: Counter[str] = Counter()
        # where the last sweep ended, so that the next need not read the same records again
        self._swept: Region | None = None
        self._offsets = [0] * len(self._files)

    def close(self) -> None:
        """Close the files."""
        for file in self._files:
            # htslib repeats a read error here, which has been reported by then
            with suppress(OSError):
                file.close()

    def scan(self, run: tuple[Region, ...]) -> ReadBatch:
        """Read what overlaps the partitions of one run.

        Each file is swept once; each partition gets the reads that a query of
        its own would give, in that order.

        Raises
        ------
        InputError
            If a file turns out to be damaged or unsorted.
        """
        settings = self.settings
        sweep = ReadSweep(
            np.array([partition.start for partition in run], dtype=np.int64),
            np.array([partition.end for partition in run], dtype=np.int64),
            settings.max_reads_per_partition,
            settings.min_mapping_quality,
            settings.excluded_flags,
            self._haplotypes,
            self._modifications,
        )
        contig = run[0].contig
        follows = self._swept is not None and (
            self._swept.contig == contig and self._swept.end <= run[0].start
        )
        for i, (file, size) in enumerate(zip(self._files, self._sizes, strict=True)):
            problem, self._offsets[i] = sweep.add_file(
                file,
                file.get_tid(contig),
                size,
                self._read_groups[i],
                self._offsets[i] if follows else 0,
            )
            if problem:
                name = file.filename.decode()
                where = Region(contig, run[0].start, run[-1].end)
                also = "; a CRAM also needs the very --ref it was made with" if not size else ""
                raise InputError(
                    f"{name}: {problem} at {where}; the file is damaged, unsorted or newer than "
                    f"its index, check it with 'samtools quickcheck {name}', then run "
                    f"'samtools sort' if needed and 'samtools index' again{also}"
                )
        self._swept = Region(contig, run[0].start, run[-1].end)
        self.skipped.update(sweep.skip_counts())
        return ReadBatch(contig, **sweep.arrays())


def check_headers(
    paths: Sequence[str | Path], reference: str | Path, contigs: Collection[str]
) -> list[str]:
    """What about the reads is odd but no error, one sentence each.

    An index older than its file, no @RG line, sort order not stated, contigs
    that another file has, and a contig whose M5 checksum is not that of the
    reference (the shortest of `contigs` are compared, `CHECKSUM_BASES` in all).
    """
    found = []
    checksums: dict[str, str] = {}
    headers: list[dict[str, Any]] = []
    for path in paths:
        with _open(path, reference) as file:
            headers.append(file.header.to_dict())
    names = [{line["SN"] for line in header.get("SQ", [])} for header in headers]
    every = set().union(*names)
    for path, header, own in zip(paths, headers, names, strict=True):
        if lacking := sorted(every - own):
            found.append(
                f"{path}: its header lacks {_some(lacking)}, which another file has; "
                "nothing is called there"
            )
        index = _index_path(Path(path))
        if index is not None and index.stat().st_mtime < Path(path).stat().st_mtime - 1:
            found.append(f"{path}: the index {index.name} is older than the file")
        if not header.get("RG"):
            found.append(f"{path}: no @RG line, the sample is called '{DEFAULT_SAMPLE}'")
        if header.get("HD", {}).get("SO") != "coordinate":
            found.append(f"{path}: the header does not say that reads are sorted by coordinate")
        named = {line["SN"]: line["M5"] for line in header.get("SQ", []) if "M5" in line}
        if named and not checksums:
            checksums = _checksums(reference, contigs)
        other = [
            contig
            for contig in sorted(named.keys() & checksums.keys())
            if named[contig].lower() != checksums[contig]
        ]
        if other:
            found.append(
                f"{path}: {_some(other)} with another M5 checksum than in {reference}, so it is "
                "not the very reference the reads were aligned to"
            )
    return found


def _some(contigs: Sequence[str]) -> str:
    """The first of them, and how many there are."""
    return f"{', '.join(contigs[:3])}{', ...' if contigs[3:] else ''} ({len(contigs):,} contigs)"


def _checksums(path: str | Path, contigs: Collection[str]) -> dict[str, str]:
    """MD5 of contigs as the SAM specification has it: upper case, no line ends."""
    checksums = {}
    left = CHECKSUM_BASES
    with Reference(path) as reference:
        for contig in sorted(contigs, key=lambda name: reference.lengths[name]):
            length = reference.lengths[contig]
            left -= length
            if left < 0:
                break
            bases = reference.fetch(contig, 0, length)
            checksums[contig] = hashlib.md5(bases, usedforsecurity=False).hexdigest()
    return checksums


def _index_path(path: Path) -> Path | None:
    for candidate in (
        Path(f"{path}.bai"),
        Path(f"{path}.csi"),
        Path(f"{path}.crai"),
        path.with_suffix(".bai"),
        path.with_suffix(".crai"),
    ):
        if candidate.exists():
            return candidate
    return None


def _open(path: str | Path, reference: str | Path) -> pysam.AlignmentFile:
    # htslib's own lines on stderr say the same as our sentences, only worse; and a
    # CRAM is decoded with --ref or not at all, never with bases from the network
    pysam.set_verbosity(0)
    os.environ["REF_PATH"] = os.devnull
    try:
        file = pysam.AlignmentFile(str(path), reference_filename=str(reference))
    except (OSError, ValueError) as error:
        raise InputError(
            f"{path}: cannot be opened as BAM or CRAM ({error}); check the path, and the file "
            f"with 'samtools quickcheck {path}'"
        ) from error
    if not (file.is_bam or file.is_cram):
        raise InputError(f"{path}: not BAM or CRAM; convert it with 'samtools sort -o reads.bam'")
    if not file.has_index():
        raise InputError(f"{path}: no index; run 'samtools index {path}'")
    return file


def _own_path(path: str | Path) -> str:
    """The file of reads, where htslib's notation names its index, too."""
    return str(path).partition("##idx##")[0]


def _check_different(paths: Sequence[str | Path]) -> None:
    """Raise InputError if a file is there twice: its reads would count twice."""
    known = set[tuple[int, int]]()
    for path in paths:
        with suppress(OSError):  # what cannot be opened is told elsewhere
            stat = os.stat(_own_path(path))
            if (stat.st_dev, stat.st_ino) in known:
                raise InputError(f"{path}: is given twice; give each file of reads once")
            known.add((stat.st_dev, stat.st_ino))


def _choose_sample(
    files: Sequence[pysam.AlignmentFile], chosen: str | None
) -> tuple[str, list[list[bytes]]]:
    """The sample's name, and for each file the read groups to take (none: all)."""
    if chosen is not None and not (chosen and chosen.isprintable()):
        raise OptionError(f"--sample {chosen!r}: give a name of printable characters")
    groups: list[list[tuple[str, str]]] = []
    for file in files:
        lines = file.header.to_dict().get("RG", [])
        groups.append([(line["ID"], line.get("SM") or DEFAULT_SAMPLE) for line in lines])
    samples = sorted({sample for lines in groups for _, sample in lines})
    if len(samples) <= 1:
        return chosen or (samples[0] if samples else DEFAULT_SAMPLE), [[] for _ in files]
    if chosen is None:
        raise InputError(
            f"{', '.join(file.filename.decode() for file in files)}: several samples "
            f"({', '.join(samples)}); choose one with --sample"
        )
    if chosen not in samples:
        raise OptionError(
            f"--sample {chosen}: the reads hold {', '.join(samples)}; choose one of them"
        )
    taken = [[name.encode() for name, sample in lines if sample == chosen] for lines in groups]
    # a file without a read group of the sample still needs a list that matches nothing
    return chosen, [names or [b""] for names in taken]


def _common_lengths(files: Sequence[pysam.AlignmentFile]) -> dict[str, int]:
    lengths = dict(zip(files[0].references, files[0].lengths, strict=True))
    for file in files[1:]:
        other = dict(zip(file.references, file.lengths, strict=True))
        for contig in [contig for contig in lengths if contig not in other]:
            del lengths[contig]
        for contig, length in lengths.items():
            if other[contig] != length:
                raise InputError(
                    f"{file.filename.decode()}: contig {contig} is {other[contig]:,} bp here and "
                    f"{length:,} bp in {files[0].filename.decode()}; give files aligned to one "
                    "reference"
                )
    return lengths
