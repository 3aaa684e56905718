from pathlib import Path

from pipeline.stages import check


def test_a_stamp_changes_with_the_file_and_with_what_it_imports_of_ours():
    glyphnet = check.imported(Path("features/backbones/glyphnet.py"))
    assert {"base.py", "capture.py", "glyphs.py", "decode.py"} <= {path.name for path in glyphnet}
    assert check.code_of(Path("features/plugins.py")) != check.code_of(Path("features/errors.py"))


def test_a_head_hangs_on_its_own_file_and_on_what_that_imports():
    assert {path.name for path in check.imported(Path("pipeline/heads/gaussian_nb.py"))} == {"preprocess.py"}
    assert {path.name for path in check.imported(Path("pipeline/heads/knn.py"))} == {"preprocess.py"}


def stamp_of(stage: str) -> str:
    return check.code_of(Path(check.__file__).with_name(f"{stage}.py"), aside=check.OF_PARAMS)


def test_the_report_has_a_stamp_of_its_own(monkeypatch):
    before = {stage: stamp_of(stage) for stage in check.STAMPED}
    known, findings = check.fingerprint.of_file, Path(check.__file__).parents[1] / "findings.py"
    monkeypatch.setattr(check.fingerprint, "of_file", lambda path: "new" if path == findings else known(path))
    assert stamp_of("report") != before["report"]
    assert stamp_of("fit") == before["fit"]


def test_the_stamp_of_fit_changes_with_what_makes_its_results_and_not_with_what_reads_params(tmp_path, monkeypatch):
    def stamp(*names: str) -> str:
        check.imported.cache_clear()
        known = check.fingerprint.of_file
        changed = {Path(check.plugins.folder(name)).with_suffix(".py") for name in names}
        monkeypatch.setattr(check.fingerprint, "of_file", lambda path: "new" if path in changed else known(path))
        made = stamp_of("fit")
        monkeypatch.undo()
        return made

    assert stamp() == stamp("pipeline.config", "pipeline.paths", "pipeline.heads.knn", "pipeline.report")
    for name in ("pipeline.search", "pipeline.metrics", "pipeline.stages.fit", "features.pairs"):
        assert stamp() != stamp(name), name
