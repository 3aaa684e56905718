"""TabPFN (Hollmann et al. 2025, doi 10.1038/s41586-024-08328-6): a network that was pretrained on tables reads train as
its context and answers at once. The package and its weights have licences of their own, which are yours to accept;
weights are a file of yours and are never downloaded."""

from pathlib import Path
from typing import Annotated, Literal

from annotated_types import Ge, Gt, Le, Lt

from icebox.pipeline.estimators import in_context
from icebox.pipeline.estimators.preprocessing import PreprocessedHead

TASKS = ("classification", "regression")


def build(
    *,
    weights: Path,
    n_estimators: Annotated[int, Ge(1), Le(1000)] = 8,
    max_items: Annotated[int, Ge(1), Le(10**8)] = 10_000,
    max_columns: Annotated[int, Ge(1), Le(10**6)] = 500,
    max_classes: Annotated[int, Ge(2), Le(10**5)] = 10,
    scale: Literal["each", "overall", "l2", "none"] = "overall",
    pca: Annotated[int, Ge(1)] | Annotated[float, Gt(0), Lt(1)] | None = 100,
    seed: Annotated[int, Ge(0), Lt(2**32)] = 0,
    task: Literal["classification", "regression"] = "classification",
) -> PreprocessedHead:
    """`weights`: the file of the checkpoint. `n_estimators`: passes over shuffled columns and classes, averaged.
    `max_items`, `max_columns` and `max_classes`: those that the weights were made for, here version 2's; above them the
    head is refused."""
    head = in_context.estimator(
        "tabpfn",
        ("TabPFNClassifier", "TabPFNRegressor"),
        task,
        weights=weights,
        keywords={
            "n_estimators": n_estimators,
            "random_state": seed,
            "ignore_pretraining_limits": True,  # ours are stated above
        },
        max_items=max_items,
        max_columns=max_columns,
        max_classes=max_classes,
    )
    return PreprocessedHead(head, scale=scale, pca=pca)
