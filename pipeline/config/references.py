"""Checks across sections of params.yaml: every name refers to an entry, and no option contradicts another."""

from icebox.features import plugins
from icebox.features.errors import IceboxError, located, suggestion
from icebox.features.text.pairs import PAIR, TEXTS
from icebox.pipeline.config import plugin_schema
from icebox.pipeline.config.schema import FRESH, NO_DATA, Config, Store
from icebox.pipeline.evaluation import metrics
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
    for store_name in config.select.stores:
        check_known("store", store_name, list(config.stores), "select.stores")
    for head in config.select.heads:
        check_known("head", head, list(config.heads), "select.heads")
    for store_name in config.select.stores:
        check_fit(config, store_name)
    for store_name in config.select.ensembles:
        check_known("selected store", store_name, config.select.stores, "select.ensembles")
        if config.task(store_name) == "regression":
            raise IceboxError(f"select.ensembles: {store_name}: needs probabilities, and a regression has none")
    if paths.ENSEMBLE in config.heads:
        raise IceboxError(f"heads.{paths.ENSEMBLE}: this name is kept for select.ensembles; give the head another")
    check_unfreeze(config)
    for key, store in config.stores.items():
        check_store(store, config.backbone(store.backbone).family, f"stores.{key}")


def check_fit(config: Config, name: str) -> None:
    """Raise IceboxError for a way of fitting that this store's task, or its other settings, can't have."""
    where, own, fit = f"stores.{name}.fit", config.stores[name].fit, config.fit_options(name)
    if fit.calibrate != "none" and fit.refit == "train+val":
        raise IceboxError(f"{where}: calibrate: {fit.calibrate} learns from val, which refit: train+val has used up")
    if config.task(name) == "classification":
        if fit.choose not in (known := metrics.choices("classification")):
            raise IceboxError(f"{where}.choose: expected one of {', '.join(known)}, found '{fit.choose}'")
        return
    for key, plain in (("labels_per_class", "all"), ("class_weights", "none"), ("calibrate", "none")):
        if getattr(own, key) not in (plain, None):
            raise IceboxError(f"{where}.{key}: needs classes, and a regression has none; leave it out")
    if own.choose and own.choose not in (known := metrics.choices("regression")):
        raise IceboxError(f"{where}.choose: expected one of {', '.join(known)}, found '{own.choose}'")
    for head in config.select.heads:
        family = config.heads[head].family
        if not plugin_schema.accepts(plugins.file("icebox.pipeline.heads", family), "build", "task"):
            raise IceboxError(
                f"select.heads: '{head}' is for classes only, and the task of {name}'s dataset is regression; "
                "leave it out, or run that dataset by itself"
            )


def check_store(store: Store, family: str, where: str) -> None:
    """Raise IceboxError for options that the backbone's family has not, and for outputs and views that don't exist."""
    file = plugins.file("icebox.features.backbones", family, where)
    for option in store.extract.options:
        if not plugin_schema.accepts(file, "load", option):
            raise IceboxError(f"{where}.extract.{option}: backbone family '{family}' has no such option; leave it out")
    if store.extract.views and store.extract.pairs == "siamese":
        raise IceboxError(f"{where}.extract.views: siamese pairs have the views first and second; leave views out")
    with located(where, separator="."):
        stored, selected = store.extract.expanded_views, store.fit.expanded_views
    for view in selected or ():
        check_known("view", view, [*stored, PAIR] if stored == TEXTS else list(stored), f"{where}.fit.views")
    for output in store.fit.outputs or () if store.extract.outputs else ():
        check_known("output", output, store.extract.outputs or [], f"{where}.fit.outputs")


def check_unfreeze(config: Config) -> None:
    """Raise IceboxError for an unfreezing that could not begin, or whose name another result has."""
    for key, unfreeze in config.unfreeze.items():
        where = f"unfreeze.{key}"
        check_known("store", unfreeze.store, list(config.stores), f"{where}.store")
        check_known("head", unfreeze.start, list(config.heads), f"{where}.start")
        for kind, name, selected in (
            ("stores", unfreeze.store, config.select.stores),
            ("heads", unfreeze.start, config.select.heads),
        ):
            if name not in selected:
                raise IceboxError(
                    f"{where}: begins from '{name}', which select.{kind} does not name; add it there, or "
                    "take this entry out (`unfreeze: {}` for none)"
                )
        for kind, names in (("heads", config.heads), ("backbones", config.backbones), ("pretrain", config.pretrain)):
            if key in names:
                raise IceboxError(f"{where}: this name stands under {kind}: too; give one of them another")
        if key in unfrozen_ancestors(config, unfreeze.store):
            raise IceboxError(f"{where}.store: store '{unfreeze.store}' is made of this very network; take another")
        if unfreeze.init == "random" and unfreeze.start != FRESH:
            raise IceboxError(
                f"{where}: a random network has no features that '{unfreeze.start}' was fitted on; "
                f"take `start: {FRESH}`, with `{FRESH}: {{}}` under heads: and in select.heads"
            )
        if unfreeze.start != FRESH and config.fit_options(unfreeze.store).refit != "train":
            raise IceboxError(
                f"{where}: chooses its best epoch on val, which the '{unfreeze.start}' of '{unfreeze.store}' has been "
                "fitted on (refit: train+val); name a store like it with `fit: {refit: train}`: that extracts nothing"
            )


def unfrozen_ancestors(config: Config, store: str) -> set[str]:
    """Names of the unfrozen networks that a store's backbone descends from."""
    ancestors: set[str] = set()
    while (name := config.stores[store].backbone) in config.unfreeze and name not in ancestors:
        ancestors.add(name)
        store = config.unfreeze[name].store
    return ancestors


def check_known(kind: str, name: str, known: list[str], where: str) -> None:
    """Raise IceboxError unless `name` is known."""
    if name not in known:
        raise IceboxError(f"{where}: no {kind} named '{name}'; {suggestion(name, known)}")
