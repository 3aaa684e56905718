"""Details as fit and ensemble leave them are read; damaged ones are named with what makes them anew."""

import json
from pathlib import Path

import pytest

from icebox.features.errors import IceboxError
from icebox.pipeline.evaluation import result_files

SCORED = {"n": 4, "accuracy": 0.5}


def read(tmp_path: Path, **details: object) -> dict:
    path = tmp_path / "details.json"
    path.write_text(json.dumps({"chosen": {"C": 1.0}, "settings": 2, "choose": "accuracy", **details}))
    return result_files.read_details(path, scored=SCORED, remedy="run: dvc repro fit@s-h")


def test_an_ensembles_candidates_were_not_fitted_by_it(tmp_path):
    candidates = [{"head": "a", "accuracy": 0.5}, {"head": "b", "accuracy": 0.4}]
    details = read(tmp_path, chosen={"members": ["a", "b"]}, ensemble=["a", "b"], search=candidates)
    assert details["search"] == candidates


def test_a_setting_of_a_search_has_the_seconds_that_it_took(tmp_path):
    trial = {"C": 1.0, "accuracy": 0.5, "fit_s": 0.1}
    assert read(tmp_path, search=[trial])["search"] == [trial]
    with pytest.raises(IceboxError, match=r"damaged \(expected fit_s of every setting.*run: dvc repro fit@s-h"):
        read(tmp_path, search=[{"C": 1.0, "accuracy": 0.5}])
