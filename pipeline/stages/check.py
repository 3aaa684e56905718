"""Stage `check`: params.yaml as a whole, before anything runs; and a stamp of the code behind each of its entries.

A stage depends on its own entry's stamp, so touching a plugin's file reruns that plugin's stages and no others. A
store's stamp is its dataset's task. The code of `fit` and of `report`, which every swap of a head runs, is one stamp
each: named file by file it would be most of dvc.lock, which DVC reads and writes anew for every stage that runs.
"""

import ast
import shutil
from functools import cache
from pathlib import Path

from features import atomic, fingerprint, manifest, plugins
from pipeline import paths
from pipeline.config import Config
from pipeline.entries import NO_DATA, Entry

OURS = ("features", "pipeline")
STAMPED = ("fit", "report")  # stages
# what reads params.yaml, or names files: the values are each stage's own params
OF_PARAMS = frozenset({"config", "entries", "paths", "references", "section", "signature", "unfreeze_how"})


def run(config: Config, key: str | None = None) -> None:
    """Write the stamps, and a manifest and scores for backbones that have none.

    That `config` could be read at all is the check.
    """
    shutil.rmtree(paths.PLAN, ignore_errors=True)
    unfrozen = {name: config.backbone(name) for name in config.unfreeze}
    manifest.write(paths.manifest(NO_DATA), [])
    atomic.write_text(paths.generated(NO_DATA), "{}\n")
    catalogues: dict[str, tuple[str, dict[str, Entry]]] = {
        "datasets": ("features.datasets", config.datasets),
        "backbones": ("features.backbones", config.backbones | config.pretrain | unfrozen),
        "unfreeze": ("features.backbones", unfrozen),
        "heads": ("pipeline.heads", config.heads),
    }
    for kind, (package, entries) in catalogues.items():
        for name, entry in entries.items():
            atomic.write_text(paths.plan(kind, name), f"{code_of(plugins.file(package, entry.family))}\n")
    for stage in STAMPED:
        code = code_of(Path(__file__).with_name(f"{stage}.py"), aside=OF_PARAMS)
        atomic.write_text(paths.plan("stages", stage), f"{code}\n")
    for store in config.stores:  # dvc.yaml can't name the dataset behind a store
        atomic.write_text(paths.plan("stores", store), f"{config.task(store)}\n")


def code_of(file: Path, *, aside: frozenset[str] = frozenset()) -> str:
    """sha256 of a source file and of all of ours that it imports, but for modules of `pipeline` set aside."""
    seen: set[Path] = set()
    waiting = [file]
    while waiting:
        path = waiting.pop()
        if path not in seen and not (path.parent.name == "pipeline" and path.stem in aside):
            seen.add(path)
            waiting += imported(path)
    return fingerprint.of_settings(sorted(fingerprint.of_file(path) for path in seen))


@cache  # heads share most of what they import
def imported(path: Path) -> list[Path]:
    """The files of ours that a source file imports, at its top or inside its functions."""
    modules: list[str] = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module:
            modules += [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        elif isinstance(node, ast.Import):
            modules += [alias.name for alias in node.names]
    ours = dict.fromkeys(module for module in modules if module.split(".")[0] in OURS)
    files = (plugins.folder(module).with_suffix(".py") for module in ours)
    return [file for file in files if file.exists()]
