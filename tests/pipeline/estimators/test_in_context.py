import importlib.util
import sys

import joblib
import numpy as np
import pytest

from icebox.features import plugins
from icebox.features.errors import IceboxError
from icebox.pipeline.config import plugin_schema
from tests import tables


@pytest.fixture
def weights(tmp_path, monkeypatch):
    tables.stand_in(monkeypatch)
    (tmp_path / "weights.ckpt").write_bytes(b"a checkpoint")
    return tmp_path / "weights.ckpt"


def build(name, weights, **parameters):
    return plugins.load("icebox.pipeline.heads", name).build(weights=weights, **parameters)


def rows(n=60, d=8, classes=3):
    random = np.random.default_rng(0)
    y = np.arange(n) % classes
    return (random.normal(size=(n, d)) + 4 * y[:, None]).astype(np.float32), y


@pytest.mark.parametrize("name", ["tabpfn", "tabicl"])
@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"max_items": 59},
            "takes at most 59 items to learn from, found 60; take fewer by labels_per_class, or raise",
        ),
        ({"max_columns": 7, "pca": None}, "takes at most 7 columns, found 8; set pca, or raise max_columns"),
        ({"max_classes": 2}, "takes at most 2 classes, found 3; take another head, or raise max_classes"),
    ],
)
def test_more_than_the_weights_were_made_for_is_a_line(name, options, message, weights):
    with pytest.raises(ValueError, match=message) as error:
        build(name, weights, **options).fit(*rows())
    assert str(error.value).startswith(f"{name}: ")
    assert "\n" not in str(error.value)
    assert (
        build(name, weights, **({"max_columns": 7, "pca": 7} if "pca" in options else {})).fit(*rows()).score(*rows())
        > 0.9
    )


@pytest.mark.parametrize("name", ["tabpfn", "tabicl"])
def test_weights_that_are_not_here_are_never_fetched(name, weights):
    with pytest.raises(IceboxError, match=f"{name}: weights: found no file .*they are never downloaded here"):
        build(name, weights.with_name("other.ckpt")).fit(*rows())
    file = plugins.file("icebox.pipeline.heads", name)
    with pytest.raises(IceboxError, match=f"heads.{name}.weights: missing, and it has no default"):
        plugin_schema.check(file, "build", {}, where=f"heads.{name}", grid=True)


@pytest.mark.parametrize("name", ["tabpfn", "tabicl"])
def test_a_package_that_is_missing_is_named(name, weights, monkeypatch):
    monkeypatch.delitem(sys.modules, name)
    find_spec = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda wanted: None if wanted == name else find_spec(wanted))
    with pytest.raises(IceboxError, match=rf"{name}: needs the package of this name.*pip install 'icebox\[{name}\]'"):
        build(name, weights).fit(*rows())


def test_a_saved_head_has_no_weights_and_notices_others(weights, tmp_path):
    X, y = rows()
    head = build("tabicl", weights).fit(X, y)
    joblib.dump(head, tmp_path / "head")
    assert b"KNeighbors" not in (tmp_path / "head").read_bytes()
    np.testing.assert_array_equal(joblib.load(tmp_path / "head").predict_proba(X), head.predict_proba(X))
    weights.write_bytes(b"another checkpoint")
    with pytest.raises(IceboxError, match=r"tabicl: weights: .* has changed since the head was fitted"):
        joblib.load(tmp_path / "head").predict(X)


@pytest.mark.parametrize("name", ["tabpfn", "tabicl"])
def test_values_are_a_regression(name, weights):
    X, y = rows()
    head = build(name, weights, task="regression").fit(X, 1000.0 + y)
    assert head.score(X, 1000.0 + y) > 0.9
