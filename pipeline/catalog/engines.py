"""The engine of an extraction, by its name in `run`, and how its workers open what the planner has."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from icebox.features.abc.backbone import TORCH, Backbone
from icebox.features.abc.quantized_network import INT8, QuantizedNetwork
from icebox.features.extraction import runtime
from icebox.features.extraction.projection import Basis, ProjectedBackbone
from icebox.features.extraction.shard_work import Engine, Local
from icebox.features.manifest.reading import Read
from icebox.pipeline.catalog import backbones, datasets, quantized, runtimes
from icebox.pipeline.config.schema import Config
from icebox.pipeline.project import paths

PROCESSES = 2  # on a machine without GPUs: each holds the network, and computes with as many threads as there are cores


@dataclass(frozen=True)
class StoreOpener:
    """Opens a store's dataset and backbone in another process, with the planner's choices: precision, runtime, basis.

    Paths are relative to the project's folder.
    """

    source: str
    parameters: Mapping[str, Any]
    folder: Path
    family: str
    outputs: Sequence[str]
    precision: str
    runtime: str
    options: Mapping[str, Any]
    basis: Basis | None
    quantized: QuantizedNetwork | None = None

    def open(self, folder: Path | None = None) -> tuple[Read, Backbone]:
        """How to read a source's content, and the backbone, from its folder or another with the same files."""
        read = datasets.opened(self.source, self.parameters).read
        backbone = backbones.load_from(
            folder or self.folder, self.family, self.outputs, precision=self.precision, **self.options
        )
        if self.quantized is not None:
            backbone.use_quantized(self.quantized)
        elif self.runtime != TORCH:
            runtimes.use(backbone, self.runtime, "a worker")
        return read, backbone if self.basis is None else ProjectedBackbone(backbone, self.basis)


def opener(config: Config, key: str, backbone: Backbone) -> StoreOpener:
    """The opener for a store whose backbone is loaded here."""
    store = config.stores[key]
    source = config.datasets[store.dataset]
    return StoreOpener(
        source=source.family,
        parameters=source.parameters,
        folder=paths.backbone(store.backbone),
        family=config.backbone(store.backbone).family,
        outputs=backbone.outputs,
        precision=backbone.spec["precision"],
        runtime=runtime.of_spec(backbone.spec),
        options=store.options,
        basis=backbone.basis if isinstance(backbone, ProjectedBackbone) else None,
        quantized=quantized.find(key, backbone.spec["quantized"]) if backbone.spec["precision"] == INT8 else None,
    )


def engine(config: Config, key: str, backbone: Backbone) -> Engine:
    """The engine that `run` names, for a store whose backbone is loaded here."""
    name, count = config.run.engine, config.run.processes
    if name == "local":
        return Local()
    if name == "ray":
        from icebox.features.engines.ray_cluster import RayCluster

        return RayCluster(opener(config, key, backbone), count=count, device=backbones.device())
    from icebox.features.engines.processes import Processes

    devices = gpus()
    return Processes(opener(config, key, backbone), count=count or len(devices) or PROCESSES, devices=devices)


def gpus() -> list[str]:
    """The GPUs among which workers are shared out: all, or the one that the run's device names."""
    device = backbones.device()
    if device != "cuda":
        return [device] if device.startswith("cuda") else []
    import torch

    return [f"cuda:{number}" for number in range(torch.cuda.device_count())]
