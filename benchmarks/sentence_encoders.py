"""Encoder("minilm") against sentence-transformers' own encode(), text by text.

    python -m benchmarks.sentence_encoders [FILE]

FILE has a text a line; by default 1,000 docstrings of the libraries that are installed, of a word to several pages, so
that some are cut. Both read the same folder of weights. sentence-transformers comes from .venv-bench (`make
bench-env`), or from the environment of this process where it is installed there.
"""

import importlib.util
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from icebox.features.weights import sources
from icebox.pipeline.inference.encoder import Encoder
from icebox.pipeline.project import backbone_names

TEXTS = 1000
PEER = Path(".venv-bench/bin/python")


def docstrings() -> list[str]:
    """1,000 different docstrings, drawn from all that the source `docstrings` lists."""
    from icebox.features.datasets.docstrings import Source

    source = Source()
    texts = sorted({str(source.read(item.source)) for item in source.items()})
    return [texts[i] for i in np.random.default_rng(0).permutation(len(texts))[:TEXTS]]


def peer(model: str, texts: str, out: str) -> None:
    """Encode the texts with sentence-transformers; runs in its environment."""
    from icebox.features.compat import allow_mismatched_torchvision

    allow_mismatched_torchvision()
    from sentence_transformers import SentenceTransformer

    np.save(out, SentenceTransformer(model, device="cpu").encode(np.load(texts).tolist()))


def main(file: str | None = None) -> None:
    """Print the lowest cosine and the largest difference of any number."""
    texts = docstrings() if file is None else Path(file).read_text(encoding="utf-8").splitlines()
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        ours = Encoder("minilm", precision="float32", cache=work / "cache").fit_transform(texts)
        np.save(work / "texts.npy", np.array(texts))
        python = sys.executable if importlib.util.find_spec("sentence_transformers") else str(PEER)
        model = sources.find_in_package(backbone_names.MINILM_PACKAGE)
        arguments = ["peer", str(model), str(work / "texts.npy"), str(work / "theirs.npy")]
        subprocess.run([python, "-m", "benchmarks.sentence_encoders", *arguments], check=True)
        theirs = np.load(work / "theirs.npy")
    lengths = np.linalg.norm(ours, axis=1) * np.linalg.norm(theirs, axis=1)
    cosines = (ours * theirs).sum(1) / lengths
    print(f"{len(texts)} texts: cosine {cosines.min():.7f} at least, numbers {np.abs(ours - theirs).max():.1e} apart")


if __name__ == "__main__":
    if sys.argv[1:2] == ["peer"]:
        peer(*sys.argv[2:5])
    else:
        main(*sys.argv[1:2])
