"""What a user can get wrong: one sentence, the right exit code, nothing left behind.

Each test drives the real command line on inputs damaged on purpose. Most of them
must fail before TensorFlow is loaded, so they are quick.
"""

from __future__ import annotations

import dataclasses
import gzip
import json
import os
import random
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pysam
import pytest

LENGTHS = {"one": 30_000, "two": 5_000}
READ_LENGTH = 100
INSERT = 300
HET_SNP = 20_000
WARNING = re.compile(r"(\[W::|warning\b|pileupcnn: warning\b)", re.IGNORECASE)

Header = dict[str, Any]


@dataclass(frozen=True)
class Inputs:
    """Sound inputs of one test, to be damaged; `out` is an empty folder."""

    ref: Path
    reads: Path
    out: Path

    @property
    def output(self) -> Path:
        return self.out / "calls.vcf.gz"


@dataclass(frozen=True)
class Outcome:
    code: int
    stdout: str
    stderr: str

    @property
    def warnings(self) -> list[str]:
        return [line for line in self.stderr.splitlines() if WARNING.match(line)]

    @property
    def errors(self) -> list[str]:
        return [line for line in self.stderr.splitlines() if line and not WARNING.match(line)]


# --- making inputs -----------------------------------------------------------


def write_fasta(path: Path, contigs: dict[str, str]) -> None:
    path.write_text("".join(f">{name}\n{bases}\n" for name, bases in contigs.items()))
    pysam.faidx(str(path))


def header_of(lengths: dict[str, int], samples: Iterable[str] = ("alice",)) -> Header:
    return {
        "HD": {"VN": "1.6", "SO": "coordinate"},
        "SQ": [{"SN": name, "LN": length} for name, length in lengths.items()],
        "RG": [{"ID": f"rg_{sample}", "SM": sample} for sample in samples],
    }


def simulated_reads(contigs: dict[str, str], depth: int = 20) -> list[dict[str, Any]]:
    """Pairs of perfect reads, in order; every other fragment carries the SNP of contig one."""
    source = random.Random(4)
    reads = []
    for tid, bases in enumerate(contigs.values()):
        snp = bases[:HET_SNP] + ("A" if bases[HET_SNP : HET_SNP + 1] != "A" else "C")
        haplotypes = bases, snp + bases[HET_SNP + 1 :] if len(bases) > HET_SNP else bases
        for i in range(len(bases) * depth // (2 * READ_LENGTH)):
            start = source.randrange(len(bases) - INSERT)
            for second in (False, True):
                at = start + (INSERT - READ_LENGTH if second else 0)
                mate = start + (0 if second else INSERT - READ_LENGTH)
                reads.append(
                    {
                        "query_name": f"fragment{tid}.{i}",
                        "flag": 147 if second else 99,
                        "reference_id": tid,
                        "reference_start": at,
                        "mapping_quality": 60,
                        "cigarstring": f"{READ_LENGTH}M",
                        "next_reference_id": tid,
                        "next_reference_start": mate,
                        "template_length": -INSERT if second else INSERT,
                        "query_sequence": haplotypes[i % 2][at : at + READ_LENGTH],
                    }
                )
    return sorted(reads, key=lambda read: (read["reference_id"], read["reference_start"]))


def write_bam(
    path: Path, header: Header, reads: Iterable[dict[str, Any]], index: bool = True
) -> None:
    groups = [group["ID"] for group in header.get("RG", [])]
    with pysam.AlignmentFile(
        str(path), "wb", header=pysam.AlignmentHeader.from_dict(header)
    ) as out:
        for i, fields in enumerate(reads):
            read = pysam.AlignedSegment(out.header)
            for name, value in fields.items():
                setattr(read, name, value)
            if "query_qualities" not in fields:
                read.query_qualities = pysam.qualitystring_to_array("I" * len(read.query_sequence))
            if groups:
                read.set_tag("RG", groups[i % len(groups)])
            out.write(read)
    if index:
        pysam.index(str(path))


@pytest.fixture(scope="module")
def contigs() -> dict[str, str]:
    source = random.Random(3)
    return {name: "".join(source.choices("ACGT", k=n)) for name, n in LENGTHS.items()}


@pytest.fixture(scope="module")
def reads(contigs: dict[str, str]) -> list[dict[str, Any]]:
    return simulated_reads(contigs)


@pytest.fixture(scope="module")
def sound(
    tmp_path_factory: pytest.TempPathFactory,
    contigs: dict[str, str],
    reads: list[dict[str, Any]],
) -> Path:
    folder = tmp_path_factory.mktemp("sound")
    write_fasta(folder / "ref.fa", contigs)
    write_bam(folder / "reads.bam", header_of(LENGTHS), reads)
    return folder


@pytest.fixture
def inputs(sound: Path, tmp_path: Path) -> Inputs:
    folder = tmp_path / "in"
    # copy2 keeps the times: the index must not look older than the reads
    shutil.copytree(sound, folder)
    out = tmp_path / "out"
    out.mkdir()
    return Inputs(folder / "ref.fa", folder / "reads.bam", out)


# --- running -----------------------------------------------------------------


def call(inputs: Inputs, *options: str, output: str | Path | None = None) -> Outcome:
    """Run ``pileupcnn call`` in a process of its own."""
    command = [
        *(sys.executable, "-c", "from pileupcnn.cli import main; main()", "call"),
        *("--ref", str(inputs.ref), "--reads", str(inputs.reads)),
        *("--output", str(output or inputs.output), "--threads", "1", *options),
    ]
    result = subprocess.run(command, capture_output=True, text=True, check=False, cwd=inputs.out)
    return Outcome(result.returncode, result.stdout, result.stderr)


def fails(
    inputs: Inputs, *options: str, says: Iterable[str], code: int = 1, **more: str | Path
) -> Outcome:
    """`call` must end with one sentence that holds every part of `says`, and leave nothing."""
    before = snapshot(inputs)
    outcome = call(inputs, *options, **more)
    assert outcome.code == code, outcome.stderr
    assert "Traceback" not in outcome.stderr
    assert "this is a bug" not in outcome.stderr
    # click puts the usage before a complaint about options
    errors = [line for line in outcome.errors if not line.startswith(("Usage:", "Try "))]
    assert len(errors) == 1, outcome.stderr
    for part in says:
        assert part in errors[0]
    assert not outcome.stdout
    assert snapshot(inputs) == before
    return outcome


def snapshot(inputs: Inputs) -> set[Path]:
    return {*inputs.out.parent.rglob("*")}


def succeeds(inputs: Inputs, *options: str) -> tuple[Outcome, pysam.VariantHeader, list[str]]:
    """`call` must end well; the header and the loci of the PASS records."""
    outcome = call(inputs, *options)
    assert outcome.code == 0, outcome.stderr
    assert "Traceback" not in outcome.stderr
    assert "this is a bug" not in outcome.stderr
    assert {path.name for path in inputs.out.iterdir()} == {"calls.vcf.gz", "calls.vcf.gz.tbi"}
    with pysam.VariantFile(str(inputs.output)) as vcf:
        passing = [f"{r.contig}:{r.start}" for r in vcf if "PASS" in r.filter.keys()]  # noqa: SIM118
        return outcome, vcf.header, passing


def rewrite(
    inputs: Inputs, change: Callable[[Header], None], reads: Iterable[dict[str, Any]]
) -> None:
    """Write the BAM again under a changed header."""
    header = header_of(LENGTHS)
    change(header)
    write_bam(inputs.reads, header, reads)


# --- a second output ---------------------------------------------------------


def test_gvcf_in_the_place_of_the_vcf(inputs: Inputs) -> None:
    fails(inputs, "--gvcf", str(inputs.output), says=["--gvcf", "--output"], code=2)


def test_gvcf_of_a_task(inputs: Inputs) -> None:
    output = inputs.out / "calls.tfrecord.gz"
    options = ["--gvcf", "calls.g.vcf.gz", "--task", "0/2"]
    fails(inputs, *options, says=["calls.g.vcf.gz", ".tfrecord.gz"], code=2, output=output)


def test_haploid_contig_of_another_name(inputs: Inputs) -> None:
    fails(inputs, "--haploid-contigs", "two,chrX", says=["chrX", "one, two"], code=2)


def test_missing_pseudoautosomal_regions(inputs: Inputs) -> None:
    options = ["--haploid-contigs", "two", "--par-regions", "absent.bed"]
    fails(inputs, *options, says=["absent.bed"])


# --- reads -------------------------------------------------------------------


def test_missing_reads(inputs: Inputs) -> None:
    inputs.reads.unlink()
    fails(inputs, says=["reads.bam"])


def test_reads_that_are_no_bam(inputs: Inputs) -> None:
    inputs.reads.write_text("read1\t0\tone\n")
    fails(inputs, says=["reads.bam"])


def test_missing_index(inputs: Inputs) -> None:
    Path(f"{inputs.reads}.bai").unlink()
    fails(inputs, says=["reads.bam", "index", "samtools index"])


def test_missing_cram_index(inputs: Inputs) -> None:
    cram = inputs.reads.with_suffix(".cram")
    pysam.view("-C", "-T", str(inputs.ref), "-o", str(cram), str(inputs.reads), catch_stdout=False)
    fails(Inputs(inputs.ref, cram, inputs.out), says=["reads.cram", "samtools index"])


def test_index_of_a_longer_bam(inputs: Inputs, reads: list[dict[str, Any]]) -> None:
    index = Path(f"{inputs.reads}.bai")
    kept = index.read_bytes()
    write_bam(inputs.reads, header_of(LENGTHS), reads[:1000], index=False)
    index.write_bytes(kept)
    fails(inputs, says=["reads.bam", "index"])


@pytest.mark.parametrize("share", [0.999, 0.5])
def test_truncated_bam(inputs: Inputs, share: float) -> None:
    content = inputs.reads.read_bytes()
    times = inputs.reads.stat()
    inputs.reads.write_bytes(content[: int(len(content) * share)])
    os.utime(inputs.reads, ns=(times.st_atime_ns, times.st_mtime_ns))
    fails(inputs, says=["reads.bam", "truncated"])


def test_damaged_block_inside(inputs: Inputs) -> None:
    content = bytearray(inputs.reads.read_bytes())
    times = inputs.reads.stat()
    middle = len(content) // 2
    content[middle : middle + 200] = bytes(200)
    inputs.reads.write_bytes(content)
    os.utime(inputs.reads, ns=(times.st_atime_ns, times.st_mtime_ns))
    fails(inputs, says=["reads.bam"])


def test_several_samples_and_none_chosen(inputs: Inputs, reads: list[dict[str, Any]]) -> None:
    write_bam(inputs.reads, header_of(LENGTHS, ["alice", "bob"]), reads)
    fails(inputs, says=["reads.bam", "alice", "bob", "--sample"])


def test_one_of_several_samples(inputs: Inputs, reads: list[dict[str, Any]]) -> None:
    write_bam(inputs.reads, header_of(LENGTHS, ["alice", "bob"]), reads)
    _, header, _ = succeeds(inputs, "--sample", "bob", "--regions", "two")
    assert list(header.samples) == ["bob"]


def test_sample_that_is_not_there(inputs: Inputs, reads: list[dict[str, Any]]) -> None:
    write_bam(inputs.reads, header_of(LENGTHS, ["alice", "bob"]), reads)
    fails(inputs, "--sample", "carol", says=["carol", "alice", "bob"], code=2)


def test_files_of_two_samples(inputs: Inputs, reads: list[dict[str, Any]]) -> None:
    other = inputs.reads.with_name("other.bam")
    write_bam(other, header_of(LENGTHS, ["bob"]), reads)
    fails(inputs, "--reads", str(other), says=["alice", "bob"])


# --- reference ---------------------------------------------------------------


def test_a_file_given_twice(inputs: Inputs) -> None:
    link = inputs.reads.with_name("link.bam")
    link.symlink_to(inputs.reads)
    fails(inputs, "--reads", str(link), says=["link.bam", "twice"])
    named = f"{inputs.reads}##idx##{inputs.reads}.bai"
    fails(inputs, "--reads", named, says=["##idx##", "twice"])


def test_contigs_that_one_file_lacks(
    inputs: Inputs, contigs: dict[str, str], reads: list[dict[str, Any]]
) -> None:
    first = next(iter(contigs))
    other = inputs.reads.with_name("other.bam")
    own = [read for read in reads if read["reference_id"] == 0]
    write_bam(other, header_of({first: len(contigs[first])}), own)
    outcome, _, loci = succeeds(inputs, "--reads", str(other))
    (warning,) = outcome.warnings
    for part in ("other.bam", "lacks", *list(contigs)[1:2], "nothing is called there"):
        assert part in warning
    assert loci


def test_an_index_named_as_htslib_has_it(inputs: Inputs) -> None:
    index = inputs.reads.with_name("elsewhere.bai")
    Path(f"{inputs.reads}.bai").rename(index)
    named = dataclasses.replace(inputs, reads=Path(f"{inputs.reads}##idx##{index}"))
    assert call(named).code == 0


def test_standard_error_that_is_closed(inputs: Inputs) -> None:
    command = (
        f'"{sys.executable}" -m pileupcnn call --ref "{inputs.ref}" --reads "{inputs.reads}" '
        f'--output "{inputs.output}" 2>&-'
    )
    assert subprocess.run(command, shell=True, check=False).returncode == 0
    with pysam.VariantFile(str(inputs.output)) as file:
        assert any(True for _ in file)


def test_no_contig_in_common(inputs: Inputs, contigs: dict[str, str]) -> None:
    write_fasta(inputs.ref, {f"chr{name}": bases for name, bases in contigs.items()})
    fails(inputs, says=["no contig in common", "one", "chrone"])


def test_contig_of_another_length(inputs: Inputs, contigs: dict[str, str]) -> None:
    write_fasta(inputs.ref, contigs | {"one": contigs["one"] + "A"})
    fails(inputs, says=["one", "30,000", "30,001"])


def test_missing_reference(inputs: Inputs) -> None:
    inputs.ref.unlink()
    fails(inputs, says=["ref.fa"])


@pytest.mark.parametrize(
    ("content", "says"),
    [("@read\nACGT\n+\nIIII\n", "FASTQ"), ("once upon a time\n", "FASTA"), ("", "FASTA")],
    ids=["fastq", "prose", "empty"],
)
def test_reference_that_is_no_fasta(inputs: Inputs, content: str, says: str) -> None:
    inputs.ref.write_text(content)
    fails(inputs, says=["ref.fa", says])


def test_gzip_instead_of_bgzip(inputs: Inputs) -> None:
    zipped = inputs.ref.with_name("ref.fa.gz")
    zipped.write_bytes(gzip.compress(inputs.ref.read_bytes()))
    fails(Inputs(zipped, inputs.reads, inputs.out), says=["ref.fa.gz", "bgzip"])


def test_reference_without_index(inputs: Inputs) -> None:
    Path(f"{inputs.ref}.fai").unlink()
    fails(inputs, says=["ref.fa", "samtools faidx"])


def test_reference_that_does_not_fit_the_reads(inputs: Inputs) -> None:
    source = random.Random(5)
    write_fasta(
        inputs.ref, {name: "".join(source.choices("ACGT", k=n)) for name, n in LENGTHS.items()}
    )
    fails(inputs, "--regions", "one:1-8000", says=["reads.bam", "ref.fa", "--ref"])


# --- options -----------------------------------------------------------------


@pytest.mark.parametrize(
    "region", ["one:1-30001", "one:40,000-50,000", "three", "one:9-5", "one:0-10", "one:x"]
)
def test_region_outside_a_contig(inputs: Inputs, region: str) -> None:
    fails(inputs, "--regions", region, says=[region], code=2)


@pytest.mark.parametrize(
    "line", ["one\t5", "one 5 10", "one\tfive\t10", "one\t10\t5", "one\t-1\t5", "one\t1\t30001"]
)
def test_bed_with_a_bad_line(inputs: Inputs, line: str) -> None:
    bed = inputs.ref.with_name("some.bed")
    bed.write_text(f"track name=x\none\t100\t200\n{line}\n")
    fails(inputs, "--regions", str(bed), says=["some.bed", "line 3"])


def test_missing_bed(inputs: Inputs) -> None:
    fails(inputs, "--regions", "absent.bed", says=["absent.bed"])


def test_output_in_a_folder_that_is_not_there(inputs: Inputs) -> None:
    output = inputs.out / "absent" / "calls.vcf.gz"
    fails(inputs, says=["absent"], output=output)


def test_output_that_is_a_folder(inputs: Inputs) -> None:
    output = inputs.out / "folder.vcf"
    output.mkdir()
    fails(inputs, says=["folder.vcf"], output=output)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_output_in_a_read_only_folder(inputs: Inputs) -> None:
    inputs.out.chmod(0o500)
    fails(inputs, says=["calls.vcf.gz"])


def test_output_of_unknown_kind(inputs: Inputs) -> None:
    fails(inputs, says=["calls.txt", ".vcf.gz"], output=inputs.out / "calls.txt", code=2)


@pytest.mark.parametrize(
    "options",
    [["--threads", "0"], ["--batch-size", "0"], ["--device", "abacus"], ["--nonsense"]],
    ids=" ".join,
)
def test_bad_options(inputs: Inputs, options: list[str]) -> None:
    fails(inputs, *options, says=[options[0]], code=2)


# --- model -------------------------------------------------------------------


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A copy of the shipped model."""
    import pileupcnn

    shipped = next((Path(pileupcnn.__file__).parent / "models").glob("*/model.json"), None)
    if shipped is None:
        pytest.skip("no shipped model")
    folder = tmp_path / "model"
    shutil.copytree(shipped.parent, folder)
    return folder


def edit(model: Path, change: Callable[[dict[str, Any]], None]) -> None:
    path = model / "model.json"
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def test_missing_model(inputs: Inputs) -> None:
    fails(inputs, "--model", "absent", says=["absent", "--model"])


def test_model_without_weights(inputs: Inputs, model: Path) -> None:
    (model / "weights.npz").unlink()
    fails(inputs, "--model", str(model), says=["weights.npz"])


def test_model_with_other_weights(inputs: Inputs, model: Path) -> None:
    weights = model / "weights.npz"
    content = bytearray(weights.read_bytes())
    content[len(content) // 2] ^= 0xFF
    weights.write_bytes(content)
    fails(inputs, "--model", str(model), says=["weights.npz", "checksum"])


def test_model_json_that_is_no_json(inputs: Inputs, model: Path) -> None:
    (model / "model.json").write_text("{")
    fails(inputs, "--model", str(model), says=[str(model)])


def test_model_with_a_channel_that_cannot_be_drawn(inputs: Inputs, model: Path) -> None:
    def change(content: dict[str, Any]) -> None:
        content["image"]["channels"][-1] = "smell"

    edit(model, change)
    fails(inputs, "--model", str(model), says=[str(model), "smell"])


def test_model_with_an_image_that_has_no_middle(inputs: Inputs, model: Path) -> None:
    def change(content: dict[str, Any]) -> None:
        content["image"]["width"] = 220

    edit(model, change)
    fails(inputs, "--model", str(model), says=[str(model), "220"])


@pytest.mark.parametrize(
    ("part", "name", "value"),
    [("assembly", "min_k", 0), ("alignment", "kmer_size", 0), ("alignment", "match", 90)],
)
def test_model_with_settings_that_no_kernel_takes(
    inputs: Inputs, model: Path, part: str, name: str, value: int
) -> None:
    def change(content: dict[str, Any]) -> None:
        content["settings"]["realign"][part][name] = value

    edit(model, change)
    fails(inputs, "--model", str(model), says=[str(model), f"{name} {value} is not from"])


# --- not errors --------------------------------------------------------------


def test_no_reads_at_all(inputs: Inputs) -> None:
    write_bam(inputs.reads, header_of(LENGTHS), [])
    _, header, passing = succeeds(inputs)
    assert list(header.samples) == ["alice"]
    assert list(header.contigs) == list(LENGTHS)
    assert passing == []


def test_sound_inputs(inputs: Inputs) -> None:
    """What the tests above damage is called without a warning."""
    outcome, _, passing = succeeds(inputs, "--regions", "one:19,001-21,000")
    assert outcome.warnings == []
    assert passing == [f"one:{HET_SNP}"]


def test_no_read_group(inputs: Inputs, reads: list[dict[str, Any]]) -> None:
    rewrite(inputs, lambda header: header.pop("RG"), reads)
    outcome, header, _ = succeeds(inputs, "--regions", "two")
    assert list(header.samples) == ["default"]
    assert any("default" in line for line in outcome.warnings)


def test_checksum_of_another_reference(inputs: Inputs, reads: list[dict[str, Any]]) -> None:
    rewrite(inputs, lambda header: header["SQ"][1].update(M5="0" * 32), reads)
    outcome, _, _ = succeeds(inputs, "--regions", "two")
    assert any("M5" in line and "two" in line for line in outcome.warnings)


def test_index_older_than_the_reads(inputs: Inputs) -> None:
    os.utime(f"{inputs.reads}.bai", (1_000_000_000, 1_000_000_000))
    outcome, _, _ = succeeds(inputs, "--regions", "two")
    assert any("older" in line for line in outcome.warnings)


@pytest.mark.parametrize("order", [None, "unsorted"])
def test_header_without_sort_order(
    inputs: Inputs, reads: list[dict[str, Any]], order: str | None
) -> None:
    def change(header: Header) -> None:
        if order is None:
            del header["HD"]
        else:
            header["HD"]["SO"] = order

    rewrite(inputs, change, reads)
    succeeds(inputs, "--regions", "two")


def test_odd_reads_are_skipped(
    inputs: Inputs, contigs: dict[str, str], reads: list[dict[str, Any]]
) -> None:
    """Reads without bases or qualities, and rare CIGAR operations, stop nothing."""
    start = HET_SNP + 200
    bases = contigs["one"][start : start + READ_LENGTH]
    template = next(read for read in reads if read["reference_start"] > start)
    cigars = ["100M", "5H100M", "10S90M", "40M500N60M", "40M2P60M", "50=50X", "100S", "100I"]
    odd = [
        template | {"query_name": f"odd{i}", "reference_start": start, "cigarstring": cigar}
        for i, cigar in enumerate(cigars)
    ]
    odd.append(odd[0] | {"query_name": "no_qualities", "query_qualities": None})
    odd.append(odd[0] | {"query_name": "no_bases", "query_sequence": None, "query_qualities": None})
    odd.append(odd[0] | {"query_name": "no_cigar", "cigarstring": None})
    odd = [
        read if read["query_sequence"] is None else read | {"query_sequence": bases} for read in odd
    ]
    write_bam(
        inputs.reads,
        header_of(LENGTHS),
        sorted([*reads, *odd], key=lambda read: (read["reference_id"], read["reference_start"])),
    )
    _, _, passing = succeeds(inputs, "--regions", "one:19,001-21,000")
    assert f"one:{HET_SNP}" in passing
