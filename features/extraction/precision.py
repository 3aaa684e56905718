"""The number format in which a network computes, and the one in which its features are stored.

bfloat16 is two to three times as fast where the hardware has it, and close enough for most networks, not for all: so
`precision: auto` tries it on a few items against float32. The choice is recorded, since a store that is resumed or
extended in another format would mix two kinds of features.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np

from icebox.features import files, fingerprint
from icebox.features.abc.backbone import Backbone
from icebox.features.abc.dataset import Content
from icebox.features.errors import IceboxError, ItemError, located
from icebox.features.extraction.consistency import row_cosines
from icebox.features.json_files import read_json
from icebox.features.nn.output_names import holds_map
from icebox.features.ragged import Ragged, Values

Precision = Literal["auto", "float32", "bfloat16", "float16", "int8"]  # int8: extraction/quantization.py
Stored = Literal["float16", "float32"]

TRIAL_ITEMS = 32
MAPS_AT_ONCE = 4  # a picture's maps take megabytes
COSINE_MIN = 0.9999  # between an item's features in two formats that may stand for each other


def resolve_for_device(wanted: Precision, device: str) -> str:
    """The format behind `auto`: bfloat16 where `device` computes it in hardware, else float32.

    Raises IceboxError for float16 on a CPU, which has no units for it and would be slower than float32.
    """
    if wanted == "float16" and device == "cpu":
        raise IceboxError("precision: float16 needs a GPU; on a CPU use auto, bfloat16 or float32")
    if wanted != "auto":
        return wanted
    import torch

    if device.startswith("cuda"):
        with torch.cuda.device(device):
            return "bfloat16" if torch.cuda.is_bf16_supported(including_emulation=False) else "float32"
    if device != "cpu":
        return "float32"
    capabilities = torch.cpu.get_capabilities()
    return "bfloat16" if capabilities.get("avx512_bf16") or capabilities.get("amx_bf16") else "float32"


def resolve_auto_precision(
    fast: str, load: Callable[[str], Backbone], contents: Callable[[], Sequence[Content]], folder: Path
) -> tuple[Backbone, str]:
    """The backbone in precision `fast` or in float32, and the reason: recorded in `folder`, or a trial on `contents`.

    `load` gives the backbone in a precision.
    """
    candidate = load(fast)
    recorded = recorded_precision(candidate.spec, folder)
    if recorded == fast:
        return candidate, "recorded"
    exact = load("float32")
    if recorded == "float32":
        return exact, "recorded"
    cosine = least_cosine(exact, candidate, contents())
    chosen = candidate if cosine >= COSINE_MIN else exact
    record_precision(exact.spec, str(chosen.spec["precision"]), folder)
    alike = f"those that are least alike have a cosine of {cosine:.6f}"
    if chosen is candidate:
        return chosen, f"quicker, and features are as in float32: {alike}"
    return chosen, f"{fast} would be quicker, but changes the features of this network: {alike}, less than {COSINE_MIN}"


def least_cosine(exact: Backbone, candidate: Backbone, contents: Sequence[Content]) -> float:
    """The least cosine, over items and outputs, of `candidate`'s features to `exact`'s; 0 where no item can be read.

    Time is not measured: the choice must not depend on how busy the machine was.
    """
    prepared = []
    for content in contents:
        try:
            prepared.append(exact.prepare(content))
        except ItemError:  # extraction will name it
            continue
    if not prepared:
        return 0.0
    size = MAPS_AT_ONCE if holds_map(exact.outputs) else len(prepared)
    parts = [prepared[start : start + size] for start in range(0, len(prepared), size)]
    return min(least_cosine_of(exact.encode(part), candidate.encode(part)) for part in parts)


def least_cosine_of(reference: Mapping[str, Values], features: Mapping[str, Values]) -> float:
    """The least cosine, over items and outputs, of features to those of reference."""
    return min(float(row_cosines(values, features[output]).min()) for output, values in reference.items())


def recorded_precision(spec: dict[str, Any], folder: Path) -> str | None:
    """The precision chosen before for a backbone's spec, whatever precision that spec itself has."""
    path = record_path(spec, folder)
    if not path.exists():
        return None
    with located("a record of `precision: auto` is damaged, delete it"):
        return str(read_json(path, {"precision": frozenset({"float32", "bfloat16", "float16"})})["precision"])


def record_precision(spec: dict[str, Any], precision: str, folder: Path) -> None:
    """Write the chosen precision into `folder`."""
    files.write_text(record_path(spec, folder), json.dumps({"precision": precision}) + "\n")


def record_path(spec: dict[str, Any], folder: Path) -> Path:
    """The record of a backbone's spec: one file, whatever its precision and whatever format features are stored in."""
    settings = {key: value for key, value in spec.items() if key not in ("precision", "stored", "runtime")}
    return folder / f"{fingerprint.of_settings(settings)}.json"


def values_to_storage_dtype(features: Values, stored: Stored) -> Values:
    """Like `to_storage_dtype`, for tokens' vectors too."""
    if isinstance(features, Ragged):
        return Ragged(to_storage_dtype(features.values, stored), features.offsets)
    return to_storage_dtype(features, stored)


def to_storage_dtype(values: np.ndarray, stored: Stored) -> np.ndarray:
    """float32 features (n, …) in the store's number format; in float16 only if that keeps the precision of each row.

    A row's largest value may be neither too large for it nor so small (below 6e-5) that fewer than 11 bits are left.
    """
    half = np.finfo(np.float16)
    largest = np.abs(values).max(axis=tuple(range(1, values.ndim)), initial=0)
    fits = (largest <= half.max) & ((largest >= half.smallest_normal) | (largest == 0))
    return values.astype(np.float16 if stored == "float16" and fits.all() else np.float32)
