"""In which number format a network computes, and in which its features are stored."""

from typing import Literal

import numpy as np

from icebox.features.errors import IceboxError
from icebox.features.ragged import Ragged, Values

Precision = Literal["auto", "float32", "bfloat16", "float16"]
Stored = Literal["float16", "float32"]

# How far a feature may move, as a share of its norm, when batch-mates or threads change: of float32 mostly the
# rounding to float16 when it is stored; bfloat16 has 8 bits, float16 11.
TOLERANCE = {"float32": 2e-3, "float16": 1e-2, "bfloat16": 3e-2}


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
        return "bfloat16" if torch.cuda.is_bf16_supported(including_emulation=False) else "float32"
    able = torch.cpu.get_capabilities()
    return "bfloat16" if able.get("avx512_bf16") or able.get("amx_bf16") else "float32"


def values_to_storage_dtype(features: Values, stored: Stored) -> Values:
    """The same, of tokens' vectors too."""
    if isinstance(features, Ragged):
        return Ragged(to_storage_dtype(features.values, stored), features.offsets)
    return to_storage_dtype(features, stored)


def to_storage_dtype(values: np.ndarray, stored: Stored) -> np.ndarray:
    """float32 features (n, …) in the format of the store; float16 only where it keeps what each row says.

    A row's largest value may be neither too large for it nor so small (below 6e-5) that fewer than 11 bits are left.
    """
    half = np.finfo(np.float16)
    largest = np.abs(values).max(axis=tuple(range(1, values.ndim)), initial=0)
    fits = (largest <= half.max) & ((largest >= half.smallest_normal) | (largest == 0))
    return values.astype(np.float16 if stored == "float16" and fits.all() else np.float32)
