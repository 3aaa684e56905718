"""Any text encoder of `transformers`, from files only: MiniLM, BERT, DistilBERT, RoBERTa, MPNet, T5, GPT-2, …

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
from icebox.features.nn.layer_outputs import Inputs
from icebox.features.nn.state import plain_state
from icebox.features.nn.transfer import to_device_async
from icebox.features.text.batching import token_budget_batches
from icebox.features.weights import sources
from icebox.features.weights.transformers_models import (
    FAILURES,
    import_transformers,
    load_error,
    load_network,
    refuse_untrained,
    silence,
)

VERSION = 1
DEFAULT_OUTPUTS: tuple[str, ...] = ("last:mean",)
VOCABULARIES = ("tokenizer.json", "vocab.txt", "vocab.json", "spiece.model", "sentencepiece.bpe.model")
TOKENIZER_FILES = (*VOCABULARIES, "merges.txt", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json")
BATCH_TOKENS, BATCH_TOKENS_GPU = 1024, 16384  # of one forward pass, padding counted
NO_LIMIT_TOKENS = 1_000_000  # transformers writes 1e30 where a tokenizer states no maximum
SAVED = "model.safetensors"  # the name by which transformers looks for weights


def fetch(
    folder: Path,
    *,
    weights: str | None = None,
    name: str | None = None,
    sha256: str | None = None,
    revision: str = "main",
    max_tokens: int | None = None,
) -> None:
    """Fill `folder` with weights, config and tokenizer; the only place where the network may be used.

    `weights` is `package:NAME` (an installed package), `hub:OWNER/NAME` (at `revision`) or a folder; or else `name` is
    that of from_pretrained (`bert-base-uncased`). `sha256` pins the weights file.
    Texts are cut after `max_tokens`; None: the maximum of the network.
    """
    weights = sources.weights_of(weights, name)
    files = ("config.json", *TOKENIZER_FILES)
    source = sources.locate(weights, files=files, revision=revision)
    for needed in (["config.json"], VOCABULARIES):
        if not any((source / file).is_file() for file in needed):
            raise IceboxError(f"weights '{weights}': found no {' or '.join(needed)} in {source}")
    copied = sources.copy_into(source, folder, files=files, sha256=sha256, called=weights)
    write_settings(folder, {"family": "transformers", "max_tokens": max_tokens, **copied})


def load(
    folder: Path, *, outputs: Sequence[str], device: str, precision: str = "float32"
) -> "TransformersTextBackbone":
    """The encoder in `folder`, with outputs such as `last:mean`, `last:cls`, `encoder.layer.3:max`."""
    try:
        with silence():
            tokenizer = import_transformers().AutoTokenizer.from_pretrained(folder, local_files_only=True)
    except FAILURES as error:
        raise load_error(folder, error, also="tokenizer") from error
    network, missing = load_network(folder, also="tokenizer")
    refuse_untrained(missing, outputs, folder)
    parts = dict(network.named_children())
    half = {"encoder", "decoder"} <= parts.keys()  # T5 and BART: features come from the encoder
    if half:
        network = parts["encoder"]
    network.config.use_cache = False  # GPT-2 would store keys and values for the next token
    return TransformersTextBackbone(
        folder, tokenizer, network.to(device), outputs, precision=precision, device=device, half=half
    )


@dataclass(frozen=True)
class TokenizedText:
    """The token ids of a text or pair; `sides` is the text (0 or 1) of each token, where the network takes it."""

    ids: list[int]
    sides: list[int] | None = None
    cut: bool = False  # the text was longer
    unknown: bool = False  # more than half of the tokens are unknown, those around a text left out


class TransformersTextBackbone(TorchBackbone):
    """A transformer over the tokens of a text, or of a pair in one input; padding is masked."""

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
        precision: str,
        device: str,
        half: bool,
    ) -> None:
        settings = read_settings(folder, weights_file=str)
        max_tokens = resolve_max_tokens(settings["max_tokens"], max_input_tokens(tokenizer, network), folder)
        tokenizer_files = [name for name in TOKENIZER_FILES if (folder / name).is_file()]
        spec = {
            "family": "transformers",
            "version": VERSION,
            "weights": fingerprint.of_file(folder / settings["weights_file"]),
            "config": fingerprint.of_file(folder / "config.json"),
            "tokenizer": {name: fingerprint.of_file(folder / name) for name in tokenizer_files},
            "max_tokens": max_tokens,
        }
        super().__init__(network, spec=spec, settings=settings, outputs=outputs, precision=precision, device=device)
        config = network.config.to_dict()
        self.folder, self.tokenizer, self.max_tokens, self.half = folder, tokenizer, max_tokens, half
        self.takes_sides = config.get("type_vocab_size", 0) > 1
        self.padding_id = first_not_none(tokenizer.pad_token_id, config.get("pad_token_id"), 0)
        self.empty_text_id = first_not_none(tokenizer.eos_token_id, self.padding_id)
        unknown, framing = tokenizer.unk_token_id, (tokenizer.eos_token_id, tokenizer.bos_token_id)
        self.has_unknown = unknown is not None and unknown not in framing  # GPT-2's is its end of text, and never made
        self.prepare("")  # the first call sets the tokenizer's truncation; in threads it would fail, "Already borrowed"

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
            texts = ("\n".join(texts),)  # GPT-2 has no separator token
        sided = len(texts) == 2 and self.takes_sides
        tokens = self.tokenizer(*texts, truncation=True, max_length=self.max_tokens, return_token_type_ids=sided)
        ids = tokens["input_ids"]
        unknown = ids.count(self.tokenizer.unk_token_id) if self.has_unknown else 0
        framing = sum(tokens.encodings[0].special_tokens_mask) if unknown and tokens.encodings else 0
        return TokenizedText(
            ids or [self.empty_text_id],  # GPT-2 makes no token of ""
            tokens["token_type_ids"] if sided else None,
            bool(tokens.encodings and tokens.encodings[0].overflowing),
            unknown > 0 and 2 * unknown > len(ids) - framing,
        )

    def was_cut(self, prepared: TokenizedText) -> bool:
        """Whether the text was longer than `max_tokens`."""
        return prepared.cut

    def is_mostly_unknown(self, prepared: TokenizedText) -> bool:
        """Whether more than half of the text's tokens are the unknown one."""
        return prepared.unknown

    def sub_batches(self, prepared: Sequence[TokenizedText]) -> Sequence[Sequence[int]]:
        """Batches of texts of similar length, to save padding, with at most BATCH_TOKENS tokens each."""
        budget = BATCH_TOKENS if self.device == "cpu" else BATCH_TOKENS_GPU
        return token_budget_batches([len(tokens.ids) for tokens in prepared], budget)

    def inputs(self, prepared: Sequence[TokenizedText]) -> Inputs:
        """Tokens of b texts → (b, t), padded, with a mask of the padding."""
        rows = [torch.tensor(tokens.ids) for tokens in prepared]
        padded = pad_sequence(rows, batch_first=True, padding_value=self.padding_id)
        tokens = to_device_async(padded, self.device)  # (b, t)
        ones = [torch.ones_like(row) for row in rows]
        mask = to_device_async(pad_sequence(ones, batch_first=True), self.device)  # (b, t)
        kwargs = {"input_ids": tokens, "attention_mask": mask}
        if any(tokens.sides for tokens in prepared):
            sides = [torch.tensor(tokens.sides or [0] * len(tokens.ids)) for tokens in prepared]
            kwargs["token_type_ids"] = to_device_async(pad_sequence(sides, batch_first=True), self.device)  # (b, t)
        return Inputs(kwargs=kwargs, mask=mask)

    def compile(self, batch_size: int | None) -> bool:
        """Not compiled: texts have too many lengths, each of which would be compiled anew."""
        return False

    def save(self, folder: Path) -> None:
        """Write weights, config, tokenizer and settings."""
        if self.half:
            raise IceboxError(f"{self.folder} is half a network, which can't be saved as a whole one")
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
    """The maximum input length of both tokenizer and network; None where neither states one."""
    config = network.config.to_dict()
    limits = [tokenizer.model_max_length, config.get("max_position_embeddings"), config.get("n_positions")]
    for name, module in network.named_modules():
        if name.endswith("position_embeddings") and isinstance(module, nn.Embedding) and module.padding_idx is not None:
            limits.append(module.num_embeddings - module.padding_idx - 1)  # RoBERTa's positions follow the padding's
    return min((number for number in limits if number is not None and 0 < number < NO_LIMIT_TOKENS), default=None)


def resolve_max_tokens(max_tokens: int | None, limit: int | None, folder: Path) -> int:
    """`max_tokens`, or else the limit. Raises IceboxError where both are None, and for a value above the limit."""
    if max_tokens is None and limit is None:
        raise IceboxError(f"neither tokenizer nor config in {folder} states a maximum; set max_tokens")
    if max_tokens is not None and limit is not None and not 3 <= max_tokens <= limit:
        raise IceboxError(f"max_tokens: expected 3 to {limit} for {folder}, found {max_tokens}")
    return max_tokens or limit or 0
