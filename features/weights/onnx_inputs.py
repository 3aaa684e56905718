"""Inputs of networks in ONNX files: whether pictures or texts can be given to them, and texts as such inputs.

Letters: b batch, t tokens.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from icebox.features.errors import IceboxError
from icebox.features.json_files import one_line
from icebox.features.weights.onnx_files import FLOATS, INTEGERS, Input

IDS, MASK, SIDES, POSITIONS = "input_ids", "attention_mask", "token_type_ids", "position_ids"
TEXT_INPUTS = (IDS, MASK, SIDES, POSITIONS)
TOKENIZER = "tokenizer.json"


def picture_input(inputs: Sequence[Input]) -> Input:
    """The one input of a network of pictures. Raises IceboxError for any other inputs."""
    if any(each.name in TEXT_INPUTS for each in inputs):
        raise IceboxError(
            f"weights: the network takes token ids ({'; '.join(map(str, inputs))}); name the `tokenizer` that makes "
            "them"
        )
    expected = "weights: expected one input (batch, channels, height, width) of floats, found"
    if len(inputs) != 1:
        raise IceboxError(f"{expected} {len(inputs)}: {'; '.join(map(str, inputs))}")
    (only,) = inputs
    if only.kind not in FLOATS or len(only.shape) != 4:
        raise IceboxError(f"{expected} {only}")
    if only.shape[1] not in (1, 3, None) or (only.shape[1] is None and only.shape[3] in (1, 3)):
        last = only.shape[3] in (1, 3)
        raise IceboxError(f"{expected} {only}{'; export it with the channels first' if last else ''}")
    return only


def picture_size(only: Input, size: int | Sequence[int] | None) -> list[int]:
    """Height and width that pictures are prepared in. Raises IceboxError where nothing says them, and for another size
    than the file's."""
    sides = None if size is None else [size, size] if isinstance(size, int) else list(size)
    own = only.shape[2:]
    if sides is None and None in own:
        raise IceboxError(f"size: the network takes pictures of any size ({only}); say in which to give them")
    sides = [side or 0 for side in own] if sides is None else sides
    if len(sides) == 2 and any(side not in (None, asked) for side, asked in zip(own, sides, strict=True)):
        raise IceboxError(f"size: the network takes no pictures of {sides[0]}×{sides[1]} pixels, only {only}")
    return sides


def refuse_channels(only: Input, channels: int) -> None:
    """Raise IceboxError where the network takes another number of channels than pictures are given in."""
    if only.shape[1] not in (None, channels):
        raise IceboxError(
            f"mean, std: expected {only.shape[1]} numbers each, one a channel of {only}, found {channels}"
        )


def text_length(inputs: Sequence[Input]) -> int | None:
    """The number of tokens that a network of texts takes; None where it takes any.

    Raises IceboxError for inputs that texts can't fill.
    """
    known = ", ".join(TEXT_INPUTS)
    for each in inputs:
        if each.name not in TEXT_INPUTS or each.kind not in INTEGERS or len(each.shape) != 2:
            raise IceboxError(
                f"weights: expected inputs of texts, integers (batch, tokens) named {known}, found {each}"
            )
    if IDS not in {each.name for each in inputs}:
        raise IceboxError(f"weights: expected an input {IDS}, found {'; '.join(map(str, inputs))}")
    return next((each.shape[1] for each in inputs if each.shape[1]), None)


def keep_tokenizer(path: Path, folder: Path) -> Any:
    """The tokenizer of a tokenizer.json, or of that in a folder, which is copied into a backbone's `folder`.

    Raises IceboxError where there is none.
    """
    file = path / TOKENIZER if path.is_dir() else path
    if not file.is_file():
        raise IceboxError(f"tokenizer: expected a {TOKENIZER}, found no such file {file}")
    (folder / TOKENIZER).write_bytes(file.read_bytes())
    return read_tokenizer(folder)


def read_tokenizer(folder: Path) -> Any:
    """The tokenizer in a backbone's folder. Raises IceboxError for a file that is none."""
    import tokenizers

    try:
        return tokenizers.Tokenizer.from_file(str(folder / TOKENIZER))
    except Exception as reason:  # it raises plain Exceptions
        raise IceboxError(f"tokenizer: {folder / TOKENIZER} is none: {one_line(reason)}") from reason


@dataclass(frozen=True)
class TokenizedText:
    """The token ids of a text or pair, and the text (0 or 1) of each."""

    ids: list[int]
    sides: list[int]
    cut: bool  # the text was longer


def token_arrays(texts: Sequence[TokenizedText], inputs: Sequence[Input], *, padding_id: int) -> dict[str, np.ndarray]:
    """Tokens of b texts → {name: (b, t)} of TEXT_INPUTS, padded to the network's length or to the longest text."""
    width = next((each.shape[1] for each in inputs if each.shape[1]), max(len(each.ids) for each in texts))
    shape = len(texts), width
    arrays = {
        IDS: np.full(shape, padding_id), MASK: np.zeros(shape, int), SIDES: np.zeros(shape, int),
        POSITIONS: np.tile(np.arange(width), (len(texts), 1)),
    }  # fmt: skip
    for row, tokens in enumerate(texts):
        t = len(tokens.ids)
        arrays[IDS][row, :t], arrays[SIDES][row, :t], arrays[MASK][row, :t] = tokens.ids, tokens.sides, 1
    return arrays
