"""Time other tools that turn images or texts into features.

    .venv-bench/bin/python -m benchmarks.peers TOOL FOLDER|FILE

Prints the seconds, as JSON, from file names (or texts) to a saved array; loading the model and one warm-up batch are
left out. Image networks have random weights, which are as fast as real ones.
"""

import json
import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

from benchmarks.clock import Clock
from icebox.features.compat import allow_mismatched_torchvision

BATCH = 32


def img2vec(files: list[Path]) -> Callable[[], np.ndarray]:
    """img2vec_pytorch: lists of Pillow images, its own transforms, float32."""
    import torch
    import torchvision
    from PIL import Image

    folder = Path(tempfile.mkdtemp())  # it always downloads weights; here it finds random ones in torch's cache
    os.environ["TORCH_HOME"] = str(folder)
    file = folder / "hub/checkpoints/resnet18-f37072fd.pth"
    file.parent.mkdir(parents=True)
    torch.save(torchvision.models.resnet18(weights=None).state_dict(), file)
    from img2vec_pytorch import Img2Vec

    tool = Img2Vec(model="resnet18")

    def run() -> np.ndarray:
        batches = [files[i : i + BATCH] for i in range(0, len(files), BATCH)]
        return np.concatenate([tool.get_vec([Image.open(f).convert("RGB") for f in batch]) for batch in batches])

    return run


def timm(files: list[Path]) -> Callable[[], np.ndarray]:
    """timm's defaults: its dataset, its loader with the model's own transforms, float32."""
    import timm as library
    import torch
    from timm.data import create_dataset, create_loader, resolve_data_config

    model = library.create_model("resnet18", pretrained=False, num_classes=0).eval()
    config = resolve_data_config({}, model=model)

    def run() -> np.ndarray:
        dataset = create_dataset("", root=str(files[0].parent))
        loader = create_loader(
            dataset, batch_size=BATCH, use_prefetcher=False, num_workers=1, device=torch.device("cpu"), **config
        )
        with torch.inference_mode():
            return np.concatenate([model(images).numpy() for images, _ in loader])

    return run


def loader(files: list[Path]) -> Callable[[], np.ndarray]:
    """A plain loop: torchvision's network and transforms, a DataLoader, float32."""
    import torch
    import torchvision
    from PIL import Image

    weights = torchvision.models.ResNet18_Weights.DEFAULT
    model = torchvision.models.resnet18(weights=None).eval()
    model.fc = torch.nn.Identity()
    transform = weights.transforms()

    class Pictures(torch.utils.data.Dataset):  # type: ignore[type-arg]
        def __len__(self) -> int:
            return len(files)

        def __getitem__(self, i: int) -> torch.Tensor:
            return transform(Image.open(files[i]).convert("RGB"))

    def run() -> np.ndarray:
        batches = torch.utils.data.DataLoader(Pictures(), batch_size=BATCH, num_workers=1)
        with torch.inference_mode():
            return np.concatenate([model(batch).numpy() for batch in batches])

    return run


def sentences(files: list[Path]) -> Callable[[], np.ndarray]:
    """sentence-transformers' encode() with its defaults, on MiniLM from a folder named by MINILM."""
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(os.environ["MINILM"], device="cpu")
    texts = files[0].read_text().splitlines()
    return lambda: model.encode(texts)


TOOLS = {"img2vec": img2vec, "timm": timm, "loader": loader, "sentences": sentences}


def main(tool: str, source: str) -> None:
    """Time one tool."""
    allow_mismatched_torchvision()
    path = Path(source)
    files = sorted(path.rglob("*.jpg")) if path.is_dir() else [path]
    small = files[:BATCH] if len(files) > 1 else files
    if tool != "timm":
        TOOLS[tool](small)()
    run = TOOLS[tool](files)
    with Clock() as clock:
        np.save(Path(tempfile.mkdtemp()) / "icebox.features.npy", run())
    print(json.dumps(clock.seconds))


if __name__ == "__main__":
    main(*sys.argv[1:])
