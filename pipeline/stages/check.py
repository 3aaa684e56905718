"""Stage `check`: params.yaml as a whole, before anything runs; and a stamp of the code behind each of its entries.

Every stage depends on a stamp of its own code and of its entry's plugin, so touching a plugin's file reruns that
plugin's stages and no others. A store's stamp is its dataset's task.
"""

import shutil
from pathlib import Path

from icebox.features import files as atomic
from icebox.features import plugins
from icebox.features.manifest import manifest
from icebox.pipeline.config.schema import NO_DATA, Config, PluginEntry
from icebox.pipeline.project import paths, stamps

# what reads params.yaml, or names files: the values are each stage's own params
OF_PARAMS = frozenset({"config", "project"})


def run(config: Config, key: str | None = None) -> None:
    """Write the stamps, and a manifest and scores for backbones that have none.

    That `config` could be read at all is the check.
    """
    shutil.rmtree(paths.PLAN, ignore_errors=True)
    unfrozen = {name: config.backbone(name) for name in config.unfreeze}
    manifest.write(paths.manifest(NO_DATA), [])
    atomic.write_text(paths.generated(NO_DATA), "{}\n")
    catalogues: dict[str, tuple[str, dict[str, PluginEntry]]] = {
        "datasets": ("icebox.features.datasets", config.datasets),
        "backbones": ("icebox.features.backbones", config.backbones | config.pretrain | unfrozen),
        "unfreeze": ("icebox.features.backbones", unfrozen),
        "heads": ("icebox.pipeline.heads", config.heads),
    }
    for kind, (package, entries) in catalogues.items():
        for name, entry in entries.items():
            atomic.write_text(paths.plan(kind, name), f"{stamps.code_of(plugins.file(package, entry.family))}\n")
    for name, code in stages().items():
        atomic.write_text(paths.plan("stages", name), f"{code}\n")
    for store in config.stores:  # dvc.yaml can't name the dataset behind a store
        atomic.write_text(paths.plan("stores", store), f"{config.task(store)}\n")


def stages() -> dict[str, str]:
    """Every stage of dvc.yaml but this one → the stamp of its code."""
    files = {file.stem: file for file in sorted(Path(__file__).parent.glob("*.py"))}
    return {
        name: stamps.code_of(file, aside=OF_PARAMS) for name, file in files.items() if name not in ("__init__", "check")
    }
