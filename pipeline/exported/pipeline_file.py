"""A scikit-learn Pipeline in a file of skops: opened by a list of types, answered with by Icebox.

skops is no pickle: it holds states and names of types, and makes no object of a type that is neither scikit-learn's nor
NumPy's own nor in the list given to it. That list stands here, not in the file.

Letters: b batch, d features, k classes.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from icebox.features.abc.backbone import SETTINGS_FILE, Backbone, read_settings
from icebox.features.abc.dataset import Content
from icebox.features.errors import IceboxError
from icebox.features.json_files import one_line
from icebox.pipeline.catalog import backbones
from icebox.pipeline.evaluation import predictions
from icebox.pipeline.exported.folder import ExportFolder

NETWORK = "backbone"  # the folder of the network in the export's
ANSWERS = "answers"
INSTALL = "pip install 'icebox[export]'"
ENCODER = "icebox.pipeline.inference.encoder.Encoder"
FAMILIES = (  # whose folders hold data alone: `module` has code, and archives of networks do
    "cnn", "glyphnet", "hashing", "pixels", "rnn_lm", "timm", "torchvision", "transformers", "transformers_vision",
    "vae",
)  # fmt: skip
TYPES = frozenset(
    {
        ENCODER,
        "icebox.pipeline.exported.stored_format.StoredFormat",
        *(
            f"icebox.pipeline.estimators.{name}"
            for name in (
                "alignment.AlignedHead",
                "alignment.Statistics",
                "decision.OffsetHead",
                "decision.ThresholdHead",
                "ensemble.MeanEnsemble",
                "ensemble.MeanSets",
                "preprocessing.PreprocessedHead",
                "scaling.BlockScaler",
                "scaling.EachScaler",
                "scaling.OverallScaler",
            )
        ),
        *(
            f"icebox.pipeline.heads.{name}"
            for name in (
                "centroid.Centroid",
                "fresh.LabelShares",
                "hist_gb.HistGBClassifier",
                "hist_gb.HistGBRegressor",
                "knn.NeighborSets",
                "knn.inverse_squares",
                "lightgbm.BoostedClassifier",
                "lightgbm.BoostedRegressor",
                "lightgbm.BoostedSets",
                "linear_probe.ProbeClassifier",
                "linear_probe.ProbeRegressor",
                "linear_probe.SetProbe",
                "linear_svm.LinearSVMClassifier",
                "linear_svm.LinearSVMRegressor",
                "logreg.LogReg",
                "logreg.SetLogReg",
                "mlp.MLPClassifier",
                "mlp.MLPRegressor",
                "mlp.SetMLP",
                "ridge.RidgeClassifier",
                "ridge.RidgeRegressor",
                "ridge.RidgeSets",
                "zero_shot.ZeroShot",
            )
        ),
        "sklearn.calibration._CalibratedClassifier",
        "sklearn.calibration._TemperatureScaling",
        "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",
        "sklearn.metrics._dist_metrics.EuclideanDistance64",
        "sklearn.neighbors._kd_tree.KDTree",
        "sklearn.tree._tree.Tree",
    }
)


def skops_io() -> Any:
    """The module skops.io. Raises IceboxError without it."""
    try:
        import skops.io
    except ImportError as reason:
        raise IceboxError(f"a sklearn export needs {reason.name}, which is not installed; run: {INSTALL}") from reason
    return skops.io


def read(path: Path) -> Any:
    """The Pipeline in a file. Raises IceboxError for one that holds a type which is not listed, or is damaged."""
    skops = skops_io()
    try:
        refuse_other_types(skops.get_untrusted_types(file=path), str(path))
        return skops.load(path, trusted=sorted(TYPES))
    except IceboxError:
        raise
    except Exception as reason:  # of a damaged file anything
        raise IceboxError(
            f"{path}: can't be opened as a Pipeline ({one_line(reason)}); export the head anew"
        ) from reason


def refuse_other_types(found: Sequence[str], where: str) -> None:
    """Raise IceboxError where a file holds types that are not in the list."""
    if other := sorted(set(found) - TYPES):
        raise IceboxError(
            f"{where}: expected types of Icebox, scikit-learn and NumPy that make up heads, found {', '.join(other)}"
        )


class PipelineBackbone(Backbone):
    """Items → scores (b, k) and behind them answers (b, 1 or k), in one array, by a Pipeline.

    Its Encoder says how the network in the folder is loaded, which here keeps no features.
    """

    outputs = (ANSWERS,)

    def __init__(self, export: ExportFolder) -> None:
        self.config = export.config
        self.pipeline = read(export.file(export.config["model"]))
        encoder = self.pipeline.steps[0][1]
        if f"{type(encoder).__module__}.{type(encoder).__name__}" != ENCODER:
            raise IceboxError(f"{export.path}: expected an Encoder as the first step, found {type(encoder).__name__}")
        folder = export.file(NETWORK)
        options = {} if encoder.prompt is None else {"prompt": encoder.prompt}
        self.network = backbones.load_from(
            folder, family_in(folder), encoder.outputs, precision=encoder.precision_, **options
        )
        self.modality = self.network.modality  # type: ignore[misc]

    @property
    def spec(self) -> dict[str, Any]:
        """The spec of the network that it was made of."""
        return {"family": "export", **self.config["network"]}

    def prepare(self, content: Content) -> Any:
        """An item as its network takes it."""
        return self.network.prepare(content)

    def encode(self, prepared: Sequence[Any]) -> dict[str, np.ndarray]:
        """b prepared items → {"answers": float32 (b, k + …)}."""
        encoded = self.network.encode(prepared)
        outputs = [np.asarray(encoded[name], np.float32).reshape(len(prepared), -1) for name in self.network.outputs]
        features = np.concatenate(outputs, axis=1)
        try:
            for _, step in self.pipeline.steps[1:-1]:
                features = step.transform(features)
            columns = self.answers(features)
        except MemoryError:
            raise
        except Exception as reason:  # of a Pipeline that was changed anything
            raise IceboxError(f"{self.config['model']}: the Pipeline can't answer ({one_line(reason)})") from reason
        return {ANSWERS: np.column_stack([np.asarray(each, np.float32) for each in columns])}

    def answers(self, features: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Features (b, d) → scores and answers of the head."""
        head = self.pipeline.steps[-1][1]
        if self.config["task"] == "regression":
            values = np.asarray(head.predict(features), np.float64)
            return values, values
        if self.config["task"] == "multilabel":
            answers = predictions.predict_sets(head, features)
        else:
            answers = predictions.predict(head, features, len(self.config["classes"]))
        return answers.scores, answers.predicted


def family_in(folder: Path) -> str:
    """The family of an export's network. Raises IceboxError for one whose folder may hold code."""
    family = str(read_settings(folder, family=str)["family"])
    if family not in FAMILIES:
        raise IceboxError(
            f"{folder / SETTINGS_FILE}: expected a family whose folder holds no code, found {family[:40]!r}"
        )
    return family
