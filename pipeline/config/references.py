"""Checks across sections of params.yaml: every name refers to an entry, and no option contradicts another."""

from icebox.features import plugins
from icebox.features.abc.quantized_network import INT8
from icebox.features.errors import IceboxError, located
from icebox.features.manifest.validation import DENSE_TASKS, Task
from icebox.features.nn.output_names import holds_map, refuse_large_grids
from icebox.features.text.pairs import PAIR, TEXTS
from icebox.pipeline.config import plugin_schema
from icebox.pipeline.config.decide import ARGMAX
from icebox.pipeline.config.fit import Fit
from icebox.pipeline.config.joined import check_joined, check_joined_input
from icebox.pipeline.config.names import check_known, refuse_collisions
from icebox.pipeline.config.schema import FRESH, NO_DATA, Config, Input, Store, store_of
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


def check_ensemble(config: Config, name: str) -> None:
    """Raise IceboxError for an ensemble whose members could not be chosen, once all heads have been fitted."""
    fit = config.fit_options(name)
    if fit.folds is not None:
        raise IceboxError(
            f"ensembles.{name}: chooses its members by their scores on val, and folds: {fit.folds} leaves none; "
            "take one of them out"
        )
    task = config.task(name)
    families = {
        head: entry.family for head, entry in config.heads.items() if task in plugin_schema.head_tasks(entry.family)
    }
    members = [head for head, family in families.items() if plugin_schema.gives_probabilities(family)]
    if fit.calibrate == "none" and len(members) < 2:
        add = "add heads, or give them probabilities (calibrate: temperature)"
        if task == "multilabel":
            add = f"add heads of those that have them: {', '.join(plugin_schema.of_sets(with_probabilities=True))}"
        raise IceboxError(
            f"ensembles.{name}: expected two heads or more with probabilities, found {', '.join(members) or 'none'} of "
            f"{', '.join(families)}; {add}"
        )
    if len(families) < 2:
        raise IceboxError(f"ensembles.{name}: expected two heads or more, found {', '.join(families)}")


def input_place(name: str) -> str:
    """The place of an input in params.yaml."""
    return f"inputs.{name}" if "/" in name else f"stores.{name}.input"


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


Refused = dict[str, tuple[object, str]]  # keys of `fit`, the value that each has to keep, and why
NO_CLASSES = "needs classes, and a regression has none; leave it out"
NO_CLASS = "needs one class an item, and a picture's pixels or objects have many; leave it out"
NO_SINGLE = "needs one class an item, and sets of labels have none or several; leave it out"
NO_FOLDS = "compares by folds, where heads of whole pictures are compared on val; leave it out"
OF_PICTURES: Refused = {
    "labels_per_class": ("all", NO_CLASS),
    "calibrate": ("none", NO_CLASS),
    "decide": (ARGMAX, NO_CLASS),
    "adapt": ("none", "aligns one vector an item, and a picture has a map of them; leave it out"),
    "folds": (None, NO_FOLDS),
}
REFUSED: dict[Task, Refused] = {
    "classification": {},
    "regression": {
        "labels_per_class": ("all", NO_CLASSES),
        "class_weights": ("none", NO_CLASSES),
        "calibrate": ("none", NO_CLASSES),
        "decide": (ARGMAX, NO_CLASSES),
        "shares": ("train", NO_CLASSES),
    },
    "multilabel": {
        "class_weights": ("none", NO_SINGLE),
        "calibrate": ("none", NO_SINGLE),
        "adapt": ("none", "assumes shares of single classes, and items here have sets of labels; leave it out"),
        "shares": ("train", NO_SINGLE),
    },
    "segmentation": OF_PICTURES,
    "detection": OF_PICTURES | {"class_weights": ("none", NO_CLASS)},
}


def check_fit(config: Config, name: str, entry: Input, where: str) -> None:
    """Raise IceboxError for a way of fitting that this input's task, or its other settings, can't have."""
    fit, task = config.fit_options(name), config.task(name)
    if fit.calibrate != "none" and fit.refit == "train+val":
        raise IceboxError(f"{where}: calibrate: {fit.calibrate} learns from val, which refit: train+val has used up")
    if fit.decide != ARGMAX and task == "multilabel":
        if not isinstance(fit.decide, dict) or "recall" not in fit.decide:
            place = where if entry.decide is not None else "fit"
            raise IceboxError(
                f"{place}.decide: thresholds of sets of labels are chosen for F1, label by label, or recalls; found "
                f"{fit.decide}; take {{recall: {{LABEL: 0.95}}}}, or leave it out"
            )
    elif fit.decide != ARGMAX and fit.refit == "train+val":
        raise IceboxError(f"{where}: decide: {fit.decide} is chosen on val, which refit: train+val has used up")
    check_shares(fit, where)
    if config.without_near_duplicates(name) and task in DENSE_TASKS:
        raise IceboxError(
            f"datasets.{config.dataset_name(name)}.split: leakage: near is for items of one label, not for "
            f"{task}; take drop, and split by `group`"
        )
    for key, (plain, reason) in REFUSED[task].items():
        if getattr(fit, key) != plain:
            place = where if getattr(entry, key) is not None else "fit"
            raise IceboxError(f"{place}.{key}: {reason}")
    chosen_by = fit.choose if task == "classification" else entry.choose
    if chosen_by and chosen_by not in (known := metrics.choices(task)):
        raise IceboxError(f"{where}.choose: expected one of {', '.join(known)}, found '{chosen_by}'")


def check_tasks(config: Config) -> None:
    """Raise IceboxError for a head that is for the task of no dataset, and for a store whose task no head is for.

    Others are passed over by the stages of the stores whose task they are not for.
    """
    tasks = {name: config.task(name) for name in config.every_input()}
    of_heads = {head: plugin_schema.head_tasks(entry.family) for head, entry in config.heads.items()}
    for head, suited in of_heads.items():
        if set(suited) & set(tasks.values()):
            continue
        name, task = next(iter(tasks.items()))
        if task == "multilabel":
            raise IceboxError(f"heads.{head}: {plugin_schema.no_sets(config.heads[head].family)}; leave it out")
        kind = "classes" if "classification" in suited else " and ".join(suited)
        raise IceboxError(
            f"heads.{head}: is for {kind} only, and the task of {store_of(name)}'s dataset is {task}; leave it out"
        )
    for name, task in tasks.items():
        if not any(task in suited for suited in of_heads.values()):
            raise IceboxError(
                f"{input_place(name)}: the task of its dataset is {task}, which none of the heads is for "
                f"({', '.join(of_heads)}); add one that is, or leave the store out"
            )


def check_choose(config: Config) -> None:
    """Raise IceboxError for a `fit.choose` that no input's task has, unless it is one of classes, in whose place other
    tasks take their first metric."""
    tasks = dict.fromkeys(config.task(name) for name in config.every_input())
    known = [metric for task in tasks for metric in metrics.choices(task)]
    chosen_by = config.fit.choose
    if chosen_by not in (*known, *metrics.choices("classification")):
        raise IceboxError(f"fit.choose: expected one of {', '.join(known)}, found '{chosen_by}'")


def check_shares(fit: Fit, where: str) -> None:
    """Raise IceboxError for an estimate of the classes' shares that nothing uses, or that can't be made."""
    if fit.shares == "train":
        return
    if fit.adapt == "none":
        raise IceboxError(
            f"{where}: shares: {fit.shares} is of sets that are aligned; set adapt: standardize, or leave it out"
        )
    if fit.adapt == "coral":
        raise IceboxError(
            f"{where}: shares: {fit.shares} goes with adapt: standardize only; take that, or leave it out"
        )
    if fit.labels_per_class != "all":
        raise IceboxError(f"{where}: shares: {fit.shares} takes the labels of all of train; leave labels_per_class out")
    if fit.shares == "bbse" and fit.refit == "train+val":
        raise IceboxError(
            f"{where}: shares: bbse counts confusions on val, which refit: train+val has used up; take em"
        )


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


def check_unfreeze(config: Config) -> None:
    """Raise IceboxError for an unfreezing that could not begin, or whose name another result has."""
    for key, unfreeze in config.unfreeze.items():
        where = f"unfreeze.{key}"
        if unfreeze.store in config.joined:
            raise IceboxError(
                f"{where}.store: '{unfreeze.store}' is joined of several networks' features; unfreeze the network of "
                f"one of them: {', '.join(config.members(unfreeze.store))}"
            )
        check_known("store", unfreeze.store, list(config.stores), f"{where}.store")
        check_known("head", unfreeze.start_head, list(config.heads), f"{where}.start")
        check_known("input of a store", unfreeze.start_input, list(config.every_input()), f"{where}.start")
        family, task = config.heads[unfreeze.start_head].family, config.task(unfreeze.store)
        if task not in plugin_schema.head_tasks(family):
            raise IceboxError(
                f"{where}.start: '{unfreeze.start_head}' ({family}) is not for {task}, the task of '{unfreeze.store}'s "
                "dataset; begin from another head"
            )
        if config.stores[unfreeze.store].pca is not None:
            raise IceboxError(
                f"{where}.store: a network gives whole maps, and '{unfreeze.store}' holds principal components; begin "
                "from a store without `pca`"
            )
        for kind, names in (("heads", config.heads), ("backbones", config.backbones), ("pretrain", config.pretrain)):
            if key in names:
                raise IceboxError(f"{where}: this name stands under {kind}: too; give one of them another")
        if key in unfrozen_ancestors(config, unfreeze.store):
            raise IceboxError(f"{where}.store: store '{unfreeze.store}' is made of this very network; take another")
        if unfreeze.init == "random" and unfreeze.start_head != FRESH:
            raise IceboxError(
                f"{where}: a random network has no features that '{unfreeze.start_head}' was fitted on; "
                f"take `start: {FRESH}`, with `{FRESH}: {{}}` under heads"
            )
        decide = config.fit_options(unfreeze.start_input).decide
        if unfreeze.start_head != FRESH and decide != ARGMAX and task != "multilabel":
            raise IceboxError(
                f"{where}: a network decides by its largest score, and heads of '{unfreeze.start_input}' for {decide}; "
                f"begin from an input of '{unfreeze.store}' with `decide: {ARGMAX}`"
            )
        if unfreeze.start_head != FRESH and (adapt := config.fit_options(unfreeze.start_input).adapt) != "none":
            raise IceboxError(
                f"{where}: a network sees items as they are, and heads of '{unfreeze.start_input}' features that were "
                f"aligned (adapt: {adapt}); begin from an input of '{unfreeze.store}' with `adapt: none`"
            )
        if unfreeze.start_head != FRESH and config.fit_options(unfreeze.start_input).refit != "train":
            raise IceboxError(
                f"{where}: chooses its best epoch on val, which the '{unfreeze.start_head}' of "
                f"'{unfreeze.start_input}' has been fitted on (refit: train+val); begin from an input of "
                f"'{unfreeze.store}' with `refit: train`"
            )


def unfrozen_ancestors(config: Config, store: str) -> set[str]:
    """Names of the unfrozen networks that a store's backbone descends from."""
    ancestors: set[str] = set()
    while (name := config.stores[store].backbone) in config.unfreeze and name not in ancestors:
        ancestors.add(name)
        store = config.unfreeze[name].store
    return ancestors
