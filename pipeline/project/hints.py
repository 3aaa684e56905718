"""Advice for the errors of `features`, worded as commands to run and as keys of params.yaml."""

from icebox.features.errors import Hint, IceboxError

WORDING: dict[Hint, str] = {
    "allow leakage": (
        "set leakage: drop (leaves these items out of train, out of val where test has them) or leakage: allow under "
        "the dataset's split"
    ),
    "choose a device": "run.device in params.yaml names it where that variable does not",
    "choose other outputs": (
        "heads need others: set stores.{store}.input.outputs: [{outputs}] (and stores.{store}.outputs, if these are "
        "not stored)"
    ),
    "end the other process": "it may be the child of a dvc that was killed",
    "extract": "run: dvc repro extract@{store}",
    "extract again": "run: dvc repro -f extract@{store}",
    "extract or restore": "run: dvc repro -f extract@{store} (or dvc checkout, or dvc pull)",
    "join": "run: dvc repro -f join@{store} (or dvc checkout, or dvc pull)",
    "make the backbone again": (
        "run: dvc repro -f fetch@{backbone} (or pretrain@{backbone}, or unfreeze@{backbone}), or: dvc pull"
    ),
    "make the manifest again": "run dvc repro again, which will look at the dataset anew",
    "name more views": "more can be named in stores.{store}.views",
    "repair the store": "run: icebox store verify --repair {store}",
    "skip unreadable items": "or set on_error: skip in the dataset's entry of params.yaml to leave it out",
}


def with_hint(error: IceboxError) -> str:
    """The error's message and, where it has a hint, the advice in the words of the command line."""
    return f"{error}; {WORDING[error.hint].format(**error.values)}" if error.hint else str(error)
