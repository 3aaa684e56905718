import importlib
import sys

import pytest

from icebox.features import plugins
from icebox.features.errors import IceboxError


def test_every_file_but_the_base_is_a_plugin():
    assert {"digits", "image_folder"} <= set(plugins.names("icebox.features.datasets"))
    assert "base" not in plugins.names("icebox.features.datasets")


def test_loading_imports_the_file_of_that_name():
    assert plugins.load("icebox.features.datasets", "digits").__name__ == "icebox.features.datasets.digits"


def test_a_near_miss_is_suggested():
    with pytest.raises(IceboxError, match=r"^heads\.logrec: no head named 'logrec'; did you mean 'logreg'\?$"):
        plugins.file("icebox.pipeline.heads", "logrec", "heads.logrec")


def test_a_far_miss_lists_what_exists():
    with pytest.raises(IceboxError, match=r"no head named 'zzz'; there are: blobs, boxes, centroid, .*logreg"):
        plugins.file("icebox.pipeline.heads", "zzz")


@pytest.fixture
def own(tmp_path, monkeypatch):
    """A working folder with a head of its own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(importlib.import_module("icebox.pipeline.heads"), "__path__", [*heads_path()])
    (tmp_path / "plugins/heads").mkdir(parents=True)
    (tmp_path / "plugins/heads/majority.py").write_text("def build(): return 'mine'\n")
    yield tmp_path / "plugins/heads"
    sys.modules.pop("icebox.pipeline.heads.majority", None)


def heads_path() -> list[str]:
    return list(importlib.import_module("icebox.pipeline.heads").__path__)


def test_a_projects_own_plugin_is_found_beside_those_of_icebox(own):
    assert {"majority", "logreg"} <= set(plugins.names("icebox.pipeline.heads"))
    assert plugins.file("icebox.pipeline.heads", "majority") == own / "majority.py"
    module = plugins.load("icebox.pipeline.heads", "majority")
    assert module.__name__ == "icebox.pipeline.heads.majority"
    assert module.build() == "mine"
    assert "majority" not in plugins.names("icebox.features.backbones")


def test_an_own_plugin_with_the_name_of_one_of_iceboxs_is_an_error(own):
    (own / "knn.py").write_text("")
    with pytest.raises(IceboxError, match=r"plugins/heads/knn\.py: a head named 'knn' comes with Icebox; give"):
        plugins.names("icebox.pipeline.heads")
