"""A manifest of 100,000 items is listed, split, checked, written, read and planned for in a bounded address space."""

import os
import subprocess
import sys

import pytest

from tests.conftest import PROJECT

BUDGET_BYTES = 130 << 20  # beyond what the imports take; 55 of them are there at 10,000 items, too
CODE = f"""
import resource
from pathlib import Path

import numpy as np
import pyarrow.compute
import pyarrow.parquet

from icebox.features.abc.dataset import Dataset, Item
from icebox.features.extraction import plan
from icebox.features.manifest import manifest
from icebox.features.manifest.build import build
from icebox.features.manifest.leakage import resolve_leakage
from icebox.features.manifest.split_sizes import split_remarks
from icebox.features.store.shard_cache.item_keys import ItemKeys
from icebox.features.store.shards import Shard

N = 100_000


class Made(Dataset):
    modality = "text"

    def items(self):
        for i in range(N):
            yield Item(item_id=f"folder/{{i:06}}", source=f"bytes:{{i}}:30:data/raw/t.csv", label=f"c{{i % 50}}")

    def read(self, source):
        return source * 40


with open("/proc/self/status") as status:
    kilobytes = next(int(line.split()[1]) for line in status if line.startswith("VmSize"))
resource.setrlimit(resource.RLIMIT_AS, (kilobytes * 1024 + {BUDGET_BYTES},) * 2)
rows = build(Made(), val=0.1, test=0.1, seed=0, stratify=True)
rows, findings = resolve_leakage(rows, leakage="error", conflicts="keep")
split_remarks(rows, "classification")
manifest.write(Path("m.parquet"), rows)
assert manifest.read(Path("m.parquet")).split_counts() == rows.split_counts()
planned = plan.of(rows, ["identity", "hflip"], Made().read)
for i, part in enumerate(planned.parts(4096)):
    keys = ItemKeys.of(item.key for item in part)
    planned.add(Shard(Path(f"shard-{{i}}.h5"), "f", keys, {{}}, {{}}, {{}}))
assert not len(planned.missing)
places = planned.places("hflip", np.arange(N))
assert len(places) == N and places.shard_of.min() > 0
print(len(rows))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="/proc tells the address space on Linux")
@pytest.mark.slow
def test_a_hundred_thousand_items_take_megabytes(tmp_path):
    pythonpath = os.pathsep.join([str(PROJECT), os.environ.get("PYTHONPATH", "")])
    # other allocators reserve address space ahead
    pool = {"ARROW_DEFAULT_MEMORY_POOL": "system", "MALLOC_ARENA_MAX": "1"}
    environment = os.environ | pool | {"PYTHONPATH": pythonpath}
    done = subprocess.run(
        [sys.executable, "-c", CODE], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout == "100000\n"
