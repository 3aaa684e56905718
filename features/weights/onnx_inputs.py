"""Inputs of networks in ONNX files: whether pictures or texts can be given to them."""

from collections.abc import Sequence

from icebox.features.errors import IceboxError
from icebox.features.weights.onnx_files import FLOATS, INTEGERS, Input

IDS, MASK, SIDES, POSITIONS = "input_ids", "attention_mask", "token_type_ids", "position_ids"
TEXT_INPUTS = (IDS, MASK, SIDES, POSITIONS)


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
