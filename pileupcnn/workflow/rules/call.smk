rule call_task:
    input:
        ref=config["ref"],
        files=sample_inputs,
    output:
        answers=temp(
            f"work/call/{{sample}}/answers-{{shard}}-of-{COUNT:05d}.tfrecord.gz"
        ),
        **if_gvcf(
            nonvariant=temp(
                f"work/call/{{sample}}/nonvariant-{{shard}}-of-{COUNT:05d}.tfrecord.gz"
            )
        ),
    log:
        "logs/call/call_task/{sample}-{shard}.log",
    benchmark:
        "benchmarks/call/call_task/{sample}-{shard}.tsv"
    conda:
        "../envs/pileupcnn.yaml"
    threads: config.get("threads", 2)
    resources:
        mem_mb=lambda wildcards, threads: 1500 + 250 * threads,
        runtime=720,
        gpu=gpus,
    params:
        reads=reads_flags,
        haploid=haploid_flags,
        gvcf=lambda wildcards, output: ["--gvcf", output.nonvariant] if GVCF else [],
        task=lambda wildcards: f"{int(wildcards.shard)}/{COUNT}",
    shell:
        "pileupcnn call --ref {input.ref:q} {params.reads:q} --task {params.task}"
        f" --device {DEVICE}"
        " {params.haploid:q} {params.gvcf:q}"
        " --threads {threads} --output {output.answers:q} 2> {log:q}"
