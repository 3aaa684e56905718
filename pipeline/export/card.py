"""The model card of an export, README.md: what it was made of, how good it is, how to use it and to make it again.

Its front matter is that of the Hugging Face hub.
"""

import json
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from icebox.features.errors import IceboxError
from icebox.features.json_files import read_json
from icebox.features.manifest import manifest
from icebox.features.plugins import file as plugin_file
from icebox.pipeline.comparison import formats, leaderboard, significance, slices
from icebox.pipeline.comparison.slices import Slice
from icebox.pipeline.config import loader, plugin_schema
from icebox.pipeline.config.schema import Config
from icebox.pipeline.inference.predict import OpenHead
from icebox.pipeline.project import paths
from icebox.pipeline.project.backbone_names import FAMILIES
from icebox.pipeline.stores import provenance

LIBRARIES = {"onnx": "onnx", "sklearn": "sklearn", "torch": "pytorch"}  # as the hub calls them
WEAK_SHOWN = 5  # classes, and slices
TRAINED_HERE = ("cnn", "glyphnet", "vae", "gan", "cgan", "rnn_lm", "recurrent")
WITHOUT_WEIGHTS = ("pixels", "hashing", "steps", "as_is")
PIPELINE_TAGS = {("image", "classification"): "image-classification", ("text", "classification"): "text-classification"}


@dataclass(frozen=True)
class Known:
    """Facts of a head for its card: its line of the leaderboard, the floor's, the entries behind it."""

    record: dict[str, Any] = field(default_factory=dict)
    floor: dict[str, Any] = field(default_factory=dict)
    weak: list[Slice] = field(default_factory=list)
    params: dict[str, str] = field(default_factory=dict)
    splits: dict[str, int] = field(default_factory=dict)


def details(head: OpenHead) -> dict[str, Any]:
    """How the head was fitted; nothing where the project does not know any more."""
    path = paths.details(*head.place)
    return dict(read_json(path, dict)) if path.exists() else {}


def text(head: OpenHead, config: dict[str, Any]) -> str:
    """The card."""
    known = known_of(head)
    return "\n".join([*front_matter(config, known), *body(head, config, known)]) + "\n"


def known_of(head: OpenHead) -> Known:
    """The facts of a head, as far as the project's files are here."""
    summary = paths.dataset_summary(head.bundle.dataset)
    splits = dict(read_json(summary, {"splits": dict})["splits"]) if summary.exists() else {}
    try:
        project = loader.load()
        store, _, name = head.place[0].partition("/")
        same = [each for each in leaderboard.entries(project, on_disk=True) if each.dataset == head.bundle.dataset]
        floors = [entry.input_name for entry in same if is_floor(project, entry.store)]
        records = formats.records(project, list(dict.fromkeys([head.place[0], *floors])))
    except IceboxError:  # a head of a project whose settings or scores are not here any more
        return Known(splits=splits)
    mine = [(each["store"], each["input"], each["head"]) == (store, name, head.place[1]) for each in records]
    record = next((each for each, is_mine in zip(records, mine, strict=True) if is_mine), {})
    floor = next((each for each in records if is_floor(project, each["store"]) and each is not record), {})
    params = provenance.params_of(project, store) if store in project.stores else {}
    return Known(record, floor, weak_slices(head, project), params, splits)


def is_floor(project: Config, store: str) -> bool:
    """Whether a store is of a backbone without a network."""
    if store not in project.stores:
        return False
    family = project.backbone(project.stores[store].backbone).family
    return plugin_schema.constant(plugin_file(FAMILIES, family), "FLOOR") is True


def weak_slices(head: OpenHead, project: Config) -> list[Slice]:
    """The parts of test on which the head is worst, by the slices of the manifest."""
    path = paths.manifest(head.bundle.dataset)
    entry = leaderboard.read_entry(project, *head.place)
    predictions = significance.load_predictions(entry)
    if not manifest.exists(path) or "test" not in predictions:
        return []
    rows = {row.item_id: row for row in manifest.read(path)}
    found = slices.score_slices(predictions["test"], rows, entry.metric)
    worst = sorted(found, key=lambda each: each.score, reverse=not entry.metric.greater_is_better)
    return worst[:WEAK_SHOWN]


def front_matter(config: dict[str, Any], known: Known) -> Iterator[str]:
    """The card's YAML, of JSON values, which YAML takes as they are."""
    yield "---"
    yield f"library_name: {LIBRARIES[config['format']]}"
    tag = PIPELINE_TAGS.get((config["input"]["kind"], config["task"]))
    if tag:
        yield f"pipeline_tag: {tag}"
    yield 'tags: ["icebox", "frozen-backbone"]'
    metric = known.record.get("metric")
    value = known.record.get(f"test_{metric}")
    if metric and value is not None:
        result = {
            "name": config["name"],
            "results": [
                {
                    "task": {"type": tag or config["task"]},
                    "dataset": {"name": config["dataset"]["name"], "type": config["dataset"]["name"], "split": "test"},
                    "metrics": [{"type": metric, "value": value}],
                }
            ],
        }
        yield f"model-index: {json.dumps([result], ensure_ascii=False)}"
    yield "---"


def body(head: OpenHead, config: dict[str, Any], known: Known) -> Iterator[str]:
    """The card's text."""
    network = config["network"]
    yield f"\n# {config['name']}\n"
    kind = {"image": "a picture", "text": "a text", "pair": "two texts"}[config["input"]["kind"]]
    yield (
        f"From {kind} to {answer(config)}: the frozen network {network['backbone']} ({network['family']}, outputs "
        f"{', '.join(network['outputs'])}) with the head {head.place[1]}, fitted by Icebox."
    )
    yield from use(config)
    yield "\n## Data\n"
    yield (f"Dataset {config['dataset']['name']}, read by {head.bundle.source}.")
    if known.splits:
        yield "Items: " + ", ".join(f"{name} {count:,}" for name, count in known.splits.items()) + "."
    if config["classes"]:
        yield f"Classes ({len(config['classes'])}): " + ", ".join(config["classes"][:100]) + "."
    yield "\n## Scores\n"
    yield from scores(known)
    yield "\n## Where it is weak\n"
    yield from weak(known)
    yield "\n## Checked\n"
    checked = config["check"]
    yield (
        f"Before it was written, on {checked['items']:,} items of the test split from raw item to answer: answers "
        f"equal to the head's, scores at most {checked['largest_difference']:.1g} apart (allowed: "
        f"{checked['tolerance']:.1g})."
    )
    if "precision" in checked:
        yield (
            f"The head was fitted on features in {checked['precision']}; the export and this check compute in float32. "
            f"In {checked['precision']} the head gives the same answer to {checked['same_answers']:,} of these items."
        )
    yield "\n## Licence\n"
    yield licence(config, known)
    yield "\n## How to make it again\n"
    yield from reproduction(head, known)


def answer(config: dict[str, Any]) -> str:
    """The answer, for people."""
    if config["task"] == "regression":
        return "a number"
    return "a set of labels" if config["task"] == "multilabel" else f"one of {len(config['classes'])} classes"


def use(config: dict[str, Any]) -> Iterator[str]:
    """How to use it."""
    yield "\n## Use\n"
    item = {"image": "photo.jpg", "text": "'a text'", "pair": "'one text' 'another'"}.get(config["input"]["kind"], "…")
    yield "```bash"
    if config["format"] in ("onnx", "torch"):
        needs = "pillow" if config["input"]["kind"] == "image" else "tokenizers"
        yield f"pip install {'torch' if config['format'] == 'torch' else 'onnxruntime'} numpy {needs}"
        yield f"python predict.py {item}"
    else:
        yield "pip install 'icebox[export]'"
    if config["format"] != "torch":
        yield f"icebox predict . {item.strip(chr(39))}  # with Icebox: files and folders, as its dataset reads them"
    yield "```"
    if config["format"] == "sklearn":
        yield "\n```python"
        yield f"icebox.load('.').predict([{item if item.startswith(chr(39)) else repr(item)}])"
        yield "```"
        yield (
            f"\nIt is a scikit-learn Pipeline of Encoder and head. `icebox.load` opens {config['model']} only where "
            "each type in it is one of a list that Icebox holds; config.json names them as `trusted`."
        )


def scores(known: Known) -> Iterator[str]:
    """A table of scores with intervals, and the floor's beside."""
    record, floor = known.record, known.floor
    if not record:
        yield "Not known here: the project's results were not at hand."
        return
    metric = record["metric"]
    yield f"| | test {metric} | 95 % interval | val {metric} |"
    yield "|---|---|---|---|"
    named = [("this head", record)] + ([(f"floor: {floor['backbone']}, {floor['head']}", floor)] if floor else [])
    for name, each in named:
        cells = (each.get(f"test_{metric}"), interval(each.get("test_low"), each.get("test_high")))
        yield f"| {name} | {number(cells[0])} | {cells[1]} | {number(each.get(f'val_{metric}'))} |"
    if record.get("reference_score") is not None:
        yield f"| always {record['reference']} | {number(record['reference_score'])} | | |"
    others = {
        name.removeprefix("test_"): value
        for name, value in record.items()
        if name.startswith("test_") and isinstance(value, float) and not name.endswith(("_low", "_high"))
    }
    further = [f"{name} {number(value)}" for name, value in others.items() if name not in (metric, "low", "high", "n")]
    if further:
        yield "\nFurther, on test: " + ", ".join(each for each in further if "apart" not in each) + "."


def weak(known: Known) -> Iterator[str]:
    """The classes that are found least often, and the slices on which it is worst."""
    recalls: dict[str, float | None] = known.record.get("test_recalls", {})
    worst = sorted(((value, name) for name, value in recalls.items() if value is not None))[:WEAK_SHOWN]
    intervals = known.record.get("test_recall_intervals", {})
    for value, name in worst:
        yield f"- {name}: recall {number(value)} ({interval(*intervals.get(name, (None, None)))})"
    for each in known.weak:
        yield f"- {each.column} = {each.value} ({each.n:,} items): {number(each.score)} ({interval(*each.interval)})"
    if not worst and not known.weak:
        yield "Not known: no classes or slices were scored."


def licence(config: dict[str, Any], known: Known) -> str:
    """The licence of the weights, as far as it is known."""
    family = config["network"]["family"]
    if family in WITHOUT_WEIGHTS:
        return "It has no weights but those of the head, which are this project's own."
    if family in TRAINED_HERE:
        return "Its weights were trained by this project."
    return "Of the network's weights: not known; look where they come from (see the entry below)."


def reproduction(head: OpenHead, known: Known) -> Iterator[str]:
    """The commit, the entries of params.yaml and the commands."""
    yield f"Code and settings: commit {commit() or 'not known'}; features' fingerprint {head.bundle.fingerprint}."
    chosen = known.record.get("chosen")
    if chosen:
        yield f"The head's settings, as chosen: {chosen}."
    if known.params:
        yield "\n```yaml"
        yield from (f"{key}: {value}" for key, value in known.params.items())
        yield "```"
    yield "\n```bash"
    yield f"dvc repro {paths.fit_stage(*head.place)}"
    yield f"icebox export {head.name} --to model/"
    yield "```"


def commit() -> str:
    """The project's commit, `+` behind it where files were changed since; nothing without git."""
    try:
        found = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=True)
        changed = subprocess.run(["git", "status", "--porcelain", "-uno"], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return ""
    return found.stdout.strip() + ("+" if changed.stdout.strip() else "")


def interval(low: float | None, high: float | None) -> str:
    """`0.750 … 0.883`."""
    return "" if low is None or high is None else f"{low:.3f} … {high:.3f}"


def number(value: float | None) -> str:
    """Four digits."""
    return "" if value is None else f"{value:.4g}"
