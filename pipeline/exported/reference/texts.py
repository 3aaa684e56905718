"""Texts as this model takes them: NumPy, and tokenizers or a list of words. `steps` is `preprocess` of config.json."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

Encode = Callable[[Sequence[str]], tuple[list[int], list[int]]]  # a text, or two → token ids, and the text of each


def token_encoder(file: str | Path, steps: dict[str, Any]) -> Encode:
    """Token ids by tokenizer.json."""
    import tokenizers

    tokenizer = tokenizers.Tokenizer.from_file(str(file))
    tokenizer.no_padding()
    tokenizer.enable_truncation(steps["max_tokens"])

    def encode(texts: Sequence[str]) -> tuple[list[int], list[int]]:
        first, *others = [text.lower() if steps["lower"] else text for text in texts]
        first = (steps["prompt"].lower() if steps["lower"] else steps["prompt"]) + first
        if others and not steps["separator"]:
            first, others = "\n".join([first, *others]), []
        encoded = tokenizer.encode(first, others[0] if others else None)
        return encoded.ids or [steps["empty"]], encoded.type_ids if encoded.ids else [0]

    return encode


def word_encoder(words: Sequence[str], split: Callable[[str], list[str]], steps: dict[str, Any]) -> Encode:
    """Numbers of words, as `split` finds them, in the order of a list; the first is a line's end."""
    numbers = {word: number for number, word in enumerate(words)}

    def encode(texts: Sequence[str]) -> tuple[list[int], list[int]]:
        (text,) = texts
        ids = [numbers.get(word, numbers[steps["unknown"]]) for word in split(text)[: steps["max_words"]]]
        return [numbers[steps["end"]], *ids], [0] * (len(ids) + 1)

    return encode


def batch(rows: Sequence[tuple[list[int], list[int]]], names: Sequence[str], steps: dict[str, Any]) -> dict[str, Any]:
    """b texts as `encode` gives them → the model's inputs (b, t) int64, padded at the end."""
    width = steps["width"] or max(len(ids) for ids, _ in rows)
    arrays = {
        name: np.zeros((len(rows), width), np.int64) for name in ("input_ids", "attention_mask", "token_type_ids")
    }
    arrays["input_ids"][:] = steps["padding"]
    for i, (ids, sides) in enumerate(rows):
        arrays["input_ids"][i, : len(ids)], arrays["attention_mask"][i, : len(ids)] = ids, 1
        arrays["token_type_ids"][i, : len(ids)] = sides
    return {name: arrays[name] for name in names}
