"""`icebox init` and `icebox run`: a project of the user's own, from nothing to its report."""

import hashlib
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from icebox.features.errors import IceboxError
from icebox.pipeline.cli import stage_server, verbosity

PARAMS_IN_LOCK = re.compile(r"- path: params\.yaml\n\s+hash: md5\n\s+md5: ([0-9a-f]{32})")  # of dvc.lock


def init(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="The project's folder; its name names the dataset.")],
    images: Annotated[
        Path | None, typer.Option(metavar="PATH", help="A folder of class folders of images.", rich_help_panel="Data")
    ] = None,
    texts: Annotated[
        Path | None, typer.Option(metavar="FILE", help="A table with a column of texts.", rich_help_panel="Data")
    ] = None,
    text: Annotated[
        str,
        typer.Option(
            help="With --texts: the column of the texts, by its number from 0 in a table without a header.",
            rich_help_panel="Data",
        ),
    ] = "text",
    label: Annotated[
        str, typer.Option(help="With --texts: the column of the labels, likewise.", rich_help_panel="Data")
    ] = "label",
    encoding: Annotated[
        str, typer.Option(help="With --texts: the table's, such as latin-1.", rich_help_panel="Data")
    ] = "utf-8",
    recipe: Annotated[
        str | None, typer.Option(help="A whole params file that comes with Icebox.", rich_help_panel="Data")
    ] = None,
    backbone: Annotated[
        str | None,
        typer.Option(
            metavar="NAME", help="A network of torchvision, OWNER/NAME of the hub, or minilm.  [resnet18, minilm]"
        ),
    ] = None,
    weights: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="The backbone's weights, a file or folder, instead of a download."),
    ] = None,
    update: Annotated[
        bool, typer.Option("--update", help="Renew dvc.yaml and the schema of a project that is there.")
    ] = False,
) -> None:
    """Make a project: params.yaml to edit, dvc.yaml, and folders for data and plugins of your own."""
    from icebox.features import plugins
    from icebox.pipeline.config import json_schema, plugin_schema
    from icebox.pipeline.project import init as project
    from icebox.pipeline.project import paths

    if update:
        changed = project.update(folder)
        renewed = [*changed, *([str(paths.SCHEMA)] if json_schema.write(folder) else [])]
        beside = "; what was there before is beside it, as NAME.before" if changed else ""
        print(f"{folder}: renewed {', '.join(renewed)}{beside}" if renewed else f"{folder}: up to date")
        return
    if sum(source is not None for source in (images, texts, recipe)) != 1:
        raise IceboxError("init: give one of --images PATH, --texts FILE and --recipe NAME")
    name = project.dataset_name(folder)
    if backbone in plugins.names("icebox.features.backbones"):
        file = plugins.file("icebox.features.backbones", backbone)
        if not plugin_schema.defines(file, "fetch"):
            raise IceboxError(
                f"--backbone {backbone}: is trained here, from nothing: an entry of `pretrain:`, not this"
            )
    own_weights = located(weights, folder) if weights else None
    if images:
        if not images.expanduser().is_dir():
            raise IceboxError(f"--images: {images}: expected a folder of class folders, found no folder there")
        source = located(images, folder)
        params = project.images_params(name, source, backbone=backbone or "resnet18", weights=own_weights)
    elif texts:
        if not texts.expanduser().is_file():
            raise IceboxError(
                f"--texts: {texts}: expected a table (CSV, TSV, JSON Lines, Parquet), found no file there"
            )
        source = located(texts, folder)
        table = project.text_table(texts.expanduser(), text=text, label=label, encoding=encoding)
        params = project.texts_params(name, source, table=table, backbone=backbone or "minilm", weights=own_weights)
    else:
        params = project.recipe(str(recipe))
    project.create(folder, params=params, write_schema=json_schema.write)
    enter = f"cd {shlex.quote(str(folder))}"
    print(f"{folder}: a new project; its params.yaml says what runs. Next:\n\n    {enter}\n    icebox run")


def schema(
    out: Annotated[Path | None, typer.Option(metavar="FILE", help="Write it to this file, not to stdout.")] = None,
) -> None:
    """Print the JSON schema of params.yaml, with this project's own plugins: for editors, which complete and check."""
    from icebox.features import files
    from icebox.pipeline.config import json_schema

    text = json_schema.as_text()
    if out is None:
        print(text, end="")
    else:
        files.write_text(out, text)


def located(path: Path | str, folder: Path) -> Path:
    """A path as params.yaml names it: from the project's folder where it lies inside, else absolute."""
    absolute, root = Path(path).expanduser().resolve(), folder.resolve()
    return absolute.relative_to(root) if absolute.is_relative_to(root) else absolute


def run(
    names: Annotated[
        list[str] | None,
        typer.Argument(metavar="[STORE | STORE/HEAD]...", help="Only these, and what they need; then no report."),
    ] = None,
) -> None:
    """Run all that params.yaml names, as far as it has changed; print the leaderboard and where the report is."""
    with stage_server.serving(fits=is_changed()) as servers:  # they load while this process does
        run_with(servers, names)


def run_with(servers: tuple[Path, int] | None, names: Sequence[str] | None) -> None:
    """`run` by these servers, where there are some."""
    from icebox.pipeline.comparison import formats, leaderboard
    from icebox.pipeline.config import loader
    from icebox.pipeline.config.schema import store_of
    from icebox.pipeline.project import head_names, paths

    config = loader.load()  # an error in it is one line, without DVC's around it
    heads = leaderboard.names_in_params(config)
    wanted = [
        pair
        for name in names or []
        for pair in ([each for each in heads if name in (each[0], store_of(each[0]))] or [head_names.find(name, heads)])
    ]
    stages = [f"unfreeze@{head}" if head in config.unfreeze else paths.fit_stage(name, head) for name, head in wanted]
    initialize_dvc()
    quiet = ["--quiet"] if verbosity.chosen() == "quiet" else []
    code = dvc("repro", *quiet, *(dict.fromkeys(stages) or ["report"]), check=False, servers=servers)
    if code != 0:
        raise IceboxError("the stage above did not end; what is finished is kept, the same command goes on from there")
    shown = list(dict.fromkeys(name for name, _ in wanted))
    print(f"\n{formats.as_table(formats.records(config, shown))}")
    if passed_over := leaderboard.passed_over(config, shown):
        print("\n".join(["", *(f"passed over: {line}" for line in passed_over)]))
    if not wanted:
        print(f"\nThe report: {paths.REPORT.resolve()}")


def is_changed() -> bool:
    """Whether params.yaml is another than in the run before, so that heads are likely to be fitted."""
    lock, params = Path("dvc.lock"), Path("params.yaml")
    if not lock.is_file() or not params.is_file():  # of a new project datasets and backbones come first
        return False
    recorded = PARAMS_IN_LOCK.search(lock.read_text(encoding="utf-8", errors="replace"))
    md5 = hashlib.md5(params.read_bytes(), usedforsecurity=False).hexdigest()
    return recorded is not None and recorded[1] != md5


def initialize_dvc() -> None:
    """Make the folder one that DVC works in, inside a git repository or without one."""
    if not Path("dvc.yaml").exists():
        raise IceboxError(
            "dvc.yaml: not found; run this in a project's folder, or `icebox init . --update` to renew it"
        )
    root = git_root()
    if not Path(".dvc").exists():
        place = ["--no-scm"] if root is None else [] if root == Path.cwd() else ["--subdir"]
        dvc("init", "--quiet", *place)
        dvc("config", "core.analytics", "false")
    shared, local = without_scm(".dvc/config"), without_scm(".dvc/config.local")
    if root is None and not shared and not local:  # without git DVC needs telling
        dvc("config", "--local", "core.no_scm", "true")
    if root == Path.cwd():  # and with git, which may have come since, it must not be told
        for is_told, level in ((shared, "--project"), (local, "--local")):
            if is_told:
                dvc("config", level, "--unset", "core.no_scm")


def without_scm(file: str) -> bool:
    """Whether a config file of DVC says that there is no git."""
    return Path(file).exists() and "no_scm = true" in Path(file).read_text(encoding="utf-8").lower()


def git_root() -> Path | None:
    """The git repository around the current folder, if there is one and git is installed."""
    try:
        done = subprocess.run(["git", "rev-parse", "--show-toplevel"], capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return None
    return Path(done.stdout.strip()).resolve() if done.returncode == 0 else None


def dvc(*arguments: str, check: bool = True, servers: tuple[Path, int] | None = None) -> int:
    """Run DVC of this environment, whose stages say `python` and mean this one → its exit code.

    `servers` run its stages, where there are some: their folder and what keeps them alive (stage_server.py). With
    `check` raises IceboxError where it fails, as where another process makes the same project just now.
    """
    folders = [*([str(servers[0])] if servers else []), str(Path(sys.executable).parent), os.environ.get("PATH", "")]
    path = os.pathsep.join(folders)
    quiet = {"DVC_NO_ANALYTICS": "true", "HF_HUB_DISABLE_TELEMETRY": "1"}
    environment = quiet | os.environ | {"PATH": path, verbosity.VARIABLE: verbosity.chosen()}
    held = servers[1:] if servers else ()
    command = [sys.executable, "-m", "dvc", *arguments]
    code = subprocess.run(command, env=environment, check=False, pass_fds=held).returncode
    if check and code != 0:
        raise IceboxError(f"dvc {' '.join(arguments)}: failed, as DVC says above; mend that, then run this again")
    return code
