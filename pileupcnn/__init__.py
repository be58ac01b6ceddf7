"""pileupcnn: aligned reads to pileup images, a CNN's genotype for each, a VCF.

Read the modules in the order in which the data flows; ``CONTRIBUTING.md`` has
the map. Importing the package itself loads nothing heavy.
"""

from importlib.metadata import version

__version__ = version("pileupcnn")
