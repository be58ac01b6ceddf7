"""What scripts/accuracy and scripts/benchmark make of what they measure."""

from __future__ import annotations

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
def accuracy(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    return load("accuracy", monkeypatch)


@pytest.mark.parametrize(
    ("depths", "depth", "genotype"),
    [
        ((17, 3), 20, None),
        ((6, 2), 8, (0, 1)),
        ((4, 16), 20, (0, 1)),
        ((3, 17), 20, (1, 1)),
        ((0, 10, 9), 20, (1, 2)),
        ((0, 5, 9, 6), 20, (2, 3)),
        ((0, 0), 0, None),
    ],
)
def test_rule(
    monkeypatch: pytest.MonkeyPatch,
    depths: tuple[int, ...],
    depth: int,
    genotype: tuple[int, int] | None,
) -> None:
    callsets = load("_callsets.py", monkeypatch)
    site = callsets.Site(9, ("A", "C", "G", "T")[: len(depths)], depths, depth)
    rule = callsets.Rule(0.25, 0.8)
    assert rule.genotype(site) == genotype
    lines = list(rule.records("c", [site]))
    assert len(lines) == (genotype is not None)
    assert all(line.startswith("c\t10\t.\tA\tC") for line in lines)


def test_poisson_bound(accuracy: ModuleType) -> None:
    # two-sided 95 %: Garwood 1936
    assert accuracy.poisson_upper(0) == pytest.approx(3.6889, abs=1e-3)
    assert accuracy.poisson_upper(10) == pytest.approx(18.390, abs=1e-3)
    assert accuracy.poisson_upper(100) == pytest.approx(121.63, abs=1e-2)


def test_bins_are_joined_until_they_say_something(accuracy: ModuleType) -> None:
    rows = [(100, 8, 6.0), (200, 4, 6.0), (900, 9, 9.0)]
    assert accuracy.joined_bins(rows) == [(1200, 21, 21.0)]
    assert accuracy.joined_bins([*rows, (900, 9, 11.0)]) == [(300, 12, 12.0), (1800, 18, 20.0)]
    assert accuracy.joined_bins([(5, 1, 0.5)]) == [(5, 1, 0.5)]
    assert accuracy.joined_bins([(0, 0, 0.0)]) == []


def outcome(
    accuracy: ModuleType, name: str, caller: str, snp: int, indel: int, missed: str = ""
) -> object:
    """An outcome with so many false calls; each letter of `missed` is a missed SNP."""
    from pileupcnn.evaluate.summary import Stratum, Summary

    summary = Summary()
    summary.strata[Stratum("SNP", -1, "other")].truth_fn = len(missed)
    summary.strata[Stratum("SNP", -1, "other")].query_fp = snp
    summary.strata[Stratum("INDEL", 0, "other")].query_fp = indel
    return accuracy.Outcome(name, caller, summary, frozenset(missed))


def verdicts(lines: list[object]) -> list[bool]:
    return [line.good for line in lines]  # type: ignore[attr-defined]


def test_bounds_of_shared_sets(accuracy: ModuleType) -> None:
    table = accuracy.Table()
    table.outcomes = [
        outcome(accuracy, "sim 30x", "pileupcnn", 10, 3),
        outcome(accuracy, "sim 10x", "pileupcnn", 7, 7),
        outcome(accuracy, "sim 10x", "bcftools", 8, 9),
        outcome(accuracy, "sim 10x", "freebayes", 9, 7),
        outcome(accuracy, "HiSeqX 20.53", "pileupcnn", 1, 1),
        outcome(accuracy, "HiSeqX 20.53", "bcftools", 0, 2),
        outcome(accuracy, "HiSeqX 20.53", "freebayes", 0, 3),
        outcome(accuracy, "HiSeqX 20.53", "vaf", 0, 2),
    ]
    assert verdicts(accuracy.check_shared(table)) == [True, False, True, False, True]
    # fewer than each of bcftools, freebayes and the rule
    assert verdicts(accuracy.check_real(table, ["HiSeqX 20.53"])) == [False, True, False]
    assert accuracy.check_real(table, ["NovaSeq"]) == []


def test_bounds_of_simulated_runs(accuracy: ModuleType) -> None:
    table = accuracy.Table()
    table.outcomes = [
        # what all three miss (a, b) counts for none of them
        outcome(accuracy, "one", "pileupcnn", 3, 0, "ab"),
        outcome(accuracy, "one", "bcftools", 5, 4, "abc"),
        outcome(accuracy, "one", "freebayes", 3, 0, "abde"),
        outcome(accuracy, "two", "pileupcnn", 9, 0),
        outcome(accuracy, "two", "bcftools", 20, 10),
        outcome(accuracy, "two", "freebayes", 1, 0),
    ]
    assert accuracy.reachable_errors(table, "one") == {
        "pileupcnn": 3,
        "bcftools": 10,
        "freebayes": 5,
    }
    lines = accuracy.check_heldout(table, ["one", "two"])
    # 12 of 40 and of 6; in "two" 9 is beyond what 1 may be
    assert verdicts(lines) == [True, True, False, False]
    assert lines[-1].said == "two 9 > 1"


def test_bounds_of_depth_and_cascade(accuracy: ModuleType) -> None:
    table = accuracy.Table()
    names = {40: ["a"], 80: ["b"], 200: ["c"]}
    table.outcomes = [
        outcome(accuracy, name, "pileupcnn", errors, 0)
        for name, errors in (("a", 4), ("b", 6), ("c", 7))
    ]
    assert verdicts(accuracy.check_depth(table, names)) == [True, False]
    assert accuracy.check_cascade(table) == []
    table.alone = [outcome(accuracy, "c", "pileupcnn", 2, 0)]
    assert verdicts(accuracy.check_cascade(table)) == [False]


def test_bounds_of_calibration(accuracy: ModuleType) -> None:
    table = accuracy.Table()
    table.outcomes = [
        outcome(accuracy, "one", "pileupcnn", 0, 0),
        outcome(accuracy, "two", "pileupcnn", 0, 0),
    ]
    for one, gqs in zip(
        table.outcomes, ([(7, 100, 20), (35, 3000, 1)], [(15, 400, 45)]), strict=True
    ):
        one.summary._by_gq = {
            gq: [records, wrong, records * 10 ** (-gq / 10)] for gq, records, wrong in gqs
        }
    lines = accuracy.check_calibration(table, ["one", "two"])
    # too few variants; 20 of 20 expected; 45 of 13; 1 of 3,000, at most 5.6
    assert verdicts(lines) == [False, True, False, True]


def test_libraries_write_their_qualities(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from pileupcnn.simulate.qualities import sample_qualities

    heldout = load("_heldout.py", monkeypatch)
    assert len(heldout.RUNS) >= 14
    assert len({run.seed for run in (*heldout.RUNS, *heldout.DEEP_RUNS)}) == len(heldout.RUNS) + 3
    library = heldout.LIBRARIES["binned"]
    heldout.write_qualities(library, tmp_path / "q.bam")
    found = sample_qualities(str(tmp_path / "q.bam"), library.read_length, tmp_path)
    assert set(found.strings[0].ravel().tolist()) == set(library.levels)
    assert found.strings[0][:, :20].mean() > found.strings[0][:, -20:].mean()


def test_benchmark_reads_the_log_of_call(monkeypatch: pytest.MonkeyPatch) -> None:
    benchmark = load("benchmark", monkeypatch)
    log = "a line\nstage seconds: scan 1.2, draw 0.5, write 0.01\nGIL held: 3.1% of CPU time\n"
    assert benchmark.read_log(log) == ({"scan": 1.2, "draw": 0.5, "write": 0.01}, 3.1)
    assert benchmark.read_log("nothing") == ({}, None)
