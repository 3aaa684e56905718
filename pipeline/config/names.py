"""Names of entries in params.yaml. They become folders, stages of DVC and words of a shell's command line."""

import re
from collections.abc import Iterable
from itertools import product

from ruamel.yaml.nodes import ScalarNode
from ruamel.yaml.resolver import VersionedResolver

from icebox.features.errors import IceboxError, suggestion

LENGTH_MAX = 64
PATTERN = r"[A-Za-z0-9][A-Za-z0-9_]*(?:-[A-Za-z0-9_]+)*"
NAME = re.compile(PATTERN)
TEXT = "tag:yaml.org,2002:str"


def check_name(name: str, where: str) -> None:
    """Raise IceboxError for a name that a shell, a file system, YAML or DVC would take for something else."""
    if not NAME.fullmatch(name):
        raise IceboxError(
            f"{where}: a name is made of letters, digits, '_' and single '-'; the first is a letter or digit"
        )
    if len(name) > LENGTH_MAX:
        raise IceboxError(f"{where}: a name has at most {LENGTH_MAX} characters, this one {len(name)}")
    if str(VersionedResolver().resolve(ScalarNode, name, (True, False))) != TEXT:
        raise IceboxError(f"{where}: YAML reads this name as a number, a date or a constant; put a letter before it")


def refuse_collisions(inputs: Iterable[str], heads: Iterable[str]) -> None:
    """Raise IceboxError where two pairs of an input and a head have one name: DVC calls a fit INPUT-HEAD."""
    pairs: dict[str, tuple[str, str]] = {}
    for pair in product(inputs, heads):
        joined = "-".join(pair)
        if joined in pairs:
            (store, head), (other_store, other_head) = pairs[joined], pair
            raise IceboxError(
                f"heads: {head} on {store} and {other_head} on {other_store} would both be called {joined}; "
                "give a head or a store another name"
            )
        pairs[joined] = pair


def check_known(kind: str, name: str, known: list[str], where: str) -> None:
    """Raise IceboxError unless `name` is known."""
    if name not in known:
        raise IceboxError(f"{where}: no {kind} named '{name}'; {suggestion(name, known)}")
