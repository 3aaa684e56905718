"""An export's model as a backbone whose one output are the answers, and a head that hands these on.

So predict, evaluate and all that reads items by a backbone and a head take an export as they are.

Letters: b batch, k classes.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from PIL import Image

from icebox.features.abc.backbone import Backbone
from icebox.features.abc.dataset import Content, Modality, Pair
from icebox.features.errors import IceboxError, ItemError
from icebox.features.images.decoding import to_pixels
from icebox.features.json_files import read_json
from icebox.features.text import tokenization
from icebox.features.text.batching import token_budget_batches
from icebox.pipeline.exported.folder import ExportFolder
from icebox.pipeline.exported.reference import pictures, texts
from icebox.pipeline.exported.session import GraphSession

ANSWERS = "answers"  # the backbone's output: scores, and behind them the answers
BATCH_TOKENS = 512  # of one pass, padding counted: more of it costs more than more passes do
BATCH_PICTURES = 32
Run = Callable[[Sequence[str], Mapping[str, np.ndarray]], Sequence[np.ndarray]]  # outputs, arrays → values


class ExportedBackbone(Backbone):
    """Items → scores (b, k) and behind them answers (b, 1 or k), in one array."""

    outputs = (ANSWERS,)

    def __init__(self, export: ExportFolder, run: Run) -> None:
        self.config, self.run = export.config, run
        self.kind, self.steps = export.config["input"]["kind"], export.config["preprocess"]
        self.names: list[str] = export.config["input"]["names"]
        self.modality: Modality = "text" if self.kind == "pair" else self.kind  # type: ignore[misc]
        self.takes_pairs = self.kind == "pair"  # type: ignore[misc]
        self.answers = [export.config["scores"], answer_name(export.config["task"])]
        if self.kind in ("text", "pair"):
            self.encode_text = self._encoder(export)

    def _encoder(self, export: ExportFolder) -> texts.Encode:
        if self.steps["kind"] == "words":
            words = export.file("vocabulary.txt").read_text(encoding="utf-8").splitlines()
            return texts.word_encoder(words, tokenization.tokenize, self.steps)
        try:
            return texts.token_encoder(export.file("tokenizer.json"), self.steps)
        except Exception as reason:  # tokenizers raises bare Exceptions
            raise IceboxError(f"{export.path}: its tokenizer.json can't be read ({reason})") from reason

    @property
    def spec(self) -> dict[str, Any]:
        """The spec of the network that it was made of."""
        return {"family": "export", **self.config["network"]}

    def prepare(self, content: Content) -> Any:
        """An image → uint8 pixels as the graph takes them; a text or pair → token ids and the text of each."""
        if self.kind == "image":
            draft = min(self.steps["resize"]) if self.steps.get("decode") == "draft" else None
            pixels = to_pixels(content, draft=draft)
            try:
                return pictures.prepare(Image.fromarray(pixels), self.steps)
            except ValueError as reason:
                raise ItemError(str(reason)) from reason
        given = [content.first, content.second] if isinstance(content, Pair) else [content]
        if len(given) != (2 if self.kind == "pair" else 1) or not all(isinstance(text, str) for text in given):
            raise ItemError(f"expected a {self.kind}, found {type(content).__name__}")
        try:
            return self.encode_text([str(text) for text in given])
        except UnicodeEncodeError as error:  # a lone surrogate
            raise ItemError(f"not Unicode text: {error}") from error

    def encode(self, prepared: Sequence[Any]) -> dict[str, np.ndarray]:
        """b prepared items → {"answers": float32 (b, k + …)}."""
        answers = self.answer(prepared)
        return {ANSWERS: np.column_stack([np.asarray(each, np.float32).reshape(len(prepared), -1) for each in answers])}

    def answer(self, prepared: Sequence[Any], *further: str) -> list[np.ndarray]:
        """Scores and answers of b prepared items, and what else of the graph's outputs is asked for, in their order."""
        parts = self.parts(prepared)
        passes = [self.run([*self.answers, *further], self.arrays([prepared[row] for row in rows])) for rows in parts]
        for rows, values in zip(parts, passes, strict=True):
            self.refuse_other_answers(values, len(rows))
        order = np.argsort(np.concatenate(parts))
        return [np.concatenate(each)[order] for each in zip(*passes, strict=True)]

    def refuse_other_answers(self, values: Sequence[np.ndarray], items: int) -> None:
        """Raise IceboxError for scores and answers that are not those of this many items and the config's classes."""
        k, task = len(self.config["classes"]), self.config["task"]
        scores, answers = (np.asarray(each) for each in values[:2])
        if task == "regression":
            is_right = answers.size == items
        elif task == "multilabel":
            is_right = scores.shape == answers.shape == (items, k)
        else:
            is_right = (scores.shape, answers.shape) == ((items, k), (items,)) and bool(
                ((answers >= 0) & (answers < k)).all()
            )
        if not is_right:
            raise IceboxError(
                f"the export's model gives scores {scores.shape} and answers {answers.shape}, other than config.json's "
                f"{k} classes of {items} items have; export the head anew"
            )

    def parts(self, prepared: Sequence[Any]) -> list[list[int]]:
        """The positions of the items of each pass: pictures in their order, texts of like length together."""
        if self.kind == "image":
            rows = list(range(len(prepared)))
            return [rows[start : start + BATCH_PICTURES] for start in range(0, len(rows), BATCH_PICTURES)]
        return token_budget_batches([self.steps["width"] or len(ids) for ids, _ in prepared], BATCH_TOKENS)

    def arrays(self, prepared: Sequence[Any]) -> dict[str, np.ndarray]:
        """The graph's inputs for b prepared items."""
        if self.kind == "image":
            return {self.names[0]: np.stack(list(prepared))}
        return texts.batch(prepared, self.names, self.steps)


def open_backbone(export: ExportFolder) -> Backbone:
    """The model of an export, ready to answer. Raises IceboxError for a program of torch, which may hold code."""
    if export.format == "torch":
        raise IceboxError(
            f"{export.path}: is a torch export, which Icebox does not open: {export.config['model']} can hold code; "
            "run its predict.py where you trust it, or export the head with --format onnx"
        )
    if export.format == "sklearn":
        from icebox.pipeline.exported.pipeline_file import PipelineBackbone  # torch is only needed here

        return PipelineBackbone(export)
    return ExportedBackbone(export, GraphSession(export.file(export.config["model"])).run)


def val_scores(export: ExportFolder) -> list[np.ndarray]:
    """For each class the scores of val's items for their own class, by which sets are calibrated.

    Raises IceboxError where the export has none.
    """
    if not export.config["coverage"]:
        raise IceboxError(
            "coverage: sets are calibrated on val, and this export holds no scores of it: its head was fitted or "
            "calibrated on val, or has no classes"
        )
    classes = export.config["classes"]
    by_name = read_json(export.file(export.config["coverage"]), {name: [float] for name in classes})
    return [np.sort(np.array(by_name[name], np.float32)) for name in classes]


def answer_name(task: str) -> str:
    """The name of the output that is the answer."""
    return {"regression": "value", "multilabel": "labels"}.get(task, "label")


class ExportedHead:
    """Hands on the answers of an export's model."""

    def __init__(self, classes: int) -> None:
        self.k = classes
        self.classes_ = np.arange(classes)

    def predict(self, X: Any) -> np.ndarray:
        """Class numbers (n,)."""
        numbers: np.ndarray = np.asarray(X)[:, self.k].astype(np.int64)
        return numbers


class ExportedProbabilities(ExportedHead):
    """Of a classifier with probabilities."""

    def predict_proba(self, X: Any) -> np.ndarray:
        """Probabilities (n, k)."""
        probabilities: np.ndarray = np.asarray(X)[:, : self.k].astype(np.float64)
        return probabilities


class ExportedMargins(ExportedHead):
    """Of a classifier with margins."""

    def decision_function(self, X: Any) -> np.ndarray:
        """Margins (n, k)."""
        margins: np.ndarray = np.asarray(X)[:, : self.k]
        return margins


class ExportedValues(ExportedHead):
    """Of a regression."""

    def predict(self, X: Any) -> np.ndarray:
        """Values (n,)."""
        values: np.ndarray = np.asarray(X)[:, 0].astype(np.float64)
        return values


def head_of(config: Mapping[str, Any]) -> Any:
    """The head that hands on what the model answers."""
    classes = len(config["classes"])
    if config["task"] == "regression":
        return ExportedValues(0)
    head: Any = (ExportedProbabilities if config["scores"] == "probabilities" else ExportedMargins)(classes)
    if config["task"] == "multilabel":
        head.thresholds = np.asarray(config["thresholds"], np.float64)
    return head
