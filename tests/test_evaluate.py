"""Calls compared with a truth: known answers, brute force, rtg vcfeval's verdicts."""

from __future__ import annotations

import csv
import gzip
import itertools
import random
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pysam
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pileupcnn.cli.evaluate import run_evaluate, summary_line
from pileupcnn.errors import InputError, OptionError
from pileupcnn.evaluate import matching, reading
from pileupcnn.evaluate.contexts import contexts
from pileupcnn.evaluate.evaluation import evaluate, judge, read_confident
from pileupcnn.evaluate.matching import Judged
from pileupcnn.evaluate.primitives import slices
from pileupcnn.evaluate.reading import VariantStream
from pileupcnn.evaluate.report import SUMMARY_COLUMNS, Report
from pileupcnn.evaluate.summary import Summary, size_class
from pileupcnn.labels import ConfidentRegions
from pileupcnn.reference import Reference
from pileupcnn.regions import Region

Row = tuple[int, str, str, str]
"""Start (0-based), REF, ALTs, genotype."""


def write_fasta(path: Path, **contigs: str) -> Path:
    path.write_text("".join(f">{name}\n{bases}\n" for name, bases in contigs.items()))
    pysam.faidx(str(path))
    return path


def write_vcf(
    path: Path,
    rows: Sequence[Row | str],
    contigs: Sequence[str] = ("c",),
    sample: str = "\tS",
) -> Path:
    """A VCF of rows on the first contig, or of whole lines."""
    lines = ["##fileformat=VCFv4.2", '##FILTER=<ID=LowQual,Description="">']
    lines += [f"##contig=<ID={name},length=100000>" for name in contigs]
    lines += [f'##FORMAT=<ID={name},Number=1,Type=String,Description="">' for name in ("GT", "GQ")]
    lines[-1] = lines[-1].replace("String", "Integer")
    head = "#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO"
    lines.append(head + (f"\tFORMAT{sample}" if sample else ""))
    for row in rows:
        if isinstance(row, str):
            lines.append(row)
        else:
            start, ref, alts, genotype = row
            lines.append(
                f"{contigs[0]}\t{start + 1}\t.\t{ref}\t{alts}\t30\t.\t.\tGT:GQ\t{genotype}:20"
            )
    path.write_text("\n".join(lines) + "\n")
    return path


class Bench:
    """Compares rows on one short contig."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def judge(
        self,
        bases: str,
        truth: Sequence[Row | str],
        calls: Sequence[Row | str],
        confident: Sequence[tuple[int, int]] | None = None,
    ) -> list[Judged]:
        ref = write_fasta(self.folder / "ref.fa", c=bases)
        files = [
            write_vcf(self.folder / f"{name}.vcf", rows)
            for name, rows in (("truth", truth), ("calls", calls))
        ]
        regions = None
        if confident is not None:
            regions = ConfidentRegions([Region("c", start, end) for start, end in confident])
        return [variant for part in judge(*files, ref, regions) for variant in part]

    def verdicts(
        self, bases: str, truth: Sequence[Row], calls: Sequence[Row]
    ) -> tuple[int, int, int, int]:
        """TP and FN of the truth, TP and FP of the calls."""
        found = Counter((v.side, v.verdict) for v in self.judge(bases, truth, calls))
        keys = (("truth", "TP"), ("truth", "FN"), ("calls", "TP"), ("calls", "FP"))
        return tuple(found[key] for key in keys)  # type: ignore[return-value]


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


@pytest.mark.parametrize(
    ("bases", "truth", "calls", "expected"),
    [
        (
            "ACCGTTACCA",
            [(2, "C", "G", "0/1"), (3, "G", "T", "0/1")],
            [(2, "CG", "GT", "0/1")],
            (2, 0, 1, 0),
        ),
        ("ACCGTTACCA", [(0, "A", "AC", "1/1")], [(2, "C", "CC", "1/1")], (1, 0, 1, 0)),
        (
            "ACCGTTACCA",
            [(2, "C", "G", "0/1"), (4, "T", "C", "0/1"), (6, "A", "C", "0/1")],
            [(2, "C", "G", "1/1"), (6, "A", "C", "0/1")],
            (1, 2, 1, 1),
        ),
        (
            "ACCGTTACCA",
            [(4, "T", "C", "1/1")],
            [(4, "T", "C", "0/1"), (4, "T", "A", "0/1")],
            (0, 1, 0, 2),
        ),
        (
            "ACCGTTACCA",
            [(3, "GT", "G", "0/1"), (4, "T", "G", "1/1")],
            [(3, "GT", "G", "0/1"), (4, "T", "G", "1/1")],
            (1, 1, 1, 1),
        ),
        (
            "CAAAAAAAAAAAAT",
            [(2, "A", "AA", "0/1"), (4, "A", "T", "0/1"), (6, "AA", "A", "0/1")],
            [(4, "A", "T", "0/1")],
            (3, 0, 1, 0),
        ),
    ],
    ids=["cis", "moved", "homozygous", "tri-allelic", "clash", "tricky"],
)
def test_known_answers(
    bench: Bench,
    bases: str,
    truth: list[Row],
    calls: list[Row],
    expected: tuple[int, int, int, int],
) -> None:
    assert bench.verdicts(bases, truth, calls) == expected


def spell(bases: str, rows: Sequence[Row], alleles: Sequence[int]) -> str | None:
    """A haplotype with one allele of each row; None if two ALTs overlap."""
    text, at = "", 0
    edits = []
    for (start, ref, alts, _), allele in zip(rows, alleles, strict=True):
        if allele:
            alt = alts.split(",")[allele - 1]
            while ref and alt and ref[-1] == alt[-1]:
                ref, alt = ref[:-1], alt[:-1]
            while ref and alt and ref[0] == alt[0]:
                start, ref, alt = start + 1, ref[1:], alt[1:]
            edits.append((start, start + len(ref), alt))
    for start, end, alt in sorted(edits):
        if start < at:
            return None
        text += bases[at:start] + alt
        at = end
    return text + bases[at:]


def diplotypes(bases: str, rows: Sequence[Row]) -> dict[frozenset[str], int]:
    """All pairs of haplotypes that subsets of rows can give, with the most rows that do."""
    best: dict[frozenset[str], int] = {}
    for kept in itertools.product((False, True), repeat=len(rows)):
        own = [row for row, keep in zip(rows, kept, strict=True) if keep]
        genotypes = [tuple(map(int, row[3].split("/"))) for row in own]
        for turned in itertools.product((False, True), repeat=len(own)):
            pairs = [g[::-1] if turn else g for g, turn in zip(genotypes, turned, strict=True)]
            texts = [spell(bases, own, [pair[side] for pair in pairs]) for side in (0, 1)]
            if None not in texts:
                key = frozenset(text for text in texts if text is not None)
                best[key] = max(best.get(key, 0), len(own))
    return best


@st.composite
def scenes(draw: st.DrawFn) -> tuple[str, list[Row], list[Row]]:
    """A short reference, and up to four variants of either side."""
    bases = draw(st.text(draw(st.sampled_from(["AC", "ACGT"])), min_size=16, max_size=24))

    def variants() -> list[Row]:
        rows = []
        for start in sorted(draw(st.sets(st.integers(0, len(bases) - 4), max_size=4))):
            # one or two bases in the place of one to three: SNPs, indels, both
            ref = bases[start : start + draw(st.sampled_from([1, 1, 2, 3]))]
            tail = draw(st.text("ACGT", min_size=0, max_size=2))
            alt = draw(st.sampled_from([ref[0] + tail, draw(st.sampled_from("ACGT"))]))
            # parts that are right by themselves would be counted by themselves
            if alt != ref and len(slices(ref, (alt,))) == 1:
                rows.append((start, ref, alt, draw(st.sampled_from(["0/1", "1/1"]))))
        return rows

    return bases, variants(), variants()


@settings(max_examples=150)
@given(scene=scenes())
def test_the_best_subsets_are_found(
    tmp_path_factory: pytest.TempPathFactory, scene: tuple[str, list[Row], list[Row]]
) -> None:
    bases, truth, calls = scene
    bench = Bench(tmp_path_factory.mktemp("scene"))
    ours, theirs = diplotypes(bases, truth), diplotypes(bases, calls)
    best = max(
        (ours[key] + theirs[key] for key in ours if key in theirs and ours[key] and theirs[key]),
        default=0,
    )
    forward = bench.verdicts(bases, truth, calls)
    backward = bench.verdicts(bases, calls, truth)
    assert forward[0] + forward[2] == best
    assert backward[0] + backward[2] == best
    assert forward[0] + forward[1] == len(truth)
    assert forward[2] + forward[3] == len(calls)


def donor(bases: str, rng: random.Random, n: int) -> list[Row]:
    """Variants of both haplotypes at least 2 bp apart, unphased but compatible."""
    rows: list[Row] = []
    at = 60
    while len(rows) < n and at < len(bases) - 80:
        kind = rng.choice(["snp", "snp", "insertion", "deletion", "both"])
        ref, alts = bases[at], rng.choice([b for b in "ACGT" if b != bases[at]])
        genotype = rng.choice(["0/1", "1/1"])
        if kind == "insertion":
            alts = ref + "".join(rng.choices("ACGT", k=rng.randint(1, 4)))
        elif kind == "deletion":
            ref = bases[at : at + rng.randint(2, 6)]
            alts = ref[0]
        elif kind == "both":
            alts, genotype = f"{ref}{'AC'[rng.random() < 0.5]},{ref}GT", "1/2"
        rows.append((at, ref, alts, genotype))
        at += len(ref) + rng.choice([1, 2, 5, 20, 300])
    return rows


def rewritten(bases: str, rows: Sequence[Row], rng: random.Random) -> list[Row]:
    """The same diplotype in other words: moved, padded, split by allele."""
    out: list[Row] = []
    for i, (start, ref, alts, genotype) in enumerate(rows):
        limit = rows[i + 1][0] if i + 1 < len(rows) else len(bases)
        parts = [(start, ref, alts, genotype)]
        if genotype == "1/2" and rng.random() < 0.5:
            parts = [(start, ref, alt, "0/1") for alt in alts.split(",")]
        for own_start, own_ref, own_alts, own_genotype in parts:
            if len(parts) == 1 and genotype != "1/2" and (len(ref) == 1) != (len(alts) == 1):
                # an indel: as far right as it goes before the next variant
                changed = (own_ref if len(own_ref) > 1 else own_alts)[1:]
                taken = len(own_ref) - 1
                place = own_start + 1
                while place + taken < limit - 1 and bases[place + taken] == changed[0]:
                    changed, place = changed[1:] + changed[0], place + 1
                own_start = place - 1
                anchor = bases[own_start]
                own_ref, own_alts = (
                    (anchor + changed, anchor) if taken else (anchor, anchor + changed)
                )
            if rng.random() < 0.3 and own_start + len(own_ref) < limit - 1:
                more = bases[own_start + len(own_ref)]
                own_ref += more
                own_alts = ",".join(alt + more for alt in own_alts.split(","))
            if rng.random() < 0.5 and own_genotype != "1/1":
                own_genotype = own_genotype[::-1].replace("/", "|")
            out.append((own_start, own_ref, own_alts, own_genotype))
    return sorted(out)


@pytest.mark.parametrize("seed", range(8))
def test_another_writing_of_the_same_donor_is_all_right(
    bench: Bench, testdata: Path, seed: int
) -> None:
    rng = random.Random(seed)
    with pysam.FastaFile(str(testdata / "ref.fa")) as fasta:
        bases = fasta.fetch(fasta.references[0]).upper()
    truth = donor(bases, rng, 60)
    calls = rewritten(bases, truth, rng)
    assert calls != truth
    _, missed, _, false = bench.verdicts(bases, truth, calls)
    assert (missed, false) == (0, 0)
    # and one genotype that is wrong is one miss and one false call
    # (of an indel it could be made up for by one near by)
    wrong = next(i for i, row in enumerate(calls) if row[3] == "1/1" and len(row[1]) == len(row[2]))
    start, ref, alts, _ = calls[wrong]
    altered = [*calls[:wrong], (start, ref, alts, "0/1"), *calls[wrong + 1 :]]
    variants = bench.judge(bases, truth, altered)
    assert Counter(v.verdict for v in variants)["FN"] == 1
    assert [v.mismatch for v in variants if v.verdict == "FP"] == ["gt"]
    # truth and calls in each other's place: the same are right
    turned = bench.verdicts(bases, altered, truth)
    assert (turned[1], turned[3]) == (1, 1)


@pytest.mark.parametrize("seed", range(3))
def test_chunks_leave_no_trace(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, testdata: Path, seed: int
) -> None:
    rng = random.Random(seed)
    with pysam.FastaFile(str(testdata / "ref.fa")) as fasta:
        bases = fasta.fetch(fasta.references[0]).upper()
    truth = donor(bases, rng, 80)
    calls = [row for row in rewritten(bases, truth, rng) if rng.random() < 0.8]

    def rows() -> list[tuple[str, int, str]]:
        found = bench.judge(bases, truth, calls)
        return sorted((v.side, v.primitive.position, v.verdict) for v in found)

    whole = rows()
    monkeypatch.setattr(matching, "CHUNK_VARIANTS", 7)
    monkeypatch.setattr(matching, "MAX_SHIFT", 60)
    assert rows() == whole


def test_entangled_groups_take_no_time(bench: Bench) -> None:
    """Eighty heterozygous variants in a row, on one side two bases at a time."""
    bases = "".join(random.Random(1).choices("ACGT", k=600))
    swap = str.maketrans("ACGT", "CGTA")
    truth = [(i, bases[i], bases[i].translate(swap), "0/1") for i in range(100, 340, 3)]
    truth += [
        (i + 1, bases[i + 1], bases[i + 1].translate(swap), "0/1") for i in range(100, 340, 3)
    ]
    calls = [
        (i, bases[i : i + 2], bases[i : i + 2].translate(swap), "0/1") for i in range(100, 340, 3)
    ]
    begin = time.perf_counter()
    assert bench.verdicts(bases, sorted(truth), calls) == (160, 0, 80, 0)
    assert time.perf_counter() - begin < 3


def test_records_that_are_no_variants(bench: Bench) -> None:
    line = "c\t{}\t.\t{}\t{}\t.\t{}\t.\t{}\t{}"
    calls = [
        line.format(3, "C", "G", ".", "GT", "0/0"),
        line.format(4, "G", "T", "LowQual", "GT", "0/1"),
        line.format(5, "T", "C", "PASS", "GT", "./."),
        line.format(6, "T", "<DEL>", "PASS", "GT", "0/1"),
        line.format(7, "A", "*", "PASS", "GT", "0/1"),
        line.format(8, "C", ".", "PASS", "GT", "0/0"),
        line.format(9, "C", "T", "PASS", "GQ", "20"),
        # these are: half a genotype, an ALT beside *, a haploid genotype
        line.format(11, "C", "T", "PASS", "GT", "./1"),
        line.format(12, "A", "*,G", "PASS", "GT", "1/2"),
        line.format(13, "G", "T", "PASS", "GT", "1"),
    ]
    truth = [(10, "C", "T", "0/1"), (11, "A", "G", "1/0"), (12, "G", "T", "1/1")]
    variants = bench.judge("ACCGTTACCACAGT", truth, calls)
    assert [v.verdict for v in variants if v.side == "calls"] == ["TP"] * 3
    assert [v.verdict for v in variants if v.side == "truth"] == ["TP"] * 3


def test_confident_borders(bench: Bench) -> None:
    bases = "ACGTTGCAACGTAGCTAGCTTACGATCG"
    rows = [
        (4, "T", "C", "0/1"),  # the last base before
        (5, "G", "C", "0/1"),  # the first inside
        (9, "C", "CAT", "0/1"),  # an insertion after the last inside
        (14, "CTA", "C", "0/1"),  # a deletion into the next region
        (20, "T", "TGG", "0/1"),  # an insertion within
    ]
    variants = bench.judge(bases, [], rows, [(5, 10), (16, 25)])
    assert [v.verdict for v in variants] == [".", "FP", ".", "FP", "FP"]
    # a call that matches a truth variant outside is neither right nor false
    variants = bench.judge(bases, [rows[0]], [rows[0]], [(5, 10)])
    assert [v.verdict for v in variants] == [".", "."]


def test_a_call_inside_for_truth_outside_does_not_count(bench: Bench) -> None:
    bases = "GTCAAAAAAAAAAGTC"
    truth, calls = [(2, "CA", "C", "0/1")], [(11, "AA", "A", "0/1")]
    variants = bench.judge(bases, truth, calls, [(12, 13)])
    assert {v.side: v.verdict for v in variants} == {"truth": ".", "calls": "."}
    variants = bench.judge(bases, calls, truth, [(12, 13)])
    assert {v.side: v.verdict for v in variants} == {"truth": "TP", "calls": "TP"}


def test_parts_of_records_count_by_themselves(bench: Bench) -> None:
    bases = "ACCGTTACCACAGT"
    variants = bench.judge(bases, [(3, "G", "T", "0/1")], [(3, "GTTA", "TTTC", "0/1")])
    calls = [v for v in variants if v.side == "calls"]
    assert [(v.primitive.position, v.verdict) for v in calls] == [(3, "TP"), (6, "FP")]
    summary = Summary()
    summary.add(variants)
    # the record is wrong, though
    row = summary.reliability([(20, 21)])[0]
    assert (row.records, row.wrong, row.expected) == (1, 1, pytest.approx(0.01))


@pytest.mark.parametrize(
    ("ref", "alts", "expected"),
    [
        ("A", ("C",), [(0, ("A", "C"))]),
        ("CAAA", ("CAA",), [(1, ("A", ""))]),
        ("ACGT", ("GCGC",), [(0, ("A", "G")), (3, ("T", "C"))]),
        ("GATA", ("AGAT",), [(0, ("GATA", "AGAT"))]),
        ("GAAAA", ("GTAAAT",), [(1, ("", "T")), (4, ("A", "T"))]),
        ("CAAAA", ("CA", "C"), [(1, ("AAAA", "A", ""))]),
        ("A", ("*", "G"), [(0, ("A", "*", "G"))]),
        ("AC", ("AC",), []),
    ],
)
def test_slices(ref: str, alts: tuple[str, ...], expected: object) -> None:
    assert slices(ref, alts) == expected


@given(ref=st.text("ACGT", min_size=1, max_size=12), alt=st.text("ACGT", min_size=1, max_size=12))
def test_slices_put_together_give_the_alt(ref: str, alt: str) -> None:
    text, at = "", 0
    for start, (taken, put) in slices(ref, (alt,)):
        assert ref[start : start + len(taken)] == taken
        assert start >= at
        text += ref[at:start] + put
        at = start + len(taken)
    assert text + ref[at:] == alt


def test_contexts() -> None:
    bases = "GCTGAAAAAAAGCTGCATCATCATCATGGTCGATCTAGC"
    #        0123456789012345678901234567890123456789
    assert contexts(bases, 0, [(6, 7), (16, 19), (34, 35)]) == ["homopolymer", "STR", "other"]
    assert contexts(bases, 100, [(110, 111), (112, 113)]) == ["homopolymer", "other"]
    assert contexts(bases, 0, []) == []
    assert [size_class(size) for size in (1, 2, 5, 6, 15, 16, 900)] == [0, 1, 1, 2, 2, 3, 3]


def test_curve_and_reliability(bench: Bench) -> None:
    line = "c\t{}\t.\t{}\t{}\t{}\t.\t.\tGT:GQ\t0/1:{}"
    bases = "ACCGTTACCACAGT"
    calls = [
        line.format(2, "C", "G", 50, 30),
        line.format(6, "T", "A", 40, 12),
        line.format(12, "A", "T", 9.7, 12),
    ]
    variants = bench.judge(bases, [(1, "C", "G", "0/1"), (11, "A", "T", "0/1")], calls)
    summary = Summary()
    summary.add(variants)
    assert summary.curve("QUAL", "SNP") == [(50, 0.5, 1.0), (40, 0.5, 0.5), (9, 1.0, 2 / 3)]
    assert summary.curve("GQ", "SNP") == [(30, 0.5, 1.0), (12, 1.0, 2 / 3)]
    assert summary.curve("GQ", "INDEL") == []
    rows = {row.least: row for row in summary.reliability()}
    assert (rows[10].records, rows[10].wrong, rows[30].records) == (2, 1, 1)
    assert rows[10].expected == pytest.approx(2 * 10**-1.2)
    # a truth variant is found as long as all calls are kept that give its haplotypes
    calls = [line.format(3, "C", "G", 50, 30), line.format(4, "G", "T", 20, 40)]
    summary = Summary()
    summary.add(bench.judge(bases, [(2, "CG", "GT", "0/1")], calls))
    assert summary.curve("QUAL", "SNP") == [(50, 0.0, 1.0), (20, 1.0, 1.0)]
    assert summary.curve("GQ", "SNP") == [(40, 0.0, 1.0), (30, 1.0, 1.0)]
    summary = Summary()
    summary.add(variants)
    assert summary_line(summary).startswith("SNP truth 2 TP 2 FN 0 FP 1 F1 0.8")


def test_report(testdata: Path, tmp_path: Path) -> None:
    truth, ref = testdata / "truth.vcf.gz", testdata / "ref.fa"
    out = tmp_path / "out"
    summary = run_evaluate(truth, truth, ref, confident=testdata / "confident.bed", output=out)
    assert sorted(path.name for path in out.iterdir()) == [
        "precision_recall.csv",
        "reliability.csv",
        "strata.csv",
        "summary.csv",
        "variants.tsv.gz",
    ]
    with open(out / "summary.csv") as lines:
        rows = list(csv.DictReader(lines))
    assert tuple(rows[0]) == SUMMARY_COLUMNS
    assert [row["Type"] for row in rows] == ["INDEL", "SNP"]
    for row in rows:
        assert int(row["TRUTH.TP"]) == int(row["TRUTH.TOTAL"]) > 0
        assert row["METRIC.F1_Score"] == "1.000000"
        assert int(row["QUERY.TOTAL"]) == int(row["TRUTH.TOTAL"]) + int(row["QUERY.UNK"])
    with gzip.open(out / "variants.tsv.gz", "rt") as lines:
        verdicts = Counter(line.split("\t")[8] for line in lines)
    assert verdicts["TP"] == 2 * (summary.counts().truth)
    # once more into the same folder
    run_evaluate(truth, truth, ref, everywhere=True, output=out)
    assert len(list(out.iterdir())) == 5


def test_a_failed_comparison_leaves_nothing(testdata: Path, tmp_path: Path) -> None:
    calls = write_vcf(tmp_path / "calls.vcf", [(5, "N", "A", "0/1")], contigs=["other"])
    with pytest.raises(InputError, match="no contig in common"):
        run_evaluate(
            testdata / "truth.vcf.gz",
            calls,
            testdata / "ref.fa",
            everywhere=True,
            output=tmp_path / "out",
        )
    assert not (tmp_path / "out").exists()


def test_plot_needs_matplotlib_only_when_asked(tmp_path: Path) -> None:
    try:
        import matplotlib  # noqa: F401
    except ImportError:
        with pytest.raises(InputError, match="pip install"):
            Report(tmp_path / "out", plot=True)
    else:
        with Report(tmp_path / "out", plot=True):
            pass
        assert (tmp_path / "out" / "plot.png").stat().st_size > 1000


def test_options(testdata: Path) -> None:
    files = (testdata / "truth.vcf.gz", testdata / "truth.vcf.gz", testdata / "ref.fa")
    with pytest.raises(OptionError, match="give --confident"):
        run_evaluate(*files)
    with pytest.raises(OptionError, match="one of the two"):
        run_evaluate(*files, confident=testdata / "confident.bed", everywhere=True)
    with pytest.raises(OptionError, match="give --output"):
        run_evaluate(*files, everywhere=True, plot=True)


def test_bad_input(bench: Bench, tmp_path: Path) -> None:
    bases = "ACCGTTACCACAGT"
    with pytest.raises(InputError, match=r"c:3 G>T of the calls: the reference has C"):
        bench.judge(bases, [], [(2, "G", "T", "0/1")])
    # a shortened reference is no failure
    assert bench.judge(bases, [(40, "G", "T", "0/1")], []) == []
    with pytest.raises(InputError, match="bcftools sort"):
        bench.judge(bases, [(6, "A", "T", "0/1"), (2, "C", "T", "0/1")], [])
    with pytest.raises(InputError, match="name d, the reference c"):
        evaluate(
            tmp_path / "truth.vcf",
            tmp_path / "calls.vcf",
            tmp_path / "ref.fa",
            ConfidentRegions([Region("d", 0, 5)]),
        )
    # outside the confident regions nobody minds
    assert bench.judge(bases, [(2, "G", "T", "0/1")], [], [(5, 9)]) == []
    (tmp_path / "empty.bed").write_text("# nothing\n")
    with pytest.raises(InputError, match="no interval"):
        read_confident(tmp_path / "empty.bed")
    ref = tmp_path / "ref.fa"
    nobody = write_vcf(tmp_path / "sites.vcf", [], sample="")
    with pytest.raises(InputError, match="no sample column"):
        evaluate(nobody, nobody, ref, None)
    with pytest.raises(InputError, match="cannot be opened"):
        evaluate(tmp_path / "none.vcf", nobody, ref, None)
    (tmp_path / "bare.vcf").write_text(
        "##fileformat=VCFv4.2\n"
        '##FORMAT=<ID=GT,Number=1,Type=String,Description="">\n'
        "#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\tFORMAT\tS\n"
        "z\t3\t.\tC\tT\t.\t.\t.\tGT\t0/1\n"
    )
    with pytest.raises(InputError, match="it names z and the reference c"):
        evaluate(tmp_path / "bare.vcf", tmp_path / "bare.vcf", ref, None)
    (tmp_path / "text.vcf").write_text("no VCF\n")
    with pytest.raises(InputError, match="cannot be opened"):
        evaluate(tmp_path / "text.vcf", nobody, ref, None)


def test_files_without_index_in_another_order(tmp_path: Path) -> None:
    ref = write_fasta(tmp_path / "ref.fa", c="ACCGTTACCACAGT", d="ACCGTTACCACAGT")
    line = "{}\t3\t.\tC\tT\t.\t.\t.\tGT\t0/1"
    lines = [line.format("d"), line.format("x"), line.format("c")]
    other = write_vcf(tmp_path / "other.vcf", lines, contigs=["d", "x", "c"])
    with pytest.raises(InputError, match="tabix"):
        evaluate(other, other, ref, None)
    indexed = pysam.tabix_index(str(other), preset="vcf", force=True, keep_original=True)
    straight = write_vcf(tmp_path / "c.vcf", [lines[2], lines[0]], contigs=["c", "d"])
    counts = evaluate(indexed, straight, ref, None).counts()
    assert (counts.truth_tp, counts.errors) == (2, 0)


def test_truth_is_read_around_the_confident_regions_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "MARGIN", 10)
    bases = "".join(random.Random(3).choices("ACGT", k=400))
    ref = write_fasta(tmp_path / "ref.fa", c=bases)
    deletion = (45, bases[45:155], bases[45], "0/1")  # found from both sides
    others = [(i, bases[i], "ACGT"["CGTA".index(bases[i])], "0/1") for i in (5, 165, 220, 300)]
    plain = write_vcf(tmp_path / "truth.vcf", sorted([deletion, *others]))
    indexed = pysam.tabix_index(str(plain), preset="vcf", force=True, keep_original=True)
    confident = ConfidentRegions([Region("c", 30, 60), Region("c", 150, 170)])
    with Reference(ref) as reference, VariantStream(indexed, reference, "it", confident) as stream:
        assert [row.position for row in stream.of("c")] == [45, 165]
    whole = evaluate(plain, indexed, ref, confident)
    around = evaluate(indexed, plain, ref, confident)
    assert whole.counts() == around.counts()
    assert whole.counts().truth_tp == 2


def test_summaries_add_up(testdata: Path) -> None:
    truth, ref = testdata / "truth.vcf.gz", testdata / "ref.fa"
    one = evaluate(truth, truth, ref, None)
    both = Summary()
    for _ in range(2):
        both.update(evaluate(truth, truth, ref, None))
    assert both.counts("SNP").truth_tp == 2 * one.counts("SNP").truth_tp
    assert both.curve("QUAL", "SNP") == one.curve("QUAL", "SNP")
    assert both.ratio("truth", "SNP", "ti", "tv") == one.ratio("truth", "SNP", "ti", "tv")


KEY_REFERENCES = {
    "na12878": "NA12878_HiSeq_50x_hg19_chr20/ucsc.hg19.chr20.unittest.fasta.gz",
    "novaseq": "NA12878_NovaSeq_32x_GRCh38_chr21/GRCh38_windows.Npadded.fa.gz",
    "sim30x": "GRCh38_chr20_chr21_10Mb/grch38.chr20_and_21_10M.fa.gz",
}


@pytest.mark.golden
@pytest.mark.parametrize("caller", ["bcftools", "freebayes"])
@pytest.mark.parametrize("name", list(KEY_REFERENCES))
def test_verdicts_of_vcfeval(
    shared: Path, capsys: pytest.CaptureFixture[str], name: str, caller: str
) -> None:
    """Each record that rtg vcfeval judged, and its counts."""
    data = shared / "data"
    folder = data / "vcfeval_key" / name
    names = {"tp": ("calls", "TP"), "fp": ("calls", "FP")}
    names |= {"tp-baseline": ("truth", "TP"), "fn": ("truth", "FN")}
    expected = {}
    for line in (folder / f"{caller}.sites.tsv").read_text().splitlines():
        verdict, *site = line.split("\t")
        side, said = names[verdict]
        expected[(side, *site)] = said
    found, summary = {}, Summary()
    for variants in judge(
        folder / "truth.vcf.gz",
        folder / f"{caller}.vcf.gz",
        data / KEY_REFERENCES[name],
        read_confident(folder / "confident.bed"),
    ):
        summary.add(variants)
        for v in variants:
            own = v.primitive
            if v.verdict != ".":
                site = (v.contig, str(own.position + 1), own.ref, ",".join(own.alts))
                found[(v.side, *site)] = v.verdict
    same = sum(found.get(site) == said for site, said in expected.items())
    with capsys.disabled():
        print(f"\nvcfeval {name} {caller}: {same}/{len(expected)} verdicts", end=" ")
    assert found == expected
    with open(folder / f"{caller}.counts.tsv") as lines:
        for row in csv.DictReader(lines, delimiter="\t"):
            counts = summary.counts(row["TYPE"])  # type: ignore[arg-type]
            own = (counts.truth, counts.truth_tp, counts.truth_fn, counts.query_fp)
            assert own == tuple(int(row[key]) for key in ("TRUTH", "TP", "FN", "FP"))


def test_a_disk_that_is_full_hides_no_error(tmp_path: Path) -> None:
    def be_interrupted() -> None:
        with Report(tmp_path / "out") as report:
            report._variants.close()
            report._variants = open("/dev/full", "w")  # noqa: SIM115 - the report closes it
            report._variants.write("not on disk yet")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        be_interrupted()
    assert not (tmp_path / "out").exists()
