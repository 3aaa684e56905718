"""Measurements of a server in Prometheus' format."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST

LATENCIES_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
BATCHES = (1, 2, 4, 8, 16, 32, 64, 128)


class Metrics:
    """The counts of one server, in a registry of its own."""

    content_type = CONTENT_TYPE_LATEST

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "icebox_requests", "Requests to /predict by outcome.", ["outcome"], registry=self.registry
        )
        for outcome in ("answered", "refused", "busy", "failed"):
            self.requests.labels(outcome)  # shown from the start, as 0
        self.items = Counter("icebox_items", "Items by outcome.", ["outcome"], registry=self.registry)
        for outcome in ("answered", "refused"):
            self.items.labels(outcome)
        self.seconds = Histogram(
            "icebox_request_seconds",
            "Seconds from a request's headers to its answer.",
            buckets=LATENCIES_S,
            registry=self.registry,
        )
        self.batch_items = Histogram(
            "icebox_batch_items",
            "Items that went through the network together.",
            buckets=BATCHES,
            registry=self.registry,
        )
        self.waiting_items = Gauge(
            "icebox_waiting_items", "Items that wait or are being answered.", registry=self.registry
        )

    def text(self) -> bytes:
        """All of them, as Prometheus reads them."""
        return generate_latest(self.registry)
