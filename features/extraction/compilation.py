"""Whether `torch.compile` pays for what is left to extract, and trying it without ever being hurt by it."""

import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from icebox.features.abc.backbone import Backbone
from icebox.features.extraction.precision_trial import SAME, cosines
from icebox.features.ragged import Values

Compile = Literal["auto", "on", "off"]

COMPILE_COST_S = 30.0  # of compiling a ResNet-18 on a CPU, measured at 24 s; larger networks take longer and gain more
# share of the forward time that compiling saves where it works: 10.9 → 9.2 ms an image for ResNet-18
FORWARD_TIME_SAVED = 0.15
MIN_SAVINGS_PER_COST = 2.0  # expected savings must be this many times the cost
# a missing gcc, an operator that it does not know, a cache folder that can't be written, a bug of its own
FAILURES = (RuntimeError, OSError, ImportError, ValueError, TypeError, AttributeError, KeyError, AssertionError)
MIN_SPEEDUP = 1.05  # what a compiled network must show, else it is dropped


def compile_if_faster(
    backbone: Backbone, prepared: Sequence[Any], *, items_left: int, wanted: Compile, before: bool
) -> bool:
    """Compile `backbone` where that pays; returns whether it is compiled now.

    `prepared` is one full batch to time; `before` says that this store's features so far are a compiled network's,
    which round differently, so that the rest should be too. A failure costs one line on stderr, never the run.
    """
    if wanted == "off" or items_left == 0 or not prepared:
        return False
    if not before and wanted == "auto":
        took_s = batch_seconds(backbone, prepared)
        if took_s * items_left / len(prepared) * FORWARD_TIME_SAVED < MIN_SAVINGS_PER_COST * COMPILE_COST_S:
            return False
    plain, plain_s = time_batch(backbone, prepared)
    try:
        if not backbone.compile(len(prepared)):
            return False
        fast, fast_s = time_batch(backbone, prepared)
    except FAILURES as reason:
        backbone.compile(None)
        print(f"torch.compile failed, going on without: {first_line(reason)}", file=sys.stderr)
        return False
    least = min(float(cosines(plain[output], fast[output]).min()) for output in plain)
    if least < SAME or (not before and wanted == "auto" and plain_s < MIN_SPEEDUP * fast_s):
        backbone.compile(None)
        print(f"compiled network dropped: {plain_s / fast_s:.2f} times as fast, cosine {least:.6f}", file=sys.stderr)
        return False
    return True


def time_batch(backbone: Backbone, prepared: Sequence[Any]) -> tuple[Mapping[str, Values], float]:
    """The batch's features, and the seconds of a pass, the best of three after one that warms up (or compiles)."""
    features = backbone.encode(prepared)
    return features, min(batch_seconds(backbone, prepared) for _ in range(3))


def batch_seconds(backbone: Backbone, prepared: Sequence[Any]) -> float:
    """How long one batch takes."""
    began = time.perf_counter()
    backbone.encode(prepared)
    return time.perf_counter() - began


def first_line(reason: Exception) -> str:
    """A compiler's error without the rest of its page."""
    return (str(reason).strip().splitlines() or [type(reason).__name__])[0]
