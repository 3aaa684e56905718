"""Where everything lies, relative to the project's root. dvc.yaml says the same; a test compares the two."""

from pathlib import Path

PARAMS = Path("params.yaml")
SHARDS = Path(".icebox/shards")
STORES = Path("data/stores")
PLANS = Path(".icebox/plans")
PLAN = Path("data/plan")
METRICS = Path("results/metrics")
REPORT = Path("reports/index.html")


def plan(kind: str, key: str) -> Path:
    """A stamp that changes when the code behind an entry of params.yaml does."""
    return PLAN / kind / f"{key}.txt"


def manifest(dataset: str) -> Path:
    """The dataset's items, in order, with label and split."""
    return Path("data/manifests") / f"{dataset}.csv"


def backbone(name: str) -> Path:
    """A folder with a backbone's weights and settings."""
    return Path("data/backbones") / name


def store(name: str) -> Path:
    """A feature store's folder."""
    return STORES / name


def bundle(store: str, head: str) -> Path:
    """A saved head plus all that predict needs."""
    return Path("results/heads") / store / f"{head}.joblib"


def card(store: str, head: str) -> Path:
    """What the bundle is, with its sha256, readable without opening it."""
    return bundle(store, head).with_suffix(".json")


def metrics(store: str, head: str) -> Path:
    """Scores per split, the chosen parameters, the seconds it took."""
    return METRICS / store / f"{head}.json"


def predictions(store: str, head: str) -> Path:
    """One row an item of val and test: id, split, label, prediction, a probability (or score) a class."""
    return Path("results/predictions") / store / f"{head}.parquet"


def plot(store: str, head: str, name: str) -> Path:
    """Data that `dvc plots` draws: confusion or roc."""
    return Path("results/plots") / store / head / f"{name}.csv"
