"""Records as text, files written whole or not at all, and truth read."""

from __future__ import annotations

import errno
import gzip
import io
import os
import shutil
import subprocess
import sys
import textwrap
import threading
from dataclasses import replace
from pathlib import Path

import pysam
import pytest

from pileupcnn.errors import InputError, OptionError, OutputError
from pileupcnn.regions import Region
from pileupcnn.vcf import (
    TBI_MAX_LENGTH,
    Record,
    TruthReader,
    TruthVariant,
    VcfWriter,
    format_record,
    header_lines,
)


def test_standard_output_may_be_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", None)
    with pytest.raises(OutputError, match="standard output is closed; give --output"):
        VcfWriter("-", "NA1", {"c1": 10}, "pileupcnn")


def read_truth(path: Path, region: Region) -> list[TruthVariant]:
    """Truth variants overlapping one region."""
    with TruthReader(path, [region.contig]) as reader:
        return reader.fetch(region)


CONTIGS = {"c1": 1_000_000, "HLA-A*01:01": 5_000, "c2": 300_000}
SOURCE = "pileupcnn 1.0 model=small sha256=00ff"
SUFFIXES = (".vcf", ".vcf.gz", ".bcf")
RECORD = Record(
    contig="c1",
    start=99,
    alleles=("A", "C"),
    quality=37.5586,
    filters=("PASS",),
    genotype=(0, 1),
    genotype_quality=36,
    depth=55,
    allele_depths=(25, 30),
    allele_fractions=(30 / 55,),
    log10_likelihoods=(-3.7592, -0.0001, -4.2763),
)


def some_records() -> list[Record]:
    """Records on all contigs, of all kinds."""
    return [
        RECORD,
        replace(
            RECORD,
            start=120,
            alleles=("GTT", "G", "GTTT"),
            genotype=(1, 2),
            allele_depths=(3, 27, 15),
            allele_fractions=(0.509434, 0.283019),
            log10_likelihoods=(-2.8, -2.6, -0.7, -2.6, 0.0, -1.5),
        ),
        replace(RECORD, start=120, filters=("RefCall",), genotype=(-1, -1), quality=0.0),
        replace(RECORD, contig="HLA-A*01:01", start=0, genotype=(1, 1), filters=("LowQual",)),
        replace(RECORD, contig="c2", start=299_999, quality=None),
    ]


def write(path: Path | str, records: list[Record], contigs: dict[str, int] = CONTIGS) -> None:
    with VcfWriter(path, "NA1", contigs, SOURCE) as out:
        for record in records:
            out.write(record)


def text_of(path: Path) -> str:
    """The file as VCF text."""
    if path.suffix == ".vcf":
        return path.read_text()
    if path.suffix == ".gz":
        return gzip.decompress(path.read_bytes()).decode()
    with pysam.VariantFile(str(path)) as variants:
        return "".join(map(str, variants))


def threads() -> set[threading.Thread]:
    return set(threading.enumerate())


# ---------------------------------------------------------------- text


def test_header() -> None:
    lines = header_lines("NA1", {"c1": 10, "c2": 20}, SOURCE).splitlines()
    assert lines[0] == "##fileformat=VCFv4.2"
    assert [line.split(",")[0] for line in lines[1:-4]] == [
        *(f"##FILTER=<ID={name}" for name in ("PASS", "RefCall", "LowQual", "NoCall")),
        *(f"##FORMAT=<ID={name}" for name in ("GT", "GQ", "DP", "AD", "VAF", "PL")),
    ]
    assert lines[-4:] == [
        f"##source={SOURCE}",
        "##contig=<ID=c1,length=10>",
        "##contig=<ID=c2,length=20>",
        "#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\tFORMAT\tNA1",
    ]


def test_record() -> None:
    assert format_record(RECORD) == (
        "c1\t100\t.\tA\tC\t37.6\tPASS\t.\tGT:GQ:DP:AD:VAF:PL\t0/1:36:55:25,30:0.545455:37,0,42\n"
    )


@pytest.mark.parametrize(
    ("quality", "text"),
    [(None, "."), (0.0, "0"), (0.05, "0.1"), (3.0, "3"), (12.25, "12.3"), (99.0308995, "99")],
)
def test_quality_text(quality: float | None, text: str) -> None:
    assert format_record(replace(RECORD, quality=quality)).split("\t")[5] == text


@pytest.mark.parametrize(
    ("fraction", "text"),
    [(0.0, "0"), (1.0, "1"), (0.5, "0.5"), (1 / 3, "0.333333"), (1 / 1500, "0.000666667")],
)
def test_fraction_text(fraction: float, text: str) -> None:
    assert format_record(replace(RECORD, allele_fractions=(fraction,))).split(":")[-2] == text


def test_likelihoods_are_shifted_then_cut() -> None:
    record = replace(RECORD, log10_likelihoods=(-0.5, -1.499, -10.4031))
    assert format_record(record).strip().split(":")[-1] == "0,9,99"


def test_missing_alleles() -> None:
    columns = format_record(replace(RECORD, genotype=(-1, -1), filters=())).split("\t")
    assert columns[6] == "."
    assert columns[9].startswith("./.:36:")


# ---------------------------------------------------------------- files


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_same_records_in_each_format(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"sample{suffix}"
    write(path, some_records())
    expected = "".join(map(format_record, some_records()))
    text = text_of(path)
    assert "".join(x for x in text.splitlines(True) if not x.startswith("#")) == expected
    if suffix != ".bcf":
        assert text == header_lines("NA1", CONTIGS, SOURCE) + expected
    with pysam.VariantFile(str(path)) as variants:
        assert list(variants.header.samples) == ["NA1"]
        assert {c: variants.header.contigs[c].length for c in variants.header.contigs} == CONTIGS
        read = list(variants)
    assert [(r.contig, r.start, r.alleles) for r in read] == [
        (r.contig, r.start, r.alleles) for r in some_records()
    ]
    assert read[0].samples["NA1"]["PL"] == (37, 0, 42)
    index = {".vcf": [], ".vcf.gz": [f"{path.name}.tbi"], ".bcf": [f"{path.name}.csi"]}[suffix]
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted([path.name, *index])


@pytest.mark.parametrize("suffix", [".vcf.gz", ".bcf"])
def test_index_finds_records(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"s{suffix}"
    write(path, [replace(RECORD, start=start) for start in range(0, 900_000, 1_000)])
    with pysam.VariantFile(str(path)) as variants:
        found = [record.start for record in variants.fetch("c1", 500_000, 502_001)]
    assert found == [500_000, 501_000, 502_000]


@pytest.mark.skipif(shutil.which("bcftools") is None, reason="needs bcftools (apt: bcftools)")
@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("records", [[], some_records()], ids=["empty", "records"])
def test_bcftools_accepts(tmp_path: Path, suffix: str, records: list[Record]) -> None:
    path = tmp_path / f"s{suffix}"
    write(path, records)
    done = subprocess.run(["bcftools", "view", "-H", path], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "".join(map(format_record, records))
    split = subprocess.run(["bcftools", "norm", "-m", "-any", path], capture_output=True, text=True)
    assert split.returncode == 0


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_no_records_is_a_valid_file(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"s{suffix}"
    write(path, [])
    with pysam.VariantFile(str(path)) as variants:
        assert list(variants) == []
        assert (variants.index is None) == (suffix == ".vcf")


def test_many_contigs(tmp_path: Path) -> None:
    """A large header."""
    contigs = {f"contig{i}": 1_000 for i in range(20_000)}
    write(tmp_path / "s.bcf", [replace(RECORD, contig="contig19999")], contigs)
    assert text_of(tmp_path / "s.bcf").startswith("contig19999\t100\t")


def test_csi_for_long_contigs(tmp_path: Path) -> None:
    path = tmp_path / "s.vcf.gz"
    write(path, [replace(RECORD, contig="long")], {"long": TBI_MAX_LENGTH})
    assert Path(f"{path}.tbi").exists()
    far = replace(RECORD, contig="long", start=TBI_MAX_LENGTH + 5)
    write(path, [far], {"long": TBI_MAX_LENGTH + 100})
    assert Path(f"{path}.csi").exists()
    # the index of the earlier file would answer for the wrong one
    assert not Path(f"{path}.tbi").exists()
    with pysam.VariantFile(str(path)) as variants:
        assert [r.start for r in variants.fetch("long", far.start, far.start + 1)] == [far.start]


def test_same_bytes_twice(tmp_path: Path) -> None:
    for suffix in SUFFIXES:
        paths = [tmp_path / f"{name}{suffix}" for name in "ab"]
        for path in paths:
            write(path, some_records())
        assert paths[0].read_bytes() == paths[1].read_bytes()


@pytest.mark.parametrize("name", ["s.txt", "s.vcf.bgz", "s.gz", "s", "vcf"])
def test_unknown_suffix(tmp_path: Path, name: str) -> None:
    with pytest.raises(OptionError, match=r"end it in .vcf, .vcf.gz or .bcf"):
        VcfWriter(tmp_path / name, "NA1", CONTIGS, SOURCE)
    assert list(tmp_path.iterdir()) == []


# ---------------------------------------------------------------- failures


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, BrokenPipeError])
def test_nothing_is_left_after_an_error(
    tmp_path: Path, suffix: str, error: type[BaseException]
) -> None:
    path = tmp_path / f"s{suffix}"
    write(path, [])
    before = {p.name: p.read_bytes() for p in tmp_path.iterdir()}
    running = threads()

    def fail_on_the_way() -> None:
        with VcfWriter(path, "NA1", CONTIGS, SOURCE) as out:
            for _ in range(10_000):
                out.write(RECORD)
            assert len(list(tmp_path.iterdir())) == len(before) + 1
            raise error

    with pytest.raises(error):
        fail_on_the_way()
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == before
    assert threads() == running


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_unwritable_folder_is_found_at_opening(tmp_path: Path, suffix: str) -> None:
    (tmp_path / "file").touch()
    for folder in ("missing", "file"):
        with pytest.raises(OutputError, match="check that the folder exists"):
            VcfWriter(tmp_path / folder / f"s{suffix}", "NA1", CONTIGS, SOURCE)
    (tmp_path / f"d{suffix}").mkdir()
    with pytest.raises(OutputError, match="is a folder"):
        VcfWriter(tmp_path / f"d{suffix}", "NA1", CONTIGS, SOURCE)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_read_only_folder(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(OutputError, match="Permission denied"):
        VcfWriter(tmp_path / "s.vcf", "NA1", CONTIGS, SOURCE)
    tmp_path.chmod(0o700)


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("count", [3_000, 100_000], ids=["at the end", "on the way"])
def test_full_disk(tmp_path: Path, suffix: str, count: int) -> None:
    """A limit on file size acts as a full disk does, for us and for htslib."""
    script = f"""
        import resource, sys
        from dataclasses import replace
        sys.path.insert(0, {str(Path(__file__).parent)!r})
        from test_vcf import CONTIGS, RECORD, SOURCE
        from pileupcnn.errors import OutputError
        from pileupcnn.vcf import VcfWriter
        resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))
        try:
            with VcfWriter(sys.argv[1], "NA1", CONTIGS, SOURCE) as out:
                for start in range({count}):
                    out.write(replace(RECORD, start=start, depth=start * 7919 % 100_003))
        except OutputError as error:
            print(error)
    """
    path = tmp_path / f"s{suffix}"
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script), path],
        capture_output=True,
        text=True,
        timeout=120,
    )
    reason = os.strerror(errno.EFBIG)
    assert done.stdout == (
        f"{path}: cannot be written ({reason}); free some space or choose another --output\n"
    ), done.stderr
    assert "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_index_that_cannot_be_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise OSError("building of index failed")

    monkeypatch.setattr(pysam, "tabix_index", fail)
    with pytest.raises(OutputError, match="building of index failed"):
        write(tmp_path / "s.vcf.gz", some_records())
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "first", [replace(RECORD, start=RECORD.start + 1), replace(RECORD, contig="c2")]
)
def test_order_is_checked(tmp_path: Path, first: Record) -> None:
    with pytest.raises(RuntimeError, match=r"after those of|out of order"):
        write(tmp_path / "s.vcf", [first, RECORD])
    assert list(tmp_path.iterdir()) == []


# ---------------------------------------------------------------- standard output


def test_standard_output(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    out = io.TextIOWrapper(io.BytesIO())
    monkeypatch.setattr(sys, "stdout", out)
    write("-", some_records())
    expected = header_lines("NA1", CONTIGS, SOURCE) + "".join(map(format_record, some_records()))
    buffer = out.buffer
    assert isinstance(buffer, io.BytesIO)
    assert buffer.getvalue().decode() == expected
    assert list(tmp_path.iterdir()) == []


def test_broken_pipe_is_the_callers(monkeypatch: pytest.MonkeyPatch) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    raw = os.fdopen(writing, "wb", buffering=0)
    with io.TextIOWrapper(raw, write_through=True) as out:
        monkeypatch.setattr(sys, "stdout", out)
        with pytest.raises(BrokenPipeError):
            write("-", some_records())
        monkeypatch.undo()


def test_full_standard_output(monkeypatch: pytest.MonkeyPatch) -> None:
    full = Path("/dev/full")
    if not full.exists():
        pytest.skip("no /dev/full")
    with io.TextIOWrapper(full.open("wb", buffering=0), write_through=True) as out:
        monkeypatch.setattr(sys, "stdout", out)
        with pytest.raises(OutputError, match=r"standard output: .*No space left"):
            write("-", some_records())
        monkeypatch.undo()


# ---------------------------------------------------------------- truth

TRUTH = """\
##fileformat=VCFv4.2
##FILTER=<ID=PASS,Description="p">
##FILTER=<ID=low,Description="l">
##ALT=<ID=DEL,Description="d">
##INFO=<ID=END,Number=1,Type=Integer,Description="e">
##FORMAT=<ID=GT,Number=1,Type=String,Description="g">
##contig=<ID=c1,length=100000>
##contig=<ID=c2,length=100000>
#CHROM	POS	ID	REF	ALT	QUAL	FILTER	INFO	FORMAT	A	B
c1	101	.	A	C	.	PASS	.	GT	1|0	1/1
c1	201	.	ATTT	A	.	.	.	GT	0/1	0/0
c1	203	.	T	G	.	low	.	GT	0/1	0/0
c1	204	.	t	g,*	.	PASS	.	GT	2|1	0/0
c1	301	.	A	<DEL>	.	PASS	END=350	GT	0/1	0/0
c1	302	.	A	A[c2:5[	.	PASS	.	GT	0/1	0/0
c1	303	.	A	.	.	PASS	.	GT	0/0	0/0
c1	304	.	A	T	.	PASS	.	GT	./.	0/0
c1	305	.	A	T	.	PASS	.	GT	1	0
c1	306	.	A	T,G	.	PASS	.	GT	./2	0/0
"""


def make_truth(folder: Path, text: str = TRUTH, suffix: str = ".vcf.gz") -> Path:
    plain = folder / "truth.vcf"
    plain.write_text(text)
    path = folder / f"truth{suffix}"
    if suffix == ".vcf":
        return path
    with (
        pysam.VariantFile(str(plain)) as source,
        pysam.VariantFile(
            str(path), "wb" if suffix == ".bcf" else "wz", header=source.header
        ) as out,
    ):
        for record in source:
            out.write(record)
    pysam.tabix_index(str(path), preset="bcf" if suffix == ".bcf" else "vcf", csi=suffix == ".bcf")
    return path


@pytest.mark.parametrize("suffix", [".vcf.gz", ".bcf"])
def test_truth(tmp_path: Path, suffix: str) -> None:
    path = make_truth(tmp_path, suffix=suffix)
    assert read_truth(path, Region("c1", 0, 1_000)) == [
        TruthVariant("c1", 100, ("A", "C"), (0, 1)),
        TruthVariant("c1", 200, ("ATTT", "A"), (0, 1)),
        TruthVariant("c1", 203, ("T", "G", "*"), (1, 2)),
        TruthVariant("c1", 303, ("A", "T"), (-1, -1)),
        TruthVariant("c1", 304, ("A", "T"), (1, 1)),
        TruthVariant("c1", 305, ("A", "T", "G"), (-1, 2)),
    ]


def test_truth_by_region(tmp_path: Path) -> None:
    with TruthReader(make_truth(tmp_path), ["c2", "c3"]) as truth:
        assert [v.start for v in truth.fetch(Region("c1", 100, 101))] == [100]
        assert truth.fetch(Region("c1", 101, 200)) == []
        # overlap counts, not the start alone
        assert [v.start for v in truth.fetch(Region("c1", 202, 203))] == [200]
        assert truth.fetch(Region("c2", 0, 1_000)) == []
        assert truth.fetch(Region("c3", 0, 1_000)) == []


def test_truth_with_a_field(tmp_path: Path) -> None:
    header = '##INFO=<ID=kind,Number=A,Type=String,Description="-">\n'
    header += '##INFO=<ID=size,Number=1,Type=Integer,Description="-">\n'
    text = TRUTH.replace("##FORMAT", header + "##FORMAT", 1)
    first = next(line for line in TRUTH.splitlines(True) if not line.startswith("#"))
    fields = first.split("\t")
    fields[7] = "kind=x,y;size=7"
    path = make_truth(tmp_path, text.replace(first, "\t".join(fields)))
    for name, value in [("kind", "x"), ("size", "7")]:
        with TruthReader(path, field=name) as truth:
            values = [variant.value for variant in truth.fetch(Region("c1", 0, 1_000))]
        assert values[0] == value
        assert set(values[1:]) == {None}
    with pytest.raises(InputError, match=r"no INFO field type \(but .*kind, size\)"):
        TruthReader(path, field="type")


def test_truth_without_index(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no index"):
        TruthReader(make_truth(tmp_path, suffix=".vcf"))


def test_truth_without_sample(tmp_path: Path) -> None:
    header = "".join(line for line in TRUTH.splitlines(True) if line.startswith("##"))
    columns = "#CHROM POS ID REF ALT QUAL FILTER INFO\n".replace(" ", "\t")
    with pytest.raises(InputError, match="no sample column"):
        TruthReader(make_truth(tmp_path, header + columns))


def test_truth_of_other_names(tmp_path: Path) -> None:
    path = make_truth(tmp_path)
    with pytest.raises(InputError, match="the truth names c1, c2 and the reads chr1"):
        TruthReader(path, ["chr1"])
    with pytest.raises(InputError, match="no contig in common"):
        read_truth(path, Region("chr1", 0, 10))


@pytest.mark.parametrize("content", [None, b"", b"not a VCF\n", b"@r\nACGT\n+\nIIII\n"])
def test_truth_that_is_none(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "t.vcf.gz"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match=r"t.vcf.gz: cannot be opened as a VCF or BCF"):
        TruthReader(path)


def test_damaged_truth(tmp_path: Path) -> None:
    lines = "".join(
        f"c1\t{400 + i}\t.\tA\tC\t{i % 97}\t.\t.\tGT\t0/1\t0/0\n" for i in range(50_000)
    )
    path = make_truth(tmp_path, TRUTH + lines)
    data = bytearray(path.read_bytes())
    data[len(data) // 2 : len(data) // 2 + 50] = bytes(50)
    path.write_bytes(data)
    with pytest.raises(InputError, match="damaged"):
        read_truth(path, Region("c1", 0, 100_000))
