rule call_task:
    input:
        ref=config["ref"],
        files=sample_inputs,
    output:
        temp(f"work/call/{{sample}}/answers-{{shard}}-of-{COUNT:05d}.tfrecord.gz"),
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
        task=lambda wildcards: f"{int(wildcards.shard)}/{COUNT}",
    shell:
        "pileupcnn call --ref {input.ref:q} {params.reads:q} --task {params.task}"
        f" --device {DEVICE}"
        " --threads {threads} --output {output:q} 2> {log:q}"
