"""torchvision, imported beside a torch of another build, and without torch's compiler.

PyPI's torchvision is built for CUDA; beside a CPU torch its compiled part does not load, and `import torchvision`
(with it most of `transformers`) dies of "operator torchvision::nms does not exist". It only misses the schemas of two
detection operators that nothing here uses, so declaring them is enough.

And one of its files takes a function from torch's compiler, for detectors on a GPU, which would load all of that, sympy
included: as long again as torch itself.
"""

import functools
import importlib
import importlib.util
import sys
import types
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import ModuleType

    from torch.library import Library

COMPILER = "torch._dynamo.utils"
MISSING_SCHEMAS = {  # as torchvision/csrc/ops/{nms,quantized/cpu/qnms_kernel}.cpp declare them
    "nms": "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms": "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
}


@functools.cache  # keeps the Library alive: torch takes the schemas back when it is collected
def allow_mismatched_torchvision() -> "Library | None":
    """Declare the missing schemas, so that `import torchvision` and `import transformers` work; call it before either.

    Does nothing, and returns None, where torchvision matches torch or is not installed.
    """
    import torch

    if not is_broken(extension()):
        return None
    library: Library = torch.library.Library("torchvision", "FRAGMENT")
    for name, schema in MISSING_SCHEMAS.items():
        if not hasattr(torch.ops.torchvision, name):
            library.define(schema)
    return library


def torchvision() -> "ModuleType":
    """torchvision itself, importable also beside a torch of another build."""
    allow_mismatched_torchvision()
    if "torchvision" in sys.modules or COMPILER in sys.modules:
        return importlib.import_module("torchvision")
    sys.modules[COMPILER] = stand_in = types.ModuleType(COMPILER)
    stand_in.is_compile_supported = is_compile_supported  # type: ignore[attr-defined]
    try:
        return importlib.import_module("torchvision")
    except ImportError:  # of a version that takes more
        del sys.modules[COMPILER]
        return importlib.import_module("torchvision")
    finally:
        if sys.modules.get(COMPILER) is stand_in:
            del sys.modules[COMPILER]


def is_compile_supported(device_type: str) -> bool:
    """torch's own function of this name, loaded when it is called."""
    return bool(importlib.import_module(COMPILER).is_compile_supported(device_type))


def extension() -> Path | None:
    """The compiled part of the installed torchvision, found without importing it."""
    spec = importlib.util.find_spec("torchvision")
    if spec is None or spec.origin is None:
        return None
    folder = Path(spec.origin).parent
    return next((path for path in sorted(folder.glob("_C.*")) if path.suffix in {".so", ".pyd"}), None)


def is_broken(compiled: Path | None) -> bool:
    """Whether this torch can't load torchvision's compiled part. Loading is what torchvision itself does first."""
    import torch

    if compiled is None:
        return False
    try:
        torch.ops.load_library(str(compiled))
    except OSError:
        return True
    return False
