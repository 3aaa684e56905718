"""The command line of `python -m pipeline store …`."""

from pathlib import Path
from typing import Any


def add(commands: Any) -> None:
    """Add `store` and what can be done with stores to the commands of `python -m pipeline`."""
    store = commands.add_parser("store", help="list, check, mend, shrink and export feature stores")
    actions = store.add_subparsers(dest="action", required=True, metavar="ACTION")
    actions.add_parser("ls", help="list the stores that are here")
    add_info(actions)
    add_verify(actions)
    compact = actions.add_parser("compact", help="rewrite the shards that hold rows which no item needs any more")
    compact.add_argument("store", metavar="STORE")
    add_export(actions)
    prune = actions.add_parser("prune", help="empty the shard cache of what no store in data/stores needs")
    prune.add_argument(
        "--unfinished",
        action="store_true",
        help="also what the selected stores that are not here, and killed unfreezings, would go on from",
    )


def add_info(actions: Any) -> None:
    """`store info STORE`."""
    info = actions.add_parser("info", help="how a store was made and what it holds")
    info.add_argument("store", metavar="STORE")


def add_verify(actions: Any) -> None:
    """`store verify [STORE …]`."""
    verify = actions.add_parser("verify", help="read every shard and compare it with its sha256")
    verify.add_argument("stores", nargs="*", metavar="STORE", help="only these (default: all that are here)")
    verify.add_argument(
        "--recompute", action="store_true", help="also pass a few items through the backbone again and compare"
    )
    verify.add_argument(
        "--repair",
        action="store_true",
        help="take damaged shards out of store and shard cache; the next extraction redoes only their rows",
    )


def add_export(actions: Any) -> None:
    """`store export STORE --to FILE`."""
    export = actions.add_parser("export", help="write features, ids, labels and splits for other programs")
    export.add_argument("store", metavar="STORE")
    export.add_argument("--to", required=True, type=Path, metavar="FILE", help="FILE.npz, FILE.parquet or FILE.npy")
    export.add_argument("--split", help="only these items: train, val, test or test-NAME (default: all)")
    export.add_argument("--view", metavar="VIEW", help="this one (default: the first)")
    export.add_argument(
        "--output",
        action="append",
        dest="outputs",
        metavar="OUTPUT",
        help="only this one; may be given several times (default: all)",
    )
