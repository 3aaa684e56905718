"""Folders of transformers' networks whose weights do not come as `from_pretrained` reads them: those that training
scripts leave under other prefixes, in wrappers, in a file alone; and new ones, drawn at random.

What `from_pretrained` reads by itself is left as it is, to the byte.
"""

import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from icebox.features import fingerprint
from icebox.features.errors import IceboxError
from icebox.features.weights import checkpoints, matching, sources
from icebox.features.weights.transformers_models import (
    CONFIG_FILE,
    FAILURES,
    FROM_FOLDER,
    TOKENIZER_FILES,
    UNUSED_PARTS,
    VOCABULARIES,
    class_of,
    import_transformers,
    load_error,
    load_tokenizer,
    random_parameters,
    silence,
)

SAVED = "model.safetensors"  # the name by which transformers looks for weights


def copy_file(path: Path, config: Path, folder: Path, *, files: Sequence[str], sha256: str | None) -> dict[str, str]:
    """Write the weights of a training script's file into `folder`, and copy those of `files` that the folder `config`
    has → {"weights_file", "sha256"}.

    Raises IceboxError for a file that is not the one that `sha256` pins, or does not fit config.json.
    """
    if not (config / CONFIG_FILE).is_file():
        raise IceboxError(f"config: found no {CONFIG_FILE} in {config}")
    checkpoints.check_sha256(path, sha256)
    tensors = fitted(checkpoints.read_tensors(path), config, path.name)
    folder.mkdir(parents=True, exist_ok=True)
    for file in files:
        if (config / file).is_file():
            shutil.copyfile(config / file, folder / file)
    return write_weights(unshared(tensors), folder)


def rename_in(folder: Path, copied: dict[str, str], called: str) -> dict[str, str]:
    """Give the weights that were copied into `folder` the network's own names, where transformers would find few by
    theirs → {"weights_file", "sha256"}. `called` is the user's name for the weights."""
    weights = folder / copied["weights_file"]
    if weights.name.endswith(sources.SHARDED):
        return copied
    network = empty_network(folder)
    expected = network.keys()
    names = names_of(weights)
    base = base_prefix(folder)
    direct = sum(key in names or f"{base}.{key}" in names for key in expected)
    if 2 * direct >= len(expected):
        return copied
    stored = checkpoints.read_tensors(weights)
    taken = [key for key in matching.take(stored, expected, called) if key in network]
    if len(taken) <= direct:
        return copied  # transformers may know how to translate them
    tensors = fitted(stored, folder, called)
    weights.unlink()
    return write_weights(unshared(tensors), folder)


def draw(
    folder: Path,
    *,
    config: Path | None,
    network: Mapping[str, Any] | None,
    tokenizer: str | None,
    seed: int,
    revision: str,
) -> dict[str, Any]:
    """Draw the weights of a new network, and write its config and tokenizer → the settings that tell of it."""
    if (config is None) == (network is None) or (network is not None and tokenizer is None):
        raise IceboxError(
            "`weights: random` needs `config`, a folder with config.json and a tokenizer; or else `network`, the "
            "settings of a config.json, and `tokenizer`, a folder, package:NAME or hub:OWNER/NAME"
        )
    folder.mkdir(parents=True, exist_ok=True)
    tokens = (
        Path(config or "") if tokenizer is None else sources.locate(tokenizer, files=TOKENIZER_FILES, revision=revision)
    )
    if not any((tokens / file).is_file() for file in VOCABULARIES):
        raise IceboxError(f"tokenizer: found no {' or '.join(VOCABULARIES)} in {tokens}")
    for file in TOKENIZER_FILES:
        if (tokens / file).is_file():
            shutil.copyfile(tokens / file, folder / file)
    if config is not None:
        if not (config := Path(config) / CONFIG_FILE).is_file():
            raise IceboxError(f"config: found no {config}")
        shutil.copyfile(config, folder / CONFIG_FILE)
    else:
        settings = vocabulary_settings(load_tokenizer(folder)) | dict(network or {})
        (folder / CONFIG_FILE).write_text(json.dumps(settings, indent=2, sort_keys=True) + "\n")
    return write_weights(random_parameters(folder, seed), folder)


def vocabulary_settings(tokenizer: Any) -> dict[str, int]:
    """The settings of a config.json that follow from the tokenizer."""
    numbers = {name: getattr(tokenizer, name) for name in ("pad_token_id", "bos_token_id", "eos_token_id")}
    return {"vocab_size": len(tokenizer)} | {name: value for name, value in numbers.items() if value is not None}


def fitted(stored: dict[str, Tensor], folder: Path, name: str) -> dict[str, Tensor]:
    """The tensors of the network of the config.json in `folder`, under its names, in the precision that they have.

    Told is what was taken and what was left; `name` is the file's. Raises IceboxError where some are missing.
    """
    expected = empty_network(folder)
    taken = {key: value for key, value in matching.take(stored, expected, name).items() if key in expected}
    needed = {key: value for key, value in expected.items() if key in taken or not key.startswith(UNUSED_PARTS)}
    matching.match_to_network(taken, needed, f"weights: {name} does not fit {folder / CONFIG_FILE}")
    matching.tell(name, stored, taken)
    return taken


def write_weights(tensors: dict[str, Tensor], folder: Path) -> dict[str, str]:
    """Write weights as transformers reads them → {"weights_file", "sha256"}. None shares memory with another."""
    save_file(tensors, folder / SAVED, metadata={"format": "pt"})
    return {"weights_file": SAVED, "sha256": fingerprint.of_file(folder / SAVED)}


def unshared(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Tensors as safetensors takes them: contiguous, and none shares memory with another."""
    return {name: tensor.detach().clone().contiguous() for name, tensor in tensors.items()}


def names_of(weights: Path) -> set[str]:
    """The names in a file of weights, as transformers sees them: those at its top."""
    try:
        if checkpoints.is_safetensors(weights):
            with safe_open(weights, framework="pt") as opened:
                return set(opened.keys())
        content = torch.load(weights, map_location="cpu", weights_only=True)
    except Exception:  # noqa: BLE001  # a damaged file, or one of Python objects, which read_tensors puts into words
        return set(checkpoints.read_tensors(weights))
    return set(content) if isinstance(content, dict) else set()


def empty_network(folder: Path) -> dict[str, Tensor]:
    """{name: tensor without memory} of the network of the config.json in `folder`.

    Raises IceboxError for one that transformers does not know.
    """
    try:
        with silence(), torch.device("meta"):
            config = import_transformers().AutoConfig.from_pretrained(folder, **FROM_FOLDER)
            kind = class_of(folder, None)
            auto = kind is import_transformers().AutoModel
            network = kind.from_config(config) if auto else kind(config)
    except (*FAILURES, TypeError, AttributeError) as error:
        raise load_error(folder, error, also="tokenizer or image processor") from error
    state: dict[str, Tensor] = network.state_dict()
    return state


def base_prefix(folder: Path) -> str:
    """The prefix of a network's names inside of one with a head (`bert`)."""
    config = import_transformers().AutoConfig.from_pretrained(folder, **FROM_FOLDER)
    mapping = import_transformers().MODEL_MAPPING
    kind = mapping[type(config)] if type(config) in mapping else class_of(folder, None)
    return str(kind.base_model_prefix)
