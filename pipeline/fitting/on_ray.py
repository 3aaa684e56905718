"""The fits of a search on Ray, by joblib's backend for it: where `run.engine` is ray."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, chdir, contextmanager, nullcontext
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import joblib

from icebox.features import plugins
from icebox.pipeline.config.schema import EngineName

# not joblib's own setting, by which what estimators do in parallel would go there too
_connections: ContextVar[ExitStack | None] = ContextVar("connections of searches to Ray", default=None)


@contextmanager
def searches(engine: EngineName) -> Iterator[None]:
    """Within this context searches of several fits run on Ray, if that is the engine."""
    if engine != "ray":
        yield
        return
    with ExitStack() as stack:
        token = _connections.set(stack)
        try:
            yield
        finally:
            _connections.reset(token)


def is_active() -> bool:
    """Whether searches run on Ray now."""
    return _connections.get() is not None


def parallel() -> joblib.Parallel:
    """joblib's Parallel on all cores of the cluster, which is connected to. Raises IceboxError where it can't be."""
    from icebox.features.engines import ray_cluster

    ray, stack = ray_cluster.library(), _connections.get()
    assert stack is not None
    stack.enter_context(ray_cluster.connected(ray))
    from ray.util.joblib import register_ray

    register_ray()
    return joblib.Parallel(-1, backend="ray")


@dataclass(frozen=True)
class Sent:
    """A function of two arguments that was sent to the cluster once, features and all, and runs wherever it is called.

    `project` is the working folder, which may have plugins.
    """

    reference: Any
    project: Path

    @classmethod
    def of(cls, function: Callable[[Any, Any], Any]) -> "Sent":
        """Send a function."""
        import ray

        return cls(ray.put(function), Path.cwd())

    def __call__(self, first: Any, second: Any) -> Any:
        """Call it, with plugins of the project's own importable where its folder is on this machine."""
        import ray

        with chdir(self.project) if self.project.is_dir() else nullcontext():
            for kind in plugins.KINDS:
                plugins.add_own(f"icebox.{'pipeline' if kind == 'heads' else 'features'}.{kind}")
            return ray.get(self.reference)(first, second)
