"""The shipped model again, from the shared data alone: snakemake train --cores 2

Donors of donors.tsv are simulated, known variants planted into the real reads that may be trained
on, and a model is trained on all of them. Each step goes on where it was stopped. The bundle is
build/model/bundle; a copy of it in pileupcnn/models/default is what the package ships.
"""

import csv
import os
from pathlib import Path

DATA = Path(os.environ.get("PILEUPCNN_SHARED", "../shared"), "data")
GENOME = DATA / "GRCh38_chr20_chr21_10Mb"
FASTA = GENOME / "grch38.chr20_and_21_10M.fa.gz"
TRUTH = GENOME / "HG002_GRCh38_1_22_v4.2.1_benchmark.chr20.vcf.gz"

NOVASEQ = DATA / "NA12878_NovaSeq_32x_GRCh38_chr21"
HISEQX = DATA / "HG002_HiSeqX_60-96x_b37_chr20"
REAL = {
    "novaseq": {
        "ref": NOVASEQ / "GRCh38_windows.Npadded.fa.gz",
        "truth": NOVASEQ / "PG_NA12878_hg38-chr21.vcf.gz",
        "confident": NOVASEQ / "conf_win.bed",
        "windows": {"chr21:16,600,001-16,700,000": NOVASEQ / "NA12878.chr21_16.6-16.8M.bam"},
    },
    "hiseqx": {
        "ref": HISEQX / "b37_chr20_windows.Npadded.fa.gz",
        "truth": HISEQX / "truth.vcf.gz",
        "confident": HISEQX / "confident.bed",
        "windows": {
            "20:18,783,982-18,855,722": HISEQX / "NA24385_chr_20_18783981_18855722.bam",
            "20:20,156,209-20,234,556": HISEQX / "NA24385_chr_20_20156208_20234556.bam",
        },
    },
}
"""Real reads that may be trained on."""

# what the words in braces of donors.tsv stand for: halves of chr20's first nine Mb less what is held
# out for judging, its tenth, what is sequence of chr21's first ten, and real qualities
WORDS = {
    "truth": f"--truth {TRUTH}",
    "first": "--regions chr20:100,001-3,500,000",
    "second": "--regions chr20:3,500,001-4,990,000 --regions chr20:6,010,001-6,990,000"
    " --regions chr20:8,010,001-9,000,000",
    "tenth": "--regions chr20:9,000,001-10,000,000",
    "chr21": "--regions chr21:5,010,001-10,000,000",
}
for name, real in REAL.items():
    window, reads = next(iter(real["windows"].items()))
    WORDS[f"{name}_reads"] = f"{reads}:{window}"

PLANTINGS = range(1, 13)
"""Seeds; so often are variants planted into the same real reads."""

REAL_WEIGHT, PLANTED_WEIGHT = 8, 2
"""How often images of real reads count in an epoch, as they are and with planted variants."""

WORK = "build/model"

with open(Path(workflow.basedir, "scripts", "training", "donors.tsv"), newline="") as lines:
    DONORS = {row["donor"]: row for row in csv.DictReader(lines, delimiter="\t")}


def donor_options(wildcards):
    """The options of `pileupcnn simulate` for a donor."""
    row = DONORS[wildcards.donor]
    seed = int(row["donor"][1:]) + (1500 if row["split"] == "validation" else 1000)
    return f"{row['options'].format(**WORDS)} --seed {seed}"


def plant_options(wildcards):
    """The options of `pileupcnn plant` for a set of real reads."""
    real = REAL[wildcards.real]
    options = [f"--{name} {real[name]}" for name in ("ref", "truth", "confident")]
    for window, reads in real["windows"].items():
        options.append(f"--regions {window} --reads {reads}")
    return " ".join(options)


def run_lines():
    """The lines of the table that `pileupcnn train` takes."""
    yield "reads", "ref", "truth", "confident", "regions", "weight", "split"
    files = ("reads.bam", "truth.vcf.gz", "confident.bed")
    for name, row in DONORS.items():
        reads, truth, confident = (Path(name, file) for file in files)
        yield reads, FASTA.resolve(), truth, confident, "", row["weight"], row["split"]
    for name, real in REAL.items():
        shared = [real[kind].resolve() for kind in ("ref", "truth", "confident")]
        for window, reads in real["windows"].items():
            yield reads.resolve(), *shared, window, REAL_WEIGHT, "train"
        for seed in PLANTINGS:
            folder = Path(f"{name}-{seed}")
            reads, truth, confident = (folder / file for file in files)
            yield (
                *(reads, folder / "reference.fa", truth, confident),
                *("", PLANTED_WEIGHT, "train"),
            )


localrules:
    training_runs,


rule train:
    input:
        f"{WORK}/trained",


rule simulate_donor:
    input:
        FASTA,
    output:
        f"{WORK}/{{donor}}/reads.bam",
    log:
        "logs/train/simulate/{donor}.log",
    conda:
        "../../pileupcnn/workflow/envs/pileupcnn.yaml"
    wildcard_constraints:
        donor="[tv][0-9]+",
    params:
        options=donor_options,
    shell:
        "pileupcnn simulate --quiet --ref {input} --output {WORK}/{wildcards.donor}"
        " --bwa-index {WORK}/bwa-index {params.options} 2> {log}"


rule plant_variants:
    output:
        f"{WORK}/{{real}}-{{seed}}/reads.bam",
    log:
        "logs/train/plant/{real}-{seed}.log",
    conda:
        "../../pileupcnn/workflow/envs/pileupcnn.yaml"
    wildcard_constraints:
        real="|".join(REAL),
    params:
        options=plant_options,
    shell:
        "pileupcnn plant --quiet {params.options} --seed {wildcards.seed}"
        " --output {WORK}/{wildcards.real}-{wildcards.seed} 2> {log}"


rule training_runs:
    input:
        expand(f"{WORK}/{{donor}}/reads.bam", donor=DONORS),
        expand(f"{WORK}/{{real}}-{{seed}}/reads.bam", real=REAL, seed=PLANTINGS),
    output:
        f"{WORK}/runs.tsv",
    log:
        "logs/train/runs.log",
    conda:
        "../../pileupcnn/workflow/envs/pileupcnn.yaml"
    run:
        with open(output[0], "w") as table:
            for line in run_lines():
                table.write("\t".join(map(str, line)) + "\n")


# the folder is no output: Snakemake would remove it, and the training could not go on where it was
rule train_model:
    input:
        f"{WORK}/runs.tsv",
    output:
        touch(f"{WORK}/trained"),
    log:
        "logs/train/train.log",
    conda:
        "../../pileupcnn/workflow/envs/pileupcnn.yaml"
    threads: 2
    shell:
        "pileupcnn train --data {input} --output {WORK} --name default --epochs 8"
        " --thin-reads 0.3 --flip-strands 0.2 --bin-qualities 0.2 --threads {threads}"
        " 2> >(tee {log} >&2)"
