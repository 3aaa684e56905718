"""An exported ONNX graph by ONNX Runtime."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from icebox.features.errors import IceboxError
from icebox.features.json_files import one_line

SEVERE = 3  # onnxruntime's number for errors: warnings are of its optimizer
INSTALL = "pip install 'icebox[export]'"


class GraphSession:
    """Named arrays in, named arrays out. Raises IceboxError for a graph that ONNX Runtime can't take."""

    def __init__(self, path: Path, *, threads: int = 0) -> None:
        """`threads`: 0 are as many as there are cores."""
        try:
            import onnxruntime
        except ImportError as reason:
            raise IceboxError(f"an ONNX export runs by onnxruntime, which is not installed; run: {INSTALL}") from reason
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = SEVERE
        self.path = path
        try:
            self._session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        except Exception as reason:  # onnxruntime's own kinds, of which it has a dozen
            raise IceboxError(f"{path}: ONNX Runtime can't take this graph ({one_line(reason)})") from reason

    def run(self, outputs: Sequence[str], arrays: Mapping[str, np.ndarray]) -> list[np.ndarray]:
        """The outputs of these names. Raises IceboxError for a graph that has others, or takes no such arrays."""
        try:
            values: list[np.ndarray] = self._session.run(list(outputs), dict(arrays))
        except Exception as reason:  # onnxruntime's own kinds
            shapes = ", ".join(f"{name} {array.shape}" for name, array in arrays.items())
            raise IceboxError(f"{self.path}: can't answer {shapes} ({one_line(reason)})") from reason
        return values
