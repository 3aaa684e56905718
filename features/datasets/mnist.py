"""MNIST: 60,000 + 10,000 handwritten digits, 28×28 grey (LeCun, Cortes and Burges 1998), in torchvision's files."""

from collections.abc import Iterator
from pathlib import Path

from icebox.features.abc.dataset import Content, Dataset, Item, Modality
from icebox.features.buckets.path import place
from icebox.features.datasets.readers.idx import IdxDataset


class Source(Dataset):
    """The published train and test splits; val is drawn from train."""

    modality: Modality = "image"

    def __init__(self, *, path: Path = Path("data/raw/mnist"), download: bool = False) -> None:
        """`path` holds `MNIST/raw/`, torchvision's layout; with `download`, torchvision fetches missing files."""
        self.files = IdxDataset("MNIST", "0123456789", place(path), download)

    def items(self) -> Iterator[Item]:
        """`train-00000` … `test-09999`, labels "0" to "9"."""
        return self.files.items()

    def read(self, source: str) -> Content:
        """uint8 (28, 28), ink bright."""
        return self.files.read(source)
