"""Variant files: records as text, writing VCF and BCF, reading truth.

A variant is formatted in one place, `format_record`, a reference-confidence
block of a gVCF in another, `format_reference`. For ``.vcf.gz`` and
``.bcf`` htslib parses that text and writes its own format, so the formats
cannot disagree.
"""

from __future__ import annotations

import itertools
import os
import struct
import sys
from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass
from math import floor
from pathlib import Path
from typing import Protocol

import numpy as np
import pysam

from pileupcnn.confidence import ANY_ALLELE, ReferenceBlocks
from pileupcnn.errors import InputError, OptionError, OutputError
from pileupcnn.kernels.lines import format_blocks
from pileupcnn.kernels.transcode import VariantFile
from pileupcnn.regions import Region
from pileupcnn.resources import Finishing, temporary_beside

TBI_MAX_LENGTH = 2**29 - 1
"""Longest contig in bp that a ``.tbi`` index can address; ``.csi`` has no such limit."""

_MODES = {".vcf.gz": b"wz", ".bcf": b"wb"}
"""htslib's modes of the formats that it writes for us."""

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

_MODEL_ID_HEADER = """\
##FORMAT=<ID=MID,Number=1,Type=String,Description="Model that made the call, if no image was drawn \
of some ALT">
"""

_GVCF_HEADER = f"""\
##ALT=<ID={ANY_ALLELE[1:-1]},Description="Any allele that is not named">
##INFO=<ID=END,Number=1,Type=Integer,Description="Last position of a block that is like the \
reference">
##FORMAT=<ID=MIN_DP,Number=1,Type=Integer,Description="Fewest reads at a position of the block">
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
    model_id : str
        MID: the model that said something without an image; empty for none.
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
    model_id: str = ""

    @property
    def end(self) -> int:
        """End of REF, 0-based and exclusive."""
        return self.start + len(self.alleles[0])


def header_lines(
    sample: str,
    contigs: Mapping[str, int],
    source: str,
    *,
    with_model_ids: bool = False,
    gvcf: bool = False,
) -> str:
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
    with_model_ids : bool
        Whether records may have a `model_id`.
    gvcf : bool
        Declare what reference-confidence blocks are made of, too.
    """
    lines = "".join(f"##contig=<ID={name},length={size}>\n" for name, size in contigs.items())
    columns = "CHROM POS ID REF ALT QUAL FILTER INFO FORMAT".replace(" ", "\t")
    extra = (_MODEL_ID_HEADER if with_model_ids else "") + (_GVCF_HEADER if gvcf else "")
    return f"{_HEADER}{extra}##source={source}\n{lines}#{columns}\t{sample}\n"


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
    model_id = record.model_id
    return (
        f"{record.contig}\t{record.start + 1}\t.\t{alleles[0]}\t{','.join(alleles[1:]) or '.'}\t"
        f"{'.' if quality is None else f'{floor(quality * 10 + 0.5) / 10:g}'}\t"
        f"{';'.join(record.filters) or '.'}\t.\tGT:GQ:DP:AD:VAF:{'MID:' if model_id else ''}PL\t"
        f"{'.' if first < 0 else first}/{'.' if second < 0 else second}:"
        f"{record.genotype_quality}:{record.depth}:{','.join(map(str, record.allele_depths))}:"
        f"{','.join([f'{_float32(vaf):g}' for vaf in record.allele_fractions]) or '.'}:"
        f"{f'{model_id}:' if model_id else ''}"
        f"{','.join([str(int(-10 * (value - best))) for value in likelihoods])}\n"
    )


def format_reference(blocks: ReferenceBlocks) -> bytes:
    """Lines of VCF text of reference-confidence blocks; numbers as in `format_record`."""
    return format_blocks(
        _encoded(blocks.contig),
        blocks.start,
        blocks.end,
        blocks.base,
        blocks.called.view(np.uint8),
        blocks.genotype_quality,
        blocks.min_depth,
        blocks.log10_likelihoods,
    )


def _encoded(text: str) -> bytes:
    """Names may hold bytes that are no UTF-8."""
    return text.encode("utf-8", "surrogateescape")


def _float32(value: float) -> float:
    """The nearest float32, which is what BCF stores."""
    rounded: float = _FLOAT.unpack(_FLOAT.pack(value))[0]
    return rounded


class _Sink(Protocol):
    """What `VcfWriter` writes bytes to."""

    def write(self, data: bytes, /) -> object: ...

    def close(self) -> None: ...


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
    sample, contigs, source, with_model_ids, gvcf
        As `header_lines` takes them.
    option : str
        The command line's name for `path`, for messages.

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
        self,
        path: str | Path,
        sample: str,
        contigs: Mapping[str, int],
        source: str,
        *,
        with_model_ids: bool = False,
        gvcf: bool = False,
        option: str = "--output",
    ) -> None:
        self.path = Path(path)
        self._option = option
        self._suffix = _output_suffix(path, option)
        self._temporary = temporary_beside(self.path)
        long = max(contigs.values(), default=0) > TBI_MAX_LENGTH
        self._index = {".vcf.gz": ".csi" if long else ".tbi", ".bcf": ".csi"}.get(self._suffix, "")
        self._rank = {contig: rank for rank, contig in enumerate(contigs)}
        self._contig, self._start = "", 0
        header = header_lines(sample, contigs, source, with_model_ids=with_model_ids, gvcf=gvcf)
        self._sink = self._open(_encoded(header))

    def write(self, record: Record) -> None:
        """Append a record; contigs in header order, starts ascending."""
        self._advance(record.contig, record.start)
        self._write(_encoded(format_record(record)))

    def write_reference(self, blocks: ReferenceBlocks) -> None:
        """Append reference-confidence blocks, at least one; in order with the records."""
        self._advance(blocks.contig, int(blocks.start[0]))
        self._start = int(blocks.start[-1])
        self._write(format_reference(blocks))

    def _advance(self, contig: str, start: int) -> None:
        """See that nothing is out of order."""
        if contig != self._contig:
            if self._rank[contig] <= self._rank.get(self._contig, -1):
                raise RuntimeError(f"records of {contig} after those of {self._contig}")
            self._contig, self._start = contig, 0
        if start < self._start:
            raise RuntimeError(f"record {contig}:{start + 1:,} is out of order")
        self._start = start

    def _write(self, data: bytes) -> None:
        try:
            self._sink.write(data)
        except OSError as error:
            raise self._failure(error) from error

    def _open(self, header: bytes) -> _Sink:
        """What the records are written to, the header written."""
        if not self._suffix:
            if sys.stdout is None:
                raise OutputError(f"standard output is closed; give {self._option} a file name")
            sys.stdout.flush()
            self._sink = sys.stdout.buffer
            self._write(header)
            return self._sink
        if self.path.is_dir():
            raise OutputError(f"{self.path}: is a folder; give {self._option} a file name in it")
        try:
            plain = open(self._temporary, "wb")  # noqa: SIM115 - _complete or _abandon closes it
        except OSError as error:
            raise OutputError(
                f"{self.path}: cannot be written ({_reason(error)}); check that the folder "
                f"exists and may be written to, or choose another {self._option}"
            ) from error
        self._sink = plain
        try:
            if self._suffix not in _MODES:
                self._write(header)
                return plain
            plain.close()  # opened only to see that it can be
            return VariantFile(os.fsencode(self._temporary), _MODES[self._suffix], header)
        except OSError as error:
            self._abandon()
            raise self._failure(error) from error
        except BaseException:
            self._abandon()
            raise

    def _complete(self) -> None:
        if not self._suffix:
            sys.stdout.buffer.flush()
            return
        self._sink.close()
        _sync(self._temporary)
        if self._index:
            pysam.tabix_index(
                str(self._temporary),
                preset="bcf" if self._suffix == ".bcf" else "vcf",
                index=f"{self._temporary}{self._index}",
                csi=self._index == ".csi",
                force=True,
                keep_original=True,
            )

    def _publish(self) -> None:
        if not self._suffix:
            return
        if self._index:
            os.replace(f"{self._temporary}{self._index}", f"{self.path}{self._index}")
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
            f"{self._option}"
        )


def _output_suffix(path: str | Path, option: str) -> str:
    """``.vcf``, ``.vcf.gz`` or ``.bcf``; empty for standard output."""
    text = str(path)
    if text == "-":
        return ""
    for suffix in (".vcf", ".vcf.gz", ".bcf"):
        if text.endswith(suffix):
            return suffix
    raise OptionError(
        f"{option} {text}: the suffix decides the format; end it in .vcf, .vcf.gz or .bcf, "
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
