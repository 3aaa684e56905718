"""Match the named tensors of a checkpoint to a network: any prefix, any classifier; and tell what was taken.

Every family's checkpoints pass here; `checkpoints.py` reads them.
"""

import logging
from collections import Counter
from collections.abc import Collection, Mapping

import torch
from torch import Tensor

from icebox.features.errors import IceboxError
from icebox.features.weights.checkpoints import first_names

PREFERRED = ("teacher", "encoder_q", "query", "online")  # the one to take of twin networks, by a part of its prefix
# Parts of names that torch.compile, FSDP and activation checkpointing put around any layer; DataParallel puts `module`.
AROUND_LAYERS = {"_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module"}
PRUNED, MASK = "_orig", "_mask"  # what torch.nn.utils.prune makes of a parameter
COUNTER = ".num_batches_tracked"
logger = logging.getLogger("icebox")


def fit(
    stored: Mapping[str, Tensor],
    expected: Mapping[str, Tensor],
    name: str,
    where: str,
    *,
    without: tuple[str, ...] = (),
) -> dict[str, Tensor]:
    """A checkpoint's tensors as those of `expected`, the network's own; told is what was taken and what was left.

    They may lie under a prefix; those that begin with `without`, such as a classifier's, may be there or not. `name` is
    the file's. Raises IceboxError, which begins with `where`, where names or shapes are not those expected.
    """
    taken = match_to_network(take(stored, expected, name, without=without), expected, where)
    tell(name, stored, taken)
    return taken


def take(
    stored: Mapping[str, Tensor], expected: Collection[str], name: str, *, without: tuple[str, ...] = ()
) -> dict[str, Tensor]:
    """The tensors of the network, named as in `expected`, less those that begin with `without`."""
    plain = without_wrappers(stored, expected)
    prefix, own = prefix_of(plain, expected, name)
    taken = {own + key.removeprefix(prefix): value for key, value in plain.items() if key.startswith(prefix)}
    return {key: value for key, value in taken.items() if key in expected or not (without and key.startswith(without))}


def without_wrappers(stored: Mapping[str, Tensor], expected: Collection[str]) -> dict[str, Tensor]:
    """The tensors without what wrappers of layers add to their names; pruned parameters with their mask applied."""
    around = AROUND_LAYERS
    if not any("module" in key.split(".") for key in expected):
        around = AROUND_LAYERS | {"module"}
    plain = {".".join(part for part in key.split(".") if part not in around): value for key, value in stored.items()}
    for key in [key.removesuffix(MASK) for key in plain if key.endswith(MASK)]:
        if key not in plain and key + PRUNED in plain:
            plain[key] = plain.pop(key + PRUNED) * plain.pop(key + MASK)
    return plain


def prefix_of(tensors: Collection[str], expected: Collection[str], name: str) -> tuple[str, str]:
    """(prefix under which the network lies, prefix that its own names have instead), both "" where names are its own.

    Of several such prefixes the one of PREFERRED is taken; of none that has all names the one that has most.
    Raises IceboxError for several that nothing chooses from.
    """
    needed = {key for key in expected if not key.endswith(COUNTER)}
    if needed <= set(tensors):
        return "", ""
    own = common_prefix(needed)
    inner = {key.removeprefix(own) for key in needed}
    counts: Counter[str] = Counter()
    for key in tensors:
        parts = key.split(".")
        for depth in range(len(parts)):
            if ".".join(parts[depth:]) in inner:
                counts["".join(f"{part}." for part in parts[:depth])] += 1
    if not counts:
        return "", ""
    whole = [prefix for prefix, count in counts.items() if count == len(inner)]
    if own and (same := [prefix for prefix in whole if prefix.endswith(own)]):
        whole = same
    if "" in whole:
        return "", own
    if not whole:
        best = max(counts, key=lambda prefix: (counts[prefix], prefix == own))
        return (best, own) if best != own else ("", "")
    best_of = whole if len(whole) == 1 else [prefix for word in PREFERRED for prefix in whole if word in prefix]
    if not best_of:
        raise IceboxError(
            f"weights: {name} holds this network {len(whole)} times, under {', '.join(whole)}; save the one you mean"
        )
    return best_of[0], own


def common_prefix(names: Collection[str]) -> str:
    """The first parts, each with its dot, that all names share; none where only one layer's `weight` would be left."""
    shared = ""
    for parts in zip(*(key.split(".")[:-1] for key in names), strict=False):
        if len(set(parts)) > 1:
            break
        shared += f"{parts[0]}."
    return shared if any("." in key.removeprefix(shared) for key in names) else ""


def tell(name: str, stored: Mapping[str, Tensor], taken: Collection[str]) -> None:
    """Log how many of a file's tensors were taken, and the first of those that were left.

    A file's name ends in that of the network's tensor, up to the prefix that one of the two has.
    """
    plain = without_wrappers(stored, taken)
    prefix, own = prefix_of(plain, taken, name)
    names = {prefix + key.removeprefix(own) for key in taken}
    left = [key for key in plain if key not in names]
    logger.info(
        "%s: taken are %s tensors%s%s",
        name,
        f"{len(plain) - len(left)} of {len(plain)}" if left else f"all {len(plain)}",
        f" under '{prefix}'" if prefix else "",
        f"; left are {first_names(left)}" if left else "",
    )


def match_to_network(loaded: Mapping[str, Tensor], expected: Mapping[str, Tensor], where: str) -> dict[str, Tensor]:
    """The loaded tensors in the order and the dtypes of `expected`, the network's own.

    Raises IceboxError, which begins with `where`, unless names and shapes are those expected. Only batch norm's step
    counters may be missing: files older than PyTorch 0.4.1 lack them, and features need none.
    """
    counters = {key: torch.zeros((), dtype=torch.int64) for key in expected if key.endswith(COUNTER)}
    tensors = {**counters, **loaded}
    mismatches = {
        "missing": [key for key in expected if key not in tensors],
        "unexpected": [key for key in tensors if key not in expected],
        "quantized": [
            key
            for key, value in expected.items()
            if key in tensors and value.is_floating_point() and not tensors[key].is_floating_point()
        ],
        "of another shape": [
            f"{key} (expected {tuple(value.shape)}, found {tuple(tensors[key].shape)})"
            for key, value in expected.items()
            if key in tensors and tensors[key].shape != value.shape
        ],
    }
    if any(mismatches.values()):
        raise IceboxError(
            f"{where}: " + "; ".join(f"{problem}: {first_names(keys)}" for problem, keys in mismatches.items() if keys)
        )
    return {key: tensors[key].to(value.dtype).contiguous() for key, value in expected.items()}
