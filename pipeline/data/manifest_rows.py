"""A manifest's rows by their ids, each made when it is asked for."""

from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property
from pathlib import Path

import numpy as np

from icebox.features.manifest import manifest
from icebox.features.manifest.manifest import Manifest, ManifestRow


class ManifestRows(Mapping[str, ManifestRow]):
    """The rows of a manifest by item id: of a million items some 200 MB, where all rows as objects would take a GB."""

    def __init__(self, rows: Manifest) -> None:
        self.manifest = rows
        self._positions: dict[str, int] = {item_id: i for i, item_id in enumerate(rows.item_ids.to_pylist())}

    @classmethod
    def read(cls, path: Path) -> "ManifestRows":
        """Those of the manifest at `path`; none where it is not on this machine."""
        return cls(manifest.read(path) if manifest.exists(path) else Manifest.of([]))

    def __getitem__(self, item_id: str) -> ManifestRow:
        return self.manifest[self._positions[item_id]]

    def __contains__(self, item_id: object) -> bool:
        return item_id in self._positions

    def __iter__(self) -> Iterator[str]:
        return iter(self._positions)

    def __len__(self) -> int:
        return len(self._positions)

    def taken(self, item_ids: Iterable[str]) -> dict[str, ManifestRow]:
        """The rows of these items, as far as they are here, made together, which is quicker than one by one."""
        positions = [self._positions[item_id] for item_id in item_ids if item_id in self._positions]
        return {row.item_id: row for row in self.manifest.take(np.array(positions, np.int64))}

    @cached_property
    def groups(self) -> dict[str, str]:
        """The group of each item that has one."""
        return groups_of(self.manifest)


def groups_of(rows: Manifest) -> dict[str, str]:
    """{item_id: group} of the items that have one."""
    codes, names = rows.codes("group")
    if not any(names):
        return {}
    grouped = np.flatnonzero(np.array([bool(name) for name in names])[codes])
    return {row.item_id: row.group for row in rows.take(grouped)}
