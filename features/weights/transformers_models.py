"""Load networks of `transformers` and their tokenizers from a folder; nothing is fetched, no code run."""

import importlib
import importlib.util
import pickle
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from torch import Tensor, nn

from icebox.features.compat import allow_mismatched_torchvision
from icebox.features.errors import IceboxError
from icebox.features.nn.layer_outputs import split_output
from icebox.features.nn.transfer import plain_state

# nothing is fetched, and no code run: unasked, transformers asks on the terminal whether to run a folder's code
FROM_FOLDER = {"local_files_only": True, "trust_remote_code": False}
UNUSED_PARTS = ("pooler.", "decoder.")  # may be missing from the weights: `last` does not depend on them
CONFIG_FILE = "config.json"
VOCABULARIES = ("tokenizer.json", "vocab.txt", "vocab.json", "spiece.model", "sentencepiece.bpe.model")
TOKENIZER_FILES = (*VOCABULARIES, "merges.txt", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json")
NO_LIMIT_TOKENS = 1_000_000  # transformers writes 1e30 where a tokenizer states no maximum
WITH_PROJECTION = "WithProjection"  # ends the names of transformers' classes of a tower and its projection
BOTH_WAYS = {"xlnet", "bert-generation"}  # language models whose tokens see those behind them, too
FAILURES = (OSError, ValueError, KeyError, RuntimeError, SafetensorError, pickle.UnpicklingError)


def import_transformers() -> Any:
    """transformers itself, importable also beside a torch and a torchvision of different builds."""
    allow_mismatched_torchvision()
    import transformers

    return transformers


def load_network(
    folder: Path,
    *,
    also: str,
    precision: str = "float32",
    max_memory: Mapping[str, str] | None = None,
    tower: str | bool | None = None,
) -> tuple[Any, list[str]]:
    """The network in `folder`, read in a precision, and the names of the parameters that its weights lack.

    `tower`: the class of a tower that was saved by itself; True where it was not written down. With `max_memory`
    (`{"0": "20GiB", "cpu": "60GiB"}`), its layers lie on as many devices as that takes. Raises
    IceboxError where it can't be loaded; `also` names the other file that has to be there, for that error.
    """
    placed = {} if max_memory is None else {"device_map": "auto", "max_memory": device_limits(max_memory)}
    try:
        with silence():
            network, loading = class_of(folder, tower).from_pretrained(
                folder,
                **FROM_FOLDER,
                weights_only=True,
                dtype=getattr(torch, precision),
                output_loading_info=True,
                **placed,
            )
    except FAILURES as error:
        raise load_error(folder, error, also=also) from error
    return network, sorted(loading["missing_keys"])


def load_tokenizer(folder: Path, network: str | None = None) -> Any:
    """The tokenizer in `folder`, of the class that is right for this kind of `network`, by default for that in the
    folder. Raises IceboxError where it can't be loaded."""
    auto = import_transformers()
    try:
        with silence():
            kind = {} if network is None else {"config": auto.AutoConfig.for_model(network)}
            return auto.AutoTokenizer.from_pretrained(folder, **FROM_FOLDER, **kind)
    except FAILURES as error:
        raise load_error(folder, error, also="tokenizer") from error


def max_input_tokens(tokenizer: Any, network: Any) -> int | None:
    """The maximum input length of both tokenizer and network; None where neither states one."""
    config = network.config.to_dict()
    limits = [tokenizer.model_max_length, config.get("max_position_embeddings"), config.get("n_positions")]
    for name, module in network.named_modules():
        if name.endswith("position_embeddings") and isinstance(module, nn.Embedding) and module.padding_idx is not None:
            limits.append(module.num_embeddings - module.padding_idx - 1)  # RoBERTa's positions follow the padding's
    return min((number for number in limits if number is not None and 0 < number < NO_LIMIT_TOKENS), default=None)


def class_of(folder: Path, tower: str | bool | None) -> Any:
    """The class that loads the network in `folder`: that of a `tower`, or of the config's `architectures` where that
    has a projection or AutoModel knows none for the config; else AutoModel."""
    auto = import_transformers()
    config = auto.AutoConfig.from_pretrained(folder, **FROM_FOLDER)
    stated = next(iter(config.architectures or []), "")
    name = tower if isinstance(tower, str) else stated
    known = type(config) in auto.MODEL_MAPPING
    if not name or (known and not isinstance(tower, str) and not name.endswith(WITH_PROJECTION)):
        return auto.AutoModel
    module = importlib.import_module(type(config).__module__.replace(".configuration_", ".modeling_"))
    return vars(module).get(name, auto.AutoModel)


def device_limits(max_memory: Mapping[str, str]) -> dict[int | str, str]:
    """`max_memory` as accelerate takes it. Raises IceboxError without accelerate."""
    if importlib.util.find_spec("accelerate") is None:
        raise IceboxError("max_memory: needs accelerate, which is not installed; pip install 'icebox[large]'")
    return {int(name) if name.isdigit() else name: limit for name, limit in max_memory.items()}


def random_parameters(source: Path, seed: int) -> dict[str, Tensor]:
    """The parameters of a new network for the config.json in `source`, drawn from `seed` without touching the caller's
    random generator. Raises IceboxError where there can be no such network."""
    try:
        with torch.random.fork_rng(devices=[]), silence():
            torch.manual_seed(seed)
            config = import_transformers().AutoConfig.from_pretrained(source, **FROM_FOLDER)
            network = import_transformers().AutoModel.from_config(config)
    except (*FAILURES, TypeError, AttributeError) as error:
        raise IceboxError(f"transformers can't make a network of {source / CONFIG_FILE}: {error}") from error
    return plain_state(network)


def is_causal(config: Any) -> bool:
    """Whether tokens see only those before them, so that the last one alone has seen all of the text."""
    from transformers.models.auto import modeling_auto

    stated = config.to_dict()
    if stated.get("is_causal") is False or stated.get("use_bidirectional_attention"):
        return False
    fills_gaps = config.model_type in modeling_auto.MODEL_FOR_MASKED_LM_MAPPING_NAMES
    goes_on = config.model_type in modeling_auto.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES
    if fills_gaps or config.model_type in BOTH_WAYS:
        return bool(stated.get("is_decoder"))
    return goes_on


def load_error(folder: Path, error: Exception, *, also: str) -> IceboxError:
    """The error for files that transformers can't load."""
    return IceboxError(
        f"transformers can't load {folder}: {str(error).strip() or repr(error)}\n"
        f"Expected whole weights of tensors only, and a config.json and {also} that it knows without remote code."
    )


def refuse_untrained(missing: Sequence[str], outputs: Sequence[str], folder: Path) -> None:
    """Raise IceboxError where an output depends on parameters that the weights lack, which would be random."""
    layers = tuple(f"{split_output(name)[0]}." for name in outputs)
    used = [key for key in missing if not key.startswith(UNUSED_PARTS) or key.startswith(layers)]
    if used:
        raise IceboxError(
            f"the weights in {folder} lack {len(used)} parameters that the outputs {list(outputs)} need, "
            f"first '{used[0]}'; ask for other layers, or take weights that fit config.json"
        )


@contextmanager
def silence() -> Iterator[None]:
    """Within it transformers shows no progress bars and reports, which would bury our own lines."""
    from transformers.utils import logging

    verbosity, bar = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if bar:
            logging.enable_progress_bar()
