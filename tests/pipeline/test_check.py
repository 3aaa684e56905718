from pathlib import Path

from pipeline.stages import check


def test_a_stamp_changes_with_the_file_and_with_what_it_imports_of_ours():
    glyphnet = check.imported(Path("features/backbones/glyphnet.py"))
    assert {"base.py", "capture.py", "glyphs.py", "decode.py"} <= {path.name for path in glyphnet}
    assert check.code_of(Path("features/plugins.py")) != check.code_of(Path("features/errors.py"))


def test_a_head_hangs_on_its_own_file_and_on_what_that_imports():
    assert {path.name for path in check.imported(Path("pipeline/heads/gaussian_nb.py"))} == {"preprocess.py"}
    assert {path.name for path in check.imported(Path("pipeline/heads/knn.py"))} == {"preprocess.py"}
