"""Which number format `precision: auto` stands for, found by trying and then kept.

bfloat16 is two to three times as fast where the hardware has it, and close enough for most networks, not for all: so
it is tried on a few items against float32. What was found is recorded, since a store that is resumed or extended in
another format would mix two kinds of features.
"""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from icebox.features import files, fingerprint
from icebox.features.abc.backbone import Backbone
from icebox.features.abc.dataset import Content
from icebox.features.errors import ItemError
from icebox.features.ragged import Values, flat

ITEMS = 32  # tried
SAME = 0.9999  # the least cosine between an item's features in the two formats

Load = Callable[[str], Backbone]  # precision → the network


def choose(fast: str, load: Load, contents: Callable[[], Sequence[Content]], folder: Path) -> tuple[Backbone, str]:
    """The network in `fast` or in float32, as recorded in `folder` or else as a trial on `contents` says; and why."""
    candidate = load(fast)
    known = recorded(candidate.spec, folder)
    if known == fast:
        return candidate, "recorded"
    exact = load("float32")
    if known == "float32":
        return exact, "recorded"
    least = agreement(exact, candidate, contents())
    chosen = candidate if least >= SAME else exact
    record(exact.spec, str(chosen.spec["precision"]), folder)
    return chosen, f"{fast} gives features of cosine {least:.6f} or more to float32's; {SAME} is asked for"


def agreement(exact: Backbone, candidate: Backbone, contents: Sequence[Content]) -> float:
    """The least cosine, over items and outputs, of `candidate`'s features to `exact`'s.

    It is not timed: what is chosen must not hang on how busy the machine was.
    """
    prepared = []
    for content in contents:
        try:
            prepared.append(exact.prepare(content))
        except ItemError:  # extraction will name it
            continue
    if not prepared:
        return 0.0
    one, other = exact.encode(prepared), candidate.encode(prepared)
    return min(float(cosines(one[output], other[output]).min()) for output in exact.outputs)


def cosines(one: Values, other: Values) -> np.ndarray:
    """The cosine (n,) between rows (n, …); 1 where both are 0, and 0 where a value is not finite."""
    a, b = (values.reshape(len(values), -1).astype(np.float64) for values in (flat(one), flat(other)))
    lengths = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    same = (a == b).all(axis=1)
    found = np.where(same, 1.0, (a * b).sum(axis=1) / np.where(lengths == 0, 1, lengths))
    return np.nan_to_num(found, nan=0.0)


def recorded(spec: dict[str, Any], folder: Path) -> str | None:
    """The precision found before for a backbone's spec, whatever precision that spec itself has."""
    path = file_of(spec, folder)
    return str(json.loads(path.read_text())["precision"]) if path.exists() else None


def record(spec: dict[str, Any], precision: str, folder: Path) -> None:
    """Keep what was found."""
    files.write_text(file_of(spec, folder), json.dumps({"precision": precision}) + "\n")


def file_of(spec: dict[str, Any], folder: Path) -> Path:
    """The record of a backbone's spec: one for all its precisions and for every `stored`."""
    settings = {key: value for key, value in spec.items() if key not in ("precision", "stored")}
    return folder / f"{fingerprint.of_settings(settings)}.json"
