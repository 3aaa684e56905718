"""MNIST: 60,000 + 10,000 handwritten digits, 28×28 grey (LeCun, Cortes and Burges 1998), as torchvision keeps them."""

from collections.abc import Iterator
from pathlib import Path

from icebox.features.abc.dataset import Content, Dataset, Item, Modality
from icebox.features.datasets.readers.idx import IdxDataset


class Source(Dataset):
    """Its own train and test; val is drawn from train."""

    modality: Modality = "image"

    def __init__(self, *, path: Path = Path("data/raw/mnist"), download: bool = False) -> None:
        """`path` holds `MNIST/raw/`, torchvision's layout; `download` lets torchvision fill it where it is empty."""
        self.files = IdxDataset("MNIST", "0123456789", Path(path), download)

    def items(self) -> Iterator[Item]:
        """`train-00000` … `test-09999`, labels "0" to "9"."""
        return self.files.items()

    def read(self, source: str) -> Content:
        """uint8 (28, 28), ink bright."""
        return self.files.read(source)
