"""The command line: one small module a command, errors caught here alone.

Exit codes: 0; 2 for options that cannot be used; 1 for every other failure;
129, 130, 143 and 141 after SIGHUP, SIGINT, SIGTERM and SIGPIPE. Commands are imported when
they are run, so that ``--help`` loads nothing heavy.
"""

from __future__ import annotations

import ctypes
import errno
import importlib
import logging
import os
import resource
import signal
import sys
import traceback
from contextlib import suppress
from types import FrameType

import click

from pileupcnn import __version__
from pileupcnn.errors import PileupCNNError

COMMANDS = (
    "call",
    "make-examples",
    "call-variants",
    "postprocess-variants",
    "workflow",
    "train",
    "models",
    "profile",
    "simulate",
    "plant",
    "evaluate",
)
"""Each is the function of that name in the module of that name, with _ for -."""

MOST_FILES = 1 << 16
"""Files open at a time, if the system lets us."""

SIGHUP_CODE, SIGINT_CODE, SIGTERM_CODE, SIGPIPE_CODE = 129, 130, 143, 141


class Terminated(BaseException):
    """SIGTERM or SIGHUP arrived; unwinds the stack so that temporary files are removed."""

    def __init__(self, code: int) -> None:
        self.code = code


class _Commands(click.Group):
    """A group that imports a command's module when it is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        name = cmd_name.replace("-", "_")
        command: click.Command = getattr(importlib.import_module(f"pileupcnn.cli.{name}"), name)
        return command


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="pileupcnn")
def group() -> None:
    """Call small variants from aligned reads with a convolutional network.

    Give --debug to any command to see where in the program an error arose.
    """


def main(arguments: list[str] | None = None) -> None:
    """Run the command line and exit."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in arguments
    if debug:
        arguments.remove("--debug")
    _open_standard_streams()
    _keep_freed_memory()
    _raise_limit_of_files()
    _log_to_stderr()
    signal.signal(signal.SIGTERM, _terminate)
    signal.signal(signal.SIGHUP, _hang_up)
    code = _run(arguments, debug)
    lost = code == SIGPIPE_CODE
    try:
        # None where the program was started with standard output closed
        if sys.stdout is not None:
            sys.stdout.flush()
    except BrokenPipeError:
        code, lost = SIGPIPE_CODE, True
    except OSError as error:
        click.echo(
            f"pileupcnn: error: standard output cannot be written ({error.strerror})", err=True
        )
        code, lost = 1, True
    if lost and sys.stdout is not None:
        # the interpreter would try to flush once more, and complain
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    sys.exit(code)


def _run(arguments: list[str], debug: bool) -> int:
    """Run a command; the exit code."""
    try:
        # not group.main, which makes an exit code of its own of some exceptions
        with group.make_context("pileupcnn", arguments) as context:
            group.invoke(context)
    except click.exceptions.Exit as exit_:
        return exit_.exit_code
    except click.UsageError as error:
        error.show()
        return error.exit_code
    except click.ClickException as error:
        error.show()
        return 1
    except (KeyboardInterrupt, click.Abort):
        return SIGINT_CODE
    except Terminated as terminated:
        return terminated.code
    except BrokenPipeError:
        return SIGPIPE_CODE
    except PileupCNNError as error:
        if debug:
            traceback.print_exc()
        click.echo(f"pileupcnn: error: {error}", err=True)
        return error.exit_code
    except MemoryError:
        click.echo("pileupcnn: error: out of memory; use fewer --threads", err=True)
        return 1
    except Exception as error:
        if debug:
            traceback.print_exc()
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            where = f"{error.filename}: " if error.filename else ""
            click.echo(
                f"pileupcnn: error: {where}{error.strerror}; free some space and run it again",
                err=True,
            )
            return 1
        kind = type(error).__name__
        click.echo(
            f"pileupcnn: error: this is a bug ({kind}: {error}); run it again with --debug and "
            "report what it prints",
            err=True,
        )
        return 1
    return 0


def _raise_limit_of_files() -> None:
    """Allow for many files, as each shard is one."""
    now, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MOST_FILES if most == resource.RLIM_INFINITY else min(most, MOST_FILES)
    if now != resource.RLIM_INFINITY and now < wanted:
        with suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, most))


def _open_standard_streams() -> None:
    """Have something under the numbers of standard streams that are closed.

    Else the first file that is opened would be taken for one by libraries that
    print to it. `sys.stdout` stays None, for those who would lose an output.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            # takes the lowest number that is free; for programs that we start, too
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w")  # noqa: SIM115 - as long as the program runs


def _keep_freed_memory() -> None:
    """Have glibc keep freed buffers for the next block, which needs the same ones again.

    Giving them back to the system and getting them anew costs a quarter of the
    time of scanning. With another C library nothing is done.
    """
    with suppress(OSError, AttributeError):
        mallopt = ctypes.CDLL(None).mallopt
        trim_threshold, mmap_threshold = -1, -3  # M_TRIM_THRESHOLD, M_MMAP_THRESHOLD
        mallopt(trim_threshold, 1 << 30)
        mallopt(mmap_threshold, 1 << 30)


def _terminate(number: int, frame: FrameType | None) -> None:
    raise Terminated(SIGTERM_CODE)


def _hang_up(number: int, frame: FrameType | None) -> None:
    raise Terminated(SIGHUP_CODE)


class _Formatter(logging.Formatter):
    """What is said by the way, on stderr: warnings say so."""

    def format(self, record: logging.LogRecord) -> str:
        level = "warning: " if record.levelno >= logging.WARNING else ""
        return f"pileupcnn: {level}{record.getMessage()}"


def _log_to_stderr() -> None:
    handler = logging.StreamHandler()
    handler.setFormatter(_Formatter())
    logger = logging.getLogger("pileupcnn")
    logger.handlers = [handler]
    logger.setLevel(logging.INFO)
    logger.propagate = False
