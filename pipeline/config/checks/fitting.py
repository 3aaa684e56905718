"""Checks of how heads are fitted: options of `fit` and of inputs by the task of their dataset, heads, ensembles."""

from icebox.features.errors import IceboxError
from icebox.features.manifest.validation import DENSE_TASKS, Task
from icebox.pipeline.config import plugin_schema
from icebox.pipeline.config.decide import ARGMAX
from icebox.pipeline.config.fit import Fit
from icebox.pipeline.config.schema import Config, Input, store_of
from icebox.pipeline.evaluation import metrics

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


def input_place(name: str) -> str:
    """The place of an input in params.yaml."""
    return f"inputs.{name}" if "/" in name else f"stores.{name}.input"


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
