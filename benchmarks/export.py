"""Exports against the heads they were made of: answers on all test items, and pictures or texts a second on one core.

    python benchmarks/export.py STORE/HEAD=FOLDER …

Run in a project's folder; each FOLDER is an export of that head. Times are medians of ROUNDS rounds, in which torch
(float32, the backbone's own encode and the head) and ONNX Runtime take turns, each with one thread. Of items that are
prepared: decoding and resizing are the same for both.
"""

import os

os.environ["OMP_NUM_THREADS"] = "1"

import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from icebox.pipeline.export import check
from icebox.pipeline.exported import folder
from icebox.pipeline.exported.model import ExportedBackbone
from icebox.pipeline.exported.session import GraphSession
from icebox.pipeline.inference import item_features, predict
from icebox.pipeline.inference.reading.new_items import Batch

ROUNDS = 5
BATCHES = (1, 32)
SECONDS = 0.5  # of one measurement, at the least


def main(pairs: list[str]) -> None:
    """A line an export."""
    torch.set_num_threads(1)
    print("| head | test items | answers | scores apart | ONNX / torch, batch 1 | batch 32 | items/s of ONNX |")
    print("|---|---|---|---|---|---|---|")
    for pair in pairs:
        name, _, path = pair.partition("=")
        export = folder.opened(Path(path))
        model = ExportedBackbone(export, GraphSession(export.file(export.config["model"]), threads=1).run)
        head = predict.open_head(name)
        items = check.items_to_check(head.bundle, most=None)
        checked = check.check(head, model, items)
        ratios = [compare(head, model, items, batch) for batch in BATCHES]
        (one, _), (many, rate) = ratios
        print(
            f"| {name} | {checked.items:,} | equal | {checked.largest_difference:.0e} | {one:.2f} | {many:.2f} | "
            f"{rate:.0f} |",
            flush=True,
        )


def compare(head: Any, model: ExportedBackbone, items: list[Any], batch: int) -> tuple[float, float]:
    """(how many times as fast ONNX Runtime is, its items a second)."""
    contents = [item.read() for item in items[:batch]]
    own = [item_features.prepare(head.backbone, content, head.bundle.view) for content in contents]
    exported = [model.prepare(content) for content in contents]

    def by_torch() -> None:
        features = item_features.encode(head.backbone, own, head.bundle)
        predict.answer(head.bundle, Batch(items[:batch], [], contents, features))

    def by_onnx() -> None:
        model.answer(exported)

    rounds = [(seconds(by_torch), seconds(by_onnx)) for _ in range(ROUNDS)]
    ratio = statistics.median(of_torch / of_onnx for of_torch, of_onnx in rounds)
    return ratio, batch / statistics.median(of_onnx for _, of_onnx in rounds)


def seconds(run: Callable[[], None]) -> float:
    """Processor time of one run of this thread, once warm: the machine may be busy."""
    run()
    times, start = [], time.perf_counter()
    while time.perf_counter() - start < SECONDS:
        begin = time.process_time()
        run()
        times.append(time.process_time() - begin)
    return statistics.median(times)


if __name__ == "__main__":
    main(sys.argv[1:])
