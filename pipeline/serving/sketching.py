"""The sketch that a server keeps of the features of its items, and writes now and then."""

import logging
import time
from pathlib import Path

import numpy as np

from icebox.features.errors import IceboxError
from icebox.pipeline.drift import sketch
from icebox.pipeline.serving.predictor import Predictor

WRITE_S = 60.0
logger = logging.getLogger("icebox")


class SketchFile:
    """A sketch that goes on from what its file holds. Written once a minute while items come, and at the end."""

    def __init__(self, path: Path, predictor: Predictor) -> None:
        """Raises IceboxError for a file of another head, or a folder that can't be written to."""
        source = predictor.sketch_source()
        if source is None:
            raise IceboxError(f"--sketch: sketches are of a store's features, which {predictor.name} has not")
        self.path = path
        self.sketch = sketch.open_for(path, source)
        self.written_s = time.monotonic()
        self.sketch.write(path) if self.sketch.count else path.parent.mkdir(parents=True, exist_ok=True)

    def add(self, features: np.ndarray) -> None:
        """Take in features (n, d)."""
        self.sketch.add(features)
        if time.monotonic() - self.written_s > WRITE_S:
            self.write()

    def write(self) -> None:
        """Write it; a disk that is full is no reason to stop answering."""
        self.written_s = time.monotonic()
        if not self.sketch.count:
            return
        try:
            self.sketch.write(self.path)
        except (OSError, IceboxError) as error:
            logger.warning("--sketch %s: can't be written: %s", self.path, error)
