"""The names under which torch, torchvision, timm and transformers keep the linear maps of attention."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import nn

Q = ("q_proj", "query", "q_lin", "query_proj", "q")
K = ("k_proj", "key", "k_lin", "key_proj", "k")
V = ("v_proj", "value", "v_lin", "value_proj", "v")
KV = ("kv", "kv_proj", "key_value")
QKV = ("qkv", "qkv_proj", "Wqkv", "c_attn", "query_key_value", "in_proj")  # in one


def is_attention(module: "nn.Module") -> bool:
    """Whether a module makes queries, keys and values itself."""
    from torch import nn

    return isinstance(module, nn.MultiheadAttention) or bool(query_and_value(module))


def query_and_value(module: "nn.Module") -> list[str]:
    """The children of a module that make queries and values: one, where it makes them together; none of another."""
    parts = dict(module.named_children())
    query, value = child(parts, Q), child(parts, KV) or (child(parts, V) if child(parts, K) else None)
    if query and value:
        return [query, value]
    together = child(parts, QKV)
    return [together] if together else []


def child(parts: Mapping[str, Any], names: Sequence[str]) -> str | None:
    """The first of these names that a child has."""
    return next((name for name in names if name in parts), None)
