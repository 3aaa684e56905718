"""The runtime that computes a network's passes: torch, or another that gives the same features in less time.

A store's features are one runtime's, which is recorded: two round differently. So `auto` tries the runtimes that are
installed once, before a store's first shard, where there is enough left to compute that a trial can pay; what a store
began with is kept. Torch's own features have no `runtime` in their spec, since all older stores are torch's.
"""

import json
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal, get_args

from icebox.features import files, fingerprint
from icebox.features.abc.backbone import TORCH, Backbone
from icebox.features.errors import IceboxError, located
from icebox.features.extraction.compilation import MIN_SAVINGS_PER_COST, PROBE_ITEMS, batch_seconds, time_batch
from icebox.features.extraction.precision import COSINE_MIN, least_cosine_of
from icebox.features.json_files import read_json
from icebox.features.ragged import Values

Runtime = Literal["auto", "torch", "inductor", "openvino", "onnxruntime"]
RUNTIMES = tuple(name for name in get_args(Runtime) if name != "auto")
PACKAGES = {"openvino": ("openvino",), "onnxruntime": ("onnxruntime", "onnx", "onnxscript")}
EXTRAS = {"openvino": "openvino", "onnxruntime": "onnx"}
TRIAL_COST_S = {"openvino": 6.0, "onnxruntime": 15.0}  # of a conversion and some passes: 2 to 5 s, and 9 to 12
TIME_SAVED = 0.3  # share, of networks for which a runtime pays at all: 0.1 to 0.6
MIN_SPEEDUP = 1.2  # of another runtime, else torch stays: a compiled network is about as fast below that
logger = logging.getLogger("icebox")


def refuse_missing(runtime: str) -> None:
    """Raise IceboxError for a runtime whose packages are not installed."""
    if not is_installed(runtime):
        raise IceboxError(
            f"its features are computed by runtime: {runtime}, which is not installed here; "
            f"run: pip install 'icebox[{EXTRAS[runtime]}]'"
        )


def is_installed(runtime: str) -> bool:
    """Whether all packages of a runtime are there."""
    return all(map(is_importable, PACKAGES.get(runtime, ())))


def is_importable(package: str) -> bool:
    """Whether a package is there."""
    return find_spec(package) is not None


def of_spec(spec: Mapping[str, Any]) -> str:
    """The runtime of a backbone's spec, or of a store's."""
    return str(spec.get("runtime", TORCH))


def in_every_runtime(spec: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield a spec as it would be in each runtime, torch's first."""
    for name in RUNTIMES:
        yield {key: value for key, value in spec.items() if key != "runtime"} | (
            {} if name == TORCH else {"runtime": name}
        )


def fastest(
    backbone: Backbone, prepared: Sequence[Any], *, items: int, exact: Callable[[], Mapping[str, Values]]
) -> tuple[str, str]:
    """The runtime that `auto` stands for, and the reason: "" where there was nothing to choose from.

    Each that is installed, and whose conversion is worth its time for `items` items, passes a few `prepared` ones.
    The fastest is taken if its features agree with `exact()`, those in float32, and it is clearly faster than torch.
    The backbone runs by torch again afterwards.
    """
    candidates = [name for name in PACKAGES if name in backbone.runtimes and is_installed(name)]
    if not prepared or not candidates:
        return TORCH, ""
    probe = prepared[:PROBE_ITEMS]
    with backbone.side_by_side():  # as an extraction by torch will run it
        backbone.encode(probe[:1])  # the first pass also finds how many may pass at once
        saved_s = batch_seconds(backbone, probe) * items / len(probe) * TIME_SAVED
        candidates = [name for name in candidates if saved_s >= MIN_SAVINGS_PER_COST * TRIAL_COST_S[name]]
        if not candidates:
            return TORCH, ""
        _, torch_s = time_batch(backbone, prepared)
    reference, seconds, faults = exact(), {}, []
    for name in candidates:
        try:
            backbone.use_runtime(name)
            features, candidate_s = time_batch(backbone, prepared)
        except IceboxError as reason:
            faults.append(str(reason))
            continue
        finally:
            backbone.use_runtime(TORCH)
        cosine = least_cosine_of(reference, features)
        if cosine < COSINE_MIN:
            faults.append(f"{name} changes features: those least alike have a cosine of {cosine:.6f} to float32's")
        else:
            seconds[name] = candidate_s
    tried = [f"{name} is {torch_s / candidate_s:.2f} times as fast" for name, candidate_s in seconds.items()]
    best = min(seconds, key=seconds.__getitem__, default=TORCH)
    return (best if best in seconds and torch_s >= MIN_SPEEDUP * seconds[best] else TORCH), "; ".join([*tried, *faults])


def is_same_network(spec: Mapping[str, Any], stored: Mapping[str, Any]) -> bool:
    """Whether a backbone's spec and a store's are of the same features, whatever runtime and basis they have."""
    return identity(spec) == identity(stored)


def identity(spec: Mapping[str, Any]) -> dict[str, Any]:
    """A spec without what may differ between stores that one record is for."""
    return {key: value for key, value in spec.items() if key not in ("runtime", "stored", "projection")}


def recorded(spec: Mapping[str, Any], dataset: str, folder: Path) -> str | None:
    """The runtime that a dataset's features by a backbone of this spec began with, if `folder` has a record of it."""
    path = record_path(spec, dataset, folder)
    if not path.exists():
        return None
    with located("a record of `runtime: auto` is damaged, delete it"):
        return str(read_json(path, {"runtime": frozenset(RUNTIMES)})["runtime"])


def record(spec: Mapping[str, Any], dataset: str, runtime: str, folder: Path) -> None:
    """Write the runtime into `folder`."""
    files.write_text(record_path(spec, dataset, folder), json.dumps({"runtime": runtime}) + "\n")


def record_path(spec: Mapping[str, Any], dataset: str, folder: Path) -> Path:
    """The record of a backbone's spec and a dataset, whatever runtime the spec has."""
    return folder / f"{fingerprint.of_settings({**identity(spec), 'dataset': dataset, 'record': 'runtime'})}.json"
