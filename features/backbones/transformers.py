"""Any text encoder that `transformers` knows, from files only: MiniLM, BERT, DistilBERT, RoBERTa, MPNet, T5, GPT-2, …

Letters: b batch, t tokens, d features.
"""

import pickle
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from safetensors import SafetensorError
from torch import nn
from torch.nn.utils.rnn import pad_sequence

from features import fingerprint, torch_pair
from features import weights as sources
from features.backbones.base import Backbone, read_settings, write_settings
from features.capture import Capture, split_output
from features.datasets.base import Content, Modality
from features.errors import IceboxError, ItemError

VERSION = 1
DEFAULT_OUTPUTS: tuple[str, ...] = ("last:mean",)
VOCABULARIES = ("tokenizer.json", "vocab.txt", "vocab.json", "spiece.model", "sentencepiece.bpe.model")
TOKENIZER_FILES = (*VOCABULARIES, "merges.txt", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json")
BATCH_TOKENS = {"cpu": 1024, "cuda": 16384}  # of one forward pass, padding counted
NO_LIMIT_TOKENS = 1_000_000  # transformers writes 1e30 where a tokenizer states no maximum
UNUSED_PARTS = ("pooler.", "decoder.")  # may be missing from the weights: `last` never passes through them


def fetch(
    folder: Path,
    *,
    weights: str,
    sha256: str | None = None,
    revision: str = "main",
    max_tokens: int | None = None,
) -> None:
    """Fill `folder` with weights, config and tokenizer; the only place where the network may be used.

    `weights` is `package:NAME` (an installed package), `hub:OWNER/NAME` (at `revision`) or a folder; `sha256` pins
    the weights file. Texts are cut after `max_tokens`, None being the most that the network can take.
    """
    files = ("config.json", *TOKENIZER_FILES)
    source = sources.locate(weights, files=files, revision=revision)
    for needed in (["config.json"], VOCABULARIES):
        if not any((source / name).is_file() for name in needed):
            raise IceboxError(f"backbones: weights '{weights}': found no {' or '.join(needed)} in {source}")
    taken = sources.take(source, folder, files=files, sha256=sha256, called=weights)
    write_settings(folder, {"family": "transformers", "max_tokens": max_tokens, **taken})


def load(folder: Path, *, outputs: Sequence[str], device: str, precision: str = "float32") -> "TextEncoder":
    """The encoder in `folder`, with outputs such as `last:mean`, `last:cls`, `encoder.layer.3:max`."""
    torch_pair.mend()
    import transformers

    try:
        with silence():
            tokenizer = transformers.AutoTokenizer.from_pretrained(folder, local_files_only=True)
            network, loading = transformers.AutoModel.from_pretrained(
                folder, local_files_only=True, weights_only=True, dtype=torch.float32, output_loading_info=True
            )
    except (OSError, ValueError, KeyError, RuntimeError, SafetensorError, pickle.UnpicklingError) as error:
        raise IceboxError(
            f"backbones: transformers can't load {folder}: {str(error).strip() or repr(error)}\n"
            "Expected whole weights of tensors only, and a config.json and tokenizer that it knows without remote code."
        ) from error
    refuse_untrained(sorted(loading["missing_keys"]), outputs, folder)
    parts = dict(network.named_children())
    if {"encoder", "decoder"} <= parts.keys():  # T5 and BART read with the one and write with the other
        network = parts["encoder"]
    network.config.use_cache = False  # GPT-2 and its like would keep keys and values for a next token
    return TextEncoder(folder, tokenizer, network.to(device), outputs, precision=precision)


class TextEncoder(Backbone):
    """A transformer over one text's tokens. Padding is masked, so that batch-mates don't count."""

    modality: ClassVar[Modality] = "text"
    whole_shards: ClassVar[bool] = True

    def __init__(
        self, folder: Path, tokenizer: Any, network: Any, outputs: Sequence[str], *, precision: str = "float32"
    ) -> None:
        self.folder = folder
        self.settings = read_settings(folder)
        self.outputs = tuple(outputs)
        self.tokenizer = tokenizer
        self.max_tokens = limit(self.settings["max_tokens"], longest(tokenizer, network), folder)
        self.padding = first_known(tokenizer.pad_token_id, network.config.to_dict().get("pad_token_id"), 0)
        self.instead_of_nothing = first_known(tokenizer.eos_token_id, self.padding)
        self.precision = precision
        self.capture = Capture(network, outputs, precision=precision)
        self.device = next(network.parameters()).device
        self.prepare("")  # the first call sets the tokenizer's truncation; in threads it would fail, "Already borrowed"

    @property
    def spec(self) -> dict[str, Any]:
        """The sha256 of every file that a feature depends on, and where texts are cut."""
        there = [name for name in TOKENIZER_FILES if (self.folder / name).is_file()]
        return {
            "family": "transformers",
            "version": VERSION,
            "weights": fingerprint.of_file(self.folder / self.settings["weights_file"]),
            "config": fingerprint.of_file(self.folder / "config.json"),
            "tokenizer": {name: fingerprint.of_file(self.folder / name) for name in there},
            "max_tokens": self.max_tokens,
            "outputs": list(self.outputs),
            "precision": self.precision,
        }

    def prepare(self, content: Content) -> list[int]:
        """Text → token ids, at most `max_tokens`, at least one."""
        if not isinstance(content, str):
            raise ItemError(f"transformers: expected a text, found {type(content).__name__}")
        try:
            content.encode()
        except UnicodeEncodeError as error:  # a lone surrogate
            raise ItemError(f"transformers: not Unicode text: {error}") from error
        tokens: list[int] = self.tokenizer(content, truncation=True, max_length=self.max_tokens)["input_ids"]
        return tokens or [self.instead_of_nothing]  # GPT-2 makes no token at all of ""

    def encode(self, prepared: Sequence[list[int]]) -> dict[str, np.ndarray]:
        """b lists of token ids → {output: float32 (b, d)}.

        Texts of about one length pass together, so that little is padded; how many, the tokens decide.
        """
        arrays: dict[str, np.ndarray] = {}
        for rows in packed([len(tokens) for tokens in prepared], BATCH_TOKENS[self.device.type]):
            for name, values in self._pass([prepared[row] for row in rows]).items():
                arrays.setdefault(name, np.empty((len(prepared), *values.shape[1:]), np.float32))[rows] = values
        return arrays

    def _pass(self, prepared: Sequence[list[int]]) -> dict[str, np.ndarray]:
        """One forward pass over padded rows, the padding masked."""
        rows = [torch.tensor(tokens) for tokens in prepared]
        tokens = pad_sequence(rows, batch_first=True, padding_value=self.padding).to(self.device)  # (b, t)
        mask = pad_sequence([torch.ones_like(row) for row in rows], batch_first=True).to(self.device)  # (b, t)
        return self.capture(input_ids=tokens, attention_mask=mask, mask=mask)


def packed(lengths: Sequence[int], budget: int) -> list[list[int]]:
    """Positions of texts, shortest first, in batches whose padded size (texts × longest) is at most `budget` tokens.

    A text longer than the budget passes alone.
    """
    batches: list[list[int]] = [[]]
    for row in sorted(range(len(lengths)), key=lambda row: lengths[row]):
        if batches[-1] and (len(batches[-1]) + 1) * lengths[row] > budget:
            batches.append([])
        batches[-1].append(row)
    return batches


def first_known(*numbers: int | None) -> int:
    """The first that is not None."""
    return next(number for number in numbers if number is not None)


def longest(tokenizer: Any, network: Any) -> int | None:
    """The most tokens that tokenizer and network can take together; None where neither states a number."""
    config = network.config.to_dict()
    stated = [tokenizer.model_max_length, config.get("max_position_embeddings"), config.get("n_positions")]
    for name, module in network.named_modules():
        if name.endswith("position_embeddings") and isinstance(module, nn.Embedding) and module.padding_idx is not None:
            stated.append(module.num_embeddings - module.padding_idx - 1)  # RoBERTa counts from behind the padding's
    return min((number for number in stated if number is not None and 0 < number < NO_LIMIT_TOKENS), default=None)


def limit(wanted: int | None, most: int | None, folder: Path) -> int:
    """`max_tokens` as wanted, else the most there can be. Raises IceboxError where that is unknown or too much."""
    if wanted is None and most is None:
        raise IceboxError(f"backbones: neither tokenizer nor config in {folder} states a maximum; set max_tokens")
    if wanted is not None and most is not None and not 3 <= wanted <= most:
        raise IceboxError(f"backbones: max_tokens: expected 3 to {most} for {folder}, found {wanted}")
    return wanted or most or 0


def refuse_untrained(missing: Sequence[str], outputs: Sequence[str], folder: Path) -> None:
    """Raise where an output would pass through parameters that the weights lack and chance would fill."""
    layers = tuple(f"{split_output(name)[0]}." for name in outputs)
    used = [key for key in missing if not key.startswith(UNUSED_PARTS) or key.startswith(layers)]
    if used:
        raise IceboxError(
            f"backbones: the weights in {folder} lack {len(used)} parameters that the outputs {list(outputs)} need, "
            f"first '{used[0]}'; ask for other layers, or take weights that fit config.json"
        )


@contextmanager
def silence() -> Iterator[None]:
    """No progress bars and no reports while transformers loads; they would bury our own lines."""
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
