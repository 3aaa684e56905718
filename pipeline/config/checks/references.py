"""Checks across sections of params.yaml: every name refers to an entry, and no option contradicts another."""

from icebox.features import plugins
from icebox.features.abc.quantized_network import INT8
from icebox.features.errors import IceboxError, located
from icebox.features.nn.output_names import holds_map, refuse_large_grids
from icebox.features.text.pairs import PAIR, TEXTS
from icebox.pipeline.config import plugin_schema
from icebox.pipeline.config.checks.fitting import check_choose, check_ensemble, check_fit, check_tasks, input_place
from icebox.pipeline.config.checks.joined import check_joined, check_joined_input
from icebox.pipeline.config.checks.unfreezing import check_unfreeze
from icebox.pipeline.config.names import check_known, refuse_collisions
from icebox.pipeline.config.schema import NO_DATA, Config, Input, Store, store_of
from icebox.pipeline.project import paths


def check_references(config: Config) -> None:
    """Raise IceboxError for a name that refers to no entry, and for options that contradict each other."""
    for name in sorted(config.backbones.keys() & config.pretrain.keys()):
        raise IceboxError(f"pretrain.{name}: this name stands under backbones: too; give one of them another")
    for section_name, entries in (("datasets", config.datasets), ("pretrain", config.pretrain)):
        if NO_DATA in entries:
            raise IceboxError(f"{section_name}.{NO_DATA}: this name stands for nothing; give it another")
    for key, entry in config.pretrain.items():
        check_known("dataset", entry.data, [*config.datasets, NO_DATA], f"pretrain.{key}.data")
    for key, sheet in config.generate.items():
        check_known("backbone that is trained here", key, list(config.pretrain), f"generate.{key}")
        check_known("dataset", sheet.data, list(config.datasets), f"generate.{key}.data")
        check_known("backbone that is trained here", sheet.judge, list(config.pretrain), f"generate.{key}.judge")
    for key, store in config.stores.items():
        check_known("dataset", store.dataset, list(config.datasets), f"stores.{key}.dataset")
        known = [*config.backbones, *config.pretrain, *config.unfreeze]
        check_known("backbone", store.backbone, known, f"stores.{key}.backbone")
    for section, least in (("datasets", "dataset"), ("stores", "store"), ("heads", "head")):
        if not getattr(config, section):
            raise IceboxError(f"{section}: expected a {least} or more, found none")
    check_joined(config)
    if paths.ENSEMBLE in config.heads:
        raise IceboxError(f"heads.{paths.ENSEMBLE}: this name is kept for the ensembles; give the head another")
    for name in config.inputs:
        check_input_name(config, name)
    refuse_collisions(config.every_input(), config.heads)
    check_unfreeze(config)  # first: it refuses a network that descends from itself
    for key, store in config.stores.items():
        check_store(store, config.backbone(store.backbone).family, f"stores.{key}")
    for name, settings in config.every_input().items():
        where = input_place(name)
        if store_of(name) in config.joined:
            check_joined_input(config, settings, store_of(name), where)
        else:
            check_input(settings, config.stores[store_of(name)], where)
        check_fit(config, name, settings, where)
    check_tasks(config)
    check_choose(config)
    for name in config.ensembles:
        check_known("input of a store", name, list(config.every_input()), "ensembles")
        if (task := config.task(name)) not in ("classification", "multilabel"):
            raise IceboxError(
                f"ensembles.{name}: needs probabilities of items' classes, and {task} has none; take it out"
            )
        check_ensemble(config, name)


def check_input_name(config: Config, name: str) -> None:
    """Raise IceboxError unless a key of `inputs` is STORE/NAME, and NAME stands for nothing else of that store."""
    store, slash, short = name.partition("/")
    if not slash:
        raise IceboxError(
            f"inputs.{name}: expected STORE/NAME; what heads see by default stands in stores.{name}.input"
        )
    check_known("store", store, [*config.stores, *config.joined], f"inputs.{name}")
    if short in (*config.heads, *config.unfreeze, paths.ENSEMBLE):
        raise IceboxError(f"inputs.{name}: '{short}' is the name of a head too; give the input another")


def check_store(store: Store, family: str, where: str) -> None:
    """Raise IceboxError for options that the backbone's family has not, and for views that don't exist."""
    file = plugins.file("icebox.features.backbones", family, where)
    for option in store.options:
        if not plugin_schema.accepts(file, "load", option):
            raise IceboxError(f"{where}.{option}: backbone family '{family}' has no such option; leave it out")
    if store.pca is not None and not holds_map(store.outputs or []):
        raise IceboxError(f"{where}.pca: is of maps, and the outputs hold none; store LAYER:map, or leave it out")
    if store.precision == INT8 and (store.runtime not in ("auto", "openvino") or store.compile == "on"):
        key = f"compile: {store.compile}" if store.compile == "on" else f"runtime: {store.runtime}"
        raise IceboxError(f"{where}.precision: int8 is computed by openvino, so leave {key} out")
    if store.precision != INT8 and "int8_tolerance" in store.model_fields_set:
        raise IceboxError(f"{where}.int8_tolerance: is for precision: int8, and precision is {store.precision}")
    if store.compile == "on" and store.runtime != "auto":
        raise IceboxError(f"{where}.compile: on is for runtime: auto, and runtime is {store.runtime}; leave one out")
    if store.views and store.pairs == "siamese":
        raise IceboxError(f"{where}.views: siamese pairs have the views first and second; leave views out")
    with located(where, separator="."):
        _ = store.expanded_views  # raises for a view that there is not
        refuse_large_grids(store.outputs or [])


def check_input(entry: Input, store: Store, where: str) -> None:
    """Raise IceboxError for outputs and views that the store does not hold."""
    with located(where, separator="."):
        stored, selected = store.expanded_views, entry.expanded_views
    for view in selected or ():
        check_known("view", view, [*stored, PAIR] if stored == TEXTS else list(stored), f"{where}.views")
    for output in entry.outputs or () if store.outputs else ():
        check_known("output", output, store.outputs or [], f"{where}.outputs")
