"""`python -m pipeline generate BACKBONE --n 10 --out DIR`: new items of a backbone of our own, as PNGs or texts."""

import re
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from icebox.features import files, plugins
from icebox.features.abc.backbone import SETTINGS_FILE, Generator, PictureJudge, TextJudge
from icebox.features.errors import IceboxError
from icebox.pipeline.catalog import backbones
from icebox.pipeline.config import loader, plugin_schema, references
from icebox.pipeline.config.schema import Config
from icebox.pipeline.generation import contact_sheet
from icebox.pipeline.project import paths


def run(name: str, *, n: int, label: str | None, seed: int, out: Path) -> None:
    """Write `n` items to `out`, of the class `label` or, where the backbone knows classes, of each in turn."""
    if n < 1:
        raise IceboxError(f"--n: expected 1 or more, found {n}")
    settings = loader.load()
    references.check_known("backbone that is trained here", name, list(settings.pretrain), "generate")
    made_by = generator(settings, name)
    labels = wanted(made_by, n, label, name)
    width = len(str(n - 1))
    for number, (item, of) in enumerate(zip(made_by.make(labels, seed=seed), labels, strict=True)):
        stem = "-".join([name, f"{number:0{width}}", *([safe(of)] if of else [])])
        if isinstance(item, np.ndarray):
            contact_sheet.write(out / f"{stem}.png", Image.fromarray(item))
        else:
            files.write_text(out / f"{stem}.txt", str(item) + "\n")
    print(f"{name}: {n} new {made_by.modality}s in {out}")


def generator(settings: Config, name: str) -> Generator:
    """The half of a backbone that makes new items; raises IceboxError where it has none or is not trained yet."""
    made: Generator = part(settings, name, "generator", "makes no new items")
    return made


def judge(settings: Config, name: str) -> PictureJudge | TextJudge:
    """A backbone as a judge of new items; raises IceboxError where it can't be one."""
    made: PictureJudge | TextJudge = part(settings, name, "judge", "can't judge new items")
    return made


def part(settings: Config, name: str, function: str, lacking: str) -> Any:
    """What `function` of the backbone's family makes of its folder."""
    family, folder = settings.pretrain[name].family, paths.backbone(name)
    able = [each for each in plugins.names("icebox.features.backbones") if has(each, function)]
    if family not in able:
        raise IceboxError(f"backbone '{name}': its family, {family}, {lacking}; those that do: {', '.join(able)}")
    if not (folder / SETTINGS_FILE).exists():
        raise IceboxError(f"{folder}: no backbone here; run: dvc repro pretrain@{name}, or dvc pull {folder}")
    module = plugins.load("icebox.features.backbones", family)
    return vars(module)[function](folder, device=backbones.device())


def has(family: str, function: str) -> bool:
    """Whether the family's file defines the function, found without importing it."""
    return plugin_schema.defines(plugins.file("icebox.features.backbones", family), function)


def wanted(generator: Generator, n: int, label: str | None, name: str) -> list[str]:
    """The labels to ask for."""
    if label is None:
        return [generator.classes[i % len(generator.classes)] if generator.classes else "" for i in range(n)]
    if not generator.classes:
        raise IceboxError(f"--label: backbone '{name}' can't be told what to make; leave the label out")
    references.check_known("class", label, list(generator.classes), "--label")
    return [label] * n


def safe(label: str) -> str:
    """A class's name as a part of a file's name."""
    return re.sub(r"[^\w.]+", "_", label)
