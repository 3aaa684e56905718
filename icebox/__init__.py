"""Icebox: pass a dataset once through frozen backbones; then train, swap and compare heads from the stored features."""

import importlib
import logging
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from icebox.features.extraction.extract import extract
    from icebox.features.joining.joined_store import open_store
    from icebox.features.store.feature_store import FeatureStore
    from icebox.pipeline.inference.encoder import Encoder
    from icebox.pipeline.inference.fitted_head import load

__version__ = "0.2.0"
__all__ = ["Encoder", "FeatureStore", "__version__", "extract", "load", "open_store"]

MODULES = {  # name → module, imported when the name is first used: torch alone takes two seconds
    "Encoder": "icebox.pipeline.inference.encoder",
    "FeatureStore": "icebox.features.store.feature_store",
    "extract": "icebox.features.extraction.extract",
    "load": "icebox.pipeline.inference.fitted_head",
    "open_store": "icebox.features.joining.joined_store",
}


logging.getLogger("icebox").addHandler(logging.NullHandler())  # who uses the library says where its lines go


def __getattr__(name: str) -> Any:
    if name not in MODULES:
        raise AttributeError(f"module 'icebox' has no attribute '{name}'")
    value = globals()[name] = getattr(importlib.import_module(MODULES[name]), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
