"""What can go wrong, as one small tree of error types.

Every type below is something the user can mend; the command line prints it as
one sentence and exits with the type's ``exit_code``. Anything else is a bug.
"""


class PileupCNNError(Exception):
    """A failure that the user can mend; the message says what, where and how."""

    exit_code = 1


def check_range(name: str, value: float, least: float, most: float) -> None:
    """Raise ValueError unless `value` is a number from `least` to `most`."""
    if not least <= value <= most:
        raise ValueError(f"{name} {value:g} is not from {least:g} to {most:g}")


class OptionError(PileupCNNError):
    """Command-line options that cannot be used (or not together)."""

    exit_code = 2


class InputError(PileupCNNError):
    """An input file that is missing, damaged or does not fit the others."""


class OutputError(PileupCNNError):
    """An output that cannot be written."""


class ModelError(PileupCNNError):
    """A model bundle that cannot be loaded or whose images cannot be drawn."""
