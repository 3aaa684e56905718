from graphlib import TopologicalSorter

import grimp
import pytest


@pytest.fixture(scope="module")
def graph():
    return grimp.build_graph("icebox", cache_dir=None)


@pytest.mark.parametrize("package", ["icebox.features", "icebox.pipeline"])
def test_no_modules_import_each_other_in_a_circle(graph, package):
    modules = {name for name in graph.modules if name.startswith(f"{package}.")}
    assert len(modules) > 50
    imports = {name: graph.find_modules_directly_imported_by(name) & modules for name in modules}
    TopologicalSorter(imports).prepare()  # raises CycleError, which names the circle
