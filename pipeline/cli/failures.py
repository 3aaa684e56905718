"""Errors of the machine, not of the input: no space, no permission, no memory. Each is one line, like any other."""

import os
import re

NO_MEMORY = re.compile(r"out of memory|can't allocate memory|can't start new thread|std::bad_alloc", re.IGNORECASE)
KINDS = (OSError, MemoryError, RuntimeError)  # a RecursionError is a RuntimeError


def explain(error: Exception) -> str | None:
    """One line for an error of the machine, with the file and what to do; None for any other."""
    if isinstance(error, RecursionError):
        return "something is nested too deeply to be read"
    if isinstance(error, MemoryError) or (isinstance(error, RuntimeError) and NO_MEMORY.search(str(error))):
        return "not enough memory; give this process more, or set a smaller batch_size and fewer workers"
    if not isinstance(error, OSError):
        return None
    names = [os.fsdecode(name) for name in (error.filename, error.filename2) if isinstance(name, str | bytes)]
    problem = error.strerror or " ".join(str(error).split()) or type(error).__name__
    return f"{' → '.join(names)}: {problem}" if names else problem
