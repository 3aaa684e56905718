"""A small multi-layer perceptron on single cells of a picture's map."""

from typing import Annotated, Literal

from annotated_types import Ge, Gt, Le, Lt

from icebox.pipeline.dense.base import CellHead
from icebox.pipeline.heads.mlp import MLPClassifier

TASKS = ("segmentation",)
SEARCH = {"hidden": 256, "learning_rate": [0.0003, 0.001]}  # the grid of an entry without settings


def build(
    *,
    hidden: Annotated[int, Ge(1), Le(16_384)] = 256,
    layers: Annotated[int, Ge(0), Le(100)] = 1,
    share: Annotated[float, Gt(0), Le(1)] = 0.05,
    epochs: Annotated[int, Ge(1), Le(100_000)] = 20,
    learning_rate: Annotated[float, Gt(0), Le(10)] = 1e-3,
    weight_decay: Annotated[float, Ge(0), Le(10**6)] = 1e-2,
    dropout: Annotated[float, Ge(0), Lt(1)] = 0.2,
    batch_size: Annotated[int, Ge(1), Le(10_000_000)] = 256,
    patience: Annotated[int, Ge(1), Le(100_000)] = 5,
    stop_after: Annotated[int, Ge(1), Le(100_000)] | None = None,
    scale: Literal["each", "overall", "l2", "none"] = "each",
    pca: Annotated[int, Ge(1)] | Annotated[float, Gt(0), Lt(1)] | None = None,
    seed: Annotated[int, Ge(0), Lt(2**32)] = 0,
) -> CellHead:
    """`layers`: the number of hidden layers, each `hidden` wide. `share`: how many of train's cells it is fitted on; of
    each class that a picture has, some at least. `learning_rate`: the peak of a cosine schedule over `epochs` of
    batches of `batch_size` cells; AdamW with `weight_decay`. `dropout`: the share of each hidden layer that is left
    out. With a val, training stops after `patience` epochs without a better val loss, and the best epoch's weights are
    kept; `stop_after` stops it at an epoch, the schedule unchanged."""
    network = MLPClassifier(
        hidden=hidden,
        layers=layers,
        epochs=epochs,
        learning_rate=learning_rate,
        weight_decay=weight_decay,
        dropout=dropout,
        batch_size=batch_size,
        patience=patience,
        stop_after=stop_after,
        random_state=seed,
    )
    return CellHead(network, scale=scale, pca=pca, share=share)
