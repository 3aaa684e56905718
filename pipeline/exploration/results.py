"""Read the document that stage `look` wrote of a store. In a fresh clone there is none."""

import json
from dataclasses import dataclass
from typing import Any

from icebox.pipeline.project import paths

SUSPECTS_SHOWN = 24


@dataclass(frozen=True)
class FeatureMap:
    """A map of test items (ids, and points 0..1000 by method), near train items by test item, suspected labels.

    `suspected` of `judged` items were found in all, by heads that agree with this share of the labels (`agreement`).
    """

    item_ids: list[str]
    points: dict[str, list[list[int]]]
    nearest: dict[str, list[tuple[str, float]]]
    suspects: list[dict[str, Any]]
    suspected: int
    judged: int
    agreement: float | None


def read(store: str) -> FeatureMap | None:
    """The store's map, where it is on this machine."""
    path = paths.feature_map(store)
    if not path.exists():
        return None
    document = json.loads(path.read_text(encoding="utf-8"))
    return FeatureMap(
        item_ids=document["map"].pop("item_ids"),
        points=document["map"],
        nearest={
            item_id: [(neighbor, cosine) for neighbor, cosine in neighbors]
            for item_id, neighbors in document["nearest"].items()
        },
        suspects=document["suspects"][:SUSPECTS_SHOWN],
        suspected=document["suspected"],
        judged=document["judged"],
        agreement=document["agreement"],
    )
