"""Setup of an entry of `unfreeze:`: labels, rows and raw items, the network, and the head to start from."""

from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np
from torch import Tensor, nn

from icebox.features import fingerprint
from icebox.features.errors import IceboxError
from icebox.features.extraction.views import IDENTITY
from icebox.features.manifest import manifest
from icebox.features.manifest.validation import Task
from icebox.features.nn.backbone import TorchBackbone
from icebox.features.store.feature_store import FeatureStore
from icebox.pipeline.catalog import backbones, datasets
from icebox.pipeline.config.schema import Config
from icebox.pipeline.config.unfreeze import UnfreezeOptions
from icebox.pipeline.data import class_weights, feature_selection, labelled, near_duplicates
from icebox.pipeline.estimators import torch_conversion, torch_module
from icebox.pipeline.estimators.torch_module import ModuleClassifier, ModuleRegressor, ModuleSets
from icebox.pipeline.evaluation.predictions import PLAIN_THRESHOLD, Predictions, ScoredSplit, score_predictions
from icebox.pipeline.fitting import decisions, learning_curve
from icebox.pipeline.fitting.final_fit import Scored
from icebox.pipeline.inference import bundle
from icebox.pipeline.project import paths
from icebox.pipeline.unfreezing import augmentation, initialization
from icebox.pipeline.unfreezing.end_to_end import EndToEndModel
from icebox.pipeline.unfreezing.freezing_schedule import FreezingSchedule
from icebox.pipeline.unfreezing.inputs import Items
from icebox.pipeline.unfreezing.trainer import EpochCallback, FineTuner


class FineTuningJob:
    """All that the runs of one entry (one run a seed) share. Raises IceboxError where the entry can't be trained.

    `folder` holds the runs' checkpoints; its name contains a hash of everything that determines them.
    """

    standardization_items = 512  # whose features an unfitted head is standardized by
    sees_whole_pictures = False  # the network sees all of a picture, since its outputs are maps

    def __init__(self, config: Config, key: str) -> None:
        self.config, self.key = config, key
        self.options = config.unfreeze[key]
        self.store = config.stores[self.options.store]
        self.fit = config.fit_options(self.options.start_input)
        self.features = FeatureStore(paths.store(self.options.store))
        self.input = config.every_input()[self.options.start_input]
        self.siamese = self.store.pairs == "siamese"
        self.source = datasets.source(config, self.store.dataset)
        item_ids = self._load()
        if "val" not in item_ids:
            raise IceboxError("expected items in val, which the best epoch is chosen on; raise the dataset's split.val")
        rows = {row.item_id: row for row in manifest.read(paths.manifest(self.store.dataset))}
        self.rows = {split: [rows[item_id] for item_id in of_split] for split, of_split in item_ids.items()}
        self.start_bundle = bundle.load(paths.bundle(self.options.start_input, self.options.start_head))
        train_keys = [row.item_key for row in self.rows["train"]]
        identity = [self.options.model_dump(mode="json"), self.features.fingerprint, train_keys]
        self.folder = paths.UNFREEZE / f"{key}-{fingerprint.of_settings(identity)[:16]}"

    def _load(self) -> dict[str, np.ndarray]:
        """Load labels, features and weights of items; the ids of each split's."""
        selection = feature_selection.select(self.features, outputs=self.input.outputs, views=self.input.expanded_views)
        near = self.config.without_near_duplicates(self.options.store)
        leaked = near_duplicates.leaked(self.features, selection, kept=paths.NEAR_DUPLICATES) if near else None
        task = self.config.task(self.options.store)
        data = labelled.load(self.features, task=task, selection=selection, leave_out=leaked)
        labels_per_class = learning_curve.sorted_points(self.fit.labels_per_class)[-1]
        self.data = learning_curve.draw(data, labels_per_class, self.fit.seed)
        self.sample_weighter = class_weights.sample_weighter(self.fit.class_weights, self.data.classes, "class_weights")
        if not self.siamese and selection.views != (IDENTITY,):
            raise IceboxError(
                f"training sees items as they are, and the views of '{self.options.start_input}' are others; "
                "begin from an input of one view"
            )
        return {split: part.item_ids for split, part in self.data.splits.items()}

    @property
    def task(self) -> Task:
        """The dataset's task."""
        return self.data.task

    @property
    def classes(self) -> list[str]:
        """The names of the classes; none of a regression."""
        return self.data.classes

    @property
    def choose(self) -> str:
        """The metric that chooses the best epoch."""
        return self.fit.choose

    @property
    def tests(self) -> list[str]:
        """The test sets."""
        return list(self.data.tests)

    def model(self, backbone: TorchBackbone, head: nn.Module) -> EndToEndModel:
        """Backbone and head as one."""
        return EndToEndModel(backbone, head)

    def fitted_head(self) -> nn.Module:
        """The head to start from as a module, its scaling included."""
        return torch_conversion.as_torch(self.start_bundle.head)

    def fresh_head(self, features: Tensor) -> nn.Module:
        """An unfitted head, standardized by `features` (n, d) of some items of train."""
        columns = len(self.data.classes) or 1  # a regression has one number and no classes
        return initialization.FreshHead(features, self.data.train.labels, columns)

    def tuner(
        self,
        model: EndToEndModel,
        schedule: FreezingSchedule,
        options: UnfreezeOptions,
        items: Mapping[str, Items],
        on_epoch: EpochCallback | None,
    ) -> FineTuner:
        """The training of a model on these items, by split."""
        return FineTuner(
            model,
            schedule,
            options,
            train=items["train"],
            targets=self.data.train.labels,
            val=items["val"],
            score=lambda scores: self.score("val", scores).scores,
            metric=self.choose,
            weights=self.sample_weighter(self.data.train.labels),
            augment=partial(augmentation.augment, kinds=options.augment) if options.augment else None,
            on_epoch=on_epoch,
        )

    def score_split(self, split: str, tuner: FineTuner, items: Items) -> Scored:
        """The trained network's predictions for a split, and their scores."""
        return self.score(split, tuner.predict_scores(items))

    def trained_head(self, module: nn.Module) -> Any:
        """The trained head as an estimator, for the bundle."""
        head_class: Any = ModuleClassifier if self.data.classes else ModuleRegressor
        if self.task == "multilabel":
            head_class = ModuleSets
        return head_class(module).fit(self.data.train.features, self.data.train.labels)

    def decided(self, splits: dict[str, Any]) -> dict[str, Any]:
        """A run's scored splits, as it decides: an item of test has the labels above thresholds that val chose."""
        if (thresholds := self.thresholds(splits)) is None:
            return splits
        tests = {name: decisions.with_thresholds(splits[name], thresholds) for name in self.tests}
        return splits | tests

    def thresholds(self, splits: Mapping[str, Any]) -> np.ndarray | None:
        """The threshold of each label (k,) that is best for a run's scores on val; None where items have one class."""
        if self.task != "multilabel":
            return None
        val: ScoredSplit = splits["val"]
        scores, labels = val.predictions.scores, val.split.labels
        return decisions.best_thresholds(scores, labels, self.fit.decide, self.classes, plain=PLAIN_THRESHOLD[True])

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
        elif self.data.task == "multilabel":
            likely = torch_module.label_probabilities(scores).astype(np.float32)  # as `predict_sets` has them
            predictions = Predictions(likely > PLAIN_THRESHOLD[True], likely, has_probabilities=True)
        else:
            predictions = Predictions(scores.argmax(1), torch_module.probabilities(scores), has_probabilities=True)
        try:
            return score_predictions(part, predictions, len(self.data.classes))
        except ValueError as reason:
            raise IceboxError(f"{split}: {reason} The training has diverged; take a smaller learning_rate") from None
