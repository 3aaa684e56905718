"""Setup of an entry of `unfreeze:`: labels, rows and raw items, the network, and the head to start from."""

import numpy as np

from icebox.features import fingerprint
from icebox.features.errors import IceboxError
from icebox.features.extraction.views import IDENTITY
from icebox.features.manifest import manifest
from icebox.features.nn.backbone import TorchBackbone
from icebox.features.store.feature_store import FeatureStore
from icebox.pipeline.catalog import backbones, datasets
from icebox.pipeline.config.schema import Config
from icebox.pipeline.data import class_weights, feature_selection, labelled, near_duplicates
from icebox.pipeline.estimators import torch_module
from icebox.pipeline.evaluation.predictions import Predictions, ScoredSplit, score_predictions
from icebox.pipeline.fitting import learning_curve
from icebox.pipeline.inference import bundle
from icebox.pipeline.project import paths


class FineTuningJob:
    """All that the runs of one entry (one run a seed) share. Raises IceboxError where the entry can't be trained.

    `folder` holds the runs' checkpoints; its name contains a hash of everything that determines them.
    """

    def __init__(self, config: Config, key: str) -> None:
        self.config, self.key = config, key
        self.options = config.unfreeze[key]
        self.store = config.stores[self.options.store]
        self.fit = config.fit_options(self.options.start_input)
        features = FeatureStore(paths.store(self.options.store))
        self.input = config.every_input()[self.options.start_input]
        selection = feature_selection.select(features, outputs=self.input.outputs, views=self.input.expanded_views)
        near = config.without_near_duplicates(self.options.store)
        leaked = near_duplicates.leaked(features, selection) if near else None
        data = labelled.load(features, task=config.task(self.options.store), selection=selection, leave_out=leaked)
        labels_per_class = learning_curve.sorted_points(self.fit.labels_per_class)[-1]
        self.data = learning_curve.draw(data, labels_per_class, self.fit.seed)
        if self.data.val is None:
            raise IceboxError("expected items in val, which the best epoch is chosen on; raise the dataset's split.val")
        self.sample_weighter = class_weights.sample_weighter(self.fit.class_weights, self.data.classes, "class_weights")
        rows = {row.item_id: row for row in manifest.read(paths.manifest(self.store.dataset))}
        self.rows = {split: [rows[item_id] for item_id in part.item_ids] for split, part in self.data.splits.items()}
        self.source = datasets.source(config, self.store.dataset)
        self.siamese = self.store.pairs == "siamese"
        if not self.siamese and selection.views != (IDENTITY,):
            raise IceboxError(
                f"training sees items as they are, and the views of '{self.options.start_input}' are others; "
                "begin from an input of one view"
            )
        self.start_bundle = bundle.load(paths.bundle(self.options.start_input, self.options.start_head))
        train_keys = [row.item_key for row in self.rows["train"]]
        identity = [self.options.model_dump(mode="json"), features.fingerprint, train_keys]
        self.folder = paths.UNFREEZE / f"{key}-{fingerprint.of_settings(identity)[:16]}"

    def load_backbone(self, outputs: list[str] | None = None) -> TorchBackbone:
        """The store's backbone in float32, with the outputs that the head takes or with others."""
        name = self.store.backbone
        family = self.config.backbone(name).family
        backbone = backbones.load(
            name, family, outputs or self.start_bundle.head_outputs, precision="float32", **self.store.options
        )
        if not isinstance(backbone, TorchBackbone):
            raise IceboxError(f"backbone '{name}': family '{family}' has no network to train; take another store")
        return backbone

    def score(self, split: str, scores: np.ndarray) -> ScoredSplit:
        """The predictions and metrics of a split for which the network computed scores (n, k)."""
        part = self.data.splits[split]
        if self.data.task == "regression":
            values = scores.reshape(-1).astype(np.float64)
            predictions = Predictions(values, np.empty((len(part), 0)), has_probabilities=False)
        else:
            predictions = Predictions(scores.argmax(1), torch_module.probabilities(scores), has_probabilities=True)
        try:
            return score_predictions(part, predictions, len(self.data.classes))
        except ValueError as reason:
            raise IceboxError(f"{split}: {reason} The training has diverged; take a smaller learning_rate") from None
