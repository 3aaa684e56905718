"""The description of a store: its contents and how it was made."""

from collections import Counter

from icebox.features.errors import IceboxError
from icebox.features.extraction.views import IDENTITY
from icebox.features.joining.joined_store import FILE as JOIN
from icebox.features.joining.joined_store import JoinedStore, open_store
from icebox.features.store import index
from icebox.features.store.feature_store import FeatureStore
from icebox.features.store.targets import FILE
from icebox.pipeline.config import loader
from icebox.pipeline.project import paths
from icebox.pipeline.stores import provenance


def describe(name: str) -> str:
    """A line for each property of a store and, where params.yaml still has it, for each entry that it was made from."""
    store = open_store(paths.store(name))
    lines = {
        "store": str(store.folder),
        "items": f"{len(store):,} ({format_counts(store.splits.tolist())})",
        **labels_of(store),
        "skipped": f"{len(store.skipped):,} that could not be read",
        "outputs": ", ".join(format_output(store, output) for output in store.outputs),
        **({"views": ", ".join(store.views)} if store.views != (IDENTITY,) else {}),
        **shards_of(store),
        "size": f"{size_bytes(store) / 1e6:,.1f} MB",
        "fingerprint": store.fingerprint,
    }
    lines |= {f"  {key}": str(value) for key, value in store.spec.items()}
    lines |= params_entries(name)
    width = max(map(len, lines))
    return "\n".join(f"{key:{width}}  {value}" for key, value in lines.items())


def shards_of(store: FeatureStore) -> dict[str, str]:
    """How many shards there are; of a joined store, its members."""
    if isinstance(store, JoinedStore):
        return {"joined": ", ".join(store.members)}
    entries = store.index.shards
    return {"shards": f"{len(entries):,}, {sum(entry.rows for entry in entries):,} distinct contents"}


def labels_of(store: FeatureStore) -> dict[str, str]:
    """How many labels there are; of a store with masks or boxes, the task and the classes."""
    if not store.has_targets:
        return {"labels": f"{len(set(store.labels)):,}"}
    targets = store.targets
    kind = "masks" if targets.task == "segmentation" else "boxes"
    return {"task": f"{targets.task} ({kind} in {FILE})", "classes": ", ".join(targets.classes)}


def params_entries(name: str) -> dict[str, str]:
    """The entries of params.yaml that the store was made from, as they are now; none where it names no such store."""
    if not paths.PARAMS.exists():
        return {}
    try:
        config = loader.load()
    except IceboxError as reason:
        return {"params.yaml": f"can't be read: {reason}"}
    return provenance.params_of(config, name) if name in config.stores or name in config.joined else {}


def format_output(store: FeatureStore, name: str) -> str:
    """`features:avg 512 float16`; of tokens' vectors `last:tokens t×384 float16`."""
    shape = [*(["t"] if store.is_ragged(name) else []), *map(str, store.row_shape(name))]
    return f"{name} {'×'.join(shape) or 'scalar'} {store.dtype(name)}"


def size_bytes(store: FeatureStore) -> int:
    """The size of shards, index and targets; of a joined store, of what says where its rows lie."""
    if isinstance(store, JoinedStore):
        return (store.folder / JOIN).stat().st_size
    others = [store.folder / name for name in (index.FILE, FILE) if (store.folder / name).exists()]
    return sum(entry.size_bytes for entry in store.index.shards) + sum(path.stat().st_size for path in others)


def format_counts(values: list[str]) -> str:
    """`train 10, test 2`, the most frequent first."""
    return ", ".join(f"{value} {count:,}" for value, count in Counter(values).most_common())
