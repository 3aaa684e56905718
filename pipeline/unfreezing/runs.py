"""Runs of a fine-tuning job, one a seed: from the loaded network to the trained one and its predictions."""

import logging
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from icebox.features import files
from icebox.features.nn.backbone import TorchBackbone
from icebox.pipeline.adapters import lora
from icebox.pipeline.config.schema import FRESH
from icebox.pipeline.config.unfreeze import Lora
from icebox.pipeline.evaluation.predictions import ScoredSplit
from icebox.pipeline.unfreezing import activation_cache, initialization, losses
from icebox.pipeline.unfreezing.activation_cache import ActivationCache
from icebox.pipeline.unfreezing.end_to_end import EndToEndModel
from icebox.pipeline.unfreezing.freezing_schedule import FreezingSchedule
from icebox.pipeline.unfreezing.inputs import Items, PreparedItems
from icebox.pipeline.unfreezing.job import FineTuningJob
from icebox.pipeline.unfreezing.trainer import EpochCallback, Progress

SAMPLE_ITEMS = 4  # passed to find the network's blocks
logger = logging.getLogger("icebox")


@dataclass(frozen=True)
class RunResult:
    """A finished run: its progress, the predictions of each scored split, and the trained model.

    `frozen_block` is the block behind which training started from stored activations; None where it passed the whole
    network. `parameters_trained` counts the network's numbers that learned.
    """

    seed: int
    progress: Progress
    splits: dict[str, ScoredSplit]
    model: EndToEndModel
    backbone: TorchBackbone
    schedule: FreezingSchedule
    frozen_block: str | None
    parameters_trained: int


def run_seeds(job: FineTuningJob, *, on_epoch: EpochCallback | None = None) -> list[RunResult]:
    """Train once for each seed of the entry. `on_epoch` gets the curve's lines of the first seed only."""
    cache = ActivationCache(job)
    first = job.options.seed
    return [
        run(job, cache, seed, on_epoch=on_epoch if seed == first else None)
        for seed in range(first, first + job.options.seeds)
    ]


def run(job: FineTuningJob, cache: ActivationCache, seed: int, *, on_epoch: EpochCallback | None = None) -> RunResult:
    """Train with one seed, or continue where a killed run stopped."""
    options = job.options.model_copy(update={"seed": seed})
    with ThreadPoolExecutor(job.config.run.workers) as pool, ExitStack() as stack:
        backbone = job.load_backbone()
        if seed == job.options.seed:  # the one whose weights are kept
            check_savable(job, backbone)
        if options.init == "random":
            initialization.reset_parameters(backbone.layer_outputs.network, seed)
        prepared = {
            split: PreparedItems(rows, job.source.read, backbone, pool, siamese=job.siamese)
            for split, rows in job.rows.items()
        }
        train = prepared["train"]
        sample = train.inputs([train.item(i) for i in range(min(SAMPLE_ITEMS, len(train)))])[0]
        model = job.model(backbone, start_head(job, backbone, train, seed))
        losses.check(options, sample, model, classes=len(job.classes))
        schedule = FreezingSchedule.for_backbone(backbone, options, sample)
        network = backbone.layer_outputs.network
        trained = schedule.parameters_trained(network)
        every = sum(p.numel() for name, p in network.named_parameters() if not lora.is_adapter(name))
        logger.info("%s: %s parameters learn; the network has %s", job.key, f"{trained:,}", f"{every:,}")
        partial_forward = activation_cache.skip_frozen_part(job, schedule, backbone, sample)
        items: Mapping[str, Items] = prepared
        if partial_forward:
            items = cache.items(partial_forward, prepared)
            stack.enter_context(partial_forward.entered())
        tuner = job.tuner(model, schedule, options, items, on_epoch)
        progress = tuner.run(job.folder / f"seed-{seed}")
        splits = job.decided({split: job.score_split(split, tuner, items[split]) for split in ("val", *job.tests)})
    if isinstance(options.free, Lora):
        lora.merge(network)
    return RunResult(
        seed,
        progress,
        splits,
        model,
        backbone,
        schedule,
        frozen_block=partial_forward.block if partial_forward else None,
        parameters_trained=trained,
    )


def check_savable(job: FineTuningJob, backbone: TorchBackbone) -> None:
    """Save the network for a trial, so that one that can't be saved is refused before hours of training, not after.

    Raises IceboxError with the family's own reason.
    """
    with files.temporary_in(job.folder) as folder:
        backbone.save(folder)


def start_head(job: FineTuningJob, backbone: TorchBackbone, items: Items, seed: int) -> nn.Module:
    """The store's fitted head as a torch module, scaling included; or, for `start: fresh`, an unfitted one, drawn from
    the seed where it is drawn at all."""
    device = next(backbone.layer_outputs.network.parameters()).device
    if job.options.start_head != FRESH:
        return job.fitted_head().to(device)
    order = np.random.default_rng(job.options.seed).permutation(len(items))[: job.standardization_items]
    model = job.model(backbone, nn.Identity())
    with torch.inference_mode():
        batches = [model(items.inputs(prepared)) for _, prepared in items.batches(order, job.options.batch_size)]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return job.fresh_head(torch.cat(batches).clone()).to(device)
