"""Numbers below 1e-38, too small for the usual form of float32, take Intel's processors a hundred times longer."""

from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def flushed() -> Iterator[None]:
    """While this lasts, this thread's torch takes them for 0.

    A softmax gives such probabilities to classes that are out of the question, and the gradients hold them too:
    training 24 linear heads took 3.5 times as long. Torch can't say how it was set; it is not, unless somebody did.
    """
    import torch

    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(False)
