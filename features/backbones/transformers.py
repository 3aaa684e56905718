"""Any text encoder that `transformers` knows, from files only: MiniLM, BERT, DistilBERT, RoBERTa, MPNet, T5, GPT-2, …

Letters: b batch, t tokens, d features.
"""

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import torch
from safetensors.torch import save_file
from torch import nn
from torch.nn.utils.rnn import pad_sequence

from icebox.features import fingerprint
from icebox.features.abc.backbone import read_settings, write_settings
from icebox.features.abc.dataset import Content, Modality, Pair
from icebox.features.errors import IceboxError, ItemError
from icebox.features.nn.backbone import TorchBackbone
from icebox.features.nn.layer_outputs import Inputs, LayerOutputs
from icebox.features.nn.state import plain_state
from icebox.features.nn.transfer import to_device_async
from icebox.features.text.batching import token_budget_batches
from icebox.features.weights import sources
from icebox.features.weights.transformers_models import (
    FAILURES,
    library,
    load_error,
    load_network,
    refuse_untrained,
    silence,
)

VERSION = 1
DEFAULT_OUTPUTS: tuple[str, ...] = ("last:mean",)
VOCABULARIES = ("tokenizer.json", "vocab.txt", "vocab.json", "spiece.model", "sentencepiece.bpe.model")
TOKENIZER_FILES = (*VOCABULARIES, "merges.txt", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json")
BATCH_TOKENS = {"cpu": 1024, "cuda": 16384}  # of one forward pass, padding counted
NO_LIMIT_TOKENS = 1_000_000  # transformers writes 1e30 where a tokenizer states no maximum
SAVED = "model.safetensors"  # the name by which transformers looks for weights


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
    taken = sources.copy_into(source, folder, files=files, sha256=sha256, called=weights)
    write_settings(folder, {"family": "transformers", "max_tokens": max_tokens, **taken})


def load(
    folder: Path, *, outputs: Sequence[str], device: str, precision: str = "float32"
) -> "TransformersTextBackbone":
    """The encoder in `folder`, with outputs such as `last:mean`, `last:cls`, `encoder.layer.3:max`."""
    try:
        with silence():
            tokenizer = library().AutoTokenizer.from_pretrained(folder, local_files_only=True)
    except FAILURES as error:
        raise load_error(folder, error, also="tokenizer") from error
    network, missing = load_network(folder, also="tokenizer")
    refuse_untrained(missing, outputs, folder)
    parts = dict(network.named_children())
    half = {"encoder", "decoder"} <= parts.keys()  # T5 and BART read with the one and write with the other
    if half:
        network = parts["encoder"]
    network.config.use_cache = False  # GPT-2 and its like would keep keys and values for a next token
    return TransformersTextBackbone(folder, tokenizer, network.to(device), outputs, precision=precision, half=half)


@dataclass(frozen=True)
class TokenizedText:
    """A text's token ids; a pair's also say which of the two texts each is of, where the network takes that."""

    ids: list[int]
    sides: list[int] | None = None
    cut: bool = False  # the text was longer


class TransformersTextBackbone(TorchBackbone):
    """A transformer over the tokens of a text, or of two in one input; padding is masked: batch-mates don't count."""

    modality: ClassVar[Modality] = "text"
    takes_pairs: ClassVar[bool] = True
    whole_shards: ClassVar[bool] = True

    def __init__(
        self,
        folder: Path,
        tokenizer: Any,
        network: Any,
        outputs: Sequence[str],
        *,
        precision: str = "float32",
        half: bool = False,
    ) -> None:
        self.folder = folder
        self.settings = read_settings(folder)
        self.outputs = tuple(outputs)
        self.tokenizer = tokenizer
        self.max_tokens = resolve_max_tokens(self.settings["max_tokens"], max_input_tokens(tokenizer, network), folder)
        self.padding = first_not_none(tokenizer.pad_token_id, network.config.to_dict().get("pad_token_id"), 0)
        self.knows_sides = network.config.to_dict().get("type_vocab_size", 0) > 1
        self.instead_of_nothing = first_not_none(tokenizer.eos_token_id, self.padding)
        self.precision = precision
        self.half = half
        self.layer_outputs = LayerOutputs(network, outputs, precision=precision)
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

    def prepare(self, content: Content) -> TokenizedText:
        """Text or pair → token ids, at most `max_tokens`, at least one; of a pair the longer text is cut first."""
        texts = (content.first, content.second) if isinstance(content, Pair) else (content,)
        for text in texts:
            if not isinstance(text, str):
                raise ItemError(f"transformers: expected a text or a pair, found {type(text).__name__}")
            try:
                text.encode()
            except UnicodeEncodeError as error:  # a lone surrogate
                raise ItemError(f"transformers: not Unicode text: {error}") from error
        if len(texts) == 2 and not self.tokenizer.num_special_tokens_to_add(pair=True):
            texts = ("\n".join(texts),)  # GPT-2 has nothing of its own to put between them
        sided = len(texts) == 2 and self.knows_sides
        found = self.tokenizer(*texts, truncation=True, max_length=self.max_tokens, return_token_type_ids=sided)
        return TokenizedText(
            found["input_ids"] or [self.instead_of_nothing],  # GPT-2 makes no token at all of ""
            found["token_type_ids"] if sided else None,
            bool(found.encodings and found.encodings[0].overflowing),
        )

    def was_cut(self, prepared: TokenizedText) -> bool:
        """Whether the text was longer than `max_tokens`."""
        return prepared.cut

    def sub_batches(self, prepared: Sequence[TokenizedText]) -> Sequence[Sequence[int]]:
        """Texts of about one length pass together, so that little is padded; how many, the tokens decide."""
        return token_budget_batches([len(tokens.ids) for tokens in prepared], BATCH_TOKENS[self.device.type])

    def inputs(self, prepared: Sequence[TokenizedText]) -> Inputs:
        """b texts' tokens → (b, t), padded, the padding masked."""
        rows = [torch.tensor(tokens.ids) for tokens in prepared]
        padded = pad_sequence(rows, batch_first=True, padding_value=self.padding)
        tokens = to_device_async(padded, self.device)  # (b, t)
        ones = [torch.ones_like(row) for row in rows]
        mask = to_device_async(pad_sequence(ones, batch_first=True), self.device)  # (b, t)
        kwargs = {"input_ids": tokens, "attention_mask": mask}
        if any(tokens.sides for tokens in prepared):
            sides = [torch.tensor(tokens.sides or [0] * len(tokens.ids)) for tokens in prepared]
            kwargs["token_type_ids"] = to_device_async(pad_sequence(sides, batch_first=True), self.device)  # (b, t)
        return Inputs(kwargs=kwargs, mask=mask)

    def compile(self, batch_size: int | None) -> bool:
        """Texts come in too many lengths: each would be compiled anew."""
        return False

    def save(self, folder: Path) -> None:
        """Write weights, config, tokenizer and settings."""
        if self.half:
            raise IceboxError(f"backbones: {self.folder} is half a network, which can't be saved as a whole one")
        folder.mkdir(parents=True, exist_ok=True)
        for name in ("config.json", *TOKENIZER_FILES):
            if (self.folder / name).is_file():
                shutil.copyfile(self.folder / name, folder / name)
        save_file(plain_state(self.layer_outputs.network), folder / SAVED, metadata={"format": "pt"})
        write_settings(folder, {**self.settings, "weights_file": SAVED, "sha256": fingerprint.of_file(folder / SAVED)})


def first_not_none(*numbers: int | None) -> int:
    """The first that is not None."""
    return next(number for number in numbers if number is not None)


def max_input_tokens(tokenizer: Any, network: Any) -> int | None:
    """The most tokens that tokenizer and network can take together; None where neither states a number."""
    config = network.config.to_dict()
    stated = [tokenizer.model_max_length, config.get("max_position_embeddings"), config.get("n_positions")]
    for name, module in network.named_modules():
        if name.endswith("position_embeddings") and isinstance(module, nn.Embedding) and module.padding_idx is not None:
            stated.append(module.num_embeddings - module.padding_idx - 1)  # RoBERTa counts from behind the padding's
    return min((number for number in stated if number is not None and 0 < number < NO_LIMIT_TOKENS), default=None)


def resolve_max_tokens(wanted: int | None, most: int | None, folder: Path) -> int:
    """`max_tokens` as wanted, else the most there can be. Raises IceboxError where that is unknown or too much."""
    if wanted is None and most is None:
        raise IceboxError(f"backbones: neither tokenizer nor config in {folder} states a maximum; set max_tokens")
    if wanted is not None and most is not None and not 3 <= wanted <= most:
        raise IceboxError(f"backbones: max_tokens: expected 3 to {most} for {folder}, found {wanted}")
    return wanted or most or 0
