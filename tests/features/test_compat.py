import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from icebox.features import compat

FAILING_FIRST = """
try:
    import torchvision
except RuntimeError:
    pass
from icebox.features import compat
assert compat.allow_mismatched_torchvision() is compat.allow_mismatched_torchvision()
import torchvision.transforms.v2
assert torchvision.models.squeezenet1_1(weights=None) is not None
"""


def run(code: str) -> None:
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.slow
def test_torchvision_imports_even_after_it_failed_once():
    run(FAILING_FIRST)


def test_importing_the_cure_does_not_import_torch():
    run("import sys, icebox.features.compat; assert 'torch' not in sys.modules")


def test_a_compiled_part_that_does_not_load_is_broken(tmp_path):
    (tmp_path / "_C.so").write_bytes(b"not a library")
    assert compat.is_broken(tmp_path / "_C.so")


def test_a_compiled_part_that_loads_is_left_alone():
    assert not compat.is_broken(Path(np._core._multiarray_umath.__file__))


def test_no_torchvision_is_nothing_to_mend():
    assert not compat.is_broken(None)


WITHOUT_COMPILER = """
import sys
from icebox.features import compat
from icebox.features.weights import torchvision_models
for name in ("resnet18", "squeezenet1_1", "vit_b_32", "efficientnet_b0", "mnasnet0_5", "swin_t"):
    network = torchvision_models.build_empty(name, {"crop": [224]})
    assert sum(parameter.is_meta for parameter in network.parameters()) > 40, name
assert not {"sympy", "torch._dynamo", "torch._dynamo.utils"} & sys.modules.keys()
assert compat.is_compile_supported("mps") is False  # by torch's own function
assert "torch._dynamo.eval_frame" in sys.modules
"""


@pytest.mark.slow
def test_a_network_of_torchvision_is_built_without_torchs_compiler():
    run(WITHOUT_COMPILER)
