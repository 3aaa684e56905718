"""The one vector of an item that a network's makers compute from its tokens: the output `embedding`.

Letters: b batch, t tokens, d features.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from icebox.features.errors import IceboxError
from icebox.features.nn.pooling import TOKEN_POOLINGS, masked_mean

EMBEDDING = "embedding"


def sqrt_length_mean(x: Tensor, mask: Tensor) -> Tensor:
    """(b, t, d) → (b, d): the sum over tokens with mask 1, by the square root of their number."""
    return masked_mean(x, mask) * mask.sum(1, keepdim=True).clamp(min=1).sqrt()


def weighted_mean(x: Tensor, mask: Tensor) -> Tensor:
    """(b, t, d) → (b, d): the mean over tokens with mask 1, each weighted by its position, from 1."""
    weights = mask * torch.arange(1, x.shape[1] + 1, dtype=x.dtype, device=x.device)
    return (x * weights[..., None]).sum(1) / weights.sum(1, keepdim=True).clamp(min=1e-9)


def first_token(x: Tensor, mask: Tensor) -> Tensor:
    """(b, t, d) → (b, d): the first token with mask 1."""
    return x[torch.arange(x.shape[0], device=x.device), mask.argmax(1)]


SENTENCE_POOLINGS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {  # by the names of sentence-transformers
    "cls": first_token,
    "max": TOKEN_POOLINGS["max"],
    "mean": masked_mean,
    "mean_sqrt_len_tokens": sqrt_length_mean,
    "weightedmean": weighted_mean,
    "lasttoken": TOKEN_POOLINGS["final"],
}
ACTIVATIONS: dict[str, type[nn.Module]] = {
    kind.__name__: kind for kind in (nn.Tanh, nn.Identity, nn.ReLU, nn.GELU, nn.Sigmoid, nn.SiLU)
}


class Embedding(nn.Module):
    """From what a network returns, and the mask (b, t) of its tokens, to (b, d) float32. Frozen."""

    def forward(self, returned: Any, mask: Tensor | None) -> Tensor:
        """(b, d) float32."""
        raise NotImplementedError


class SentenceEmbedding(Embedding):
    """Poolings side by side, then layers and normalization, as in sentence-transformers."""

    def __init__(
        self, poolings: Sequence[str], steps: Sequence[Mapping[str, Any]], tensors: Mapping[str, Tensor]
    ) -> None:
        """`steps` are those of a recipe, `tensors` their parameters, each named by its step's number.

        Raises IceboxError for tensors that are not a layer's.
        """
        super().__init__()
        self.poolings = tuple(poolings)
        parts: list[dict[str, Tensor]] = [{} for _ in steps]
        for key, tensor in tensors.items():
            number, _, name = key.partition(".")
            parts[int(number)][name] = tensor
        self.steps = nn.ModuleList(map(layer, steps, parts)).requires_grad_(False)

    def forward(self, returned: Any, mask: Tensor | None) -> Tensor:
        """(b, t, d) in what the network returns → (b, d) float32."""
        x = (returned if isinstance(returned, Tensor) else returned[0]).float()
        full = torch.ones(x.shape[:2], dtype=x.dtype, device=x.device)
        kept = full if mask is None else mask.to(x.device, x.dtype)
        pooled = torch.cat([SENTENCE_POOLINGS[name](x, kept) for name in self.poolings], dim=1)
        for step in self.steps:
            parameter = next(step.parameters(), pooled)
            pooled = step(pooled.to(parameter.device))
        return pooled


class Normalized(nn.Module):
    """Each vector at length 1."""

    def forward(self, x: Tensor) -> Tensor:
        """(b, d) → (b, d)."""
        return F.normalize(x, dim=1)


class Projection(Embedding):
    """The pooled vector of an image or text tower, through its projection where it has one (CLIP, SigLIP)."""

    def __init__(self, projection: nn.Module | None, *, first_token: bool = False) -> None:
        """`first_token`: the pooled vector is the first token's output, and not what the tower calls so."""
        super().__init__()
        self.projection = (nn.Identity() if projection is None else projection).float().requires_grad_(False)
        self.first_token = first_token
        self.logit_scale: float | None = None  # of the cosine of an image and a text, where the whole network is there
        self.logit_bias = 0.0

    def forward(self, returned: Any, mask: Tensor | None) -> Tensor:
        """The tower's output → (b, d) float32. Raises IceboxError for a tower without a pooled one."""
        pooled = returned.last_hidden_state[:, 0] if self.first_token else returned.pooler_output
        if pooled is None:
            raise IceboxError(f"outputs: this tower has no pooled vector, and so no `{EMBEDDING}`; take `last:avg`")
        projected: Tensor = self.projection(pooled.float())
        return projected


def layer(step: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> nn.Module:
    """The module of one step. Raises IceboxError for tensors that are not its own."""
    names = {"normalize": set(), "layer_norm": {"norm.weight", "norm.bias"}, "dense": {"linear.weight"}}[step["kind"]]
    if tensors.keys() - {"linear.bias"} != names:
        raise IceboxError(f"a {step['kind']} layer: expected {sorted(names)}, found {sorted(tensors)}")
    if step["kind"] == "normalize":
        return Normalized()
    if step["kind"] == "layer_norm":
        norm = nn.LayerNorm(len(tensors["norm.weight"]))
        norm.load_state_dict({"weight": tensors["norm.weight"].float(), "bias": tensors["norm.bias"].float()})
        return norm
    rows, columns = tensors["linear.weight"].shape
    linear = nn.Linear(columns, rows, bias="linear.bias" in tensors)
    linear.load_state_dict({key.removeprefix("linear."): value.float() for key, value in tensors.items()})
    return nn.Sequential(linear, ACTIVATIONS[step["activation"]]())
