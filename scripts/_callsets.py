"""Data sets with a truth, and call sets of them: ours, those of peers, and a rule's."""

from __future__ import annotations

import hashlib
import itertools
import subprocess
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from _common import (
    VENV,
    bcftools_commands,
    fail,
    freebayes_commands,
    plain_reference,
    start_pipeline,
    tool_version,
)

if TYPE_CHECKING:
    from pileupcnn.evaluate.matching import Judged
    from pileupcnn.evaluate.summary import Summary
    from pileupcnn.labels import ConfidentRegions

PEERS = ("bcftools", "freebayes")

# grid on which the rule's thresholds are tuned
ALT_FRACTIONS = tuple(round(0.10 + 0.03 * i, 2) for i in range(11))
HOMOZYGOUS_FRACTIONS = tuple(round(0.60 + 0.05 * i, 2) for i in range(8))


@dataclass(frozen=True)
class Window:
    """Reads of one region: 0-based, half-open."""

    reads: Path
    contig: str
    start: int
    end: int

    @property
    def region(self) -> str:
        """The region as samtools writes it."""
        return f"{self.contig}:{self.start + 1}-{self.end}"


@dataclass(frozen=True)
class DataSet:
    """Reads with a truth; `gaps` are sites that the truth is known to lack."""

    name: str
    ref: Path
    truth: Path
    bed: Path
    window: Window
    gaps: Path | None = None

    def confident(self) -> ConfidentRegions:
        """The confident regions in the window, less the gaps."""
        from pileupcnn.evaluate.evaluation import read_confident
        from pileupcnn.labels import ConfidentRegions
        from pileupcnn.regions import Region, read_bed
        from pileupcnn.simulate.donor import subtract

        known = read_confident(self.bed)
        window = Region(self.window.contig, self.window.start, self.window.end)
        inside = known.intersect([window])
        return ConfidentRegions(subtract(inside, read_bed(self.gaps) if self.gaps else []))


@dataclass
class Outcome:
    """What one caller made of one set; `missed` are the truth variants it lacks."""

    name: str
    caller: str
    summary: Summary
    missed: frozenset[tuple[object, ...]] = field(default_factory=frozenset)

    def errors(self, kind: str | None = None) -> int:
        """FN + FP of a kind, or of both."""
        return self.summary.counts(kind).errors


def shared_sets(data: Path) -> dict[str, DataSet]:
    """The sets of the shared folder, by short name; ``train...`` may be tuned on."""
    sim = data / "HG002_sim_30x_GRCh38_chr20_5-6Mb"
    hg001 = data / "NA12878_HiSeq_50x_hg19_chr20"
    nova = data / "NA12878_NovaSeq_32x_GRCh38_chr21"
    hiseqx = data / "HG002_HiSeqX_60-96x_b37_chr20"

    def novaseq(name: str, start: int, end: int) -> DataSet:
        return DataSet(
            name,
            nova / "GRCh38_windows.Npadded.fa.gz",
            nova / "PG_NA12878_hg38-chr21.vcf.gz",
            nova / "conf_win.bed",
            Window(nova / "NA12878.chr21_16.6-16.8M.bam", "chr21", start, end),
        )

    def x_window(name: str, start: int, end: int) -> DataSet:
        return DataSet(
            name,
            hiseqx / "b37_chr20_windows.Npadded.fa.gz",
            hiseqx / "truth.vcf.gz",
            hiseqx / "confident.bed",
            Window(hiseqx / f"NA24385_chr_20_{start}_{end}.bam", "20", start, end),
        )

    return {
        "sim": DataSet(
            "sim 30x",
            data / "GRCh38_chr20_chr21_10Mb" / "grch38.chr20_and_21_10M.fa.gz",
            sim / "truth.vcf.gz",
            sim / "confident.bed",
            Window(sim / "HG002.sim30x.chr20_5-6Mb.bam", "chr20", 5_000_000, 6_000_000),
        ),
        "na12878": DataSet(
            "NA12878 50x less truth gaps",
            hg001 / "ucsc.hg19.chr20.unittest.fasta.gz",
            hg001 / "HG001.v332.hg19.vcf.gz",
            hg001 / "NA12878.hg19.proxy.bed",
            Window(hg001 / "NA12878_S1.chr20.10_10p1mb.bam", "chr20", 10_000_000, 10_100_000),
            hg001 / "truth_gaps.bed",
        ),
        "novaseq": novaseq("NovaSeq 16.70-16.80", 16_700_000, 16_800_000),
        "hiseqx": x_window("HiSeqX 20.53", 20_525_032, 20_604_921),
        "train-novaseq": novaseq("NovaSeq 16.60-16.70", 16_600_000, 16_700_000),
        "train-hiseqx-1": x_window("HiSeqX 18.78", 18_783_981, 18_855_722),
        "train-hiseqx-2": x_window("HiSeqX 20.16", 20_156_208, 20_234_556),
    }


REAL = ("na12878", "novaseq", "hiseqx")
TRAINING = ("train-novaseq", "train-hiseqx-1", "train-hiseqx-2")


def compare(data: DataSet, caller: str, calls: Path) -> Outcome:
    """Judge a call set of a data set."""
    from pileupcnn.evaluate.evaluation import judge
    from pileupcnn.evaluate.summary import Summary

    outcome = Outcome(data.name, caller, Summary())
    missed = set()
    for variants in judge(data.truth, calls, data.ref, data.confident()):
        outcome.summary.add(variants)
        missed.update(_identity(variant) for variant in variants if variant.verdict == "FN")
    outcome.missed = frozenset(missed)
    return outcome


def _identity(variant: Judged) -> tuple[object, ...]:
    return (variant.contig, *variant.key)


def run_to_file(commands: list[list[str]], path: Path) -> None:
    """Run a pipeline into `path`, which appears only when it has succeeded."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.part")
    log = path.with_name(f"{path.name}.log")
    with open(part, "wb") as out, open(log, "wb") as err:
        processes = start_pipeline(commands, out.fileno(), err.fileno())
        codes = [process.wait() for process in processes]
    if any(codes):
        fail(f"'{' | '.join(' '.join(command) for command in commands)}' failed; see {log}")
    part.replace(path)


def peer_calls(caller: str, data: DataSet, cache: Path) -> Path:
    """Call set of bcftools or freebayes, made once per tool version and input."""
    ref = plain_reference(data.ref, cache / "reference") if caller == "freebayes" else data.ref
    build = {"bcftools": bcftools_commands, "freebayes": freebayes_commands}[caller]
    commands = build(ref, data.window.reads, data.window.region)
    sizes = [data.window.reads.stat().st_size, data.ref.stat().st_size]
    key = hashlib.sha256(repr((tool_version(caller), commands, sizes)).encode()).hexdigest()
    path = cache / caller / f"{data.window.reads.stem}.{key[:12]}.vcf"
    if not path.exists():
        run_to_file(commands, path)
    return path


def our_calls(
    data: DataSet, cache: Path, model: Path | None, threads: int, options: Sequence[str] = ()
) -> Path:
    """Call set of ``pileupcnn call``, made anew."""
    name = "".join(letter if letter.isalnum() else "-" for letter in data.name)
    path = cache / "pileupcnn" / f"{name}{''.join(options)}.vcf.gz"
    path.parent.mkdir(parents=True, exist_ok=True)
    command = [
        *(str(VENV / "bin" / "pileupcnn"), "call"),
        *("--ref", str(data.ref), "--reads", str(data.window.reads), "--output", str(path)),
        *("--regions", data.window.region, "--threads", str(threads), "--quiet"),
        *(("--model", str(model)) if model else ()),
        *options,
    ]
    result = subprocess.run(command, stderr=subprocess.PIPE, text=True, check=False)
    if result.returncode:
        fail(f"'{' '.join(command)}' failed:\n{result.stderr}")
    return path


def thinned(data: DataSet, name: str, seed_and_share: str, cache: Path) -> DataSet:
    """The same set with a share of its fragments, as ``samtools view -s`` picks them."""
    source = data.window.reads
    # reads that were simulated otherwise since are hardly of the same size
    name_of_source = f"{source.parent.name}-{source.stem}-{source.stat().st_size}"
    reads = cache / "reads" / f"{name_of_source}.s{seed_and_share}.bam"
    if not Path(f"{reads}.bai").exists():
        run_to_file([["samtools", "view", "-b", "-s", seed_and_share, str(source)]], reads)
        subprocess.run(["samtools", "index", str(reads)], check=True)
    window = Window(reads, data.window.contig, data.window.start, data.window.end)
    return DataSet(name, data.ref, data.truth, data.bed, window, data.gaps)


@dataclass(frozen=True)
class Site:
    """A candidate: 0-based start, alleles, and reads of each and in all."""

    start: int
    alleles: tuple[str, ...]
    depths: tuple[int, ...]
    depth: int


@dataclass(frozen=True)
class Rule:
    """The simplest caller: an ALT needs a share of the depth, and a larger one to be homozygous."""

    alt_fraction: float
    homozygous_fraction: float

    def genotype(self, site: Site) -> tuple[int, int] | None:
        """Of the ALTs that pass the one or two with most reads; None if none passes."""
        passing = [
            alt
            for alt, reads in enumerate(site.depths)
            if alt > 0 and reads >= self.alt_fraction * site.depth
        ]
        passing.sort(key=lambda alt: -site.depths[alt])
        if not passing or not site.depth:
            return None
        if len(passing) > 1:
            return min(passing[:2]), max(passing[:2])
        homozygous = site.depths[passing[0]] > self.homozygous_fraction * site.depth
        return (passing[0] if homozygous else 0), passing[0]

    def records(self, contig: str, sites: Iterable[Site]) -> Iterator[str]:
        """VCF lines of the sites that are called."""
        for site in sites:
            genotype = self.genotype(site)
            if genotype is not None:
                ref, *alts = site.alleles
                gt = "/".join(map(str, genotype))
                locus = f"{contig}\t{site.start + 1}"
                yield f"{locus}\t.\t{ref}\t{','.join(alts)}\t.\t.\t.\tGT\t{gt}\n"


def candidate_sites(data: DataSet, model: Path | None) -> list[Site]:
    """The very candidates that the model is shown."""
    from pileupcnn.examples import ExampleMaker
    from pileupcnn.model import DEFAULT_MODEL, load_bundle
    from pileupcnn.pileup import PileupSpec
    from pileupcnn.regions import Region, blocks

    window = data.window
    sites = []
    # no image is drawn, and what it would show does not matter
    settings = replace(load_bundle(model or DEFAULT_MODEL).settings, pileup=PileupSpec())
    with ExampleMaker([window.reads], data.ref, settings) as maker:
        for block in blocks([Region(window.contig, window.start, window.end)]):
            for run in block.runs():
                found = maker.run_examples(run).candidates
                sites += [
                    Site(
                        int(found.start[i]),
                        tuple(found.alleles(i)),
                        tuple(found.allele_depths(i)),
                        int(found.depth[i]),
                    )
                    for i in range(len(found))
                ]
    return sites


def rule_calls(rule: Rule, data: DataSet, sites: Sequence[Site], cache: Path) -> Path:
    """Call set of the rule on one set."""
    path = cache / "vaf" / f"{data.window.reads.stem}.{data.window.start}.vcf"
    path.parent.mkdir(parents=True, exist_ok=True)
    contig = data.window.contig
    with open(path, "w") as out:
        out.write("##fileformat=VCFv4.2\n")
        out.write('##FORMAT=<ID=GT,Number=1,Type=String,Description="Genotype">\n')
        out.write(f"##contig=<ID={contig}>\n")
        out.write("#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\tFORMAT\tSAMPLE\n")
        out.writelines(rule.records(contig, sites))
    return path


def tuned_rule(training: Sequence[DataSet], cache: Path, model: Path | None) -> Rule:
    """The rule with the fewest errors on the training sets together."""
    sites = [candidate_sites(data, model) for data in training]
    best: tuple[int, Rule] | None = None
    for fractions in itertools.product(ALT_FRACTIONS, HOMOZYGOUS_FRACTIONS):
        rule = Rule(*fractions)
        errors = sum(
            compare(data, "vaf", rule_calls(rule, data, own, cache)).errors()
            for data, own in zip(training, sites, strict=True)
        )
        if best is None or errors < best[0]:
            best = errors, rule
    assert best is not None
    return best[1]
