"""Fuzz targets: the files of datasets, read as the manifest stage reads them."""

import bz2
import csv
import gzip
import io
import json
import tarfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow
import pyarrow.parquet
from PIL import Image

from icebox.features import plugins
from icebox.features.abc.dataset import DenseDataset
from icebox.features.manifest import manifest
from icebox.features.manifest.build import build
from icebox.features.manifest.leakage import resolve_leakage
from icebox.features.manifest.targets import TargetReview
from tests.fuzz.target import Target

LABELS, PARTS = ("yes", "no", "so"), ("train", "test")
ROWS = [
    {"key": i, "text": f'river, "boat" {i}\nö', "label": LABELS[i % 3], "part": PARTS[i // 20], "n": i / 2}
    for i in range(24)
]
GREY = np.arange(24 * 5 * 4, dtype=np.uint8).reshape(24, 5, 4)


class Files(Target):
    """A dataset's files, and the settings of the source that reads them."""

    share = 0.5

    def __init__(self, source: str, content: Callable[[], dict[str, bytes]], **settings: object) -> None:
        self.source, self.content, self.settings = source, content, settings
        first = next(iter(content()))
        self.name = f"{source} {first}"

    def samples(self) -> list[tuple[Path, bytes]]:
        return [(Path(name), content) for name, content in self.content().items()]

    def read(self, path: Path) -> None:
        source = plugins.load("icebox.features.datasets", self.source).Source(**self.settings)
        targets = TargetReview(source) if isinstance(source, DenseDataset) else None
        task = source.task if isinstance(source, DenseDataset) else "classification"
        rows = build(source, val=0.2, test=0.2, seed=0, task=task, targets=targets)
        kept, findings = resolve_leakage(rows, leakage="allow", conflicts="keep", task=task)
        assert len(rows) == len(kept)
        if targets:
            findings += targets.remarks(kept)
        for doubt in (*findings, *source.account.remarks()):
            assert doubt.sentence()
        manifest.write(Path("manifest.parquet"), kept)
        assert manifest.read(Path("manifest.parquet")) == kept


def delimited(delimiter: str = ",") -> bytes:
    stream = io.StringIO()
    writer = csv.DictWriter(stream, list(ROWS[0]), delimiter=delimiter)
    writer.writeheader()
    writer.writerows(ROWS)
    return stream.getvalue().encode()


def lines() -> bytes:
    return "\n".join(json.dumps(row, ensure_ascii=False) for row in ROWS).encode()


def parquet(**settings: object) -> bytes:
    stream = io.BytesIO()
    columns = {
        **{name: [row[name] for row in ROWS] for name in ROWS[0]},
        "image": [{"bytes": b"picture %d" % i, "path": "x"} for i in range(len(ROWS))],
        "day": pyarrow.array(range(len(ROWS)), pyarrow.timestamp("us")),
    }
    pyarrow.parquet.write_table(pyarrow.table(columns), stream, row_group_size=10, **settings)
    return stream.getvalue()


def utf_16() -> bytes:
    return delimited().decode().encode("utf-16")


def array() -> bytes:
    return json.dumps(ROWS, indent=1).encode()


def plain_parquet() -> bytes:
    return parquet(use_dictionary=False, compression=None)


def npz(compressed: bool = True, **arrays: np.ndarray) -> bytes:
    stream = io.BytesIO()
    (np.savez_compressed if compressed else np.savez)(stream, **arrays)
    return stream.getvalue()


def tar() -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        for i in range(6):
            for ending, content in {"png": b"picture %d" % i, "json": json.dumps({"label": i % 2}).encode()}.items():
                member = tarfile.TarInfo(f"{i}.{ending}")
                member.size = len(content)
                archive.addfile(member, io.BytesIO(content))
    return stream.getvalue()


def idx(*, zipped: bool) -> dict[str, bytes]:
    arrays = {}
    for split in ("train", "t10k"):
        arrays[f"{split}-images-idx3-ubyte"] = GREY
        arrays[f"{split}-labels-idx1-ubyte"] = (np.arange(24) % 10).astype(np.uint8)
    files = {
        name: bytes([0, 0, 8, values.ndim]) + np.array(values.shape, ">u4").tobytes() + values.tobytes()
        for name, values in arrays.items()
    }
    return {f"{name}.gz": gzip.compress(content) for name, content in files.items()} if zipped else files


def pictures() -> dict[str, bytes]:
    stream = io.BytesIO()
    Image.new("L", (4, 4), 90).save(stream, "PNG")
    listed = "path,label\nimg/0.png,a\n1,b\nimg\\2.png,a\n"
    return {"t.csv": listed.encode(), **{f"img/{i}.png": stream.getvalue() + bytes([i]) for i in range(3)}}


def encoded(values: np.ndarray, kind: str = "PNG") -> bytes:
    stream = io.BytesIO()
    Image.fromarray(values).save(stream, kind)
    return stream.getvalue()


def masks(*, colors: bool = False) -> dict[str, bytes]:
    files = {}
    for i in range(3):
        values = np.array([[0, 1, i % 2, 255]], np.uint8)
        files[f"images/{i}.bmp"] = encoded(np.full((1, 4), i, np.uint8), "BMP")
        files[f"masks/{i}.png"] = encoded(np.repeat(values[..., None], 3, axis=2) if colors else values)
    return files


def boxed(*files: tuple[str, str]) -> dict[str, bytes]:
    images = {f"images/{i}.bmp": encoded(np.full((10, 20), i, np.uint8), "BMP") for i in range(2)}
    return {name: content.encode() for name, content in files} | images


def coco() -> dict[str, bytes]:
    boxes = [{"image_id": i, "category_id": i + 1, "bbox": [1, 2.5, 3, 4], "iscrowd": 0} for i in range(2)]
    images = [{"id": i, "file_name": f"images/{i}.bmp", "width": 20, "height": 10} for i in range(2)]
    categories = [{"id": i + 1, "name": LABELS[i]} for i in range(2)]
    document = {"images": images, "annotations": boxes, "categories": categories}
    return boxed(("a.json", json.dumps(document, indent=1)))


def voc() -> dict[str, bytes]:
    box = "<xmin>1</xmin><ymin>2</ymin><xmax>9</xmax><ymax>8</ymax>"
    thing = f"<object><name>cat</name><difficult>0</difficult><bndbox>{box}</bndbox></object>"
    xml = f"<annotation><size><width>20</width><height>10</height></size>\n{thing}</annotation>"
    return boxed(*((f"Annotations/{i}.xml", xml) for i in range(2)), ("sets/train.txt", "0\n1\n"))


def yolo() -> dict[str, bytes]:
    return boxed(*((f"labels/{i}.txt", f"{i} 0.5 0.5 0.25 0.5\n") for i in range(2)), ("data.yaml", "names: [a, b]\n"))


def box_rows() -> dict[str, bytes]:
    rows = "".join(f"images/{i}.bmp,{LABELS[i]},1,2,9,8\n" for i in range(2))
    return boxed(("boxes.csv", "image,label,xmin,ymin,xmax,ymax\n" + rows))


def wikitext() -> dict[str, bytes]:
    text = "".join(f" \n = Title {i} = \n \n Some words {i} . \n" for i in range(5)).encode()
    return {f"wiki.{split}.tokens": text for split in ("train", "valid", "test")}


TEXT = {"id": "key", "split": "part", "group": "n", "slices": ["part"]}
SEQUENCES = {"x": np.ones((12, 2)), "offsets": np.array([0, 3, 7, 12]), "y": np.array([0.5, 1, 2])}
IMAGES = {"images": GREY, "labels": np.array(["yes", "no"] * 12), "group": np.arange(24)}
TARGETS: list[Target] = [
    Files("csv_text", lambda: {"t.csv": delimited()}, path="t.csv", **TEXT),
    Files("csv_text", lambda: {"t.tsv": delimited("\t")}, path="t.tsv", quotes=True, escape="\\", **TEXT),
    Files("csv_text", lambda: {"t.csv.gz": gzip.compress(delimited())}, path="t.csv.gz", **TEXT),
    Files("csv_text", lambda: {"utf16.csv": utf_16()}, path="utf16.csv", encoding="utf-16", **TEXT),
    Files("csv_text", lambda: {"t.jsonl": lines()}, path="t.jsonl", first="text", second="key", group="n"),
    Files("csv_text", lambda: {"t.json": array()}, path="t.json", drop_labels=["no"]),
    Files("csv_text", lambda: {"t.json.bz2": bz2.compress(lines())}, path="t.json.bz2", **TEXT),
    Files("csv_text", lambda: {"t.parquet": parquet()}, path="t.parquet", **{**TEXT, "slices": ["day"]}),
    Files("csv_text", lambda: {"plain.parquet": plain_parquet()}, path="plain.parquet", **TEXT),
    Files("image_table", lambda: {"pictures.parquet": parquet()}, path="pictures.parquet", image="image", id="key"),
    Files("image_table", pictures, path="t.csv"),
    Files("image_arrays", lambda: {"a.npz": npz(**IMAGES)}, path="a.npz"),
    Files("image_arrays", lambda: {"stored.npz": npz(compressed=False, **IMAGES)}, path="stored.npz"),
    Files("image_masks", masks, path=".", classes=["sky", "pole"]),
    Files("image_masks", lambda: {"c.txt": b"0 0 0 sky\n1 1 1 pole\n255 255 255 void\n"} | masks(colors=True),
          path=".", class_file="c.txt", ignore="void", unknown="ignore"),
    Files("image_boxes", coco, path="a.json"),
    Files("image_boxes", voc, path=".", images="images", lists="sets/{split}.txt"),
    Files("image_boxes", yolo, path="."),
    Files("image_boxes", box_rows, path="boxes.csv"),
    Files("sequences", lambda: {"s.npz": npz(**SEQUENCES)}, path="s.npz"),
    Files("webdataset", lambda: {"tars/a.tar": tar()}, path="tars", label="json"),
    Files("mnist", lambda: idx(zipped=False), path="."),
    Files("mnist", lambda: idx(zipped=True), path="."),
    Files("wikitext2", wikitext, path="."),
]  # fmt: skip
