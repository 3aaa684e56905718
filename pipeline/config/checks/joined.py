"""Checks of joined stores in params.yaml: what they are made of, and what heads may see of them."""

from icebox.features.errors import IceboxError, located, suggestion
from icebox.features.manifest.validation import DENSE_TASKS
from icebox.features.text.pairs import PAIR, TEXTS
from icebox.pipeline.config.names import check_known
from icebox.pipeline.config.schema import Config, Input


def check_joined(config: Config) -> None:
    """Raise IceboxError for a joined store of stores that there are not, that hold a store twice or can't be one."""
    for key, joined in config.joined.items():
        where = f"joined.{key}"
        if key in config.stores:
            raise IceboxError(f"{where}: this name stands under stores: too; give one of them another")
        for name in joined.stores:
            check_known("store", name, [*config.stores, *config.joined], f"{where}.stores")
    for key in config.joined:
        refuse_circle(config, key, (key,))
    for key in config.joined:
        where, members = f"joined.{key}", config.members(key)
        for name in members:
            if members.count(name) > 1:
                raise IceboxError(f"{where}.stores: holds '{name}' twice; join it once")
        tasks = {name: config.task(name) for name in members}
        for name, task in tasks.items():
            if task in DENSE_TASKS:
                raise IceboxError(f"{where}.stores: {name} is for {task}; join stores of one vector an item")
            if task != tasks[members[0]]:
                raise IceboxError(
                    f"{where}.stores: the task of '{members[0]}' is {tasks[members[0]]}, that of '{name}' is {task}; "
                    "join stores of one task"
                )


def refuse_circle(config: Config, key: str, above: tuple[str, ...]) -> None:
    """Raise IceboxError for a joined store that is made of itself."""
    for name in config.joined[key].stores if key in config.joined else ():
        if name in above:
            raise IceboxError(f"joined.{key}.stores: '{name}' would be made of itself; name other stores")
        refuse_circle(config, name, (*above, name))


def check_joined_input(config: Config, entry: Input, store: str, where: str) -> None:
    """Raise IceboxError for outputs and views that no member of a joined store holds."""
    members = config.members(store)
    with located(where, separator="."):
        selected = entry.expanded_views or ()
    stored = [view for name in members for view in config.stores[name].expanded_views]
    for view in selected:
        check_known(
            "view", view, [*dict.fromkeys(stored), *([PAIR] if set(TEXTS) <= set(stored) else [])], f"{where}.views"
        )
    for output in entry.outputs or ():
        name, slash, of_member = output.partition("/")
        if not slash or name not in members:
            known = [f"{each}/{out}" for each in members for out in config.stores[each].outputs or ["OUTPUT"]]
            raise IceboxError(f"{where}.outputs: expected STORE/OUTPUT, found '{output}'; {suggestion(output, known)}")
        if outputs := config.stores[name].input.outputs or config.stores[name].outputs:
            check_known("output", of_member, outputs, f"{where}.outputs")
