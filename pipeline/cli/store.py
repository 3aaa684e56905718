"""`icebox store …`: look after the stores in data/stores. One function a command, which imports its own needs."""

import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from icebox.features.errors import IceboxError, suggestion
from icebox.pipeline.project import paths

if TYPE_CHECKING:
    from icebox.pipeline.config import schema

MB = 1e6
Name = Annotated[str, typer.Argument(metavar="STORE", help="A folder of data/stores.")]

app = typer.Typer(help="List, check, repair, shrink and export feature stores.", no_args_is_help=True)


@app.command("ls")
def list_stores() -> None:
    """List the stores that are here."""
    from tabulate import tabulate

    from icebox.pipeline.config import loader

    names = [folder.name for folder in [*finished(), *joined()]]
    if not names:
        raise IceboxError(f"{paths.STORES}: no finished feature store here; run: dvc repro")
    config = loader.load() if paths.PARAMS.exists() else None
    print(tabulate([row(name, config) for name in names], headers="keys", floatfmt=".1f", missingval="–"))


def row(name: str, config: "schema.Config | None") -> dict[str, Any]:
    """The columns of one store in the list."""
    from icebox.features.joining.joined_store import open_store
    from icebox.pipeline.stores import info

    in_params = config is not None and (name in config.stores or name in config.joined)
    columns = {
        "store": name,
        "dataset": config.dataset_name(name) if config and in_params else None,
        "backbone": config.backbone_name(name) if config and in_params else None,
    }
    try:
        store = open_store(paths.store(name))
    except IceboxError as error:  # of those errors only one of damage has a hint
        if paths.store(name) in joined():
            return {**columns, "outputs": f"can't be read; see: icebox store info {name}"}
        problem = "damaged" if error.hint else "not readable now"
        return {**columns, "outputs": f"{problem}; see: icebox store verify {name}"}
    return {
        **columns,
        "items": len(store),
        "outputs": ", ".join(info.format_output(store, name) for name in store.outputs),
        "MB": info.size_bytes(store) / MB,
        "fingerprint": store.fingerprint[:12],
    }


@app.command("info")
def print_info(name: Name) -> None:
    """Tell how a store was made and what it holds."""
    from icebox.pipeline.stores import info

    print(info.describe(existing(name, or_joined=True).name))


@app.command()
def verify(
    names: Annotated[list[str] | None, typer.Argument(metavar="STORE", help="Only these stores.")] = None,
    recompute: Annotated[
        bool, typer.Option("--recompute", help="Also pass a few items through the backbone again and compare.")
    ] = False,
    repair: Annotated[
        bool,
        typer.Option(
            "--repair",
            help="Set damaged shards of store and shard cache aside; the next extraction redoes only their rows.",
        ),
    ] = False,
) -> None:
    """Read every shard and compare it with its sha256, in stores and in the shard cache behind them."""
    from icebox.features.store import index, targets, verification
    from icebox.features.store.shard_cache.cache import ShardCache
    from icebox.pipeline.config import loader
    from icebox.pipeline.stores import recompute as recomputation

    damaged = unreadable = 0
    for store in [existing(name) for name in names or []] or finished():
        damages = verification.verify_store(store)
        broken_index = any(damage.path.name == index.FILE for damage in damages)
        if not broken_index:
            damages += verification.verify_cache(ShardCache(paths.shards(), index.read(store).fingerprint), store)
        for damage in damages:
            print(damage, file=sys.stderr)
        again = f"run: dvc repro -f extract@{store.name} (or, if DVC holds a whole one: dvc checkout -f {store})"
        if not damages:
            checked = recomputation.check(loader.load(), store.name) if recompute else 0
            print(f"{store.name}: whole" + (f", and {checked} items gave the same features again" if checked else ""))
        elif all(damage.unreadable for damage in damages):
            unreadable += 1
            print(f"{store.name}: could not be checked whole; see above", file=sys.stderr)
        elif repair and not broken_index:
            lost = verification.repair(store, paths.shards())
            files = "files" if targets.FILE in lost else "shards"
            print(f"{store.name}: " + (f"{len(lost)} {files} are lost; {again}" if lost else "mended"))
        else:
            damaged += 1
            first = "" if broken_index else f"run: icebox store verify --repair {store.name}; then "
            print(f"{store.name}: damaged; {first}{again}", file=sys.stderr)
    if damaged:
        raise IceboxError(f"{damaged} damaged; see above for the files and for what to run")
    if unreadable:
        raise IceboxError(f"{unreadable} could not be read; see above for the files and why")


@app.command("compact")
def compact_store(name: Name) -> None:
    """Rewrite the shards that hold rows which no item needs any more."""
    from icebox.features.store.shard_cache.compaction import compact

    store = existing(name)
    others = [other for other in finished() if other != store]
    done = compact(store, paths.shards(), others=others, shared_cache=paths.shared_cache() is not None)
    print(
        f"{name}: dropped {done.rows_dropped:,} rows, rewrote {done.shards_rewritten} shards; "
        f"{done.bytes_before / MB:.1f} → {done.bytes_after / MB:.1f} MB"
    )
    if done.shards_rewritten:
        print(f"its files have changed; have DVC take note: dvc commit -f extract@{name}")
        if paths.shared_cache():
            print(f"{paths.shards()} keeps its shards, which others may need; the next extraction may bring rows back")


@app.command("export")
def export_store(
    name: Name,
    to: Annotated[Path, typer.Option(metavar="FILE", help="FILE.npz, FILE.parquet or FILE.npy.")],
    split: Annotated[str | None, typer.Option(help="Only these items: train, val, test or test-NAME.")] = None,
    view: Annotated[str | None, typer.Option(help="This view, not the first.")] = None,
    output: Annotated[list[str] | None, typer.Option(help="Only this output; may be given several times.")] = None,
) -> None:
    """Write features, ids, labels and splits for other programs."""
    from icebox.features.joining.joined_store import open_store
    from icebox.pipeline.stores import export

    export.export(open_store(existing(name, or_joined=True)), to, split=split, outputs=output or None, view=view)


@app.command()
def prune(
    also_unfinished: Annotated[
        bool,
        typer.Option(
            "--unfinished",
            help="Also what the stores of params.yaml that are not here, and killed unfreezings, would go on from.",
        ),
    ] = False,
    shared: Annotated[
        bool,
        typer.Option(
            "--shared", help="Also of a cache that ICEBOX_CACHE names: of all that this project does not need."
        ),
    ] = False,
) -> None:
    """Empty the shard cache of rows that no store in data/stores needs."""
    from icebox.features.buckets.path import BucketPath
    from icebox.features.store.shard_cache import pruning
    from icebox.features.store.shard_cache.cache import on_this_machine

    root = paths.shards()
    in_bucket = root if isinstance(root, BucketPath) else None
    if paths.shared_cache() and not in_bucket and not shared:
        raise IceboxError(
            f"{paths.shards()}: others share this cache (ICEBOX_CACHE names it), and which shards their stores need is "
            "not known here; to remove all that this project does not need, theirs too, add --shared"
        )
    here = [folder.name for folder in finished()]
    unfinished = [name for name in in_params() if name not in here]
    if unfinished and not also_unfinished:
        raise IceboxError(
            f"{on_this_machine(paths.shards())}: may hold what {', '.join(unfinished)} would go on from (in "
            f"params.yaml, but not in {paths.STORES}); run dvc repro (or dvc checkout) first, or add --unfinished to "
            "free it anyway"
        )
    if also_unfinished:
        shutil.rmtree(paths.UNFREEZE, ignore_errors=True)  # its links keep shards on the disk
    stores = [paths.store(name) for name in here]
    pruned = pruning.prune(paths.shards(), stores)
    if in_bucket and shared:
        pruned += pruning.prune_bucket(in_bucket, stores)
    for folder in pruned:
        print(f"{folder.folder}: removed {folder.shards} shards, freed {folder.freed_bytes / MB:.1f} MB")
    print(f"freed {sum(folder.freed_bytes for folder in pruned) / MB:.1f} MB in all")
    if in_bucket and not shared:
        print(f"{in_bucket} keeps its shards, which others may need; --shared removes all that no store here needs")


def in_params() -> list[str]:
    """The stores of params.yaml, if there is one."""
    from icebox.pipeline.config import loader

    return list(loader.load().stores) if paths.PARAMS.exists() else []


def finished() -> list[Path]:
    """The folders of the finished stores. Raises IceboxError for one that can't be looked into, which `glob` hides."""
    from icebox.features import files
    from icebox.features.store import index

    if not files.exists(paths.STORES):
        return []
    return sorted(folder for folder in files.folders(paths.STORES) if files.exists(folder / index.FILE))


def joined() -> list[Path]:
    """The folders of the joined stores, which hold no features of their own."""
    from icebox.features import files
    from icebox.features.joining.joined_store import is_joined

    return sorted(folder for folder in files.folders(paths.STORES) if is_joined(folder)) if finished() else []


def existing(name: str, *, or_joined: bool = False) -> Path:
    """The folder of a finished store (or of a joined one), or an IceboxError that names those that are here."""
    if paths.store(name) in joined():
        if or_joined:
            return paths.store(name)
        raise IceboxError(f"{paths.store(name)}: a joined store holds no features; name the stores that it is made of")
    if paths.store(name) not in finished():
        names = [folder.name for folder in finished()]
        raise IceboxError(
            f"{paths.store(name)}: no finished feature store here; "
            + (suggestion(name, names) if names else f"run: dvc repro extract@{name}")
        )
    return paths.store(name)
