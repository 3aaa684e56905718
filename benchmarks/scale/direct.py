"""Write the store of `benchmarks.scale` by the writers of shards and index alone, for what comes after extraction.

python -m benchmarks.scale.direct FOLDER ITEMS
"""

import os
import sys
from pathlib import Path

import numpy as np

from icebox.features import fingerprint, plugins
from icebox.features.extraction.extract import fingerprint_of
from icebox.features.manifest import manifest
from icebox.features.manifest.manifest import ManifestRow
from icebox.features.store import index
from icebox.features.store.shard_cache.cache import ShardCache
from icebox.features.store.shard_cache.places import RowLocation
from icebox.features.store.shards import SHARD_ROWS
from icebox.pipeline.project import paths


def main(items: int) -> None:
    """Fill the project in the working folder: its backbone, its manifest and its store."""
    made = plugins.load("icebox.features.datasets", "made")
    family = plugins.load("icebox.features.backbones", "made")
    source = made.Source(items=items)
    rows = [
        ManifestRow(
            item_id=item.item_id,
            item_key=fingerprint.of_content(source.read(item.source)),
            label=item.label,
            split=item.split,
            group="",
            source=item.source,
        )
        for item in source.items()
    ]
    paths.manifest("made").parent.mkdir(parents=True, exist_ok=True)
    manifest.write(paths.manifest("made"), rows)
    family.fetch(paths.backbone("made"))
    backbone = family.load(paths.backbone("made"), outputs=["last"], device="cpu")
    spec = {**backbone.spec, "stored": "float16"}
    cache, store, places = ShardCache(paths.shards(), fingerprint_of(spec)), paths.store("made"), []
    store.mkdir(parents=True, exist_ok=True)
    with cache.locked():
        for start in range(0, items, SHARD_ROWS):
            part = rows[start : start + SHARD_ROWS]
            features = backbone.encode([backbone.prepare(source.read(row.source)) for row in part])["last"]
            keys = [row.item_key for row in part]
            shard = cache.write(item_keys=keys, features={"last": features.astype(np.float16)}, errors={})
            places += [RowLocation(shard, row) for row in range(len(part))]
        cache.link_into(store, dict.fromkeys(place.shard.path for place in places))
    index.write(
        store,
        rows=rows,
        places={"identity": places},
        spec=spec,
        fingerprint=cache.fingerprint,
        skipped={},
        odd={},
    )


if __name__ == "__main__":
    os.chdir(Path(sys.argv[1]))
    main(int(sys.argv[2]))
