"""Measure wall-clock and processor seconds."""

import resource
import time


class Clock:
    """A context whose `seconds` are {"wall_s": …, "cpu_s": …}: of all threads, and of children that ended."""

    def __enter__(self) -> "Clock":
        self._started = time.perf_counter(), processor_s()
        return self

    def __exit__(self, *_: object) -> None:
        wall, cpu = self._started
        self.seconds = {"wall_s": time.perf_counter() - wall, "cpu_s": processor_s() - cpu}


def processor_s() -> float:
    """Processor seconds of this process and its ended children."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(each.ru_utime + each.ru_stime for each in used)
