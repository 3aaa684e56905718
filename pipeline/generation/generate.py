"""Generate new items with a backbone that was trained here: load its generator, and write items to files."""

import logging
import re
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from icebox.features import files, plugins
from icebox.features.abc.backbone import SETTINGS_FILE, Generator, ImageJudge, TextJudge, damage_explained
from icebox.features.errors import IceboxError
from icebox.pipeline.catalog import backbones
from icebox.pipeline.config import loader, names, plugin_schema
from icebox.pipeline.config.schema import Config
from icebox.pipeline.generation import contact_sheet
from icebox.pipeline.project import paths

logger = logging.getLogger("icebox")


def write_items(name: str, *, n: int, label: str | None, seed: int, out: Path) -> None:
    """Write `n` new items of a backbone to the folder `out`: PNGs, or texts.

    They are of the class `label` or, where the backbone knows classes, of each in turn.
    """
    if n < 1:
        raise IceboxError(f"--n: expected 1 or more, found {n}")
    config = loader.load()
    names.check_known("backbone that is trained here", name, list(config.pretrain), "generate")
    generator = load_generator(config, name)
    labels = labels_to_generate(generator, n, label, name)
    digits = len(str(n - 1))
    for number, (item, item_label) in enumerate(zip(generator.make(labels, seed=seed), labels, strict=True)):
        stem = "-".join([name, f"{number:0{digits}}", *([file_name_part(item_label)] if item_label else [])])
        if isinstance(item, np.ndarray):
            contact_sheet.write_png(out / f"{stem}.png", Image.fromarray(item))
        else:
            files.write_text(out / f"{stem}.txt", str(item) + "\n")
    logger.info("%s: %d new %ss in %s", name, n, generator.modality, out)


def load_generator(config: Config, name: str) -> Generator:
    """The generator of a backbone; raises IceboxError where its family has none, or where it is not trained yet."""
    generator: Generator = load_part(config, name, "generator", "makes no new items")
    return generator


def load_judge(config: Config, name: str) -> ImageJudge | TextJudge:
    """A backbone as a judge of new items; raises IceboxError where it can't be one."""
    judge: ImageJudge | TextJudge = load_part(config, name, "judge", "can't judge new items")
    return judge


def load_part(config: Config, name: str, function: str, shortcoming: str) -> Any:
    """Call `function` of a backbone's family on its folder; `shortcoming` words the error where there is none."""
    family, folder = config.pretrain[name].family, paths.backbone(name)
    able = [each for each in plugins.names("icebox.features.backbones") if defines(each, function)]
    if family not in able:
        raise IceboxError(f"backbone '{name}': its family, {family}, {shortcoming}; those that do: {', '.join(able)}")
    if not (folder / SETTINGS_FILE).exists():
        raise IceboxError(f"{folder}: no backbone here; run: dvc repro pretrain@{name}, or dvc pull {folder}")
    module = plugins.load("icebox.features.backbones", family)
    with damage_explained(folder):
        return vars(module)[function](folder, device=backbones.device())


def defines(family: str, function: str) -> bool:
    """Whether a family's file defines a function; the file is parsed, not imported."""
    return plugin_schema.defines(plugins.file("icebox.features.backbones", family), function)


def labels_to_generate(generator: Generator, n: int, label: str | None, name: str) -> list[str]:
    """The labels of `n` new items: all `label`, or each class in turn, or "" where the generator knows no classes."""
    if label is None:
        return [generator.classes[i % len(generator.classes)] if generator.classes else "" for i in range(n)]
    if not generator.classes:
        raise IceboxError(f"--label: backbone '{name}' can't be told what to make; leave the label out")
    names.check_known("class", label, list(generator.classes), "--label")
    return [label] * n


def file_name_part(label: str) -> str:
    """A class's name with only such characters as file names may hold."""
    return re.sub(r"[^\w.]+", "_", label)
