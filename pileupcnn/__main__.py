"""``python -m pileupcnn``."""

from pileupcnn.cli import main

main()
