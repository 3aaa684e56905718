"""`icebox init`: a project folder of the user's own, with params.yaml to edit and dvc.yaml, which is ours.

dvc.yaml and the ignore files come from the package's `template/`, whole params files from its `recipes/`.
"""

import itertools
import json
import re
import shutil
from collections.abc import Callable, Mapping
from dataclasses import replace
from importlib import resources
from pathlib import Path

from icebox.features import files
from icebox.features.datasets.readers.tables.table import Table
from icebox.features.errors import IceboxError, suggestion
from icebox.pipeline.project import backbone_names, paths

# file of a project → template; DVC would take a second file called dvc.yaml, anywhere in a repository, for a pipeline
OURS = {"dvc.yaml": "pipeline.yaml", ".dvcignore": "dvcignore", ".gitignore": "gitignore"}
RENEWED = ("dvc.yaml", ".dvcignore")  # by an update; .gitignore is the user's from the first day on
UTF_8 = "utf-8"
ROWS_TRIED = 10_000  # of a table that is to be the project's
PLUGINS = ("backbones", "datasets", "heads")
EDITORS_LINE = f"# yaml-language-server: $schema={paths.SCHEMA}\n"  # by it an editor completes and checks the file
PARAMS = """\
# What Icebox runs: all that stands here. Change a line, then `icebox run` (or `dvc repro`): only what it touches runs.
datasets:
  {name}: {dataset}
backbones:
{backbones}
stores: # one dataset through one backbone
{pairs}
heads: [logreg, linear_svm, knn] # or one a line, with its settings, where a list is a grid: `logreg: {{C: [0.1, 1.0]}}`
"""


def create(folder: Path, *, params: str, write_schema: Callable[[Path], object]) -> None:
    """Write a new project, params.yaml last. Raises IceboxError where the folder holds one already."""
    if (folder / "params.yaml").exists():
        raise IceboxError(
            f"{folder / 'params.yaml'}: there is a project already; `icebox init --update` renews its dvc.yaml"
        )
    for target, name in OURS.items():
        if not (folder / target).exists():
            files.write_text(folder / target, template(name))
    for kind in PLUGINS:
        (folder / "plugins" / kind).mkdir(parents=True, exist_ok=True)
    (folder / "data/raw").mkdir(parents=True, exist_ok=True)
    write_schema(folder)
    files.write_text(folder / "params.yaml", EDITORS_LINE + params)  # by it a project counts as made


def update(folder: Path) -> list[str]:
    """Renew what is ours in a project → the names of the files that changed. Raises IceboxError where there is none."""
    if not (folder / "params.yaml").exists():
        raise IceboxError(f"{folder / 'params.yaml'}: not found; name a project's folder, or make one: icebox init DIR")
    changed = []
    for target in RENEWED:
        path, text = folder / target, template(OURS[target])
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            if path.exists():
                shutil.copy2(path, path.with_name(f"{target}.before"))
            files.write_text(path, text)
            changed.append(target)
    return changed


def template(name: str) -> str:
    """The text of a file that is packaged with Icebox."""
    return (resources.files("icebox") / "template" / name).read_text(encoding="utf-8")


def recipes() -> list[str]:
    """The names of the params files that come with Icebox."""
    folder = resources.files("icebox") / "recipes"
    return sorted(Path(entry.name).stem for entry in folder.iterdir() if entry.name.endswith(".yaml"))


def recipe(name: str) -> str:
    """The text of a whole params file."""
    if name not in recipes():
        raise IceboxError(f"--recipe: no recipe named '{name}'; {suggestion(name, recipes())}")
    return (resources.files("icebox") / "recipes" / f"{name}.yaml").read_text(encoding="utf-8")


def images_params(name: str, path: Path, *, backbone: str, weights: Path | str | None) -> str:
    """params.yaml for a folder of class folders of images, through `backbone` and through its own pixels."""
    dataset = f"{{source: image_folder, path: {quoted(path)}, split: {{stratify: true}}}}"
    settings = flow_yaml(backbone_names.settings(backbone, weights=weights, modality="image"))
    return params(name, dataset, backbone, settings, floor="pixels", floor_settings="{size: 16}")


def text_table(path: Path, *, text: str, label: str, encoding: str) -> dict[str, str]:
    """The settings of csv_text, as YAML, that read a table; columns by number, from 0, mean one without a header.

    Raises IceboxError, with the options of init, for a table that lacks the columns or is not in this encoding.
    """
    by_name = Table(path=path, encoding=encoding)
    names = {"text": text, "label": label}
    has_header = not (text.isdigit() and label.isdigit()) or all(by_name.has(column) for column in names.values())
    columns: dict[str, str | int] = {key: column if has_header else int(column) for key, column in names.items()}
    try:
        for _ in itertools.islice(replace(by_name, header=has_header).rows(list(columns.items())), ROWS_TRIED):
            pass
    except IceboxError as error:
        raise IceboxError(
            f"--texts: {error}; the options of init are --text and --label (numbers, from 0, where the first line is "
            "an item already) and --encoding"
        ) from error
    return {
        **{key: quoted(column) if has_header else str(column) for key, column in columns.items()},
        **({} if has_header else {"header": "false"}),
        **({} if encoding == UTF_8 else {"encoding": quoted(encoding)}),
    }


def texts_params(name: str, path: Path, *, table: Mapping[str, str], backbone: str, weights: Path | str | None) -> str:
    """params.yaml for a table, read by the settings `table`, through `backbone` and as hashed words."""
    columns = ", ".join(f"{key}: {value}" for key, value in table.items())
    dataset = f"{{source: csv_text, path: {quoted(path)}, {columns}}}"
    settings = flow_yaml(backbone_names.settings(backbone, weights=weights, modality="text"))
    return params(name, dataset, backbone, settings, floor="hashing", floor_settings="{dimensions: 4096}")


def params(name: str, dataset: str, backbone: str, settings: str, *, floor: str, floor_settings: str) -> str:
    """The text of params.yaml for one dataset, one backbone and one floor."""
    key = re.sub(r"[^A-Za-z0-9_]+", "_", backbone.rstrip("/").rsplit("/", 1)[-1])
    backbones = {key: settings, floor: f"{floor_settings} # a floor, without a network: what others have to beat"}
    return PARAMS.format(
        name=name,
        dataset=dataset,
        backbones="\n".join(f"  {each}: {line}" for each, line in backbones.items()),
        pairs="\n".join(f"  {name}-{each}: {{dataset: {name}, backbone: {each}}}" for each in backbones),
    )


def flow_yaml(settings: Mapping[str, str]) -> str:
    """Settings of a backbone as YAML in one line; only weights, which may be a path, need quotes."""
    values = {key: quoted(value) if key == "weights" else value for key, value in settings.items()}
    return f"{{{', '.join(f'{key}: {value}' for key, value in values.items())}}}"


def quoted(value: object) -> str:
    """A value as YAML writes it in one line: JSON's quotes, which YAML reads."""
    return json.dumps(str(value), ensure_ascii=False)


def dataset_name(folder: Path) -> str:
    """A name for the dataset of a new project, after its folder: letters, digits and '_', and none that YAML takes for
    a number or a constant."""
    name = re.sub(r"[^A-Za-z0-9_]+", "_", folder.resolve().name)[:40].strip("_") or "data"
    return f"data_{name}" if re.fullmatch(r"[0-9].*|null|true|false", name, re.IGNORECASE) else name
