"""Read weights files, from disk or the network, into named tensors."""

import logging
import re
from argparse import Namespace
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from http.client import HTTPException
from pathlib import Path
from pickle import UnpicklingError
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
    "network", "module", "ema", "model_ema", "state_dict_ema",
)  # fmt: skip
PREFIXES = ("module.", "_orig_mod.", "model.")  # left by DataParallel, torch.compile, Lightning
# Arguments and scores of a training script, which hold no code; torch would refuse the whole file for them.
HARMLESS: list[Any] = [
    Namespace,
    np.dtype,
    *(type(np.dtype(kind)) for kind in "?bBhHiIlLqQefd"),
    *((np._core.multiarray.scalar, f"numpy.{core}.multiarray.scalar") for core in ("core", "_core")),  # type: ignore[attr-defined]
]
OBJECTS_MAX = 50  # kinds of Python objects in one file
OBJECT = re.compile(r"(?:Unsupported global: GLOBAL|global:?) (\S+)")  # in torch's message
BLOCKED = re.compile(r"unsupported GLOBAL (\S+) whose module")  # an object of Python itself, which torch never reads
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
    """The file's sha256, which is logged where none is pinned. Raises IceboxError where it differs from `expected`."""
    digest = refuse_other_sha256(path, fingerprint.of_file(path), expected)
    if expected is None:
        logger.warning("%s: not pinned; to pin it, set\n    sha256: %s", path.name, digest)
    return digest


def refuse_other_sha256(path: Path, sha256: str, expected: str | None) -> str:
    """The `sha256` of the weights at `path`; raises IceboxError where it differs from the pinned one."""
    if expected is not None and sha256 != expected.lower():
        raise IceboxError(
            f"weights: {path} is not the pinned file: expected sha256 {expected}, found {sha256}; "
            f"get the right file, or pin this one if you trust it"
        )
    return sha256


def read_tensors(path: Path) -> dict[str, Tensor]:
    """The named tensors in a file of safetensors or of PyTorch, whatever its ending. Runs no code that it may hold.

    Raises IceboxError for a damaged file and for one that holds a pickled model instead of its tensors.
    """
    objects: list[str] = []
    try:
        content = safetensors.torch.load_file(path) if is_safetensors(path) else load_pickle(path, objects)
    except Exception as error:  # a damaged file of the old format raises anything: struct.error, IndexError, …
        line = (str(error).strip().splitlines() or [""])[0]
        if code := OBJECT.search(str(error)) or BLOCKED.search(str(error)):
            raise objects_error(path, [code[1]]) from error
        if "TorchScript" in line:
            line = "a TorchScript archive; save `model.state_dict()`"
        reason = f"{type(error).__name__}: {line}" if "Weights only" not in line else "no whole pickle of tensors"
        raise IceboxError(f"weights: {path} can't be read ({reason}); {advice_for(path)}") from error
    try:
        tensors = unwrap(content, path)
    except IceboxError as error:
        raise (objects_error(path, objects) if objects else error) from error
    if objects:
        logger.info("%s: left out are Python objects, not read: %s", path.name, first_names(objects))
    return tensors


def objects_error(path: Path, names: Iterable[str]) -> IceboxError:
    """The error for a file of Python objects in place of tensors."""
    return IceboxError(
        f"weights: {path} holds Python objects ({first_names(names)}), which may run code; expected tensors only: "
        "save `model.state_dict()`"
    )


def is_safetensors(path: Path) -> bool:
    """Whether a file is one of safetensors: by its ending, or by the JSON behind the eight bytes of its length."""
    if path.suffix == SAFETENSORS:
        return True
    with path.open("rb") as stream:
        return stream.read(10)[8:] == b'{"'


def load_pickle(path: Path, objects: list[str]) -> Any:
    """The content of a file of torch.save, by torch's reader of weights only.

    Python objects beside the tensors, such as a Lightning checkpoint's hyperparameters, become empty: no code of theirs
    is imported or run. Their names are added to `objects`. Raises for those of Python itself, which no training leaves.
    """
    while True:
        empty = [(type("Empty", (Empty,), {}), name) for name in objects]
        try:
            with torch.serialization.safe_globals([*HARMLESS, *empty]):
                return torch.load(path, map_location="cpu", weights_only=True)
        except UnpicklingError as error:
            name = OBJECT.search(str(error))
            if name is None or "." not in name[1] or name[1] in objects or len(objects) == OBJECTS_MAX:
                raise
            objects.append(name[1])


class Empty:
    """Stands for a Python object of a file: torch fills the mapping that it makes in the object's place."""

    def __new__(cls, *_args: Any) -> Any:  # not an Empty: torch's reader fills no mappings but Python's own
        """An empty mapping."""
        return OrderedDict()


def unwrap(content: object, path: Path) -> dict[str, Tensor]:
    """Take the tensors out of wrappers: `{"state_dict": {"module.conv.weight": …}}` → `{"conv.weight": …}`.

    Under other keys than WRAPPERS their names begin with these: `generator.conv.weight`.
    """
    while isinstance(content, Mapping) and (inner := [key for key in WRAPPERS if flat(content.get(key))]):
        if len(inner) > 1:
            logger.info("%s: taken is '%s', not %s", path.name, inner[0], ", ".join(f"'{key}'" for key in inner[1:]))
        content = content[inner[0]]
    tensors = flat(content) if isinstance(content, Mapping) else {}
    if not tensors:
        content_names = first_names(map(str, content)) if isinstance(content, Mapping) else type(content)
        raise IceboxError(f"weights: {path}: expected named tensors, perhaps under {WRAPPERS}; found {content_names}")
    while prefix := next((p for p in PREFIXES if all(key.startswith(p) for key in tensors)), ""):
        tensors = {key.removeprefix(prefix): value for key, value in tensors.items()}
    return tensors


def flat(content: object, before: str = "") -> dict[str, Tensor]:
    """{name: tensor} of all tensors in mappings of mappings; none of what is no mapping, or no tensor."""
    if not isinstance(content, Mapping):
        return {}
    tensors: dict[str, Tensor] = {}
    for key, value in content.items():
        if isinstance(key, str) and isinstance(value, Tensor):
            tensors[f"{before}{key}"] = value
        elif isinstance(key, str):
            tensors |= flat(value, f"{before}{key}.")
    return tensors


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
