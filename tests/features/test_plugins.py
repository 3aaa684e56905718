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
    with pytest.raises(IceboxError, match=r"no head named 'zzz'; there are: centroid, .*logreg"):
        plugins.file("icebox.pipeline.heads", "zzz")
