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
    written = {str(path.relative_to(check.paths.PLAN)) for path in check.paths.PLAN.rglob("*.txt")}
    assert {f"stages/{name}.txt" for name in check.stages()} <= written
    assert {"heads/logreg.txt", "backbones/minilm.txt", "datasets/digits.txt", "stores/digits-pixels.txt"} <= written
