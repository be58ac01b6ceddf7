"""Frequencies of alleles in a population."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pysam
import pytest
from strategies import write_fasta

from pileupcnn.candidates import CandidateBatch
from pileupcnn.errors import InputError
from pileupcnn.frequencies import PopulationFrequencies
from pileupcnn.reference import Reference

CONTIG = "GATTACAGGCTTTTTTAACCGGATATCGCACACACACGTTAGCACTGACCATG"
CONTIGS = {"c": CONTIG, "d": CONTIG, "e": CONTIG}

Site = tuple[int, str, str, str]
"""Position (1-based), REF, ALTs and AF."""


def write_population(path: Path, contig_sites: dict[str, list[Site]], af: str = "A") -> Path:
    """An indexed VCF without samples."""
    lines = [
        "##fileformat=VCFv4.2",
        *(f"##contig=<ID={name},length={len(bases)}>" for name, bases in CONTIGS.items()),
        f'##INFO=<ID=AF,Number={af},Type=Float,Description="Frequency">',
        '##INFO=<ID=END,Number=1,Type=Integer,Description="End">',
        "#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO",
    ]
    for contig, sites in contig_sites.items():
        for position, ref, alts, info in sites:
            lines.append(f"{contig}\t{position}\t.\t{ref}\t{alts}\t.\t.\t{info}")
    plain = path.with_suffix("")
    plain.write_text("\n".join(lines) + "\n")
    pysam.tabix_compress(str(plain), str(path), force=True)
    pysam.tabix_index(str(path), preset="vcf", force=True)
    return path


def candidates_at(contig: str, sites: list[tuple[int, str, tuple[str, ...]]]) -> CandidateBatch:
    """Candidates by start (0-based), REF and ALTs."""
    alleles = [allele for _, ref, alts in sites for allele in (ref, *alts)]
    n = len(sites)
    return CandidateBatch(
        contig=contig,
        start=np.array([start for start, _, _ in sites]),
        end=np.array([start + len(ref) for start, ref, _ in sites]),
        partition=np.zeros(n, np.int32),
        depth=np.zeros(n, np.int32),
        allele_offset=np.cumsum([0, *(1 + len(alts) for _, _, alts in sites)]),
        base_offset=np.cumsum([0, *map(len, alleles)]),
        bases=np.frombuffer("".join(alleles).encode(), np.uint8),
        allele_depth=np.zeros(len(alleles), np.int32),
        support_offset=np.zeros(len(alleles) + 1, np.int64),
        support=np.zeros(0, np.int32),
        matches=0,
        mismatches=0,
    )


Lookup = Callable[..., list[float]]


@pytest.fixture
def lookup(tmp_path: Path) -> Lookup:
    """Frequencies of candidates on `contig` by files of sites by contig."""
    write_fasta(tmp_path / "ref.fa", CONTIGS)

    def look(sites: list, *files: dict[str, list[Site]], contig: str = "c") -> list[float]:
        paths = [write_population(tmp_path / f"{i}.vcf.gz", file) for i, file in enumerate(files)]
        with (
            Reference(tmp_path / "ref.fa") as reference,
            PopulationFrequencies(paths, ["c", "d"]) as population,
        ):
            found = population.lookup(candidates_at(contig, sites), reference)
        assert found.dtype == np.float32
        return [round(float(value), 6) for value in found]

    return look


def test_alleles_are_matched_by_what_they_make_of_the_contig(lookup: Lookup) -> None:
    sites = [
        (1, "A", ("C", "G")),
        (9, "CT", ("C",)),
        (27, "CAC", ("C",)),
        (28, "A", ("ACA",)),
        (40, "A", ("T",)),
    ]
    population = {
        "c": [
            (2, "A", "T,G", "AF=0.1,0.2"),
            # the same deletion of a T, farther right
            (15, "TT", "T", "AF=0.3"),
            (11, "TT", "T", "AF=0.25"),
            # longer than it must be: the alleles count, not the spelling
            (26, "TCGCAC", "TCGC", "AF=0.7"),
            (28, "CAC", "C", "AF=0.5"),
        ]
    }
    found = lookup(sites, {"c": sorted(population["c"])})
    # a record must overlap the candidate; that of the deletion at 15 does not
    assert found == [0, 0, 0.2, 0, 0.25, 0, 0.5, 0, 0, 0, 0]


def test_the_case_of_letters_does_not_matter(lookup: Lookup) -> None:
    ref = CONTIGS["c"][9:10]
    alt = "A" if ref != "A" else "C"
    sites = {"c": [(10, ref.lower(), alt.lower(), "AF=0.25")]}
    assert lookup([(9, ref, (alt,))], sites) == [0, 0.25]


def test_the_last_match_counts(lookup: Lookup) -> None:
    population = {"c": [(9, "GC", "GA", "AF=0.7"), (10, "C", "A", "AF=0.5")]}
    assert lookup([(9, "C", ("A",))], population) == [0, 0.5]


def test_what_is_no_allele_is_none(lookup: Lookup) -> None:
    population = {
        "c": [
            (2, "A", "<DEL>", "AF=0.5;END=40"),
            (5, "ACAGGC", "*,A", "AF=0.4,0.1"),
            (10, "C", ".", "AF=0.4"),
            (10, "C", "G", "."),
        ]
    }
    assert lookup([(4, "A", ("G",)), (9, "C", ("T",))], population) == [0, 0, 0, 0]


def test_a_match_without_frequency_is_an_error(lookup: Lookup) -> None:
    with pytest.raises(InputError, match=r"c:10 has no frequency"):
        lookup([(9, "C", ("G",))], {"c": [(10, "C", "G", ".")]})


def test_one_file_for_each_contig(lookup: Lookup) -> None:
    files = {"c": [(10, "C", "G", "AF=0.1")]}, {"d": [(10, "C", "G", "AF=0.2")]}
    assert lookup([(9, "C", ("G",))], *files) == [0, 0.1]
    assert lookup([(9, "C", ("G",))], *files, contig="d") == [0, 0.2]
    # one without a record of the contig
    assert lookup([(9, "C", ("G",))], *files, contig="e") == [0, 0]
    assert lookup([(9, "C", ("G",))], files[0], contig="d") == [0, 0]
    with pytest.raises(InputError, match="contig c is in another"):
        lookup([], files[0], files[0])


def test_files_of_no_use(tmp_path: Path) -> None:
    sites = {"e": [(10, "C", "G", "AF=0.1")]}
    path = write_population(tmp_path / "a.vcf.gz", sites)
    with pytest.raises(InputError, match="no contig in common"):
        PopulationFrequencies([path], ["chr1"])
    with pytest.raises(InputError, match="no index"):
        PopulationFrequencies([path.with_suffix("")], ["e"])
    with pytest.raises(InputError, match="cannot be opened"):
        PopulationFrequencies([tmp_path / "none.vcf.gz"], ["e"])
    text = path.with_suffix("").read_text().replace("ID=AF", "ID=AX").replace("AF=", "AX=")
    other = tmp_path / "b.vcf"
    other.write_text(text)
    pysam.tabix_compress(str(other), f"{other}.gz")
    pysam.tabix_index(f"{other}.gz", preset="vcf")
    with pytest.raises(InputError, match="no allele frequencies"):
        PopulationFrequencies([f"{other}.gz"], ["e"])
