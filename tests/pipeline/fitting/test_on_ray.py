"""A search on Ray gives the scores of one in threads."""

import pytest

from icebox.pipeline.cli.app import main
from icebox.pipeline.fitting import on_ray
from icebox.pipeline.project import paths

ray = pytest.importorskip("ray", reason="needs icebox[ray]")
pytestmark = pytest.mark.filterwarnings("ignore")
PARAMS = """
datasets: {digits: {}}
backbones: {pixels: {size: 4}}
stores: {digits: {dataset: digits, backbone: pixels}}
heads:
  logreg: {C: [0.01, 1.0, 100.0], max_iter: 20}
fit: {folds: 3}  # each candidate goes on from the last: one job a fold
"""


@pytest.mark.slow
def test_the_scores_and_the_table_are_those_of_threads(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("RAY_ADDRESS", "local")
    (tmp_path / "params.yaml").write_text(PARAMS)
    for command in (["manifest", "digits"], ["fetch", "pixels"], ["extract", "digits"]):
        assert main(command) == 0
    results = []
    used = []
    monkeypatch.setattr(on_ray, "parallel", lambda parallel=on_ray.parallel: used.append(1) or parallel())
    for run in ("", "run: {engine: ray}\n"):
        (tmp_path / "params.yaml").write_text(PARAMS + run)
        assert main(["fit", "digits/logreg"]) == 0
        assert not on_ray.is_active()
        assert not ray.is_initialized()
        predictions = paths.predictions("digits", "logreg").read_bytes()
        results.append((predictions, without_seconds(paths.details("digits", "logreg").read_text())))
    assert results[0] == results[1]
    assert used == [1]


def without_seconds(text: str) -> list[str]:
    return [line for line in text.splitlines() if "fit_s" not in line and "peak" not in line]
