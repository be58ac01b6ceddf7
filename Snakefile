"""Call every sample of config/config.yaml: snakemake --cores 8"""

from snakemake.utils import min_version

min_version("9.0")


configfile: "config/config.yaml"


SAMPLES = config["samples"]


def reads_of(wildcards):
    """The sample's BAM or CRAM files."""
    reads = SAMPLES[wildcards.sample]["reads"]
    return [reads] if isinstance(reads, str) else reads


rule call:
    default_target: True
    input:
        expand("results/{sample}.vcf.gz", sample=SAMPLES),


rule call_sample:
    input:
        ref=config["ref"],
        reads=reads_of,
    output:
        vcf="results/{sample}.vcf.gz",
        index="results/{sample}.vcf.gz.tbi",
    log:
        "logs/call/{sample}.log",
    benchmark:
        "benchmarks/call/{sample}.tsv"
    conda:
        "envs/pileupcnn.yaml"
    threads: config.get("threads", 4)
    resources:
        mem_mb=2000,
        runtime=720,
    params:
        reads=lambda wildcards, input: [f"--reads {path}" for path in input.reads],
        regions=[f"--regions {region}" for region in config.get("regions", [])],
        model=f"--model {config['model']}" if config.get("model") else "",
    shell:
        "pileupcnn call --ref {input.ref:q} {params.reads} {params.regions} {params.model}"
        " --sample {wildcards.sample:q} --threads {threads} --output {output.vcf:q} 2> {log:q}"
