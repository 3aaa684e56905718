"""Classes by the texts that name them: nothing is fitted, each item gets the class whose text lies nearest.

For stores of `embedding` of a network with a text tower (CLIP, SigLIP), or of a network of sentences.
"""

from pathlib import Path
from typing import Annotated, Any, Self

import numpy as np
from annotated_types import Gt, Le, MinLen
from sklearn.utils.validation import validate_data

from icebox.pipeline.catalog.class_vectors import TEMPLATES, ClassTexts
from icebox.pipeline.estimators.base import Unsuitable
from icebox.pipeline.estimators.linear import LinearLogitsClassifier
from icebox.pipeline.estimators.preprocessing import PreprocessedHead

TASKS = ("classification",)


def build(
    *,
    templates: Annotated[list[str], MinLen(1)] | None = None,
    names: dict[str | int, str] | None = None,
    vectors: Path | None = None,
    logit_scale: Annotated[float, Gt(0), Le(10**6)] | None = None,
    class_texts: ClassTexts | None = None,
) -> PreprocessedHead:
    """`templates`: sentences with {} where a class's name stands, `a photo of a {}` by default; a class's vector is the
    mean of its sentences', each at length 1. `names`: the words for labels that are none, {LABEL: WORDS}; underscores
    of other labels are read as blanks. `vectors`: a file of class vectors that takes the place of a text tower: an
    .npz or .safetensors with an array called as each label, or an .npy with a row for each in their sorted order.
    `logit_scale`: the factor of cosines before the softmax; by default the network's own, or else 100."""
    if class_texts is None:
        return PreprocessedHead(ZeroShot(None), scale="l2")
    found = class_texts.vectors(templates=templates or TEMPLATES, names=names, file=vectors)
    return PreprocessedHead(
        ZeroShot(found.vectors, scale=found.scale if logit_scale is None else logit_scale, bias=found.bias), scale="l2"
    )


class ZeroShot(LinearLogitsClassifier):
    """Logits are `scale` × the cosine with each class's vector (k, d) + `bias`; classes are the vectors' numbers."""

    def __init__(self, vectors: np.ndarray | None, *, scale: float = 100.0, bias: float = 0.0) -> None:
        self.vectors = vectors
        self.scale = scale
        self.bias = bias

    def fit(self, X: Any, y: Any = None) -> Self:
        """Note the number of features (n, d). Raises Unsuitable where that of the vectors is another."""
        X = validate_data(self, X, dtype=(np.float32, np.float64))
        if self.vectors is None:
            raise ValueError("zero_shot needs the vectors of classes, which the stage fills in")
        if self.vectors.shape[1] != X.shape[1]:
            raise Unsuitable(
                f"vectors of classes have {self.vectors.shape[1]} numbers and items {X.shape[1]}: they are of two "
                "spaces, or items are pairs; take the `embedding` of the network that made the vectors"
            )
        self.classes_ = np.arange(len(self.vectors))
        self.coef_ = (self.vectors * self.scale).astype(np.float32)
        self.intercept_ = np.full(len(self.vectors), self.bias, np.float32)
        return self
