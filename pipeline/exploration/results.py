"""Read the document that stage `look` wrote of a store. In a fresh clone there is none."""

from dataclasses import dataclass
from typing import Any

from icebox.pipeline.project import documents, paths
from icebox.pipeline.project.documents import Document

SUSPECTS_SHOWN = 24
NEAR_SHOWN = 24


Point = tuple[int, int]


class MapPoints(Document):
    """The ids of the mapped items, and their points by method."""

    item_ids: list[str]
    tsne: list[Point] | None = None
    pca: list[Point] | None = None


class Suspect(Document):
    """An item whose label looks wrong."""

    item_id: str
    split: str
    label: str
    suggested: str
    confidence: int | float
    of_label: int | float


class NearDuplicates(Document):
    """Ids and cosine of `pairs` of near-duplicates, those across splits first; of how many that were `found` among
    `items`, of which `compared` were each compared with all."""

    pairs: list[tuple[str, str, int | float]]
    found: int
    across: int
    compared: int
    items: int


class MapDocument(Document):
    """The file that `look` writes of a store."""

    map: MapPoints
    nearest: dict[str, list[tuple[str, int | float]]]
    near: NearDuplicates | None = None
    suspects: list[Suspect]
    suspected: int
    judged: int
    agreement: int | float | None


@dataclass(frozen=True)
class FeatureMap:
    """A map of test items (ids, and points 0..1000 by method), near train items by test item, near-duplicates (None in
    documents that know none yet), suspected labels.

    `suspected` of `judged` items were found in all, by heads that agree with this share of the labels (`agreement`).
    """

    item_ids: list[str]
    points: dict[str, list[Point]]
    nearest: dict[str, list[tuple[str, int | float]]]
    near: NearDuplicates | None
    suspects: list[dict[str, Any]]
    suspected: int
    judged: int
    agreement: int | float | None

    @property
    def near_shown(self) -> list[tuple[str, str, int | float]]:
        """The first pairs of near-duplicates."""
        return self.near.pairs[:NEAR_SHOWN] if self.near else []


def read(store: str) -> FeatureMap | None:
    """The store's map, where it is on this machine."""
    path = paths.feature_map(store)
    if not path.exists():
        return None
    document = documents.read(path, MapDocument, remedy=f"run: dvc repro -f look@{store}")
    return FeatureMap(
        item_ids=document.map.item_ids,
        points={
            method: points for method, points in (("tsne", document.map.tsne), ("pca", document.map.pca)) if points
        },
        nearest=document.nearest,
        near=document.near,
        suspects=[suspect.model_dump() for suspect in document.suspects[:SUSPECTS_SHOWN]],
        suspected=document.suspected,
        judged=document.judged,
        agreement=document.agreement,
    )
