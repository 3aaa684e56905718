"""`icebox describe attention`: the shapes and parameters of a layer of attention, step by step, from its numbers alone.

Letters: b batch, t tokens, s tokens of the keys and values, d features (hidden size), h heads, g heads of the keys and
values, e features of a head, f features within the feed-forward network.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from tabulate import tabulate

from icebox.features.errors import IceboxError

FLOAT32_BYTES = 4
Shape = tuple[int, ...]


@dataclass(frozen=True)
class Step:
    """A row of the table: a tensor with its axes in letters, its shape, and the parameters that make it."""

    name: str
    axes: str
    shape: Shape
    parameters: int | None = None
    module: str = ""  # where it lies in its layer, in a network that is here


@dataclass(frozen=True)
class Projections:
    """The parameters of the four linear maps of a layer, and the modules that hold them."""

    q: int
    k: int
    v: int
    output: int | None
    modules: tuple[str, str, str, str] = ("", "", "", "")
    biased: tuple[bool, bool, bool, bool] = (True, True, True, True)  # which of the four add a vector


@dataclass(frozen=True)
class Attention:
    """The sizes of a layer of attention over a batch of sequences."""

    batch: int
    length: int  # tokens of the queries
    memory: int | None  # tokens of the keys and values, in cross-attention
    hidden: int
    heads: int
    kv_heads: int  # fewer than `heads` in grouped-query attention
    head_size: int
    causal: bool = False
    window: int | None = None  # tokens that a token sees at most, in networks with sliding windows
    scale: float | None = None  # of the scores, where it is not 1/√e

    @property
    def axes(self) -> tuple[str, str]:
        """The letters for the tokens of the keys and for their heads."""
        return "t" if self.memory is None else "s", "h" if self.kv_heads == self.heads else "g"

    def steps(self, projections: Projections) -> list[Step]:
        """Every tensor from the layer's input to its output."""
        b, t, h, g, e = self.batch, self.length, self.heads, self.kv_heads, self.head_size
        s = t if self.memory is None else self.memory
        source, groups = self.axes
        bias = [f" + b{letter}" * has for letter, has in zip("qkvo", projections.biased, strict=True)]
        keys = f"(b, {source}, {groups}·e)"
        q, k, v, o = projections.modules
        scale = f" / √{e}" if self.scale is None else "" if self.scale == 1 else f" · {self.scale:.4g}"
        grouped = f", each for {h // g} heads of Q" if g < h else ""
        steps = [Step("input X", "(b, t, d)", (b, t, self.hidden))]
        if self.memory is not None:
            steps.append(Step("memory M", "(b, s, d)", (b, s, self.hidden)))
        read = "X" if self.memory is None else "M"
        steps += [
            Step(f"Q = X·Wq{bias[0]}", "(b, t, h·e)", (b, t, h * e), projections.q, q),
            Step(f"K = {read}·Wk{bias[1]}", keys, (b, s, g * e), projections.k, k),
            Step(f"V = {read}·Wv{bias[2]}", keys, (b, s, g * e), projections.v, v),
            Step("Q in heads", "(b, h, t, e)", (b, h, t, e)),
            Step(f"K in heads{grouped}", f"(b, {groups}, {source}, e)", (b, g, s, e)),
            Step(f"V in heads{grouped}", f"(b, {groups}, {source}, e)", (b, g, s, e)),
            Step("  Q of one head", "(b, t, e)", (b, t, e)),
            Step("  K of one head, and V", f"(b, {source}, e)", (b, s, e)),
            Step(f"scores Q·Kᵀ{scale}", f"(b, h, t, {source})", (b, h, t, s)),
            Step(f"attention map, softmax over {source}", f"(b, h, t, {source})", (b, h, t, s)),
            Step("  map of one head", f"(b, t, {source})", (b, t, s)),
            Step("dropout of the map", f"(b, h, t, {source})", (b, h, t, s)),
            Step("outputs of the heads, map·V", "(b, h, t, e)", (b, h, t, e)),
            Step("  output of one head", "(b, t, e)", (b, t, e)),
            Step("heads side by side, Z", "(b, t, h·e)", (b, t, h * e)),
        ]
        if projections.output is not None:
            steps.append(Step(f"output Z·Wo{bias[3]}", "(b, t, d)", (b, t, self.hidden), projections.output, o))
        return steps

    def title(self) -> str:
        """The layer's kind and the meaning of the letters, in a line."""
        kind = "Self-attention" if self.memory is None else "Cross-attention"
        kind += ", causal" if self.causal else ""
        sizes = f"b = {self.batch} of t = {self.length} tokens"
        sizes += "" if self.memory is None else f", keys and values of s = {self.memory}"
        heads = f"h = {self.heads} {'head' if self.heads == 1 else 'heads'}"
        heads += f" (Q) and g = {self.kv_heads} (K, V)" if self.kv_heads < self.heads else ""
        return f"{kind}: {sizes}, d = {self.hidden} features, {heads} of e = {self.head_size}"

    def notes(self) -> list[str]:
        """Sentences under the table: the size of the maps, and the part of them that a mask leaves."""
        numbers = self.batch * self.heads * self.length * (self.memory or self.length)
        size = bytes_text(numbers * FLOAT32_BYTES)
        growth = "; twice the tokens, four times as many" if self.memory is None else ""
        lines = [f"The attention maps are {numbers:,} numbers, {size} in float32{growth}."]
        if self.causal:
            reach = min(self.window or self.length, self.length)
            kept = sum(min(token + 1, reach) for token in range(self.length))
            lines.append(
                f"Causal: a token sees itself and {'those' if reach == self.length else f'the {reach - 1}'} before it, "
                f"{kept:,} of each map's {self.length**2:,} weights; the others are 0."
            )
        elif self.window is not None and self.window < self.length:
            lines.append(
                f"A token sees a window of {self.window} tokens around it; the other weights of its row are 0."
            )
        return lines


def layer_text(
    *,
    batch: int,
    length: int,
    hidden: int,
    heads: int,
    kv_heads: int | None = None,
    memory: int | None = None,
    feed_forward: int | None = None,
    bias: bool = True,
    causal: bool = False,
) -> str:
    """The table of a layer of so many features and heads; with `feed_forward` of a whole encoder layer.

    Counts are those of torch's nn.MultiheadAttention and nn.TransformerEncoderLayer. Raises IceboxError for numbers
    that make no layer.
    """
    kv_heads = heads if kv_heads is None else kv_heads
    check_numbers(hidden, heads, kv_heads)
    if causal and memory is not None:
        raise IceboxError("--causal: is for self-attention; with --memory all tokens are seen; choose one of the two")
    if feed_forward is not None and memory is not None:
        raise IceboxError("--feed-forward: is for an encoder layer, which has no --memory; choose one of the two")
    size = hidden // heads
    layer = Attention(batch, length, memory, hidden, heads, kv_heads, size, causal=causal)
    kv_parameters = linear(hidden, kv_heads * size, bias=bias)
    own = linear(hidden, hidden, bias=bias)
    steps = layer.steps(Projections(own, kv_parameters, kv_parameters, own, biased=(bias, bias, bias, bias)))
    steps.append(Step("dropout of the output", "(b, t, d)", (batch, length, hidden)))
    if feed_forward is not None:
        steps += feed_forward_steps(layer, feed_forward, bias=bias)
    notes = [*layer.notes(), "Dropout changes no shape and has no parameters."]
    return "\n".join([layer.title(), "", table(steps), "", *notes])


def check_numbers(hidden: int, heads: int, kv_heads: int) -> None:
    """Raise IceboxError where the features can't be shared out among the heads."""
    if hidden % heads:
        near = sorted((n for n in range(1, hidden + 1) if hidden % n == 0), key=lambda n: (abs(n - heads), n))[:3]
        options = ", ".join(map(str, sorted(near)))
        raise IceboxError(
            f"--heads: expected a divisor of --hidden {hidden}, since each head takes an equal share of the features, "
            f"found {heads}; try {options}"
        )
    if heads % kv_heads:
        raise IceboxError(
            f"--kv-heads: expected a divisor of --heads {heads}, since each serves as many heads of Q, found {kv_heads}"
        )


def feed_forward_steps(layer: Attention, width: int, *, bias: bool) -> list[Step]:
    """The steps of an encoder layer behind its attention: sums, layer norms, and the feed-forward network."""
    shape, hidden = (layer.batch, layer.length, layer.hidden), layer.hidden
    inner = (layer.batch, layer.length, width)
    norm = hidden * (2 if bias else 1)
    return [
        Step("A = layer norm of X + output", "(b, t, d)", shape, norm),
        Step(f"feed-forward A·W1{' + b1' * bias}", "(b, t, f)", inner, linear(hidden, width, bias=bias)),
        Step("activation, dropout: H", "(b, t, f)", inner),
        Step(f"H·W2{' + b2' * bias}", "(b, t, d)", shape, linear(width, hidden, bias=bias)),
        Step("dropout of the feed-forward", "(b, t, d)", shape),
        Step("layer norm of A + feed-forward", "(b, t, d)", shape, norm),
    ]


def linear(inputs: int, outputs: int, *, bias: bool) -> int:
    """The number of parameters of a linear map."""
    return outputs * (inputs + bias)


def table(steps: Sequence[Step], *, total: str = "all") -> str:
    """The steps below each other, with the sum of their parameters at the end."""
    named = any(step.module for step in steps)
    rows = [
        [step.name, step.axes, text(step.shape), "" if step.parameters is None else f"{step.parameters:,}", step.module]
        for step in steps
    ]
    rows.append([total, "", "", f"{sum(step.parameters or 0 for step in steps):,}", ""])
    headers = ["step", "axes", "shape", "parameters", "module"]
    columns = len(headers) if named else len(headers) - 1
    lines: str = tabulate(
        [row[:columns] for row in rows],
        headers=headers[:columns],
        colalign=("left", "left", "left", "right", "left")[:columns],
        disable_numparse=True,
        preserve_whitespace=True,
    )
    return "\n".join(line.rstrip() for line in lines.splitlines())


def text(shape: Shape) -> str:
    """A shape as the table has it: (10, 90, 20); nothing for what is no tensor."""
    return f"({', '.join(map(str, shape))})" if shape else ""


def bytes_text(size: int) -> str:
    """Bytes in the largest unit that leaves at least one of it."""
    for unit, factor in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if size >= factor:
            return f"{size / factor:.1f} {unit}"
    return f"{size} bytes"
