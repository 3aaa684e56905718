"""`icebox init`: a project folder of the user's own, with params.yaml to edit and dvc.yaml, which is ours.

dvc.yaml and the ignore files come from the package's `template/`, whole params files from its `recipes/`.
"""

import json
import re
import shutil
from collections.abc import Mapping
from importlib import resources
from pathlib import Path

from icebox.features import files
from icebox.features.errors import IceboxError, suggestion
from icebox.pipeline.project import backbone_names, paths

# file of a project → template; DVC would take a second file called dvc.yaml, anywhere in a repository, for a pipeline
OURS = {"dvc.yaml": "pipeline.yaml", ".dvcignore": "dvcignore", ".gitignore": "gitignore"}
RENEWED = ("dvc.yaml", ".dvcignore")  # by an update; .gitignore is the user's from the first day on
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


def create(folder: Path, *, params: str) -> None:
    """Write a new project. Raises IceboxError where the folder holds one already."""
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
    files.write_text(folder / "params.yaml", EDITORS_LINE + params)


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


def texts_params(name: str, path: Path, *, text: str, label: str, backbone: str, weights: Path | str | None) -> str:
    """params.yaml for a table with a column of texts and one of labels, through `backbone` and as hashed words."""
    dataset = f"{{source: csv_text, path: {quoted(path)}, text: {quoted(text)}, label: {quoted(label)}}}"
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
    """A name for the dataset of a new project, after its folder: letters, digits and '_'."""
    return re.sub(r"[^A-Za-z0-9_]+", "_", folder.resolve().name).strip("_") or "data"
