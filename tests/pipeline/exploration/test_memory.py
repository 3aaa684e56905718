"""Memory of what `look` does with many items, under a limit on a process's data."""

import subprocess
import sys

LIMITED = """
import resource
import numpy as np
from icebox.pipeline.exploration import feature_space
random = np.random.default_rng(0)
train, tests = random.normal(size=(50_000, 8)).astype(np.float32), random.normal(size=(1000, 8)).astype(np.float32)
status = dict(line.split(":", 1) for line in open("/proc/self/status"))
used_bytes = int(status["VmData"].split()[0]) * 1024
resource.setrlimit(resource.RLIMIT_DATA, (used_bytes + (640 << 20), -1))
positions, cosines = feature_space.nearest_neighbors(tests, train)
print(positions.shape, float(cosines.min()) > 0.9)
"""


def test_the_nearest_of_a_large_train_are_found_in_blocks_of_bounded_memory() -> None:
    ended = subprocess.run([sys.executable, "-c", LIMITED], capture_output=True, text=True, check=False)
    assert ended.stdout == "(1000, 3) True\n", ended.stderr[-500:]
