"""Stage `check`: params.yaml as a whole, before anything runs; and the stamps that every other stage depends on.

A stage depends on a stamp of its own code, on one of its entry's plugin, and on its entry's settings with all defaults
filled in. So touching a plugin's file, or a key of params.yaml, reruns the stages that it concerns and no others, and a
key that has a default need not stand in params.yaml. What only says how to run (threads, batch sizes) is in no stamp.
"""

import json
import shutil
from pathlib import Path
from typing import Any

from icebox.features import files, fingerprint, plugins
from icebox.features.errors import located
from icebox.features.manifest import manifest
from icebox.features.manifest.validation import DENSE_TASKS
from icebox.features.weights import project_code
from icebox.pipeline.catalog import datasets
from icebox.pipeline.config import json_schema, plugin_schema
from icebox.pipeline.config.schema import NO_DATA, Config, PluginEntry, store_of
from icebox.pipeline.project import paths, raw_data, stamps

SETTINGS_CODE = frozenset(
    {"config", "project"}
)  # reads params.yaml or names files; the values are in stamps of their own


def run(config: Config, key: str | None = None) -> None:
    """Write the stamps, and a manifest and scores for backbones that have none; renew the schema for editors.

    That `config` could be read at all is the check.
    """
    json_schema.renew()
    shutil.rmtree(paths.PLAN, ignore_errors=True)
    manifest.write(paths.manifest(NO_DATA), [])
    files.write_text(paths.generated(NO_DATA), "{}\n")
    for kind, (package, entries) in plugin_entries(config).items():
        for name, entry in entries.items():
            files.write_text(paths.code_stamp(kind, name), f"{plugin_code(package, entry, f'{kind}.{name}')}\n")
    for name in config.datasets:
        files.write_text(paths.raw_stamp(name), f"{raw_data_stamp(config, name)}\n")
    for name, code in stages().items():
        files.write_text(paths.code_stamp("stages", name), f"{code}\n")
    for kind, by_name in settings(config).items():
        for name, values in by_name.items():
            files.write_text(paths.settings_stamp(kind, name), json.dumps(ordered(values), indent=1) + "\n")


def raw_data_stamp(config: Config, name: str) -> str:
    """The stamp of a dataset's raw files."""
    entry = config.datasets[name]
    places = plugin_schema.dataset_paths(entry.family, entry.parameters)
    return raw_data.stamp(
        places,
        named=datasets.files_named_by_items(config, name),
        record=paths.raw_record(name),
        summary=paths.dataset_summary(name),
    )


def plugin_code(package: str, entry: PluginEntry, where: str) -> str:
    """The stamp of a plugin's code and of the project's own functions that its parameters name; none is imported."""
    file = plugins.file(package, entry.family)
    code = stamps.code_of(file)
    with located(where, separator="."):
        named = [
            project_code.code_hash(name, Path.cwd()) for name in plugin_schema.function_names(file, entry.parameters)
        ]
    return fingerprint.of_settings([code, *named]) if named else code


def plugin_entries(config: Config) -> dict[str, tuple[str, dict[str, PluginEntry]]]:
    """Sections of params.yaml whose entries are plugins → their package and entries."""
    unfrozen = {name: config.backbone(name) for name in config.unfreeze}
    return {
        "datasets": ("icebox.features.datasets", config.datasets),
        "backbones": ("icebox.features.backbones", config.backbones | config.pretrain | unfrozen),
        "unfreeze": ("icebox.features.backbones", unfrozen),
        "heads": ("icebox.pipeline.heads", config.heads),
    }


def stages() -> dict[str, str]:
    """Every stage of dvc.yaml but this one → the stamp of its code."""
    return {
        name: stamps.code_of(plugins.file("icebox.pipeline.stages", name), aside=SETTINGS_CODE)
        for name in plugins.names("icebox.pipeline.stages")
        if name != "check"
    }


def settings(config: Config) -> dict[str, dict[str, Any]]:
    """Kind of stage → entry → all values that determine its result, defaults included."""
    by_kind: dict[str, dict[str, Any]] = {
        kind: {name: plugin_settings(entry) | head_files(kind, entry) for name, entry in entries.items()}
        for kind, (_, entries) in plugin_entries(config).items()
        if kind != "unfreeze"
    }
    fit = {
        name: {
            "task": config.task(name),
            "fit": config.fit_options(name).settings,
            "input": entry.model_dump(include={"outputs", "views"}),
            **({"leakage": "near"} if config.without_near_duplicates(name) else {}),
            "reads": {"source": (dataset := config.dataset_of(name)).family, **dataset.parameters},  # kept in bundles
            **({"keeps_val": True} if config.keeps_val(name) and fit_takes_few(config, name) else {}),
            **({"joined": joined_settings(config, name)} if store_of(name) in config.joined else {}),
        }
        for name, entry in config.every_input().items()
    }
    return by_kind | {
        "extract": {
            name: store.extraction
            | {"on_error": config.datasets[store.dataset].on_error}
            | target_settings(config, store.dataset)
            for name, store in config.stores.items()
        },
        "fit": fit,
        "ensembles": {
            name: {"heads": list(config.heads), "members": entry.members, **fit[name]}
            for name, entry in config.ensembles.items()
        },
        "unfreeze": {
            name: entry.model_dump() | {"fit": fit[entry.start_input]} for name, entry in config.unfreeze.items()
        },
        "generate": {name: entry.model_dump() for name, entry in config.generate.items()},
        "join": {
            name: entry.model_dump(include={"stores", "missing"})
            | {"learnt": joined_settings(config, name), "outputs": config.joined_outputs(name)}
            for name, entry in config.joined.items()
        },
        "look": {name: {"seed": config.fit.seed} for name in (*config.stores, *config.joined)},
    }


def fit_takes_few(config: Config, name: str) -> bool:
    """Whether an input's heads may be fitted on few labels, for which it matters who else needs val."""
    options = config.fit_options(name)
    return options.labels_per_class != "all" and options.few_labels == "folds"


def joined_settings(config: Config, name: str) -> list[dict[str, Any]]:
    """The settings of a joined store's members that bundles keep, and by which it is told whose network has learnt."""
    members = [config.stores[member] for member in config.members(store_of(name))]
    return [
        {
            "store": store.model_dump(exclude={"input"}),
            "reads": {"source": config.datasets[store.dataset].family, **config.datasets[store.dataset].parameters},
        }
        for store in members
    ]


def target_settings(config: Config, dataset: str) -> dict[str, Any]:
    """All that determines the masks or boxes of a store: classes that are only renamed leave the manifest as it is."""
    entry = config.datasets[dataset]
    if entry.task not in DENSE_TASKS:
        return {}
    return {"targets": {"source": entry.family, **entry.parameters, "raw": raw_data_stamp(config, dataset)}}


def ordered(value: Any) -> Any:
    """A JSON-able value with the keys of its dictionaries as text and in order, which may be numbers: labels are."""
    if isinstance(value, dict):
        return {str(key): ordered(value[key]) for key in sorted(value, key=str)}
    return [ordered(element) for element in value] if isinstance(value, list | tuple) else value


def head_files(kind: str, entry: PluginEntry) -> dict[str, Any]:
    """The sha256 of each file that a head's parameters name; nothing where they name none."""
    if kind != "heads":
        return {}
    named = plugin_schema.path_values(plugins.file("icebox.pipeline.heads", entry.family), "build", entry.parameters)
    hashes = {str(path): fingerprint.of_file(path) if path.is_file() else "missing" for path in named}
    return {"files": hashes} if hashes else {}


def plugin_settings(entry: PluginEntry) -> dict[str, Any]:
    """The values of a plugin's entry."""
    split = entry.split.model_dump() if entry.split else None
    # which pictures are left out for their targets is the manifest's matter, else that of the extraction
    on_error = {"on_error": entry.on_error} if entry.task in DENSE_TASKS else {}
    return {"family": entry.family, "parameters": entry.parameters, "split": split, "data": entry.data, **on_error}
