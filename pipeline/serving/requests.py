"""The items of a request: pictures from a multipart body, texts and pairs from JSON, within limits."""

import asyncio
import json
import time
from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

from starlette.datastructures import Headers, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import ClientDisconnect, Request

from icebox.features.abc.dataset import Content, Modality, Pair
from icebox.features.errors import IceboxError, ItemError, suggestion
from icebox.features.images.dimensions import upright_size
from icebox.features.names import in_line
from icebox.pipeline.serving.limits import Budget, Limits, RequestError

MULTIPART, JSON = "multipart/form-data", "application/json"
FIELDS: Mapping[Modality, str] = {"text": "texts", "pair": "pairs"}
EXPECTED: Mapping[Modality, str] = {
    "image": f"pictures as files of {MULTIPART}",
    "text": f'{JSON} such as {{"texts": ["a text", "another"]}}',
    "pair": f'{JSON} such as {{"pairs": [["a text", "its other one"]]}}',
}
COVERAGE, BY_CLASS, NEAREST = "coverage", "by_class", "nearest"
NEAREST_MAX = 20


@dataclass(frozen=True)
class RequestItem:
    """An item of a request: the name of its file, or its number from 0; its content, or why it can't be read."""

    name: str
    content: Content | IceboxError


@dataclass(frozen=True)
class Wishes:
    """Extras of a request: sets of classes of a `coverage` (None: no sets), and nearest items of train."""

    coverage: float | None = None
    by_class: bool = False
    nearest: int = 0


class Body:
    """The body of a request, a part at a time, within limits of size and time; its bytes are of a shared budget until
    it is closed."""

    def __init__(self, request: Request, limits: Limits, budget: Budget) -> None:
        self.request, self.limits, self.budget = request, limits, budget
        self.size_bytes = 0

    def close(self) -> None:
        """Give its bytes back to the budget."""
        self.budget.give(self.size_bytes)
        self.size_bytes = 0

    async def parts(self, limit_bytes: int) -> AsyncGenerator[bytes, None]:
        """The parts as they come. Raises RequestError for a body that is too large (413) or too slow (408)."""
        length = self.request.headers.get("content-length", "")
        if length.isdecimal() and int(length) > limit_bytes:
            raise too_large(limit_bytes)
        until_s = time.monotonic() + self.limits.body_s
        stream = self.request.stream()
        while True:
            try:
                wait_s = min(self.limits.chunk_s, until_s - time.monotonic())
                part = await asyncio.wait_for(anext(stream, None), max(wait_s, 0.001))
            except TimeoutError:
                raise RequestError(
                    408,
                    f"the body came too slowly: its next part must be here in {self.limits.chunk_s:g} s, and all "
                    f"of it in {self.limits.body_s:g} s",
                ) from None
            except ClientDisconnect:
                raise RequestError(400, "the body ended early") from None
            if part is None:
                return
            self.budget.take(len(part))
            self.size_bytes += len(part)
            if self.size_bytes > limit_bytes:
                raise too_large(limit_bytes)
            yield part


class WholeParser(MultiPartParser):
    """A parser that refuses a body without its last boundary, of which a file may be missing in silence."""

    def __init__(self, headers: Headers, stream: AsyncGenerator[bytes, None], **limits: Any) -> None:
        super().__init__(headers, self._whole(stream), **limits)
        self._ended = False

    async def _whole(self, stream: AsyncGenerator[bytes, None]) -> AsyncGenerator[bytes, None]:
        empty = True
        async for part in stream:
            yield part
            empty = empty and not part
        if not self._ended and not empty:
            raise MultiPartException("it ends before its last boundary")

    def on_end(self) -> None:
        """Called at the last boundary."""
        self._ended = True


async def read_items(request: Request, body: Body, modality: Modality, limits: Limits) -> list[RequestItem]:
    """The items of a request, in order. Raises RequestError for a body that is none of this modality's."""
    if (encoding := request.headers.get("content-encoding", "identity").strip().lower()) not in ("", "identity"):
        raise RequestError(415, f"content-encoding: expected a body as it is, found {in_line(encoding)}; send it plain")
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    expected = MULTIPART if modality == "image" else JSON
    if kind != expected:
        raise RequestError(415, f"expected {EXPECTED[modality]}, found {in_line(kind) or 'no content-type'}")
    items = await read_files(request, body, limits) if modality == "image" else await read_texts(body, modality, limits)
    if not items:
        raise RequestError(400, f"expected {EXPECTED[modality]}, found no item")
    if len(items) > limits.items:
        raise too_many(limits)
    return items


async def read_files(request: Request, body: Body, limits: Limits) -> list[RequestItem]:
    """The files of a multipart body, whatever their fields are called; they are kept in memory."""
    parser = WholeParser(
        request.headers, body.parts(limits.body_bytes), max_files=limits.items, max_fields=limits.items
    )
    parser.spool_max_size = limits.body_bytes + 1
    try:
        form = await parser.parse()
    except MultiPartException as error:
        if "Too many files" in error.message:
            raise too_many(limits) from None
        raise RequestError(400, f"the body is no whole {MULTIPART}: {in_line(error.message)}") from None
    except (ValueError, LookupError, UnicodeError) as error:  # of headers that python-multipart doesn't expect
        raise RequestError(400, f"the body is no whole {MULTIPART}: {in_line(str(error))}") from None
    items = []
    try:
        for number, (field, value) in enumerate(form.multi_items()):
            if not isinstance(value, UploadFile):
                raise RequestError(
                    400,
                    f"field '{in_line(field[: limits.name_length])}': expected a file, found a text; curl sends one by "
                    "-F images=@picture.jpg",
                )
            name = in_line(value.filename or str(number), characters=limits.name_length)
            items.append(RequestItem(name, await value.read()))
    finally:
        await form.close()
    return items


async def read_texts(body: Body, modality: Modality, limits: Limits) -> list[RequestItem]:
    """The texts, or pairs of texts, of a JSON body."""
    content = bytearray()
    async for part in body.parts(limits.json_bytes):
        content += part
    field = FIELDS[modality]
    values = read_json_object(bytes(content), EXPECTED[modality])
    if unknown := [name for name in values if name != field]:
        name = in_line(unknown[0][: limits.name_length])
        raise RequestError(400, f"field '{name}': not known; expected {EXPECTED[modality]}")
    texts = values.get(field)
    if not isinstance(texts, list):
        raise RequestError(400, f"field '{field}': expected a list, found {kind_of(texts)}")
    return [RequestItem(str(number), text_content(value, modality, limits)) for number, value in enumerate(texts)]


def read_json_object(content: bytes, expected: str) -> dict[str, Any]:
    """A JSON object. Raises RequestError (400) for anything else, NaN and what is nested too deeply included."""
    if not content.strip():
        raise RequestError(400, f"the body is empty; expected {expected}")
    try:
        values = json.loads(
            content.decode("utf-8-sig"), parse_constant=refuse_constant, object_pairs_hook=without_twins
        )
    except UnicodeDecodeError:
        raise RequestError(400, "the body is not UTF-8") from None
    except RecursionError:
        raise RequestError(400, "the body is nested too deeply") from None
    except ValueError as error:
        raise RequestError(400, f"the body is no JSON: {in_line(str(error))}") from None
    if not isinstance(values, dict):
        raise RequestError(400, f"expected {expected}, found {kind_of(values)}")
    return values


def without_twins(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object. Raises ValueError for a field that stands there twice, of which one would be lost."""
    values = dict(pairs)
    if len(values) < len(pairs):
        raise ValueError("a field stands there twice")
    return values


def refuse_constant(name: str) -> NoReturn:
    """Raise ValueError for NaN and Infinity, which are no JSON."""
    raise ValueError(f"{name} is no JSON")


def text_content(value: Any, modality: Modality, limits: Limits) -> Content | IceboxError:
    """A text, or a pair of two; or why it is none."""
    match modality, value:
        case "text", str():
            texts = [value]
        case "pair", [str(), str()]:
            texts = value
        case "text", _:
            return ItemError(f"expected a text, found {kind_of(value)}")
        case _:
            return ItemError(f"expected two texts, found {kind_of(value)}")
    for text in texts:
        if len(text) > limits.text_length:
            return ItemError(f"expected at most {limits.text_length:,} characters, found {len(text):,}")
        if any("\ud800" <= character <= "\udfff" for character in text):
            return ItemError("is no Unicode: it holds half of a surrogate pair")
    return Pair(*texts) if modality == "pair" else value


def refuse_pixels(content: Content, limits: Limits) -> None:
    """Raise ItemError for a picture of too many pixels, by its header, before it is decoded."""
    size = upright_size(content)
    if size is not None and size[0] * size[1] > limits.pixels:
        raise ItemError(f"too large: {size[1]}×{size[0]} pixels, the limit is {limits.pixels:,}")


def kind_of(value: Any) -> str:
    """The kind of a JSON value, in words."""
    match value:
        case None:
            return "nothing"
        case bool():
            return "true or false"
        case int() | float():
            return "a number"
        case str():
            return "a text"
        case list():
            return f"a list of {len(value)}"
    return "an object"


def read_wishes(parameters: Mapping[str, str], *, nearest: bool) -> Wishes:
    """The wishes of a request's query. Raises RequestError (400) for others, or values that can't be."""
    known = [COVERAGE, BY_CLASS, *([NEAREST] if nearest else [])]
    for name in parameters:
        if name not in known:
            raise RequestError(400, f"parameter '{in_line(name[:80])}': not known here; {suggestion(name[:80], known)}")
    coverage = None
    if COVERAGE in parameters:
        try:
            coverage = float(parameters[COVERAGE])
        except ValueError:
            coverage = 0.0
        if not 0 < coverage < 1:
            raise RequestError(400, f"{COVERAGE}: expected a share between 0 and 1, such as 0.9")
    by_class = parameters.get(BY_CLASS, "false").lower()
    if by_class not in ("true", "false") or (by_class == "true" and coverage is None):
        raise RequestError(400, f"{BY_CLASS}: expected true or false, beside {COVERAGE}")
    count = parameters.get(NEAREST, "0")
    if not (count.isascii() and count.isdecimal() and len(count) < 4 and int(count) <= NEAREST_MAX):
        raise RequestError(400, f"{NEAREST}: expected a number of items, 0 to {NEAREST_MAX}")
    return Wishes(coverage, by_class == "true", int(count))


def too_large(limit_bytes: int) -> RequestError:
    """The error of a body that is too large."""
    return RequestError(413, f"the body is too large: at most {limit_bytes:,} bytes; send fewer items at a time")


def too_many(limits: Limits) -> RequestError:
    """The error of a request with too many items."""
    return RequestError(413, f"too many items: at most {limits.items} at a time")
