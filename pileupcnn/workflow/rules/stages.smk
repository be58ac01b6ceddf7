rule make_examples:
    input:
        ref=config["ref"],
        files=sample_inputs,
    output:
        examples=temp(
            f"work/stages/{{sample}}/examples-{{shard}}-of-{COUNT:05d}.tfrecord.gz"
        ),
        info=temp(
            f"work/stages/{{sample}}/examples-{{shard}}-of-{COUNT:05d}.tfrecord.gz"
            ".example_info.json"
        ),
        sure=temp(f"work/stages/{{sample}}/sure-{{shard}}-of-{COUNT:05d}.tfrecord.gz"),
        **if_gvcf(
            nonvariant=temp(
                f"work/stages/{{sample}}/nonvariant-{{shard}}-of-{COUNT:05d}.tfrecord.gz"
            )
        ),
    log:
        "logs/stages/make_examples/{sample}-{shard}.log",
    benchmark:
        "benchmarks/stages/make_examples/{sample}-{shard}.tsv"
    conda:
        "../envs/pileupcnn.yaml"
    threads: config.get("threads", 2)
    resources:
        mem_mb=lambda wildcards, threads: 500 + 500 * threads,
        runtime=720,
    params:
        reads=reads_flags,
        examples=lambda wildcards: f"work/stages/{wildcards.sample}/examples@{COUNT}.tfrecord.gz",
        sure=lambda wildcards: f"work/stages/{wildcards.sample}/sure@{COUNT}.tfrecord.gz",
        haploid=haploid_flags,
        gvcf=lambda wildcards: (
            ["--gvcf", f"work/stages/{wildcards.sample}/nonvariant@{COUNT}.tfrecord.gz"]
            if GVCF
            else []
        ),
        task=lambda wildcards: int(wildcards.shard),
    shell:
        "pileupcnn make-examples --ref {input.ref:q} {params.reads:q}"
        " --examples {params.examples:q} --task {params.task}"
        " --small-model-calls {params.sure:q}"
        " {params.gvcf:q} {params.haploid:q}"
        " --threads {threads} 2> {log:q}"


rule call_variants:
    input:
        examples=rules.make_examples.output.examples,
        info=rules.make_examples.output.info,
    output:
        temp(f"work/stages/{{sample}}/answers-{{shard}}-of-{COUNT:05d}.tfrecord.gz"),
    log:
        "logs/stages/call_variants/{sample}-{shard}.log",
    benchmark:
        "benchmarks/stages/call_variants/{sample}-{shard}.tsv"
    conda:
        "../envs/pileupcnn.yaml"
    threads: config.get("threads", 2)
    resources:
        mem_mb=lambda wildcards, threads: 1500 + 100 * threads,
        runtime=240,
        gpu=gpus,
    params:
        model=model_flags,
    shell:
        "pileupcnn call-variants --examples {input.examples:q} {params.model:q}"
        f" --device {DEVICE}"
        " --threads {threads} --output {output:q} 2> {log:q}"
