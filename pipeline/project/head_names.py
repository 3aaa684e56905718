"""Names of fitted heads: STORE/HEAD, or STORE/NAME/HEAD where it was fitted on an input of that name.

The same with a dash before HEAD, as DVC names a stage, is understood everywhere.
"""

from collections.abc import Iterable

from icebox.features.errors import IceboxError, suggestion
from icebox.pipeline.project import paths


def find(name: str, heads: Iterable[tuple[str, str]]) -> tuple[str, str]:
    """The pair (input, head) that `name` stands for, out of all `heads`. Raises IceboxError where there is none."""
    heads = list(heads)
    for input_name, head in heads:
        if name in (f"{input_name}/{head}", f"{input_name}-{head}"):
            return input_name, head
    known = [f"{input_name}/{head}" for input_name, head in heads]
    raise IceboxError(f"{name}: expected STORE/HEAD, found no head of that name; {suggestion(name, known)}")


def on_disk() -> list[tuple[str, str]]:
    """The pairs (input, head) of all bundles here, ensembles and unfrozen heads included."""
    return [
        (path.parent.relative_to(root).as_posix(), path.stem)
        for root in (paths.HEADS, paths.ENSEMBLES)
        for path in sorted(root.rglob("*.joblib"))
    ]
