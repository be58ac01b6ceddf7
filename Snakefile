"""The packaged pipeline on the test data of config/config.yaml: snakemake --cores 2"""


include: "pileupcnn/workflow/Snakefile"
