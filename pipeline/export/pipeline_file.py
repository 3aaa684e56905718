"""A head with its Encoder as a scikit-learn Pipeline in a file of skops, the network's folder beside it."""

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.pipeline import Pipeline

from icebox.features.abc.backbone import SETTINGS_FILE, read_settings
from icebox.features.abc.quantized_network import INT8
from icebox.features.errors import IceboxError
from icebox.features.extraction.extract import fingerprint_of
from icebox.pipeline.exported.pipeline_file import FAMILIES, NETWORK, read, refuse_other_types, skops_io
from icebox.pipeline.exported.stored_format import StoredFormat
from icebox.pipeline.inference.bundle import Bundle
from icebox.pipeline.inference.encoder import STORED, Encoder
from icebox.pipeline.project import paths


def refuse(opened: Bundle) -> None:
    """Raise IceboxError for what an Encoder can't be asked for, and say why."""
    reason = ""
    if opened.family not in FAMILIES:
        reason = f"a network of family {opened.family} is code, or has no items that lie in files"
    elif opened.pairs:
        reason = "Encoder takes one text, not a pair"
    elif opened.precision == INT8:
        reason = "its network is in int8"
    elif other := sorted(opened.options.keys() - {"prompt"}):
        reason = f"Encoder has no option {', '.join(other)}"
    if reason:
        raise IceboxError(f"no sklearn export: {reason}; take --format onnx")


def write(opened: Bundle, prepared: Sequence[Any], loaded: Any, path: Path) -> list[str]:
    """Write the Pipeline, and the network's folder beside it → the types in it that skops does not know by itself.

    `loaded` is the network with the outputs of the head's store; `prepared` some items, by which widths are learned.
    """
    outputs = opened.head_outputs or opened.outputs
    encoded = loaded.encode(list(prepared))
    widths = [int(np.asarray(encoded[name][0]).size) for name in outputs]
    copy_network(opened, path.parent / NETWORK)
    encoder = Encoder(
        NETWORK,
        outputs=list(outputs),
        precision=opened.precision,
        prompt=opened.options.get("prompt"),
        clean=list(opened.clean) or None,
    )
    encoder.precision_ = opened.precision
    encoder.fingerprint_ = fingerprint_of({**loaded.spec, "outputs": list(outputs), "stored": STORED})
    encoder._n_features_out = sum(widths)
    steps: list[tuple[str, Any]] = [("encoder", encoder), ("head", opened.head)]
    if opened.stored != STORED:
        steps.insert(1, ("stored", StoredFormat(opened.stored, widths=widths)))
    skops = skops_io()
    try:
        skops.dump(Pipeline(steps), path)
        types = list(skops.get_untrusted_types(file=path))
    except (TypeError, ValueError, AttributeError, NotImplementedError, OSError) as reason:
        raise IceboxError(f"no sklearn export: skops can't save this head ({reason})") from reason
    refuse_other_types(types, "no sklearn export")
    return types


def copy_network(opened: Bundle, folder: Path) -> None:
    """Copy the network's folder, its settings with the family."""
    shutil.copytree(paths.backbone(opened.backbone), folder, ignore=shutil.ignore_patterns(".*"))
    settings = {"family": opened.family, **read_settings(folder)}
    (folder / SETTINGS_FILE).unlink()  # not the original, where that is a link
    (folder / SETTINGS_FILE).write_text(json.dumps(settings, indent=2) + "\n", encoding="utf-8")


def opened_pipeline(folder: Path, path: Path, cache: Path) -> Any:
    """The Pipeline as it was written, its features kept in the folder `cache`."""
    pipeline = read(path)
    pipeline.steps[0][1].set_params(backbone=str(folder / NETWORK), cache=cache)
    return pipeline
