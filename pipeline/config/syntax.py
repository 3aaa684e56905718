"""Syntax trees of Python files, which are read without being run."""

import ast
import functools
from pathlib import Path

from icebox.features.errors import IceboxError


def module(file: Path) -> ast.Module:
    """The syntax tree of a file, which callers leave as it is. Raises IceboxError for a file that is no Python."""
    try:
        return parsed(file.read_text(encoding="utf-8"))
    except SyntaxError as reason:
        raise IceboxError(f"{file}, line {reason.lineno}: {reason.msg}") from None


@functools.lru_cache(maxsize=128)  # a file is asked for each of its parameters
def parsed(text: str) -> ast.Module:
    """The syntax tree of a module's text."""
    return ast.parse(text)
