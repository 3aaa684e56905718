"""The peak memory of this process."""

import resource
import sys
from pathlib import Path


def peak_bytes() -> int:
    """The most memory resident at once since the process began: its arrays, but libraries and touched pages of
    memory-mapped files too."""
    status = Path("/proc/self/status")
    if status.exists():  # getrusage would count what the process that started this one held
        high = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM:"))
        return int(high.split()[1]) * 1024
    unit_bytes = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit_bytes
