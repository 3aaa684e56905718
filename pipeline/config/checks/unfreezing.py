"""Checks of networks that are trained on: the store and the head that each begins from."""

from icebox.features.errors import IceboxError
from icebox.pipeline.config import plugin_schema
from icebox.pipeline.config.decide import ARGMAX
from icebox.pipeline.config.names import check_known
from icebox.pipeline.config.schema import FRESH, Config


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
