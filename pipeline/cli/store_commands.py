"""`python -m pipeline store ACTION …`: what people do to look after the stores in data/stores."""

import shutil
import sys
from argparse import Namespace
from pathlib import Path
from typing import Any

from tabulate import tabulate

from icebox.features.errors import IceboxError
from icebox.features.plugins import suggestion
from icebox.features.store import index, pruning, verification
from icebox.features.store.compaction import compact
from icebox.features.store.feature_store import FeatureStore
from icebox.features.store.repair import repair
from icebox.pipeline.config import loader, schema
from icebox.pipeline.project import paths
from icebox.pipeline.stores import export, info
from icebox.pipeline.stores import recompute as store_recompute

MB = 1e6


def run(parsed: Namespace) -> None:
    """Run one action."""
    match parsed.action:
        case "ls":
            ls()
        case "info":
            print(info.described(known(parsed.store).name))
        case "verify":
            verify(parsed.stores, recompute=parsed.recompute, mend=parsed.repair)
        case "compact":
            compact_one(parsed.store)
        case "export":
            opened = FeatureStore(known(parsed.store))
            export.export(opened, parsed.to, split=parsed.split, outputs=parsed.outputs, view=parsed.view)
        case "prune":
            prune_cache(also_unfinished=parsed.unfinished)


def ls() -> None:
    """Print a line a store."""
    names = [folder.name for folder in finished()]
    if not names:
        raise IceboxError(f"{paths.STORES}: no finished feature store here; run: dvc repro")
    stores = loader.load().stores if paths.PARAMS.exists() else {}
    print(tabulate([line(name, stores) for name in names], headers="keys", floatfmt=".1f", missingval="–"))


def line(name: str, stores: dict[str, schema.Store]) -> dict[str, Any]:
    """The columns of one store."""
    entry = stores.get(name)
    made = {"store": name, "dataset": entry.dataset if entry else None, "backbone": entry.backbone if entry else None}
    try:
        store = FeatureStore(paths.store(name))
    except IceboxError:
        return {**made, "outputs": f"damaged; see: python -m pipeline store verify {name}"}
    return {
        **made,
        "items": len(store),
        "outputs": ", ".join(info.output(store, name) for name in store.outputs),
        "MB": info.size_bytes(store) / MB,
        "fingerprint": store.fingerprint[:12],
    }


def verify(names: list[str], *, recompute: bool, mend: bool) -> None:
    """Check stores and the shard cache behind them. Raises IceboxError if anything is damaged and not mended."""
    left = 0
    for store in [known(name) for name in names] or finished():
        found = verification.of_store(store)
        broken_index = any(one.path.name == index.FILE for one in found)
        if not broken_index:
            found += verification.of_cache(paths.SHARDS / index.read(store).fingerprint, store)
        for one in found:
            print(one, file=sys.stderr)
        again = f"run: dvc repro -f extract@{store.name} (or, if DVC holds a whole one: dvc checkout -f {store})"
        if not found:
            more = store_recompute.check(loader.load(), store.name) if recompute else ""
            print(f"{store.name}: whole{more}")
        elif mend and not broken_index:
            lost = repair(store, paths.SHARDS)
            print(f"{store.name}: " + (f"{len(lost)} shards are lost; {again}" if lost else "mended"))
        else:
            left += 1
            first = "" if broken_index else f"run: python -m pipeline store verify --repair {store.name}; then "
            print(f"{store.name}: damaged; {first}{again}", file=sys.stderr)
    if left:
        raise IceboxError(f"{left} damaged; see above for the files and for what to run")


def compact_one(name: str) -> None:
    """Drop what no item of the store needs."""
    store = known(name)
    done = compact(store, paths.SHARDS, others=[other for other in finished() if other != store])
    print(
        f"{name}: dropped {done.rows_dropped:,} rows, rewrote {done.shards_rewritten} shards; "
        f"{done.bytes_before / MB:.1f} → {done.bytes_after / MB:.1f} MB"
    )
    if done.shards_rewritten:
        print(f"its files have changed; have DVC take note: dvc commit -f extract@{name}")


def prune_cache(*, also_unfinished: bool) -> None:
    """Free the shard cache. Raises IceboxError where a store is unfinished: its rows may lie only there."""
    here = [folder.name for folder in finished()]
    unfinished = [name for name in selected() if name not in here]
    if unfinished and not also_unfinished:
        raise IceboxError(
            f"{paths.SHARDS}: may hold what {', '.join(unfinished)} would go on from (selected in params.yaml, but not "
            f"in {paths.STORES}); run dvc repro (or dvc checkout) first, or add --unfinished to free it all the same"
        )
    if also_unfinished:
        shutil.rmtree(paths.UNFREEZE, ignore_errors=True)  # its links keep shards on the disk
    freed = pruning.prune(paths.SHARDS, [paths.store(name) for name in here])
    for one in freed:
        print(f"{one.folder}: removed {one.shards} shards, freed {one.freed_bytes / MB:.1f} MB")
    print(f"freed {sum(one.freed_bytes for one in freed) / MB:.1f} MB in all")


def selected() -> list[str]:
    """The stores that params.yaml selects, if there is one."""
    return loader.load().select.stores if paths.PARAMS.exists() else []


def finished() -> list[Path]:
    """The folders of the finished stores."""
    return sorted(path.parent for path in paths.STORES.glob(f"*/{index.FILE}"))


def known(name: str) -> Path:
    """The folder of a finished store, or an IceboxError that names those that are here."""
    if paths.store(name) not in finished():
        names = [folder.name for folder in finished()]
        raise IceboxError(
            f"{paths.store(name)}: no finished feature store here; "
            + (suggestion(name, names) if names else f"run: dvc repro extract@{name}")
        )
    return paths.store(name)
