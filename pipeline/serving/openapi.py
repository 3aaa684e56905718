"""The description of a server in OpenAPI 3.1, for its own head: what it takes, and what it answers."""

from typing import Any

import icebox
from icebox.pipeline.serving.limits import MIB, Limits
from icebox.pipeline.serving.predictor import Predictor
from icebox.pipeline.serving.requests import BY_CLASS, COVERAGE, FIELDS, JSON, MULTIPART, NEAREST, NEAREST_MAX

ERRORS = {
    "400": "A broken body, or a parameter that is not known; one line says which.",
    "401": "Without the token, where the server has one.",
    "403": "From a page of another site.",
    "408": "A body that comes too slowly.",
    "413": "A body that is too large, or too many items.",
    "415": "A body of another kind than this head's.",
    "421": "Asked by a name that is none of the server's.",
    "422": "None of the items could be answered.",
    "503": "Busy; the header Retry-After says when to try again.",
}
TEXT, NUMBER = {"type": "string"}, {"type": "number"}
NEIGHBOR = {
    "type": "object",
    "required": ["id", "label", "distance"],
    "properties": {"id": TEXT, "label": TEXT, "distance": NUMBER, "text": TEXT, "thumbnail": TEXT},
}


def document(predictor: Predictor, limits: Limits, *, nearest: bool) -> dict[str, Any]:
    """The document; `nearest`: whether items of train are shown."""
    return {
        "openapi": "3.1.0",
        "info": {
            "title": f"Icebox: {predictor.name}",
            "version": icebox.__version__,
            "description": f"Answers of a fitted head ({predictor.task}) for new items.",
        },
        "paths": {
            "/predict": {
                "post": {
                    "operationId": "predict",
                    "summary": "Answers for up to " + f"{limits.items} items.",
                    "parameters": parameters(predictor, nearest=nearest),
                    "requestBody": {"required": True, "content": request_body(predictor, limits)},
                    "responses": {
                        "200": response("An answer or an error for each item, in order.", "Answers"),
                        **{status: response(meaning, "Error") for status, meaning in ERRORS.items()},
                    },
                }
            },
            **({"/train/{position}": {"get": train_item()}} if nearest else {}),
            "/model": {"get": plain("model", "What the head is, and the limits of requests.")},
            "/healthz": {"get": plain("healthz", "Whether the process answers at all.", open_to_all=True)},
            "/readyz": {
                "get": plain("readyz", "Whether it takes requests.", open_to_all=True)
                | {"responses": {"200": {"description": "Ready."}, "503": {"description": "Not ready."}}}
            },
            "/metrics": {"get": plain("metrics", "Measurements in Prometheus' format.", kind="text/plain")},
        },
        "components": {
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
            "schemas": {
                "Error": {"type": "object", "required": ["error"], "properties": {"error": TEXT}},
                "Answers": {
                    "type": "object",
                    "required": ["head", "items"],
                    "properties": {
                        "head": TEXT,
                        "items": {"type": "array", "items": {"$ref": "#/components/schemas/Answer"}},
                    },
                },
                "Answer": answer(predictor),
            },
        },
        "security": [{}, {"token": []}],
    }


def parameters(predictor: Predictor, *, nearest: bool) -> list[dict[str, Any]]:
    """The parameters of the address."""
    count = {
        "name": NEAREST,
        "in": "query",
        "description": "Also so many items of train that lie nearest by the features that the head takes.",
        "schema": {"type": "integer", "minimum": 0, "maximum": NEAREST_MAX, "default": 0},
    }
    return [*(of_sets() if predictor.task == "classification" else []), *([count] if nearest else [])]


def of_sets() -> list[dict[str, Any]]:
    """The parameters that ask for sets of classes."""
    share = {"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 1}
    return [
        {
            "name": COVERAGE,
            "in": "query",
            "description": "Also sets of classes, which hold the true one in this share of items.",
            "schema": share,
        },
        {
            "name": BY_CLASS,
            "in": "query",
            "description": "With coverage: in this share of the items of each class.",
            "schema": {"type": "boolean", "default": False},
        },
    ]


def request_body(predictor: Predictor, limits: Limits) -> dict[str, Any]:
    """The body of a request: pictures as files, or texts or pairs of texts as JSON."""
    if predictor.modality == "image":
        pictures = {
            "type": "object",
            "description": f"Pictures, together at most {limits.body_bytes // MIB} MiB, of {limits.pixels:,} pixels "
            "at most.",
            "properties": {"images": {"type": "array", "items": {"type": "string", "format": "binary"}}},
        }
        return {MULTIPART: {"schema": pictures}}
    text: dict[str, Any] = {"type": "string", "maxLength": limits.text_length}
    item: dict[str, Any] = (
        text if predictor.modality == "text" else {"type": "array", "items": text, "minItems": 2, "maxItems": 2}
    )
    field = FIELDS[predictor.modality]
    texts = {"type": "array", "items": item, "minItems": 1, "maxItems": limits.items}
    schema = {"type": "object", "required": [field], "properties": {field: texts}, "additionalProperties": False}
    return {JSON: {"schema": schema}}


def answer(predictor: Predictor) -> dict[str, Any]:
    """The answer to one item."""
    kind = "probabilities" if predictor.has_probabilities else "scores"
    by_class = {
        "type": "object",
        "properties": {name: {"type": ["number", "null"]} for name in predictor.classes},
    }
    names = {"type": "array", "items": TEXT}
    answers: dict[str, Any] = {"label": TEXT, kind: by_class, "set": names}
    if predictor.task == "regression":
        answers = {"value": NUMBER}
    elif predictor.task == "multilabel":
        answers = {"labels": names, kind: by_class}
    return {
        "type": "object",
        "required": ["name"],
        "properties": {
            "name": {"type": "string", "description": "The file's name, or the item's number from 0."},
            "error": {"type": "string", "description": "Why there is no answer."},
            "nearest": {"type": ["array", "null"], "items": NEIGHBOR},
            **answers,
        },
    }


def train_item() -> dict[str, Any]:
    """The address of a small picture of train."""
    position = {"name": "position", "in": "path", "required": True, "schema": {"type": "integer", "minimum": 0}}
    return {
        "operationId": "train_item",
        "summary": "A small picture of an item of train.",
        "parameters": [position],
        "responses": {
            "200": {"description": "The picture.", "content": {"image/jpeg": {}, "image/png": {}}},
            "404": response("There is none.", "Error"),
        },
    }


def response(meaning: str, schema: str) -> dict[str, Any]:
    """A response of JSON."""
    return {"description": meaning, "content": {JSON: {"schema": {"$ref": f"#/components/schemas/{schema}"}}}}


def plain(name: str, summary: str, *, kind: str = JSON, open_to_all: bool = False) -> dict[str, Any]:
    """An address that takes nothing."""
    return {
        "operationId": name,
        "summary": summary,
        "responses": {"200": {"description": summary, "content": {kind: {}}}},
        **({"security": []} if open_to_all else {}),
    }
