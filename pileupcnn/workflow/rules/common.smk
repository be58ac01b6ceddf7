import json
import re
from itertools import chain
from pathlib import Path

import jsonschema
from snakemake.exceptions import WorkflowError

MAX_TBI_LENGTH = 2**29 - 1
BED_SUFFIXES = (".bed", ".bed.gz", ".bed.bgz")


def check_config():
    """Say in one sentence what is wrong with the configuration."""
    schema_path = workflow.source_path("../schemas/config.schema.json")
    with open(schema_path) as file:
        checker = jsonschema.Draft202012Validator(json.load(file))
    error = jsonschema.exceptions.best_match(checker.iter_errors(config))
    if error is not None:
        where = ".".join(map(str, error.absolute_path)) or "top level"
        raise WorkflowError(
            f"config, {where}: {error.message}; correct config/config.yaml"
        )
    for sample in config["samples"]:
        if config.get("gvcf") and f"{sample}.g" in config["samples"]:
            raise WorkflowError(
                f"config, samples.{sample}.g: its VCF would have the name of the gVCF of "
                f"{sample}; rename it in config/config.yaml"
            )
        wanted = [
            config["ref"],
            f"{config['ref']}.fai",
            *reads_of(sample),
            *beds_of(sample),
            *par_of_sample(sample),
        ]
        for path in [*wanted, *model_of(sample)]:
            if not Path(path).exists():
                raise WorkflowError(
                    f"config, samples.{sample}: {path} does not exist; correct "
                    "config/config.yaml, or make the file"
                )


def listed(value):
    """One value, or a list of them, as a list."""
    return [value] if isinstance(value, str) else list(value or [])


def setting(sample, name):
    """A sample's own setting, or that of all."""
    return config["samples"][sample].get(name, config.get(name))


def reads_of(sample):
    """The sample's BAM or CRAM files."""
    return listed(config["samples"][sample]["reads"])


def beds_of(sample):
    """Those of its regions that are files."""
    regions = listed(setting(sample, "regions"))
    return [region for region in regions if region.lower().endswith(BED_SUFFIXES)]


def model_of(sample):
    """Files of its model, if it is not the package's own."""
    model = setting(sample, "model")
    if not model:
        return []
    files = [str(path) for path in Path(model).rglob("*") if path.is_file()]
    return sorted(files) or [model]


def par_of_sample(sample):
    """The file of the sample's pseudo-autosomal regions, if it has one."""
    return listed(setting(sample, "par_regions"))


def par_of(wildcards):
    """The same for a job."""
    return par_of_sample(wildcards.sample)


def if_gvcf(**files):
    """Files that a rule has only where there is to be a gVCF."""
    return files if GVCF else {}


def kinds_of_answers(wildcards):
    """What was said of a sample's candidates: of images, and where none were drawn."""
    return ("answers", "sure") if wildcards.way == "stages" else ("answers",)


def answers_of(wildcards):
    """The files of a sample's answers."""
    folder = f"work/{wildcards.way}/{wildcards.sample}"
    return expand(f"{folder}/{{kind}}-{{shard}}", kind=kinds_of_answers(wildcards), shard=SHARDS)


def all_shards(files, kind):
    """One name for all shards of a kind: many names would be too long for a command line."""
    return f"{Path(files[0]).parent}/{kind}@{COUNT}.tfrecord.gz"


def flags(name, values):
    """An option given once for each value."""
    return list(chain.from_iterable((name, value) for value in values))


def reads_flags(wildcards):
    """Options of a sample that make-examples and call share."""
    sample = wildcards.sample
    chosen = config["samples"][sample].get("sample", sample)
    return [
        *flags("--reads", reads_of(sample)),
        *flags("--regions", listed(setting(sample, "regions"))),
        *model_flags(wildcards),
        *("--sample", chosen),
    ]


def model_flags(wildcards):
    """The option for a sample's model."""
    return flags("--model", listed(setting(wildcards.sample, "model")))


def haploid_flags(wildcards):
    """Options for contigs of which a sample has one copy."""
    sample = wildcards.sample
    return [
        *flags("--haploid-contigs", listed(setting(sample, "haploid_contigs"))),
        *flags("--par-regions", par_of_sample(sample)),
    ]


def sample_inputs(wildcards):
    """All files of a sample but the reference."""
    sample = wildcards.sample
    return [
        *reads_of(sample),
        *beds_of(sample),
        *model_of(sample),
        *par_of_sample(sample),
    ]


def gpus(wildcards):
    """GPUs of a job that runs the network."""
    return int(config.get("device") == "gpu")


def index_suffix():
    """Of the VCF's index: long contigs need another one."""
    with open(f"{config['ref']}.fai") as lines:
        lengths = [int(line.split("\t")[1]) for line in lines]
    return "csi" if max(lengths, default=0) > MAX_TBI_LENGTH else "tbi"


check_config()

SAMPLES = list(config["samples"])
COUNT = config.get("shards", 4)
SHARDS = [f"{index:05d}-of-{COUNT:05d}.tfrecord.gz" for index in range(COUNT)]
DEVICE = config.get("device", "auto")
GVCF = config.get("gvcf", False)
KINDS = ["vcf", "g.vcf"] if GVCF else ["vcf"]


wildcard_constraints:
    sample="|".join(map(re.escape, SAMPLES)),
    shard=r"\d+",
    way="call|stages",
