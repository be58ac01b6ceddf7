"""The packaged pipeline on the test data of config/config.yaml: snakemake --cores 2

The target `train` makes the shipped model again: snakemake train --cores 2
"""


include: "pileupcnn/workflow/Snakefile"


include: "scripts/training/train.smk"
