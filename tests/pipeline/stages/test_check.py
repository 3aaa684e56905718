import pytest

from icebox.features import plugins
from icebox.pipeline.config import loader
from icebox.pipeline.project import stamps
from icebox.pipeline.stages import check
from tests.conftest import PROJECT


def stamp_of(stage: str, monkeypatch, *changed: str) -> str:
    """A stage's stamp, as if the files of these modules had changed."""
    files, known = {stamps.source(name) for name in changed}, stamps.fingerprint.of_file
    with monkeypatch.context() as patch:
        patch.setattr(stamps.fingerprint, "of_file", lambda path: "new" if path in files else known(path))
        return check.stages()[stage]


def test_every_stage_but_check_itself_has_a_stamp():
    assert set(check.stages()) == set(plugins.names("icebox.pipeline.stages")) - {"check"}


def test_the_report_has_a_stamp_of_its_own(monkeypatch):
    assert stamp_of("report", monkeypatch, "icebox.pipeline.report.sections") != stamp_of("report", monkeypatch)
    assert stamp_of("fit", monkeypatch, "icebox.pipeline.report.sections") == stamp_of("fit", monkeypatch)


def test_the_reports_templates_and_scripts_are_in_its_stamp():
    files = {path.name for path in stamps.closure(stamps.source("icebox.pipeline.stages.report"))}
    assert {"leaderboard.jinja", "charts.js"} <= files


def test_the_stamp_of_fit_changes_with_what_makes_its_results_and_not_with_what_reads_params(monkeypatch):
    before = stamp_of("fit", monkeypatch)
    for name in (
        "icebox.pipeline.config.loader",
        "icebox.pipeline.project.paths",
        "icebox.pipeline.heads.knn",
        "icebox.pipeline.report.render",
    ):
        assert stamp_of("fit", monkeypatch, name) == before, name
    for name in (
        "icebox.pipeline.fitting.search",
        "icebox.pipeline.evaluation.metrics",
        "icebox.pipeline.stages.fit",
        "icebox.features.text.pairs",
    ):
        assert stamp_of("fit", monkeypatch, name) != before, name


def test_stamps_are_written_where_dvc_looks_for_them(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    params = PROJECT / "params.yaml"
    check.run(loader.load(params))
    written = {str(path.relative_to(check.paths.PLAN)) for path in check.paths.PLAN.rglob("*") if path.is_file()}
    assert {f"stages/{name}.txt" for name in check.stages()} <= written
    assert {
        "heads/logreg.txt",
        "backbones/minilm.txt",
        "datasets/digits.txt",
        "fit/digits-pixels.json",
        "extract/digits-pixels.json",
    } <= written


PARAMS = """
datasets: {photos: {source: image_folder, path: raw}}
backbones: {pixels: {}}
stores: {photos-pixels: {dataset: photos, backbone: pixels}}
heads: {knn: {}}
"""


def stamped(tmp_path, monkeypatch, text: str) -> dict[str, str]:
    """The stamps of a params file."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "params.yaml").write_text(text)
    check.run(loader.load())
    return {
        str(path.relative_to(check.paths.PLAN)): path.read_text()
        for path in check.paths.PLAN.rglob("*")
        if path.is_file()
    }


@pytest.mark.parametrize(
    ("change", "reruns"),
    [
        ("run: {workers: 7, batch_size: 3, device: cpu}", set()),  # how to run, not what
        ("fit: {choose: accuracy}", set()),  # its default
        (
            "inputs: {photos-pixels/few: {labels_per_class: 5}}",
            {"fit/photos-pixels/few.json"},
        ),
        ("fit: {choose: f1_macro}", {"fit/photos-pixels.json"}),
        ("fit: {seed: 1}", {"fit/photos-pixels.json", "look/photos-pixels.json"}),
    ],
)
def test_a_setting_changes_the_stamps_of_what_it_determines_and_no_others(tmp_path, monkeypatch, change, reruns):
    before, after = stamped(tmp_path, monkeypatch, PARAMS), stamped(tmp_path, monkeypatch, PARAMS + change)
    assert {name for name in before | after if before.get(name) != after.get(name)} == reruns


@pytest.mark.parametrize(
    ("old", "new", "reruns"),
    [
        ("knn: {}", "knn: {n_neighbors: 3}", {"heads/knn.json"}),
        ("pixels: {}", "pixels: {size: 4}", {"backbones/pixels.json"}),
        # bundles keep how their dataset is read
        ("path: raw}", "path: raw, group: x}", {"datasets/photos.json", "fit/photos-pixels.json"}),
        ("path: raw}", "path: raw, split: {val: 0.2}}", set()),
        ("path: raw}", "path: raw, on_error: skip}", {"extract/photos-pixels.json"}),
        ("backbone: pixels}", "backbone: pixels, stored: float32}", {"extract/photos-pixels.json"}),
        (
            "backbone: pixels}",
            "backbone: pixels, input: {class_weights: {1: 2.0, b: 1.0}}}",
            {"fit/photos-pixels.json"},
        ),
    ],
)
def test_a_key_of_an_entry_changes_that_entrys_stamp(tmp_path, monkeypatch, old, new, reruns):
    before = stamped(tmp_path, monkeypatch, PARAMS)
    after = stamped(tmp_path, monkeypatch, PARAMS.replace(old, new))
    assert {name for name in before | after if before.get(name) != after.get(name)} == reruns


def test_a_key_that_is_new_stands_in_no_stamp_until_it_is_used(tmp_path):
    path = tmp_path / "params.yaml"
    path.write_text((PROJECT / "params.yaml").read_text())
    (first, *_) = check.settings(loader.load(path))["fit"].values()
    assert set(first["fit"]) == {
        "choose", "seed", "seeds", "search", "folds", "refit", "calibrate", "labels_per_class", "class_weights",
    }  # fmt: skip
    path.write_text(
        path.read_text().replace("unfreeze:", "fit: {decide: f1_macro}\n# unfreeze:").split("\n  glyphnet-tuned")[0]
    )
    (first, *_) = check.settings(loader.load(path))["fit"].values()
    assert first["fit"]["decide"] == "f1_macro"
