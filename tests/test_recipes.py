"""Every recipe is a whole params file that the code, DVC and docs/recipes.md agree on."""

import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from dvc.repo import Repo

from icebox.features.errors import IceboxError
from icebox.pipeline.config import loader
from icebox.pipeline.project import paths
from icebox.pipeline.stages import manifest
from tests.conftest import NEEDED, PROJECT

RECIPES = sorted((PROJECT / "recipes").glob("*.yaml"))
each_recipe = pytest.mark.parametrize("recipe", RECIPES, ids=lambda path: path.stem)


@pytest.fixture(scope="module")
def project(tmp_path_factory) -> Iterator[Path]:
    """A fresh copy of the project, without data, that is the current folder."""
    folder = tmp_path_factory.mktemp("recipes")
    for name in NEEDED:
        source, target = PROJECT / name, folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        (shutil.copytree if source.is_dir() else shutil.copy)(source, target)
    (folder / ".dvc/config.local").write_text("[core]\n    no_scm = true\n")
    before = Path.cwd()
    os.chdir(folder)
    yield folder
    os.chdir(before)


@each_recipe
@pytest.mark.filterwarnings("ignore:_NoneStep.value:DeprecationWarning")  # of a library that DVC imports
@pytest.mark.slow
def test_dvc_expands_it_to_the_stages_that_it_needs(recipe, project):
    shutil.copy(recipe, project / "params.yaml")
    chosen = loader.load()
    # all of them, and although what each needs has not been made by the one before
    ran = Repo(str(project)).reproduce(targets=["report"], dry=True, force=True, allow_missing=True)
    stores = list(chosen.stores.values())
    assert {stage.addressing for stage in ran} >= {
        "check",
        "report",
        *(f"manifest@{store.dataset}" for store in stores),
        *(f"{'fetch' if store.backbone in chosen.backbones else 'pretrain'}@{store.backbone}" for store in stores),
        *(f"extract@{name}" for name in chosen.stores),
        *(paths.fit_stage(name, head) for name in chosen.every_input() for head in chosen.heads),
    }


@each_recipe
def test_a_missing_file_is_an_error_that_says_where_to_put_it(recipe, project):
    chosen = loader.load(recipe)
    for key, path in places(chosen).items():
        first = next(iter(path.values())) if isinstance(path, dict) else path
        with pytest.raises(IceboxError, match=f"datasets.{key}: .*{first}"):
            manifest.run(chosen, key)


@each_recipe
def test_the_docs_say_how_to_run_it_and_where_its_data_goes(recipe):
    docs = "".join(path.read_text() for path in (PROJECT / "docs").glob("*.md"))
    assert f"cp recipes/{recipe.name} params.yaml" in docs
    for path in places(loader.load(recipe)).values():
        for file in path.values() if isinstance(path, dict) else [path]:
            assert file in docs


def test_what_blood_cells_leaves_out_is_right_once_it_is_put_in(tmp_path):
    recipe = (PROJECT / "recipes/blood-cells.yaml").read_text()
    whole = re.sub(r"^#(?! \w)", "", recipe, flags=re.MULTILINE).replace("heads:\n", "heads:\n  fresh: {}\n", 1)
    (tmp_path / "params.yaml").write_text(whole)
    chosen = loader.load(tmp_path / "params.yaml")
    assert set(chosen.unfreeze) == {"blood-unfrozen", "blood-scratch"}
    assert all(chosen.fit_options(entry.start_input).refit == "train" for entry in chosen.unfreeze.values())


def places(chosen: loader.Config) -> dict[str, str | dict[str, str]]:
    """Where each dataset's files go, of those that have some."""
    return {key: entry.parameters["path"] for key, entry in chosen.datasets.items() if "path" in entry.parameters}
