"""Paths of all files, relative to the project's root. dvc.yaml has the same; a test compares the two.

An input is named STORE or STORE/NAME, so its results lie below those of its store.
"""

import os
from pathlib import Path

from icebox.features.buckets.path import place

CACHE_VARIABLE = "ICEBOX_CACHE"
PARAMS = Path("params.yaml")
SCHEMA = Path("params.schema.json")  # of params.yaml, for editors; kept in git, so that a clone has it
STORES = Path("data/stores")
PRECISIONS = Path(".icebox/plans")  # `precision: auto` as resolved; under its first name, since records must last
PROJECTIONS = Path(".icebox/projections")  # principal components of stores, which outlive a store's folder
QUANTIZED = Path(".icebox/quantized")  # int8 networks of stores, likewise
NEAR_DUPLICATES = Path(".icebox/near_duplicates")  # that splits leave out, kept for further heads
UNFREEZE = Path(".icebox/unfreeze")
TRAININGS = Path(".icebox/trainings")
PLAN = Path("data/plan")
ENSEMBLE = "ensemble"  # the name under which a store's ensemble stands beside its heads
ENSEMBLES = Path("results/ensembles")  # apart from the heads' folders, which its stage depends on
HEADS = Path("results/heads")
METRICS = Path("results/metrics")
DETAILS = Path("results/details")
SAMPLES = Path("results/samples")
LOOKS = Path("results/looks")
REPORT = Path("reports/index.html")


def shared_cache() -> Path | None:
    """The folder, or the place in a bucket, that ICEBOX_CACHE names: of shards (and, of a folder outside of projects,
    weights) of all who set it so."""
    named = os.environ.get(CACHE_VARIABLE)
    return place(named, where=CACHE_VARIABLE).expanduser().resolve() if named else None


def shards() -> Path:
    """The shard cache: the project's own, or the one that ICEBOX_CACHE names."""
    return (shared_cache() or Path(".icebox")) / "shards"


def code_stamp(kind: str, key: str) -> Path:
    """A stamp that changes with the code behind a stage or an entry of params.yaml."""
    return PLAN / kind / f"{key}.txt"


def settings_stamp(kind: str, key: str) -> Path:
    """A stamp that changes with the settings of a stage's entry: JSON of all values, defaults included."""
    return PLAN / kind / f"{key}.json"


def manifest(dataset: str) -> Path:
    """The dataset's items, in order, with label and split."""
    return Path("data/manifests") / f"{dataset}.parquet"


def manifest_sample(dataset: str) -> Path:
    """The first items of each split, as a table to be read by people."""
    return manifest(dataset).with_name(f"{dataset}.sample.csv")


def findings(dataset: str) -> Path:
    """Findings in a dataset that a person should look at: leakage, conflicting labels, repeats."""
    return manifest(dataset).with_name(f"{dataset}.findings.json")


def dataset_summary(dataset: str) -> Path:
    """A short summary of a manifest, kept in git: numbers of items, and the raw data that it was made of."""
    return Path("results/datasets") / f"{dataset}.json"


def raw_stamp(dataset: str) -> Path:
    """A stamp that changes with a dataset's raw files."""
    return PLAN / "raw" / f"{dataset}.txt"


def raw_record(dataset: str) -> Path:
    """A record of a dataset's raw files on this machine, which spares reading them again."""
    return Path(".icebox/raw") / f"{dataset}.json"


def known_contents(dataset: str) -> Path:
    """A record of the keys of a dataset's files on this machine, which spares reading what is not new."""
    return Path(".icebox/contents") / f"{dataset}.parquet"


def known_parts(dataset: str) -> Path:
    """A folder with records of a dataset's parts on this machine, which spare listing what is not new."""
    return Path(".icebox/listed") / dataset


def backbone(name: str) -> Path:
    """A folder with a backbone's weights and settings."""
    return Path("data/backbones") / name


def samples(backbone: str) -> Path:
    """A folder with sheets of a backbone's new items: PNGs, and texts."""
    return SAMPLES / backbone


def generated(backbone: str) -> Path:
    """Scores of a backbone's new items."""
    return SAMPLES / f"{backbone}.json"


def store(name: str) -> Path:
    """A feature store's folder."""
    return STORES / name


def fit_stage(input_name: str, head: str) -> str:
    """The stage of dvc.yaml that writes a head's results, unless the head was unfrozen."""
    if head == ENSEMBLE:
        return f"ensemble@{input_name}"
    if "/" in input_name:
        return f"fit-input@{input_name}-{head}"
    return f"{'fit-joined' if settings_stamp('join', input_name).exists() else 'fit'}@{input_name}-{head}"


def bundle(input_name: str, head: str) -> Path:
    """A bundle: a fitted head plus all that predict needs."""
    folder = ENSEMBLES if head == ENSEMBLE else HEADS
    return folder / input_name / f"{head}.joblib"


def card(input_name: str, head: str) -> Path:
    """The bundle's card: its contents and sha256, readable without opening it."""
    return bundle(input_name, head).with_suffix(".json")


def metrics(input_name: str, head: str) -> Path:
    """Scores per split and the seconds it took: numbers only, for `dvc metrics`."""
    return METRICS / input_name / f"{head}.json"


def details(input_name: str, head: str) -> Path:
    """Details of a head's fit: its parameters, the whole search, every seed."""
    return DETAILS / input_name / f"{head}.json"


def predictions(input_name: str, head: str) -> Path:
    """One row an item of val and test: id, split, label, prediction, a probability (or score) a class."""
    folder = ENSEMBLES if head == ENSEMBLE else Path("results/predictions")
    return folder / input_name / f"{head}.parquet"


def plot(input_name: str, head: str, name: str) -> Path:
    """Data that `dvc plots` draws: confusion or roc."""
    return Path("results/plots") / input_name / head / f"{name}.csv"


def curve(backbone: str) -> Path:
    """A folder with the learning curve of a network that is trained here, pretrained or unfrozen."""
    return Path("results/curves") / backbone


def feature_map(store: str) -> Path:
    """A map of the test items in feature space, with their neighbors and suspected label errors."""
    return Path("results/maps") / f"{store}.json"


def look(store: str) -> Path:
    """A summary of the map, with its sha256."""
    return LOOKS / f"{store}.json"
