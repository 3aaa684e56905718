"""Fitted heads for tests of predictions, each with its bundle in the working folder: made in milliseconds."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from sklearn.linear_model import LogisticRegression, Ridge

from icebox.features import plugins
from icebox.features.abc.dataset import Content
from icebox.features.extraction.extract import fingerprint_of
from icebox.features.extraction.views import IDENTITY
from icebox.features.text.pairs import PAIR
from icebox.pipeline.catalog import backbones
from icebox.pipeline.inference import bundle, item_features
from icebox.pipeline.inference.reading.new_items import NewItem
from icebox.pipeline.project import paths


def fit(
    name: str,
    items: Sequence[tuple[Content, Any]],
    *,
    backbone: str,
    family: str | None = None,
    outputs: Sequence[str] = ("last",),
    options: dict[str, Any] | None = None,
    view: str = IDENTITY,
    **dataset: Any,
) -> bundle.Bundle:
    """The head of the store `name`, fitted on these (content, label) and saved as NAME/head.

    Labels that are numbers make a regression. A backbone that is here already has a `family`, and `outputs` and
    `options` of its store. `dataset`: the fields of a bundle that say how its dataset is read.
    """
    folder = paths.backbone(backbone)
    if not folder.exists():
        settings = {"hashing": {"dimensions": 64}, "pixels": {"size": 4}}[backbone]
        folder.mkdir(parents=True)
        plugins.load("icebox.features.backbones", backbone).fetch(folder, **settings)
    family, options = family or backbone, options or {}
    loaded = backbones.load(backbone, family, outputs, precision="float32", **options)
    labels = [label for _, label in items]
    regression = isinstance(labels[0], float)
    unfitted = bundle.Bundle(
        head=None,
        task="regression" if regression else "classification",
        classes=[] if regression else sorted(set(labels)),
        store=name,
        fingerprint=fingerprint_of({**loaded.spec, "stored": "float32"}),
        backbone=backbone,
        family=family,
        outputs=list(outputs),
        options=options,
        precision="float32",
        stored="float32",
        view=view,
        pairs=view == PAIR,
        **dataset,
    )
    new = (NewItem(str(i), str(i), lambda content=content: content) for i, (content, _) in enumerate(items))
    features = np.concatenate([batch.features for batch in item_features.batches(unfitted, loaded, new, None)])
    numbers = labels if regression else [unfitted.classes.index(label) for label in labels]
    unfitted.__dict__["head"] = (Ridge(0.01) if regression else LogisticRegression(C=100)).fit(features, numbers)
    bundle.save(unfitted, **{SAVE_KEYWORD: name}, head="head")
    return unfitted


SAVE_KEYWORD = "input_name"
