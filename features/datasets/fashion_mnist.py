"""Fashion-MNIST: 60,000 + 10,000 pieces of clothing, 28×28 grey (arXiv 1708.07747), in torchvision's files."""

from collections.abc import Iterator
from pathlib import Path

from icebox.features.abc.dataset import Content, Dataset, Item, Modality
from icebox.features.buckets.path import place
from icebox.features.datasets.readers.idx import IdxDataset

CLASSES = (
    "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot",
)  # fmt: skip


class Source(Dataset):
    """The published train and test splits; val is drawn from train."""

    modality: Modality = "image"

    def __init__(self, *, path: Path = Path("data/raw/fashion_mnist"), download: bool = False) -> None:
        """`path` holds `FashionMNIST/raw/`, torchvision's layout; `download` lets torchvision fetch missing files."""
        self.files = IdxDataset("FashionMNIST", CLASSES, place(path), download)

    def items(self) -> Iterator[Item]:
        """`train-00000` … `test-09999`, labelled with the classes' names."""
        return self.files.items()

    def read(self, source: str) -> Content:
        """uint8 (28, 28), the piece bright."""
        return self.files.read(source)
