"""How much a command tells: `-q` warnings and errors only, `-v` details and the traceback of an error too.

Icebox logs to the logger `icebox` and configures nothing; this command line is where its lines go to stderr. The
choice is passed on to the stages of a DVC that `icebox run` starts, in the variable ICEBOX_VERBOSITY.
"""

import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

VARIABLE = "ICEBOX_VERBOSITY"
LEVELS = {"quiet": logging.WARNING, "normal": logging.INFO, "verbose": logging.DEBUG}
OPTIONS = {"-q": "quiet", "--quiet": "quiet", "-v": "verbose", "--verbose": "verbose"}
logger = logging.getLogger("icebox")


class StderrHandler(logging.Handler):
    """Writes a record as a line of stderr, above a progress bar where there is one; a warning is called one."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write one record; a stderr that is closed is no reason to stop."""
        called = f"{record.levelname.lower()}: " if record.levelno >= logging.WARNING else ""
        line = f"{called}{self.format(record)}"
        try:
            if "tqdm" in sys.modules:
                from tqdm import tqdm

                tqdm.write(line, file=sys.stderr)
            else:
                print(line, file=sys.stderr)
            sys.stderr.flush()
        except (OSError, ValueError):
            pass


@contextmanager
def lines_to_stderr() -> Iterator[None]:
    """Within it the logger's lines go to stderr, as many as ICEBOX_VERBOSITY asks for (unknown: normal)."""
    handler, before = StderrHandler(), (logger.level, logger.propagate)
    logger.addHandler(handler)
    logger.propagate = False  # or a library that configures the root logger would print them a second time
    logger.setLevel(LEVELS.get(os.environ.get(VARIABLE, ""), logging.INFO))
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.level, logger.propagate = before


def choose(name: str) -> None:
    """From here on tell as much as one of LEVELS says."""
    logger.setLevel(LEVELS[name])


def chosen() -> str:
    """The name in LEVELS of how much is told now."""
    return next((name for name, level in LEVELS.items() if level <= logger.getEffectiveLevel()), "verbose")


def options_first(arguments: list[str]) -> list[str]:
    """The command's arguments with -q and -v in front, where they are known; people type them at either end."""
    end = arguments.index("--") if "--" in arguments else len(arguments)
    options = [argument for argument in arguments[:end] if argument in OPTIONS]
    return options + [argument for argument in arguments[:end] if argument not in OPTIONS] + arguments[end:]
