"""The ASGI application: /predict, its description, health, metrics and the page."""

import asyncio
import logging
import os
import time
from collections.abc import AsyncIterator, Collection
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from functools import lru_cache, partial
from importlib.resources import files
from typing import Any

import numpy as np
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from icebox.features.abc.dataset import Content
from icebox.features.errors import IceboxError
from icebox.pipeline.inference.reading.raw_items import cleaned
from icebox.pipeline.serving import openapi, responses
from icebox.pipeline.serving.batching import BATCH_SIZE, WAIT_S, Batcher
from icebox.pipeline.serving.limits import Budget, Limits, RequestError
from icebox.pipeline.serving.metrics import Metrics
from icebox.pipeline.serving.predictor import ItemAnswer, Predictor
from icebox.pipeline.serving.requests import Body, RequestItem, Wishes, read_items, read_wishes, refuse_pixels
from icebox.pipeline.serving.security import Gate, error_response
from icebox.pipeline.serving.sketching import SketchFile

COVERAGES_MAX = 8  # calibrations that are kept
DECODERS = max(2, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 2)
logger = logging.getLogger("icebox")


class Service:
    """A predictor with all that its requests share."""

    def __init__(
        self,
        predictor: Predictor,
        *,
        limits: Limits | None = None,
        batch_size: int = BATCH_SIZE,
        wait_s: float = WAIT_S,
        shows_train: bool = True,
        sketch: SketchFile | None = None,
    ) -> None:
        self.predictor = predictor
        self.sketch = sketch
        self.train = predictor.train_items() if shows_train else None
        self.limits = limits or Limits()
        self.metrics = Metrics()
        self.budget = Budget(self.limits.all_bytes)
        self.batcher = Batcher(
            CheckedPredictor(predictor, self.limits),
            self.metrics,
            all_items=self.limits.all_items,
            batch_size=batch_size,
            wait_s=wait_s,
            decoders=DECODERS,
        )
        self.side = ThreadPoolExecutor(1, "nearest")  # of its own, so that answers without it never wait for it
        self.is_ready = False
        self.sets = lru_cache(COVERAGES_MAX)(partial(self._sets))

    def _sets(self, coverage: float, by_class: bool) -> Any:
        return self.predictor.sets(coverage=coverage, by_class=by_class)

    @asynccontextmanager
    async def running(self, app: Starlette) -> AsyncIterator[None]:
        """Answer requests within it."""
        self.batcher.start()
        self.is_ready = True
        try:
            yield
        finally:
            self.is_ready = False
            await self.batcher.stop()
            self.side.shutdown(wait=True)
            if self.sketch is not None:
                self.sketch.write()

    async def predict(self, request: Request) -> Response:
        """Answer the items of a request; an error is one line of JSON."""
        start_s, outcome = time.perf_counter(), "failed"
        body = Body(request, self.limits, self.budget)
        try:
            response = await self.answered(request, body)
            outcome = "answered" if response.status_code == 200 else "refused"
            return response
        except RequestError as error:
            outcome = "busy" if error.status == 503 else "refused"
            return error_response(error.status, str(error), retry_after_s=error.retry_after_s)
        finally:
            body.close()
            self.metrics.requests.labels(outcome).inc()
            self.metrics.seconds.observe(time.perf_counter() - start_s)

    async def answered(self, request: Request, body: Body) -> Response:
        """The answers to a request. Raises RequestError for one that can't be answered."""
        wishes = read_wishes(self.only_values(request), nearest=self.train is not None)
        items = await read_items(request, body, self.predictor.modality, self.limits)
        items = [RequestItem(item.name, as_read(item.content, self.predictor)) for item in items]
        readable = [item.content for item in items if not isinstance(item.content, IceboxError)]
        try:
            async with asyncio.timeout(self.limits.answer_s):
                found = iter(await self.batcher.answer(readable))
        except TimeoutError:
            raise RequestError(
                503, f"busy: not answered in {self.limits.answer_s:g} s; try again later", retry_after_s=5
            ) from None
        outcomes = [item.content if isinstance(item.content, IceboxError) else next(found) for item in items]
        answered = sum(isinstance(outcome, ItemAnswer) for outcome in outcomes)
        self.metrics.items.labels("answered").inc(answered)
        self.metrics.items.labels("refused").inc(len(outcomes) - answered)
        if self.sketch is not None and answered:
            features = [outcome.features for outcome in outcomes if isinstance(outcome, ItemAnswer)]
            self.side.submit(self.sketch.add, np.stack(features))
        bodies = [
            responses.as_json(self.predictor, item, outcome) for item, outcome in zip(items, outcomes, strict=True)
        ]
        await self.add_wishes(wishes, items, outcomes, bodies)
        content = {"head": self.predictor.name, "items": bodies}
        if answered:
            return JSONResponse(content)
        first = f"item {bodies[0]['name']}: {bodies[0]['error']}"
        error = first if len(items) == 1 else f"none of the {len(items)} items could be answered; {first}"
        return JSONResponse({"error": error, **content}, 422)

    async def add_wishes(
        self,
        wishes: Wishes,
        items: list[RequestItem],
        outcomes: list[ItemAnswer | IceboxError],
        bodies: list[dict[str, Any]],
    ) -> None:
        """Add to the answers what was asked for besides. Raises RequestError (400) for what this head has not."""
        if wishes.coverage is not None:
            try:
                sets = await run_in_threadpool(self.sets, wishes.coverage, wishes.by_class)
            except IceboxError as error:
                raise RequestError(400, str(error)) from None
            responses.add_sets(self.predictor, sets, items, outcomes, bodies)
        if wishes.nearest and self.train is not None:
            await asyncio.get_running_loop().run_in_executor(
                self.side, responses.add_nearest, self.train, wishes.nearest, outcomes, bodies
            )

    @staticmethod
    def only_values(request: Request) -> dict[str, str]:
        """The parameters of the query. Raises RequestError (400) for one that stands there twice."""
        pairs = request.query_params.multi_items()
        values = dict(pairs)
        if len(values) < len(pairs):
            raise RequestError(400, "a parameter stands in the address twice")
        return values

    async def model(self, request: Request) -> Response:
        """A description of the head, for the page."""
        return JSONResponse(
            {
                "head": self.predictor.name,
                "task": self.predictor.task,
                "modality": self.predictor.modality,
                "classes": self.predictor.classes,
                "probabilities": self.predictor.has_probabilities,
                "nearest": self.train is not None,
                "limits": {
                    "items": self.limits.items,
                    "body_bytes": self.limits.body_bytes,
                    "pixels": self.limits.pixels,
                    "text_length": self.limits.text_length,
                },
            }
        )

    async def train_item(self, request: Request) -> Response:
        """A small picture of an item of train."""
        position = request.path_params["position"]
        if self.train is None:
            return error_response(404, "items of train are not shown here")
        picture = await asyncio.get_running_loop().run_in_executor(self.side, self.train.picture, position)
        if picture is None:
            return error_response(404, f"there is no picture of an item of train at {position}")
        content, kind = picture
        return Response(content, media_type=kind, headers={"cache-control": "private, max-age=3600"})

    async def openapi(self, request: Request) -> Response:
        """The description of this interface."""
        return JSONResponse(openapi.document(self.predictor, self.limits, nearest=self.train is not None))

    async def health(self, request: Request) -> Response:
        """Whether the process answers at all."""
        return JSONResponse({"status": "ok"})

    async def readiness(self, request: Request) -> Response:
        """Whether it takes requests: 503 before it has begun, and while it ends."""
        return JSONResponse({"status": "ready" if self.is_ready else "not ready"}, 200 if self.is_ready else 503)

    async def measurements(self, request: Request) -> Response:
        """Metrics in Prometheus' format."""
        return Response(self.metrics.text(), media_type=self.metrics.content_type)


class CheckedPredictor(Predictor):
    """A predictor that looks at a picture's size before it decodes it."""

    def __init__(self, predictor: Predictor, limits: Limits) -> None:
        self.predictor, self.limits = predictor, limits

    def prepare(self, content: Content) -> Any:
        """Raises ItemError for too many pixels, too."""
        refuse_pixels(content, self.limits)
        return self.predictor.prepare(content)

    def answer(self, prepared: Any) -> list[ItemAnswer | IceboxError]:
        """The predictor's answers."""
        return self.predictor.answer(prepared)


def as_read(content: Content | IceboxError, predictor: Predictor) -> Content | IceboxError:
    """A text cleaned as those of the dataset were; anything else as it is."""
    return content if isinstance(content, IceboxError) else cleaned(content, predictor.clean)


def build(service: Service, *, token: str | None = None, hosts: Collection[str] | None = None) -> Starlette:
    """The application of a service. `token` and `hosts`: see Gate."""
    return Starlette(
        routes=[
            Route("/predict", service.predict, methods=["POST"]),
            Route("/model", service.model),
            Route("/train/{position:int}", service.train_item),
            Route("/openapi.json", service.openapi),
            Route("/healthz", service.health),
            Route("/readyz", service.readiness),
            Route("/metrics", service.measurements),
            *page_routes(),
        ],
        middleware=[Middleware(Gate, token=token, hosts=hosts, take_s=service.limits.chunk_s)],
        exception_handlers={HTTPException: refuse_request, Exception: report_failure},
        lifespan=service.running,
    )


def page_routes() -> list[Route]:
    """The page and its two files, read once."""
    folder = files("icebox.pipeline.serving") / "page"
    kinds = {
        "index.html": "text/html",
        "page.css": "text/css",
        "page.js": "text/javascript",
        "icon.svg": "image/svg+xml",
    }

    def route(name: str, kind: str) -> Route:
        response = Response((folder / name).read_bytes(), media_type=kind, headers={"cache-control": "no-cache"})

        async def answer(request: Request) -> Response:
            return response

        return Route("/" if name == "index.html" else f"/{name}", answer)

    return [route(name, kind) for name, kind in kinds.items()]


def refuse_request(request: Request, error: Exception) -> Response:
    """An unknown address, or a method that it does not take."""
    assert isinstance(error, HTTPException)
    line = {404: "no such address; see /openapi.json", 405: "this address does not take that method"}
    return error_response(error.status_code, line.get(error.status_code, error.detail))


def report_failure(request: Request, error: Exception) -> Response:
    """A bug: the log has it, the answer does not."""
    return error_response(500, "an error of the server; its log says more")
