"""How scripts/accuracy and scripts/quickstart count errors."""

from __future__ import annotations

import gzip
import importlib.util
import sys
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import ModuleType

import pytest

SCRIPTS = Path(__file__).resolve().parent.parent / "scripts"


def load(name: str, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """Import a script that has no suffix; it finds its helpers beside itself."""
    monkeypatch.syspath_prepend(str(SCRIPTS))
    # no byte code beside scripts that have no suffix
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    loader = SourceFileLoader(f"script_{name}", str(SCRIPTS / name))
    spec = importlib.util.spec_from_loader(loader.name, loader)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    # dataclasses look their module up by name
    monkeypatch.setitem(sys.modules, loader.name, module)
    loader.exec_module(module)
    return module


@pytest.fixture
def compare(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    return load("_compare.py", monkeypatch)


def vcf(*records: str) -> list[str]:
    """Lines of a VCF from ``contig pos ref alt filter genotype``."""
    lines = ["##fileformat=VCFv4.2\n", "#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\tFORMAT\tS\n"]
    for record in records:
        contig, pos, ref, alt, filters, gt = record.split()
        fields = (contig, pos, ".", ref, alt, "30", filters, ".", "DP:GT", f"20:{gt}")
        lines.append("\t".join(fields) + "\n")
    return lines


@pytest.mark.parametrize(
    ("ref", "alt", "expected"),
    [
        ("A", "C", (9, "A", "C")),
        ("CAA", "CA", (9, "CA", "C")),
        ("CTA", "CGA", (10, "T", "G")),
        ("CA", "CATA", (9, "C", "CAT")),
        ("GG", "GG", (9, "G", "G")),
    ],
)
def test_trim(compare: ModuleType, ref: str, alt: str, expected: tuple[int, str, str]) -> None:
    assert compare.trim(9, ref, alt) == expected


def test_only_carried_unfiltered_alleles_count(compare: ModuleType) -> None:
    lines = vcf(
        "c 10 A C PASS 0|1",
        "c 20 A C RefCall 0/0",
        "c 30 A C PASS 0/0",
        "c 40 A C . ./.",
        "c 50 A C LowQual 0/1",
        "c 60 A C,G . 2/2",
        "c 70 CA C,* PASS 1/2",
        "c 80 ctt ct,cttt PASS 1/2",
    )
    assert compare.read_variants(lines) == {
        ("c", 9, "A", "C", 1),
        ("c", 59, "A", "G", 2),
        ("c", 69, "CA", "C", 1),
        ("c", 79, "CT", "C", 1),
        ("c", 79, "C", "CT", 1),
    }


def test_a_wrong_genotype_is_one_miss_and_one_false_call(compare: ModuleType) -> None:
    truth = compare.read_variants(vcf("c 10 A C . 0/1", "c 20 A C . 1/1", "c 30 AT A . 0/1"))
    calls = compare.read_variants(vcf("c 10 A C . 1|0", "c 20 A C . 0/1", "c 40 A AT . 0/1"))
    snp, indel = compare.compare(truth, calls)
    assert (snp.truth, snp.fn, snp.fp) == (2, 1, 1)
    assert (indel.truth, indel.fn, indel.fp) == (1, 1, 1)
    assert snp.f1 == pytest.approx(0.5)
    assert indel.f1 == 0
    assert compare.Counts().f1 == 1


def test_intervals_are_half_open_and_merged(compare: ModuleType, tmp_path: Path) -> None:
    bed = tmp_path / "some.bed.gz"
    with gzip.open(bed, "wt") as out:
        out.write("#header\nc\t20\t30\tname\nc\t5\t10\nc\t8\t12\n")
    intervals = compare.Intervals.from_bed(bed)
    inside = [p for p in range(40) if ("c", p) in intervals]
    assert inside == [*range(5, 12), *range(20, 30)]
    assert ("d", 6) not in intervals


def test_gaps_of_the_truth_are_left_out(compare: ModuleType) -> None:
    calls = compare.read_variants(vcf("c 10 A C . 0/1", "c 20 A C . 0/1", "c 40 A C . 0/1"))
    within = compare.Intervals([("c", 0, 30)])
    gaps = compare.Intervals([("c", 19, 20)])
    assert {v.start for v in compare.inside(calls, [within], gaps)} == {9}


@pytest.mark.parametrize(
    ("depths", "depth", "genotype"),
    [
        ((17, 3), 20, None),
        ((6, 2), 8, None),
        ((9, 3), 12, (0, 1)),
        ((4, 16), 20, (0, 1)),
        ((3, 17), 20, (1, 1)),
        ((0, 10, 9), 20, (1, 2)),
        ((0, 5, 9, 6), 20, (2, 3)),
    ],
)
def test_threshold_caller(
    monkeypatch: pytest.MonkeyPatch,
    depths: tuple[int, ...],
    depth: int,
    genotype: tuple[int, int] | None,
) -> None:
    assert load("accuracy", monkeypatch).threshold_genotype(depths, depth) == genotype


def test_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    accuracy = load("accuracy", monkeypatch)

    def rows(sim_snp: int, ours: int) -> list[str]:
        count = accuracy.Counts
        table = [
            accuracy.Row("sim 30x", "pileupcnn", count(100, sim_snp, 0), count(100, 0, 34)),
            accuracy.Row("HiSeqX", "pileupcnn", count(50, ours, 0), count(50, 0, 1), total=True),
            accuracy.Row("HiSeqX", "threshold", count(50, 0, 2), count(50, 3, 0), total=True),
        ]
        sums = accuracy.real_sums(table, ["pileupcnn", "threshold"])
        return accuracy.missed_bounds(table, sums)

    assert rows(sim_snp=16, ours=4) == []
    assert len(rows(sim_snp=17, ours=5)) == 2


def test_benchmark_reads_the_log_of_call(monkeypatch: pytest.MonkeyPatch) -> None:
    benchmark = load("benchmark", monkeypatch)
    log = "a line\nstage seconds: scan 1.2, draw 0.5, write 0.01\nGIL held: 3.1% of CPU time\n"
    assert benchmark.read_log(log) == ({"scan": 1.2, "draw": 0.5, "write": 0.01}, 3.1)
    assert benchmark.read_log("nothing") == ({}, None)
