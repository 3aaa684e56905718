"""The notebook of the library runs from its first cell to its last, offline, and prints what it shows."""

import os
import sys
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

from docs.builder import notebook, site

ALONE = {"HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}  # no network; and threads only cost time on so few items


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of the kernel's client
@pytest.mark.slow
def test_the_notebook_runs_and_prints_what_it_shows(tmp_path, monkeypatch):
    for name, value in ALONE.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")  # where `icebox` is
    kept = nbformat.read(site.DOCS / "library.ipynb", as_version=4)
    fresh = nbformat.from_dict(kept)
    NotebookClient(fresh, timeout=600, resources={"metadata": {"path": str(tmp_path)}}).execute()
    for before, after in zip(kept.cells, fresh.cells, strict=True):
        if "!icebox" not in before.source:  # which prints seconds
            assert notebook.cell_as_markdown(after) == notebook.cell_as_markdown(before)


def test_a_notebook_becomes_a_page_with_code_and_what_it_printed(tmp_path):
    code = nbformat.v4.new_code_cell("print(1)\n2")
    code.outputs = [
        nbformat.v4.new_output("stream", name="stderr", text="a warning"),
        nbformat.v4.new_output("stream", name="stdout", text="1\n"),
        nbformat.v4.new_output("execute_result", data={"text/plain": "2"}),
    ]
    cells = [nbformat.v4.new_markdown_cell("# Title"), code, nbformat.v4.new_code_cell("x = 1")]
    nbformat.write(nbformat.v4.new_notebook(cells=cells), tmp_path / "a.ipynb")
    assert notebook.as_markdown(tmp_path / "a.ipynb") == (
        "# Title\n\n```python\nprint(1)\n2\n```\n\n```text\n1\n2\n```\n\n```python\nx = 1\n```\n"
    )
