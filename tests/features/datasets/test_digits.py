import subprocess
import sys
from collections import Counter

import numpy as np
import pytest
from sklearn.datasets import load_digits

from icebox.features.datasets.digits import Source
from icebox.features.errors import IceboxError


def test_the_digits_are_scikit_learns_in_its_order_on_a_scale_of_255():
    trusted = load_digits()
    source = Source()
    items = list(source.items())
    assert [item.label for item in items] == [str(label) for label in trusted.target]
    read = np.stack([source.read(item.source) for item in items])
    assert read.dtype == np.uint8
    assert np.array_equal(read, trusted.images.astype(int) * 255 // 16)


def test_ids_are_unique_and_every_class_is_there():
    items = list(Source().items())
    assert len({item.item_id for item in items}) == len(items) == 1797
    assert (items[0].item_id, items[-1].item_id) == ("digits-0000", "digits-1796")
    assert Counter(item.label for item in items)["8"] == 174


def test_levels_of_ink_stay_apart():
    source = Source()
    assert np.unique(np.stack([source.read(str(row)) for row in range(200)])).tolist() == [
        ink * 255 // 16 for ink in range(17)
    ]


@pytest.mark.parametrize("source", ["1797", "-1", "one", ""])
def test_rows_that_are_not_there_are_refused(source):
    with pytest.raises(IceboxError, match="from 0 to 1796"):
        Source().read(source)


def test_reading_does_not_cost_an_import_of_scikit_learn():
    lines = "import sys", "from icebox.features.datasets import digits", "digits.load_table()"
    code = "; ".join((*lines, "sys.exit('sklearn' in sys.modules)"))
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_missing_scikit_learn_is_named(monkeypatch):
    from icebox.features.datasets import digits

    monkeypatch.setattr(digits.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(IceboxError, match="pip install scikit-learn"):
        digits.load_table.__wrapped__()
