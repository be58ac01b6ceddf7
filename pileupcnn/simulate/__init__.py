"""Simulated donors: variants, haplotypes, reads and their alignment, with the truth known.

In the order in which a donor comes to be: `repeats` finds the tandem repeats
of a sequence; `profile` is what `profiling` has learned from real reads (and
`plots` shows); `variants` normalises and writes variants, `population`
invents them, `donor` puts them into two haplotypes; `errors`, `library`,
`qualities` and `reads` sequence those, `alignment` maps the reads with ``bwa mem``, and `run`
writes it all into one folder. `planting` takes real reads instead, and puts
variants into them or their reference. Everything follows from one seed.
"""
