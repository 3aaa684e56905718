"""The base class of torch networks of texts: the tokens of a text or of a pair in one input, padded and masked.

Letters: b batch, t tokens.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.nn import functional
from torch.nn.utils.rnn import pad_sequence

from icebox.features.abc.dataset import Content, Modality, Pair
from icebox.features.errors import ItemError
from icebox.features.nn.backbone import TorchBackbone
from icebox.features.nn.layer_outputs import Inputs
from icebox.features.nn.transfer import to_device_async
from icebox.features.text.batching import token_budget_batches

BATCH_TOKENS, BATCH_TOKENS_GPU = 1024, 16384  # of one forward pass, padding counted


@dataclass(frozen=True)
class TokenizedText:
    """The token ids of a text or pair; `sides` is the text (0 or 1) of each token, where the network takes it."""

    ids: list[int]
    sides: list[int] | None = None
    cut: bool = False  # the text was longer
    unknown: bool = False  # more than half of the tokens are unknown, those around a text left out
    prompt: int = 0  # the tokens at its beginning that are left out of the embedding


class TextBackbone(TorchBackbone):
    """A transformer over the tokens of a text, or of a pair in one input; padding is masked.

    `use_tokenizer` completes it. `prompt` stands before each text; its first `prompt_tokens` tokens are left out of
    what is pooled.
    """

    modality: ClassVar[Modality] = "text"
    takes_pairs: ClassVar[bool] = True
    whole_shards: ClassVar[bool] = True
    prompt = ""
    prompt_tokens = 0

    def use_tokenizer(
        self, tokenizer: Any, *, config: Mapping[str, Any], max_tokens: int, padded_tokens: int | None, lower: bool
    ) -> None:
        """Take texts by this tokenizer of transformers, cut to `max_tokens`, padded to `padded_tokens` or the longest.

        `config` is the network's; `lower` has texts in lower case.
        """
        self.tokenizer, self.max_tokens, self.padded_tokens, self.lower = tokenizer, max_tokens, padded_tokens, lower
        self.takes_sides = config.get("type_vocab_size", 0) > 1
        self.padding_id = first_not_none(tokenizer.pad_token_id, config.get("pad_token_id"), 0)
        self.empty_text_id = first_not_none(tokenizer.eos_token_id, self.padding_id)
        unknown, framing = tokenizer.unk_token_id, (tokenizer.eos_token_id, tokenizer.bos_token_id)
        self.has_unknown = unknown is not None and unknown not in framing  # GPT-2's is its end of text, and never made
        self.prepare("")  # the first call sets the tokenizer's truncation; in threads it would fail, "Already borrowed"

    def prepare(self, content: Content) -> TokenizedText:
        """Text or pair → token ids, at most `max_tokens`, at least one; of a pair the longer text is cut first."""
        texts: list[str] = []
        for text in (content.first, content.second) if isinstance(content, Pair) else (content,):
            if not isinstance(text, str):
                raise ItemError(f"transformers: expected a text or a pair, found {type(text).__name__}")
            try:
                text.encode()
            except UnicodeEncodeError as error:  # a lone surrogate
                raise ItemError(f"transformers: not Unicode text: {error}") from error
            texts.append(text)
        if self.prompt:
            texts[0] = self.prompt + texts[0]
        if self.lower:
            texts = [text.lower() for text in texts]
        if len(texts) == 2 and not self.tokenizer.num_special_tokens_to_add(pair=True):
            texts = ["\n".join(texts)]  # GPT-2 has no separator token
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
            self.prompt_tokens,
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
        width = self.padded_tokens or max(map(len, rows))
        left = self.padded_tokens and self.tokenizer.padding_side == "left"  # elsewhere the side makes no difference
        ends = [(width - len(row), 0) if left else (0, width - len(row)) for row in rows]
        padded = torch.stack(
            [functional.pad(row, end, value=self.padding_id) for row, end in zip(rows, ends, strict=True)]
        )
        tokens = to_device_async(padded, self.device)  # (b, t)
        mask = lengths_mask([len(row) for row in rows], width)
        mask = to_device_async(mask.flip(1) if left else mask, self.device)
        kwargs = {"input_ids": tokens} if self.padded_tokens else {"input_ids": tokens, "attention_mask": mask}
        if any(item.prompt for item in prepared):
            mask = mask.clone()
            for row, item in zip(mask, prepared, strict=True):
                row[: min(item.prompt, len(item.ids) - 1)] = 0
        if any(tokens.sides for tokens in prepared):
            sides = [torch.tensor(tokens.sides or [0] * len(tokens.ids)) for tokens in prepared]
            kwargs["token_type_ids"] = to_device_async(pad_sequence(sides, batch_first=True), self.device)  # (b, t)
        return Inputs(kwargs=kwargs, mask=mask)

    def compile(self, batch_size: int | None) -> bool:
        """Not compiled: texts have too many lengths, each of which would be compiled anew."""
        return False


def lengths_mask(lengths: Sequence[int], width: int) -> Tensor:
    """(b, width) of 1 for so many positions of each row, and 0 behind them."""
    return (torch.arange(width) < torch.tensor(lengths)[:, None]).long()


def first_not_none(*numbers: int | None) -> int:
    """The first that is not None."""
    return next(number for number in numbers if number is not None)
