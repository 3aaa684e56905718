"""Answers of this model: python predict.py PICTURE… (or TEXT…, of pairs FIRST SECOND…), without Icebox.

Needs onnxruntime (for model.pt2 torch) and numpy; pillow for pictures, tokenizers for texts. A JSON line an item: its
label and scores.
"""

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import preprocess  # type: ignore[import-not-found]  # it lies beside this file

HERE = Path(__file__).resolve().parent
CONFIG = json.loads((HERE / "config.json").read_text(encoding="utf-8"))


def arrays_of(items: list[Any]) -> dict[str, np.ndarray]:
    """Paths of pictures, texts or pairs of texts → the model's inputs."""
    steps, names = CONFIG["preprocess"], CONFIG["input"]["names"]
    if CONFIG["input"]["kind"] == "image":
        return {names[0]: np.stack([preprocess.prepare(item, steps) for item in items])}
    texts = [[item] if isinstance(item, str) else list(item) for item in items]
    if steps_of_cleaning := CONFIG["dataset"]["clean"]:
        import cleaning  # type: ignore[import-not-found]

        texts = [[cleaning.clean(text, steps_of_cleaning) for text in item] for item in texts]
    if steps["kind"] == "words":
        import tokenization  # type: ignore[import-not-found]

        words = (HERE / "vocabulary.txt").read_text(encoding="utf-8").splitlines()
        encode = preprocess.word_encoder(words, tokenization.tokenize, steps)
    else:
        encode = preprocess.token_encoder(HERE / "tokenizer.json", steps)
    rows = [encode(item) for item in texts]
    arrays: dict[str, np.ndarray] = preprocess.batch(rows, names, steps)
    return arrays


def run(outputs: list[str], arrays: dict[str, np.ndarray]) -> list[np.ndarray]:
    """The model's outputs of these names."""
    if CONFIG["format"] == "torch":
        import torch

        program = torch.export.load(HERE / CONFIG["model"]).module()
        with torch.inference_mode():
            values = program(*[torch.from_numpy(arrays[name]) for name in CONFIG["input"]["names"]])
        return [dict(zip(CONFIG["outputs"], values, strict=True))[name].numpy() for name in outputs]
    import onnxruntime

    session = onnxruntime.InferenceSession(HERE / CONFIG["model"], providers=["CPUExecutionProvider"])
    return list(session.run(outputs, arrays))


def predict(items: list[Any]) -> list[dict[str, Any]]:
    """The answer for each item: `label` (of a regression `value`, of several labels `labels`), and a score a class."""
    kind, classes = CONFIG["scores"], CONFIG["classes"]
    answer = {"regression": "value", "multilabel": "labels"}.get(CONFIG["task"], "label")
    scores, answers = run([kind, answer], arrays_of(items))
    if answer == "value":
        return [{"value": float(value)} for value in scores]
    if answer == "labels":
        named = [[name for name, has in zip(classes, row, strict=True) if has] for row in answers]
    else:
        named = [classes[number] for number in answers]
    return [
        {answer: label, kind: dict(zip(classes, map(float, row), strict=True))}
        for label, row in zip(named, scores, strict=True)
    ]


if __name__ == "__main__":
    given: list[Any] = sys.argv[1:]
    item = {"image": "PICTURE…", "text": "TEXT…", "pair": "FIRST SECOND…"}[CONFIG["input"]["kind"]]
    if not given or (item == "FIRST SECOND…" and len(given) % 2):
        sys.exit(f"usage: python predict.py {item}")
    if CONFIG["input"]["kind"] == "pair":
        given = list(zip(given[::2], given[1::2], strict=True))
    try:
        lines = predict(given)
    except (OSError, ValueError) as error:  # no such file, no picture
        sys.exit(f"error: {error}")
    for line in lines:
        print(json.dumps(line, ensure_ascii=False))
