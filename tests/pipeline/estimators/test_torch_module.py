"""What an unfrozen network's bundle holds: a torch head that scikit-learn and joblib can handle."""

import joblib
import numpy as np
import pytest
import torch
from torch import nn

from icebox.pipeline.estimators.torch_module import ModuleClassifier, ModuleRegressor, ModuleSets

X = np.random.default_rng(0).normal(size=(12, 5)).astype(np.float32)
CLASSES = np.arange(12) % 3


def module(outputs: int) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(5, 4), nn.ReLU(), nn.Linear(4, outputs))


@pytest.mark.parametrize(("family", "outputs"), [(ModuleClassifier, 3), (ModuleRegressor, 1), (ModuleSets, 3)])
def test_equal_heads_are_equal_files_that_predict_what_they_did(family, outputs, tmp_path):
    files = []
    for name in ("one", "other"):
        head = family(module(outputs)).fit(X, np.eye(3)[CLASSES] if family is ModuleSets else CLASSES)
        joblib.dump(head, tmp_path / name)
        files.append((tmp_path / name).read_bytes())
        np.testing.assert_array_equal(joblib.load(tmp_path / name).predict(X), head.predict(X))
    assert files[0] == files[1]


def test_probabilities_are_those_of_the_module():
    head = ModuleClassifier(module(3)).fit(X, CLASSES)
    with torch.no_grad():
        expected = torch.softmax(module(3)(torch.from_numpy(X)).double(), 1)
    np.testing.assert_allclose(head.predict_proba(X), expected)
    assert (head.predict(X) == expected.argmax(1).numpy()).all()
