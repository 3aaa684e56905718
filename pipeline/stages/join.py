"""Stage `join@KEY`: two stores side by side, item by item; no feature is computed or copied."""

import logging

from icebox.features.errors import IceboxError, located
from icebox.features.joining.join import Joined, join
from icebox.features.names import in_line
from icebox.pipeline.config.schema import NO_DATA, Config
from icebox.pipeline.project import paths

logger = logging.getLogger("icebox")


def run(config: Config, key: str) -> None:
    """Make `data/stores/KEY/` hold the members, and where each item lies in them."""
    entry = config.joined[key]
    first, other = entry.stores
    with located(f"joined.{key}"):
        joined = join(
            paths.store(key),
            {name: paths.store(name) for name in entry.stores},
            outputs=config.joined_outputs(key),
            missing=entry.missing,
        )
        if joined.other_splits:
            refuse_learnt(config, first, other, joined)
    for line in remarks(joined, first, other):
        logger.warning("%s: %s", key, line)
    logger.info("%s: %s items of %s", key, f"{joined.items:,}", " and ".join(config.members(key)))


def refuse_learnt(config: Config, first: str, other: str, joined: Joined) -> None:
    """Raise IceboxError where the second store's network has learnt from items that are test in the first."""
    for name in config.members(other):
        backbone = config.stores[name].backbone
        learnt_from = config.pretrain[backbone].data if backbone in config.pretrain else NO_DATA
        if backbone in config.unfreeze:
            learnt_from = config.dataset_name(config.unfreeze[backbone].store)
        if learnt_from != NO_DATA and learnt_from != config.dataset_name(first):
            raise IceboxError(
                f"the network '{backbone}' of '{name}' was trained on '{learnt_from}', and {joined.other_splits:,} "
                f"items lie in another split there than in '{first}', the first "
                f"'{in_line(joined.examples['other_splits'])}': it may know items of test; give both datasets one "
                "column of splits"
            )


def remarks(joined: Joined, first: str, other: str) -> list[str]:
    """Differences of the second store from the first, with counts."""
    lines = []
    if joined.left_out:
        example = in_line(joined.examples["left_out"])
        lines.append(f"{joined.left_out:,} items of '{first}' are left out, which '{other}' lacks: {example} …")
    if joined.unused:
        lines.append(f"{joined.unused:,} items of '{other}' are not used, which '{first}' lacks")
    if joined.other_splits:
        example = in_line(joined.examples["other_splits"])
        lines.append(
            f"{joined.other_splits:,} items lie in another split of '{other}' ({example} …); those of '{first}' hold"
        )
    if joined.crossing:
        lines.append(
            f"{joined.crossing:,} groups of '{other}' lie on several sides of the splits of '{first}' "
            f"({in_line(joined.examples['crossing'])} …): test may be too easy; name '{other}' first, or give both "
            "datasets the same column of groups"
        )
    return lines
