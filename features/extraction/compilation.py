"""`torch.compile` for the rest of an extraction: tried where it may pay, dropped where it fails or does not."""

import logging
import time
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from icebox.features.abc.backbone import Backbone
from icebox.features.errors import IceboxError
from icebox.features.extraction.consistency import row_cosines
from icebox.features.extraction.precision import COSINE_MIN
from icebox.features.ragged import Values

Compile = Literal["auto", "on", "off"]

COMPILE_COST_S = 30.0  # of a ResNet-18 on a CPU, measured at 24 s; larger networks take longer and gain more
FORWARD_TIME_SAVED = 0.15  # share, where compiling works: 10.9 → 9.2 ms an image for ResNet-18
MIN_SAVINGS_PER_COST = 2.0  # expected savings must be this many times the cost
# a missing gcc, an operator that it does not know, a cache folder that can't be written, a bug of its own
FAILURES = (RuntimeError, OSError, ImportError, ValueError, TypeError, AttributeError, KeyError, AssertionError)
PROBE_ITEMS = 8  # that tell how long all will take: whole batches more would be passed twice
MIN_SPEEDUP = 1.05  # of a compiled network, else it is dropped
logger = logging.getLogger("icebox")


def compile_if_faster(
    backbone: Backbone, prepared: Sequence[Any], *, items_left: int, wanted: Compile, was_compiled: bool
) -> bool:
    """Compile `backbone` where that pays; returns whether it is compiled now.

    `prepared` is one full batch to time; `may_pay` says beforehand whether there are items enough. `was_compiled` says
    that this store's features so far are a compiled network's, which round differently, so that the rest should be too.
    A failure costs one line of warning, never the run.
    """
    if wanted == "off" or items_left == 0 or not prepared:
        return False
    plain, plain_s = time_batch(backbone, prepared)
    try:
        if not backbone.compile(len(prepared)):
            return False
        compiled, compiled_s = time_batch(backbone, prepared)
    except FAILURES as reason:
        backbone.compile(None)
        logger.warning("torch.compile failed, going on without: %s", first_line(reason))
        return False
    cosine = min(float(row_cosines(plain[output], compiled[output]).min()) for output in plain)
    if cosine < COSINE_MIN or (not was_compiled and wanted == "auto" and plain_s < MIN_SPEEDUP * compiled_s):
        backbone.compile(None)
        slow = f"it would be {plain_s / compiled_s:.2f} times as fast"
        changed = f"it would change features: those least alike have a cosine of {cosine:.6f}, less than {COSINE_MIN}"
        logger.warning("compiled network dropped: %s", changed if cosine < COSINE_MIN else slow)
        return False
    return True


def may_pay(backbone: Backbone, prepared: Sequence[Any], *, items_left: int) -> bool:
    """Whether so many items take long enough that compiling can save more than it costs, by the time of a few."""
    took_s = batch_seconds(backbone, prepared) * items_left / len(prepared)
    return took_s * FORWARD_TIME_SAVED >= MIN_SAVINGS_PER_COST * COMPILE_COST_S


def compile_or_fail(backbone: Backbone, prepared: Sequence[Any], batch_size: int) -> None:
    """Compile `backbone` for batches of this size and pass a batch. Raises IceboxError where that fails."""
    try:
        plain = backbone.encode(prepared)
        backbone.compile(batch_size)
        compiled = backbone.encode(prepared)
    except FAILURES as reason:
        raise IceboxError(
            f"runtime: inductor: torch.compile failed: {first_line(reason)}; take torch or auto"
        ) from reason
    cosine = min(float(row_cosines(plain[output], compiled[output]).min()) for output in plain)
    if cosine < COSINE_MIN:
        raise IceboxError(
            f"runtime: inductor changes this network's features: those least alike have a cosine of {cosine:.6f}, less "
            f"than {COSINE_MIN}; take torch or auto"
        )


def time_batch(backbone: Backbone, prepared: Sequence[Any]) -> tuple[Mapping[str, Values], float]:
    """The batch's features, and the seconds of a pass: the least of three after one that warms up (or compiles)."""
    features = backbone.encode(prepared)
    return features, min(batch_seconds(backbone, prepared) for _ in range(3))


def batch_seconds(backbone: Backbone, prepared: Sequence[Any]) -> float:
    """Seconds that one batch takes."""
    began = time.perf_counter()
    backbone.encode(prepared)
    return time.perf_counter() - began


def first_line(reason: Exception) -> str:
    """A compiler's error without the rest of its page."""
    return (str(reason).strip().splitlines() or [type(reason).__name__])[0]
