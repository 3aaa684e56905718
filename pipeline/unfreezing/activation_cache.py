"""Activations behind a network's frozen part, in a store from which training starts: whether they can be used, and how
they are extracted."""

import logging
from collections.abc import Mapping, Sequence

import numpy as np

from icebox.features.errors import IceboxError
from icebox.features.extraction.extract import extract
from icebox.features.nn import blocks
from icebox.features.nn.backbone import TorchBackbone
from icebox.features.nn.layer_outputs import LAST, Inputs, split_output
from icebox.features.nn.partial_forward import PartialForward
from icebox.features.nn.pooling import EACH_TOKEN
from icebox.features.store.feature_store import FeatureStore
from icebox.pipeline.project import paths
from icebox.pipeline.unfreezing.cached_inputs import CachedImages, CachedTexts
from icebox.pipeline.unfreezing.freezing_schedule import FreezingSchedule
from icebox.pipeline.unfreezing.inputs import Items, PreparedItems
from icebox.pipeline.unfreezing.job import FineTuningJob

logger = logging.getLogger("icebox")


def skip_frozen_part(
    job: FineTuningJob, schedule: FreezingSchedule, backbone: TorchBackbone, sample: Inputs
) -> PartialForward | None:
    """The network from behind its frozen part on; tried on a `sample` of a few items.

    None where there is no frozen part, or its activations are not the same in every epoch and under every seed. Raises
    IceboxError for those with `cut: on`.
    """
    options = job.options
    block = last_block_to_store(schedule, backbone.outputs)
    conditions = {
        "a block that is never freed, in front of the layers that heads see": block is not None,
        "no augment": not options.augment,
        "no mixup": not options.mixup,
        "init: pretrained": options.init == "pretrained",
        "pictures, texts or pairs: concat": backbone.modality in ("image", "text") and not job.siamese,
    }
    if options.cut == "off" or not all(conditions.values()):
        if options.cut == "on":
            unmet = ", ".join(condition for condition, holds in conditions.items() if not holds)
            raise IceboxError(f"cut: on, but that needs {unmet}")
        return None
    if options.cut == "auto" and backbone.modality == "text" and block == schedule.blocks[0]:
        return None  # embeddings: to look a token's vector up costs no more than to read it
    try:
        partial_forward = PartialForward(backbone.layer_outputs, str(block), sample)
        if backbone.modality == "text" and len(partial_forward.shape) != 2:
            raise IceboxError(f"what {partial_forward.block} gives of a text is not a vector a token")
        if job.sees_whole_pictures and len(partial_forward.shape) != 3:
            raise IceboxError(f"what {partial_forward.block} gives of a picture is no map")
        return partial_forward
    except IceboxError as reason:
        if options.cut == "on":
            raise
        logger.info("%s: %s; every epoch passes the whole network", job.key, reason)
        return None


def last_block_to_store(schedule: FreezingSchedule, outputs: Sequence[str]) -> str | None:
    """The last block that is never trained, and in front of all layers that heads see: those are not passed again from
    what is stored behind them. None where there is no such block."""
    if schedule.last_frozen_block is None:
        return None
    order = schedule.blocks
    layers = [layer for layer, _ in map(split_output, outputs) if layer != LAST]
    first = min((blocks.block_index(layer, order) for layer in layers), default=len(order))
    last = min(order.index(schedule.last_frozen_block), first - 1)
    return order[last] if last >= 0 else None


class ActivationCache:
    """The activations of all items of a job, extracted once for the runs of all seeds."""

    def __init__(self, job: FineTuningJob) -> None:
        self.job = job
        self.store: FeatureStore | None = None

    def items(self, partial_forward: PartialForward, prepared: Mapping[str, PreparedItems]) -> dict[str, Items]:
        """Every split's items with their stored activations in place of the frozen part."""
        store = self.store = self.store or self._extract(partial_forward)
        position_of = {item_id: i for i, item_id in enumerate(store.item_ids)}
        cached: dict[str, Items] = {}
        for split, items in prepared.items():
            positions = np.array([position_of[row.item_id] for row in items.rows])
            if items.backbone.modality == "text":
                cached[split] = CachedTexts(partial_forward, store, positions, items)
            else:
                cached[split] = CachedImages(partial_forward, store, positions, items.inputs([items.item(0)])[0])
        return cached

    def _extract(self, partial_forward: PartialForward) -> FeatureStore:
        """Pass every item through the frozen part; where that gives a vector a token, (t, d), each one is stored."""
        folder = self.job.folder / "cut"
        pooling = EACH_TOKEN if len(partial_forward.shape) == 2 else "flatten"
        if self.job.sees_whole_pictures:  # as a backbone without a map among its outputs would not
            pooling = "map"
        extract(
            [row for rows in self.job.rows.values() for row in rows],
            read=self.job.source.read,
            backbone=self.job.load_backbone([f"{partial_forward.block}:{pooling}"]),
            cache_root=paths.shards(),
            store=folder,
            wait=paths.shared_cache() is not None,
            batch_size=self.job.config.run.batch_size,
            workers=self.job.config.run.workers,
        )
        return FeatureStore(folder)
