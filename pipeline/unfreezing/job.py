"""What an entry of `unfreeze:` stands for: a store's network, items and labels, and the head to begin from."""

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import nn

from icebox.features import fingerprint
from icebox.features.errors import IceboxError
from icebox.features.extraction.extract import extract
from icebox.features.extraction.views import IDENTITY
from icebox.features.manifest import manifest
from icebox.features.nn.backbone import NetworkBackbone
from icebox.features.nn.layer_outputs import Inputs
from icebox.features.nn.partial_forward import Cut
from icebox.features.nn.pooling import EACH
from icebox.features.store.feature_store import FeatureStore
from icebox.pipeline.catalog import backbones, datasets
from icebox.pipeline.config.schema import FRESH, Config
from icebox.pipeline.data import class_weights, feature_selection, labelled
from icebox.pipeline.estimators import torch_conversion, torch_module
from icebox.pipeline.evaluation.predictions import Answers, Scored, judged
from icebox.pipeline.fitting import learning_curve
from icebox.pipeline.inference import bundle
from icebox.pipeline.project import paths
from icebox.pipeline.unfreezing import augmentation, initialization
from icebox.pipeline.unfreezing.cached_inputs import PicturesFromCut, TextsFromCut
from icebox.pipeline.unfreezing.end_to_end import Whole
from icebox.pipeline.unfreezing.inputs import Prepared
from icebox.pipeline.unfreezing.trainer import Items, Plan, Progress, Tell, Unfreezing

TRIED = 4  # items, to find the network's blocks
MEASURED = 512  # items, whose features a fresh head is standardised by


@dataclass(frozen=True)
class Outcome:
    """One run: how it went, what it says of each scored split, the network, and behind which block it was entered."""

    seed: int
    progress: Progress
    splits: dict[str, Scored]
    whole: Whole
    network: NetworkBackbone
    plan: Plan
    entered: str | None


class Job:
    """All that the runs of one entry share."""

    def __init__(self, config: Config, key: str) -> None:
        self.config, self.key = config, key
        self.entry = config.unfreeze[key]
        self.store = config.stores[self.entry.store]
        self.fit = config.fit_options(self.entry.store)
        features = FeatureStore(paths.store(self.entry.store))
        given = self.store.fit
        seen = feature_selection.of(features, outputs=given.outputs, views=given.expanded_views)
        data = labelled.read(features, task=config.task(self.entry.store), seen=seen)
        self.data = learning_curve.drawn(data, learning_curve.in_order(given.labels_per_class)[-1], self.fit.seed)
        if self.data.val is None:
            raise IceboxError("expected items in val, which the best epoch is chosen on; raise the dataset's split.val")
        where = f"stores.{self.entry.store}.fit.class_weights"
        self.weigh = class_weights.weigher(given.class_weights, self.data.classes, where)
        rows = {row.item_id: row for row in manifest.read(paths.manifest(self.store.dataset))}
        self.rows = {split: [rows[item_id] for item_id in part.item_ids] for split, part in self.data.parts.items()}
        self.source = datasets.source(config, self.store.dataset)
        self.siamese = self.store.extract.pairs == "siamese"
        if not self.siamese and seen.views != (IDENTITY,):
            raise IceboxError(f"training sees items as they are; leave stores.{self.entry.store}.fit.views out")
        self.started = bundle.load(paths.bundle(self.entry.store, self.entry.start))
        identity = [self.entry.model_dump(mode="json"), features.fingerprint, [r.item_key for r in self.rows["train"]]]
        self.extracted = False
        self.folder = paths.UNFREEZE / f"{key}-{fingerprint.of_settings(identity)[:16]}"

    def run(self, seed: int, *, tell: Tell | None = None) -> Outcome:
        """Train from the start with one seed, or go on where a killed run stopped. `tell` hears every epoch's line."""
        how = self.entry.model_copy(update={"seed": seed})
        with ThreadPoolExecutor(self.config.extract.workers) as pool, ExitStack() as stack:
            network = self.network()
            if how.init == "random":
                initialization.forget(network.capture.network, seed)
            prepared = {
                split: Prepared(rows, self.source.read, network, pool, siamese=self.siamese)
                for split, rows in self.rows.items()
            }
            items: Mapping[str, Items] = prepared
            few = [prepared["train"].item(i) for i in range(min(TRIED, len(self.rows["train"])))]
            tried = prepared["train"].inputs(few)[0]
            whole = Whole(network, self.head(network, prepared["train"]))
            plan = Plan.of(network, how, tried)
            entered = self.cut(plan, network, tried)
            if entered:
                items = self.from_cut(entered, prepared)
                stack.enter_context(entered.entered())
            work = Unfreezing(
                whole,
                plan,
                how,
                train=items["train"],
                targets=self.data.train.labels,
                val=items["val"],
                score=lambda scores: self.answered("val", scores).scores,
                choose=self.fit.choose,
                weights=self.weigh(self.data.train.labels),
                augment=partial(augmentation.augmented, kinds=how.augment) if how.augment else None,
                tell=tell,
            )
            progress = work.run(self.folder / f"seed-{seed}")
            splits = {split: self.answered(split, work.scores(items[split])) for split in ("val", *self.data.tests)}
        return Outcome(seed, progress, splits, whole, network, plan, entered.block if entered else None)

    def network(self, outputs: list[str] | None = None) -> NetworkBackbone:
        """The store's backbone in float32, giving the store's outputs or others."""
        name = self.store.backbone
        family = self.config.backbone(name).family
        loaded = backbones.load(
            name, family, outputs or self.started.sees, precision="float32", **self.store.extract.options
        )
        if not isinstance(loaded, NetworkBackbone):
            raise IceboxError(f"backbone '{name}': family '{family}' has no network to train; take another store")
        return loaded

    def head(self, network: NetworkBackbone, items: Items) -> nn.Module:
        """The store's head as a torch module, scaling included; or one that has learned nothing."""
        if self.entry.start != FRESH:
            return torch_conversion.as_torch(self.started.head).to(next(network.capture.network.parameters()).device)
        some = np.random.default_rng(self.entry.seed).permutation(len(items))[:MEASURED]
        whole = Whole(network, nn.Identity())
        with torch.inference_mode():
            found = [whole(items.inputs(part)) for _, part in items.batches(some, self.entry.batch_size)]
        features = torch.cat(found).clone()
        wide = len(self.data.classes) or 1  # a regression has one number and no classes
        return initialization.FreshHead(features, self.data.train.labels, wide).to(features.device)

    def cut(self, plan: Plan, network: NetworkBackbone, tried: Inputs) -> Cut | None:
        """Where the network can be entered behind its frozen part; None where it has none, or what it gives is not the
        same in every epoch and under every seed."""
        reasons = {
            "a block that is never freed": plan.frozen_to is not None,
            "no augment": not self.entry.augment,
            "init: pretrained": self.entry.init == "pretrained",
            "pictures, texts or pairs: concat": network.modality in ("image", "text") and not self.siamese,
        }
        if self.entry.cut == "off" or not all(reasons.values()):
            if self.entry.cut == "on":
                lacking = ", ".join(reason for reason, there in reasons.items() if not there)
                raise IceboxError(f"cut: on, but that needs {lacking}")
            return None
        if self.entry.cut == "auto" and network.modality == "text" and plan.frozen_to == plan.order[0]:
            return None  # embeddings: to look a token's vector up costs no more than to read it
        try:
            found = Cut(network.capture, str(plan.frozen_to), tried)
            if network.modality == "text" and len(found.shape) != 2:
                raise IceboxError(f"what {found.block} gives of a text is not a vector a token")
            return found
        except IceboxError as reason:
            if self.entry.cut == "on":
                raise
            print(f"{self.key}: {reason}; every epoch passes the whole network")
            return None

    def from_cut(self, cut: Cut, prepared: Mapping[str, Prepared]) -> dict[str, Items]:
        """Every split's items as activations behind the frozen part, which all seeds share."""
        store = FeatureStore(self.folder / "cut") if self.extracted else self.extract(cut)
        self.extracted = True
        place = {item_id: i for i, item_id in enumerate(store.item_ids)}
        found: dict[str, Items] = {}
        for split, items in prepared.items():
            there = np.array([place[row.item_id] for row in items.rows])
            if items.network.modality == "text":
                found[split] = TextsFromCut(cut, store, there, items)
            else:
                found[split] = PicturesFromCut(cut, store, there, items.inputs([items.item(0)])[0])
        return found

    def extract(self, cut: Cut) -> FeatureStore:
        """Pass every item through the frozen part; where that gives a vector a token, (t, d), each is kept."""
        folder = self.folder / "cut"
        extract(
            [row for part in self.rows.values() for row in part],
            read=self.source.read,
            backbone=self.network([f"{cut.block}:{EACH if len(cut.shape) == 2 else 'flatten'}"]),
            cache_root=paths.SHARDS,
            store=folder,
            batch_size=self.config.extract.batch_size,
            workers=self.config.extract.workers,
        )
        return FeatureStore(folder)

    def answered(self, split: str, scores: np.ndarray) -> Scored:
        """A split with the scores (n, k) that the network gave it."""
        part = self.data.parts[split]
        if self.data.task == "regression":
            values = scores.reshape(-1).astype(np.float64)
            said = Answers(values, np.empty((len(part), 0)), probable=False)
        else:
            said = Answers(scores.argmax(1), torch_module.probabilities(scores), probable=True)
        return judged(part, said, len(self.data.classes))
