"""Calls compared with a truth set: by genotype and haplotype, however either is written."""
