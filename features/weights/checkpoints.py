"""Read weights files, from disk or the network, into named tensors, and match these to a network."""

import logging
import re
from argparse import Namespace
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from http.client import HTTPException
from pathlib import Path
from typing import Any
from urllib.error import HTTPError

import numpy as np
import safetensors.torch
import torch
from torch import Tensor

from icebox.features import fingerprint
from icebox.features.errors import IceboxError

SAFETENSORS = ".safetensors"
SUFFIXES = (".bin", ".ckpt", ".pt", ".pth", ".pth.tar", SAFETENSORS, ".th")
# Keys under which training scripts keep the tensors, the first that is there taken: of a student and its teacher the
# teacher, which DINO and others go on with.
WRAPPERS = (
    "state_dict", "model_state_dict", "model", "teacher", "student", "target_encoder", "encoder", "backbone", "net",
    "network", "module",
)  # fmt: skip
PREFIXES = ("module.", "_orig_mod.", "model.")  # left by DataParallel, torch.compile, Lightning
PREFERRED = ("teacher", "encoder_q", "query", "online")  # the one to take of twin networks, by a part of its prefix
# Arguments and scores of a training script, which hold no code; torch would refuse the whole file for them.
HARMLESS: list[Any] = [
    Namespace,
    np.dtype,
    *(type(np.dtype(kind)) for kind in "?bBhHiIlLqQefd"),
    *((np._core.multiarray.scalar, f"numpy.{core}.multiarray.scalar") for core in ("core", "_core")),  # type: ignore[attr-defined]
]
COUNTER = ".num_batches_tracked"
OBJECT = re.compile(r"(?:Unsupported global: GLOBAL|global:?) (\S+)")  # in torch's message
NAMED_AT_MOST = 5
logger = logging.getLogger("icebox")


def download(url: str) -> Path:
    """The file behind `url` in torch's own cache, which torchvision shares; downloaded unless it is there already.

    Raises IceboxError without a network, and for a file whose sha256 is not the one that its name ends in.
    """
    path = Path(torch.hub.get_dir()) / "checkpoints" / url.rsplit("/", 1)[-1]
    named = re.search(r"-([0-9a-f]{8,})\.", path.name)  # torch's convention: resnet18-f37072fd.pth
    prefix = named[1] if named else ""
    if not path.is_file():
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            torch.hub.download_url_to_file(url, str(path), prefix)
        except (OSError, HTTPException, RuntimeError) as error:
            if isinstance(error, HTTPError):
                error.close()  # it is the server's answer, and holds the connection
            raise IceboxError(
                f"weights: could not fetch {url}: {error}. Without a network, bring the file and put it at {path}, "
                f"or anywhere and say `weights: path/to/{path.name}`"
            ) from error
    sha256 = fingerprint.of_file(path)
    if not sha256.startswith(prefix):
        raise IceboxError(f"weights: {path}: expected a sha256 that starts with {prefix}, found {sha256}; delete it")
    return path


def check_sha256(path: Path, expected: str | None) -> str:
    """The file's sha256; raises IceboxError where it differs from the pinned one."""
    return refuse_other_sha256(path, fingerprint.of_file(path), expected)


def refuse_other_sha256(path: Path, sha256: str, expected: str | None) -> str:
    """The `sha256` of the weights at `path`; raises IceboxError where it differs from the pinned one."""
    if expected is not None and sha256 != expected.lower():
        raise IceboxError(
            f"weights: {path} is not the pinned file: expected sha256 {expected}, found {sha256}; "
            f"get the right file, or pin this one if you trust it"
        )
    return sha256


def read_tensors(path: Path) -> dict[str, Tensor]:
    """The named tensors in a `.safetensors` or, of any other ending, PyTorch file. Runs no code that the file may hold.

    Raises IceboxError for a damaged file and for one that holds a pickled model instead of its tensors.
    """
    try:
        if path.suffix == SAFETENSORS:
            content: object = safetensors.torch.load_file(path)
        else:
            with torch.serialization.safe_globals(HARMLESS):
                content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged file of the old format raises anything: struct.error, IndexError, …
        line = (str(error).strip().splitlines() or [""])[0]
        if code := OBJECT.search(str(error)):
            raise IceboxError(
                f"weights: {path} holds Python objects ({code[1]}), which may run code; expected tensors only: "
                "save `model.state_dict()`"
            ) from error
        if "TorchScript" in line:
            line = "a TorchScript archive; save `model.state_dict()`"
        reason = f"{type(error).__name__}: {line}" if "Weights only" not in line else "no whole pickle of tensors"
        raise IceboxError(f"weights: {path} can't be read ({reason}); {advice_for(path)}") from error
    return unwrap(content, path)


def unwrap(content: object, path: Path) -> dict[str, Tensor]:
    """Take the tensors out of wrappers: `{"state_dict": {"module.conv.weight": …}}` → `{"conv.weight": …}`."""
    while isinstance(content, Mapping) and (
        inner := [key for key in WRAPPERS if isinstance(content.get(key), Mapping)]
    ):
        if len(inner) > 1:
            logger.info("%s: taken is '%s', not %s", path.name, inner[0], ", ".join(f"'{key}'" for key in inner[1:]))
        content = content[inner[0]]
    if not isinstance(content, Mapping) or not content or not all(isinstance(v, Tensor) for v in content.values()):
        content_names = (
            ", ".join(map(str, list(content)[:NAMED_AT_MOST])) if isinstance(content, Mapping) else type(content)
        )
        raise IceboxError(f"weights: {path}: expected named tensors, perhaps under {WRAPPERS}; found {content_names}")
    tensors: dict[str, Tensor] = dict(content)
    while prefix := next((p for p in PREFIXES if all(key.startswith(p) for key in tensors)), ""):
        tensors = {key.removeprefix(prefix): value for key, value in tensors.items()}
    return tensors


def without_prefix(tensors: Mapping[str, Tensor], expected: Collection[str], name: str) -> dict[str, Tensor]:
    """The tensors under the prefix (`encoder_q.`, `model.backbone.`) that all names of `expected` have in common there.

    What lies beside them, such as a second network or a loss, is left out and told; `name` is the file's. Of several
    such prefixes the one of PREFERRED is taken. The tensors as they are where all or most names have no prefix.
    Raises IceboxError for several that nothing chooses from.
    """
    needed = {key for key in expected if not key.endswith(COUNTER)}
    found: Counter[str] = Counter()
    for key in tensors:
        parts = key.split(".")
        for depth in range(len(parts)):
            if ".".join(parts[depth:]) in needed:
                found["".join(f"{part}." for part in parts[:depth])] += 1
    whole = [prefix for prefix, count in found.items() if count == len(needed)]
    if "" in whole or not found:
        return dict(tensors)
    best = whole[:1] or [max(found, key=lambda prefix: (found[prefix], prefix == ""))]
    if len(whole) > 1:
        best = [prefix for word in PREFERRED for prefix in whole if word in prefix]
    if not best:
        raise IceboxError(
            f"weights: {name} holds this network {len(whole)} times, under {', '.join(whole)}; save the one you mean"
        )
    prefix = best[0]
    taken = {key.removeprefix(prefix): value for key, value in tensors.items() if key.startswith(prefix)}
    if prefix:
        others = first_names(dict.fromkeys(key.split(".")[0] for key in tensors if not key.startswith(prefix)))
        logger.info("%s: taken are the tensors under '%s'%s", name, prefix, others and f", not {others}")
    return taken


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


def first_names(keys: Iterable[str]) -> str:
    """The first few names as text, and how many more there are."""
    first, rest = list(keys)[:NAMED_AT_MOST], list(keys)[NAMED_AT_MOST:]
    return ", ".join(first) + (f" and {len(rest)} more" if rest else "")


def advice_for(path: Path) -> str:
    """A guess of the kind of a file that is no checkpoint."""
    with path.open("rb") as stream:
        start = stream.read(64).lstrip().lower()
    if start.startswith(b"version https://git-lfs"):
        return "it is the pointer that Git LFS keeps in the file's place: git lfs pull fetches the file itself"
    if start.startswith((b"<!doctype html", b"<html")):
        return "it is a page of the web: fetch the file itself"
    return "damaged, or not a weights file?" if start else "it is empty"
