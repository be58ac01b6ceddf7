"""Variant files: records as text, writing VCF and BCF, reading truth.

Every record is formatted in one place, `format_record`. For ``.vcf.gz`` and
``.bcf`` htslib reads that text from a pipe and writes its own format, so the
formats cannot disagree.
"""

from __future__ import annotations

import itertools
import os
import struct
import sys
import threading
from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass
from math import floor
from pathlib import Path
from typing import Protocol

import pysam

from pileupcnn.errors import InputError, OptionError, OutputError
from pileupcnn.regions import Region
from pileupcnn.resources import Finishing

TBI_MAX_LENGTH = 2**29 - 1
"""Longest contig in bp that a ``.tbi`` index can address; ``.csi`` has no such limit."""

_MODES = {".vcf.gz": "wz", ".bcf": "wb"}
"""pysam's modes of the formats that htslib writes for us."""

_PIPE_BUFFER = 1 << 16

_FLOAT = struct.Struct("f")

_HEADER = """\
##fileformat=VCFv4.2
##FILTER=<ID=PASS,Description="All filters passed">
##FILTER=<ID=RefCall,Description="Most likely the reference on both haplotypes">
##FILTER=<ID=LowQual,Description="Too likely to be no variant: QUAL is below the threshold">
##FILTER=<ID=NoCall,Description="No read shows any of the alleles">
##FORMAT=<ID=GT,Number=1,Type=String,Description="Genotype">
##FORMAT=<ID=GQ,Number=1,Type=Integer,Description="Phred-scaled probability that GT is wrong">
##FORMAT=<ID=DP,Number=1,Type=Integer,Description="Reads with a usable allele here">
##FORMAT=<ID=AD,Number=R,Type=Integer,Description="Reads that show each allele">
##FORMAT=<ID=VAF,Number=A,Type=Float,Description="Share of the reads that show each ALT allele">
##FORMAT=<ID=PL,Number=G,Type=Integer,Description="Phred-scaled genotype likelihoods, \
cut to integers; the most likely genotype has 0">
"""


@dataclass(slots=True)
class Record:
    """One variant record of one sample.

    Attributes
    ----------
    contig : str
    start : int
        First base of REF, 0-based.
    alleles : tuple of str
        REF, then the ALT alleles.
    quality : float or None
        QUAL: Phred-scaled probability that there is no variant.
    filters : tuple of str
        FILTER, e.g. ``("PASS",)``.
    genotype : tuple of int
        Two allele indices, ascending; -1 is missing.
    genotype_quality : int
        GQ: Phred-scaled probability that the genotype is wrong.
    depth : int
        DP, reads.
    allele_depths : tuple of int
        AD, reads of each allele, REF first.
    allele_fractions : tuple of float
        VAF of each ALT.
    log10_likelihoods : tuple of float
        GL in VCF genotype order (0/0, 0/1, 1/1, 0/2, 1/2, 2/2, ...); PL is made
        of it.
    """

    contig: str
    start: int
    alleles: tuple[str, ...]
    quality: float | None
    filters: tuple[str, ...]
    genotype: tuple[int, int]
    genotype_quality: int
    depth: int
    allele_depths: tuple[int, ...]
    allele_fractions: tuple[float, ...]
    log10_likelihoods: tuple[float, ...]

    @property
    def end(self) -> int:
        """End of REF, 0-based and exclusive."""
        return self.start + len(self.alleles[0])


def header_lines(sample: str, contigs: Mapping[str, int], source: str) -> str:
    """The VCF header, to the ``#CHROM`` line.

    Nothing in it depends on date, machine or paths, so that the same input
    gives the same bytes.

    Parameters
    ----------
    sample : str
        Name of the one sample.
    contigs : mapping of str to int
        Lengths in bp, in output order.
    source : str
        Program, version and model: text of the ``##source`` line.
    """
    lines = "".join(f"##contig=<ID={name},length={size}>\n" for name, size in contigs.items())
    columns = "CHROM POS ID REF ALT QUAL FILTER INFO FORMAT".replace(" ", "\t")
    return f"{_HEADER}##source={source}\n{lines}#{columns}\t{sample}\n"


def format_record(record: Record) -> str:
    """One line of VCF text, with its newline.

    Numbers read as DeepVariant 1.9 (htslib) writes them: QUAL to one decimal,
    halves up; VAF the six significant digits of the float32; PL shifted to a
    minimum of 0, then truncated.
    """
    alleles = record.alleles
    first, second = record.genotype
    likelihoods = record.log10_likelihoods
    best = max(likelihoods)
    quality = record.quality
    return (
        f"{record.contig}\t{record.start + 1}\t.\t{alleles[0]}\t{','.join(alleles[1:]) or '.'}\t"
        f"{'.' if quality is None else f'{floor(quality * 10 + 0.5) / 10:g}'}\t"
        f"{';'.join(record.filters) or '.'}\t.\tGT:GQ:DP:AD:VAF:PL\t"
        f"{'.' if first < 0 else first}/{'.' if second < 0 else second}:"
        f"{record.genotype_quality}:{record.depth}:{','.join(map(str, record.allele_depths))}:"
        f"{','.join([f'{_float32(vaf):g}' for vaf in record.allele_fractions]) or '.'}:"
        f"{','.join([str(int(-10 * (value - best))) for value in likelihoods])}\n"
    )


def _float32(value: float) -> float:
    """The nearest float32, which is what BCF stores."""
    rounded: float = _FLOAT.unpack(_FLOAT.pack(value))[0]
    return rounded


class _Sink(Protocol):
    """What `VcfWriter` writes bytes to."""

    def write(self, data: bytes, /) -> object: ...

    def close(self) -> None: ...


class _HtslibPipe:
    """Text of a VCF in; htslib's ``.vcf.gz`` or ``.bcf`` out, made in a thread.

    Parameters
    ----------
    path : path
        File to write.
    mode : str
        pysam's mode: ``wz`` or ``wb``.
    """

    def __init__(self, path: Path, mode: str) -> None:
        reading, writing = os.pipe()
        self._pipe = os.fdopen(writing, "wb", buffering=_PIPE_BUFFER)
        self._failure: BaseException | None = None
        self._thread = threading.Thread(
            target=self._convert, args=(reading, str(path), mode), name="htslib", daemon=True
        )
        self._thread.start()

    def _convert(self, reading: int, path: str, mode: str) -> None:
        try:
            # leaving the first "with" closes our end, so a blocked writer wakes
            with (
                os.fdopen(reading, "rb") as pipe,
                pysam.VariantFile(pipe) as text,
                pysam.VariantFile(path, mode, header=text.header) as out,
            ):
                for record in text:
                    out.write(record)
        except BaseException as error:
            self._failure = error

    def write(self, data: bytes) -> None:
        """Hand on some text; raises OSError if htslib could not write."""
        try:
            self._pipe.write(data)
        except BrokenPipeError:
            self.close()

    def close(self) -> None:
        """Wait until the file is complete; raises what went wrong in the thread."""
        with suppress(BrokenPipeError):  # the thread's own error says more
            self._pipe.close()
        self._thread.join()
        if self._failure is not None:
            raise self._failure


class VcfWriter(Finishing):
    """Write records to a VCF or BCF that appears under its name only when complete.

    A context manager. The file is made beside its target under a temporary
    name, indexed, and renamed when the ``with`` block ends well; when it does
    not, all that was written is removed.

    Parameters
    ----------
    path : path
        ``.vcf``, ``.vcf.gz`` (with ``.tbi``, or ``.csi`` if a contig is longer
        than `TBI_MAX_LENGTH`) or ``.bcf`` (with ``.csi``); ``-`` is standard
        output, plain text.
    sample, contigs, source
        As `header_lines` takes them.

    Raises
    ------
    OptionError
        If the suffix is none of these.
    OutputError
        If the file cannot be written, now or later.
    BrokenPipeError
        If the reader of standard output has gone; for the caller to handle.
    """

    def __init__(
        self, path: str | Path, sample: str, contigs: Mapping[str, int], source: str
    ) -> None:
        self.path = Path(path)
        self._suffix = _output_suffix(path)
        self._temporary = self.path.with_name(f".{self.path.name}.{os.getpid()}.tmp")
        long = max(contigs.values(), default=0) > TBI_MAX_LENGTH
        self._index = {".vcf.gz": ".csi" if long else ".tbi", ".bcf": ".csi"}.get(self._suffix, "")
        self._rank = {contig: rank for rank, contig in enumerate(contigs)}
        self._contig, self._start = "", 0
        self._sink = self._open()
        try:
            self._write(header_lines(sample, contigs, source))
        except BaseException:
            self._abandon()
            raise

    def write(self, record: Record) -> None:
        """Append a record; contigs in header order, starts ascending."""
        if record.contig != self._contig:
            if self._rank[record.contig] <= self._rank.get(self._contig, -1):
                raise RuntimeError(f"records of {record.contig} after those of {self._contig}")
            self._contig, self._start = record.contig, 0
        if record.start < self._start:
            raise RuntimeError(f"record {record.contig}:{record.start + 1:,} is out of order")
        self._start = record.start
        self._write(format_record(record))

    def _write(self, text: str) -> None:
        try:
            self._sink.write(text.encode("utf-8", "surrogateescape"))
        except OSError as error:
            raise self._failure(error) from error

    def _open(self) -> _Sink:
        if not self._suffix:
            sys.stdout.flush()
            return sys.stdout.buffer
        if self.path.is_dir():
            raise OutputError(f"{self.path}: is a folder; give --output a file name in it")
        try:
            plain = open(self._temporary, "wb")  # noqa: SIM115 - _finish or _abandon closes it
        except OSError as error:
            raise OutputError(
                f"{self.path}: cannot be written ({_reason(error)}); check that the folder "
                "exists and may be written to, or choose another --output"
            ) from error
        if self._suffix not in _MODES:
            return plain
        plain.close()  # opened only to see that it can be
        return _HtslibPipe(self._temporary, _MODES[self._suffix])

    def _finish(self) -> None:
        """Complete the file, index it and put both under their names."""
        if not self._suffix:
            sys.stdout.buffer.flush()
            return
        self._sink.close()
        _sync(self._temporary)
        if self._index:
            made = f"{self._temporary}{self._index}"
            pysam.tabix_index(
                str(self._temporary),
                preset="bcf" if self._suffix == ".bcf" else "vcf",
                index=made,
                csi=self._index == ".csi",
                force=True,
                keep_original=True,
            )
            os.replace(made, f"{self.path}{self._index}")
            # htslib prefers .csi: one left from an earlier file would hide ours
            stale = ".csi" if self._index == ".tbi" else ".tbi"
            Path(f"{self.path}{stale}").unlink(missing_ok=True)
        os.replace(self._temporary, self.path)

    def _abandon(self) -> None:
        """Remove all that was written; an error in it would hide the first one."""
        if not self._suffix:
            return
        with suppress(Exception):
            self._sink.close()
        for suffix in ("", self._index):
            with suppress(OSError):
                os.unlink(f"{self._temporary}{suffix}")

    def _failure(self, error: OSError) -> OSError | OutputError:
        """What to raise: a reader that left standard output is no failure of ours."""
        if not self._suffix and isinstance(error, BrokenPipeError):
            return error
        name = self.path if self._suffix else "standard output"
        return OutputError(
            f"{name}: cannot be written ({_reason(error)}); free some space or choose another "
            "--output"
        )


def _output_suffix(path: str | Path) -> str:
    """``.vcf``, ``.vcf.gz`` or ``.bcf``; empty for standard output."""
    text = str(path)
    if text == "-":
        return ""
    for suffix in (".vcf", ".vcf.gz", ".bcf"):
        if text.endswith(suffix):
            return suffix
    raise OptionError(
        f"--output {text}: the suffix decides the format; end it in .vcf, .vcf.gz or .bcf, "
        "or give - for standard output"
    )


def _reason(error: Exception) -> str:
    """The system's words for an error: pysam puts its own in front."""
    number = getattr(error, "errno", None)
    return os.strerror(number) if number else str(error)


def _sync(path: Path) -> None:
    """Have the bytes on disk before the name: a crash leaves no empty file."""
    with open(path, "rb") as written:
        os.fsync(written.fileno())


@dataclass(frozen=True, slots=True)
class TruthVariant:
    """A variant of the truth set.

    Attributes
    ----------
    contig : str
    start : int
        0-based.
    alleles : tuple of str
        REF, then the ALT alleles; upper case, as they stand (not trimmed). An
        ALT may be ``*``, the trace of a deletion that starts further left.
    genotype : tuple of int
        Two allele indices, ascending; -1 is missing. A haploid genotype is
        given twice.
    value : str, optional
        First value of the INFO field that the reader was asked for; None where
        the record lacks it.
    """

    contig: str
    start: int
    alleles: tuple[str, ...]
    genotype: tuple[int, int]
    value: str | None = None

    @property
    def end(self) -> int:
        """End of REF, 0-based and exclusive."""
        return self.start + len(self.alleles[0])


class TruthReader:
    """Truth variants by region; one object belongs to one thread.

    Parameters
    ----------
    path : path
        Indexed ``.vcf.gz`` or ``.bcf``; its first sample is read.
    contigs : collection of str, optional
        Names of the contigs that will be asked for: at least one must be known
        to the file, so that ``20`` and ``chr20`` are not mixed up unseen.
    field : str, optional
        Name of an INFO field to read, too.

    Raises
    ------
    InputError
        If the file cannot be read, has no index or no sample, shares no
        contig, or its header lacks the field.
    """

    def __init__(
        self,
        path: str | Path,
        contigs: Collection[str] | None = None,
        field: str | None = None,
    ) -> None:
        self.path = Path(path)
        self._field = field
        try:
            self._file = pysam.VariantFile(str(path))
        except (OSError, ValueError) as error:
            raise InputError(
                f"{path}: cannot be opened as a VCF or BCF ({_reason(error)}); check the path of "
                "the truth"
            ) from error
        try:
            self._check(contigs)
        except BaseException:
            self.close()
            raise

    def _check(self, contigs: Collection[str] | None) -> None:
        if self._file.index is None:
            raise InputError(
                f"{self.path}: no index; compress it with bgzip if it is plain text, then run "
                "'bcftools index' on it"
            )
        if not len(self._file.header.samples):
            raise InputError(f"{self.path}: no sample column; the truth needs genotypes (GT)")
        if self._field is not None and self._field not in self._file.header.info:
            known = ", ".join(itertools.islice(self._file.header.info, 5)) or "none"
            raise InputError(
                f"{self.path}: its header has no INFO field {self._field} (but {known}); name one "
                "that it has"
            )
        # names in the header without a record are not in a .tbi, and the other way round
        self._known = {*self._file.header.contigs, *self._file.index}
        if contigs is not None and self._known.isdisjoint(contigs):
            ours, theirs = (
                ", ".join(itertools.islice(names, 3)) or "none"
                for names in (contigs, self._file.header.contigs)
            )
            raise InputError(
                f"{self.path}: no contig in common, the truth names {theirs} and the reads "
                f"{ours}; give the truth for the same reference"
            )

    def __enter__(self) -> TruthReader:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        with suppress(OSError):  # htslib tells of damage once more, after `fetch` did
            self._file.close()

    def fetch(self, region: Region) -> list[TruthVariant]:
        """Variants whose REF overlaps `region`, in file order.

        Records with a FILTER other than PASS, without an ALT, and those with a
        symbolic or breakend ALT are left out.

        Raises
        ------
        InputError
            If the file is damaged.
        """
        if region.contig not in self._known:
            return []
        try:
            records = self._file.fetch(region.contig, region.start, region.end)
            found = [_truth(record, self._field) for record in records]
        except (OSError, ValueError) as error:
            raise InputError(
                f"{self.path}: {region} cannot be read ({error}); the file or its index is "
                "damaged, make both again"
            ) from error
        return [variant for variant in found if variant is not None]


def _truth(record: pysam.VariantRecord, field: str | None) -> TruthVariant | None:
    """A record of pysam as truth, or None if it is none."""
    if any(name != "PASS" for name in record.filter):
        return None
    alts = record.alts or ()
    if not alts or any(set(alt) & set("<>[].") for alt in alts):
        return None
    indices = [-1 if index is None else index for index in record.samples[0].allele_indices or ()]
    if len(indices) not in (1, 2):
        indices = [-1, -1]
    first, second = sorted((indices[0], indices[-1]))
    alleles = (record.ref.upper(), *(alt.upper() for alt in alts))
    values = None if field is None else record.info.get(field)
    value = values[0] if isinstance(values, tuple) and values else values
    return TruthVariant(
        record.contig,
        record.start,
        alleles,
        (first, second),
        None if value is None else str(value),
    )
