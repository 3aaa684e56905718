"""What stage `look` found of a store, as the report shows it. Without it here (a fresh clone) there is none."""

import json
from dataclasses import dataclass
from typing import Any

from icebox.pipeline.project import paths

ROOM = 24  # suspected labels that are shown


@dataclass(frozen=True)
class Atlas:
    """A map of test items (ids, and points 0..1000 by method), near train items by test item, suspected labels.

    `suspected` of `judged` items were found in all, by a head that agrees with the labels this often (`agreement`).
    """

    item_ids: list[str]
    points: dict[str, list[list[int]]]
    nearest: dict[str, list[tuple[str, float]]]
    suspects: list[dict[str, Any]]
    suspected: int
    judged: int
    agreement: float | None


def of(store: str) -> Atlas | None:
    """The store's, where it is on this machine."""
    path = paths.feature_map(store)
    if not path.exists():
        return None
    found = json.loads(path.read_text(encoding="utf-8"))
    return Atlas(
        item_ids=found["map"].pop("item_ids"),
        points=found["map"],
        nearest={item_id: [(near, cosine) for near, cosine in of] for item_id, of in found["nearest"].items()},
        suspects=found["suspects"][:ROOM],
        suspected=found["suspected"],
        judged=found["judged"],
        agreement=found["agreement"],
    )
