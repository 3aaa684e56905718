"""A served head as its clients meet it: answers like those of `predict`, and one line for whatever is wrong."""

import asyncio
import gzip
import io
import json
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator
from PIL import Image
from starlette.testclient import TestClient

from icebox.features.abc.dataset import Pair
from icebox.features.errors import IceboxError
from icebox.features.text.pairs import PAIR
from icebox.pipeline.inference import fitted_head
from icebox.pipeline.serving import app, security
from icebox.pipeline.serving.limits import Limits
from icebox.pipeline.serving.predictor import HeadPredictor
from tests.pipeline.inference.heads import fit

NOTES = [("good thing", "plus"), ("so good", "plus"), ("bad thing", "minus"), ("so bad", "minus")]
LIMITS = Limits(body_bytes=60_000, json_bytes=60_000, items=8, pixels=10_000, text_length=50, all_items=16)


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Heads on pictures, texts, cleaned texts, pairs and numbers."""
    folder = tmp_path_factory.mktemp("served")
    pictures = [(np.full((6, 6), grey, np.uint8), "bright" if grey > 99 else "dark") for grey in (10, 40, 200, 240)]
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        fit("photos", pictures, backbone="pixels", source="image_folder", parameters={"path": "raw/photos"})
        fit("notes", NOTES, backbone="hashing", source="csv_text", parameters={"path": "n.csv"})
        fit("clean", NOTES, backbone="hashing", clean=["lower"], source="csv_text", parameters={"path": "n.csv"})
        pairs = [(Pair(text, text), label) for text, label in NOTES]
        fit("pairs", pairs, backbone="hashing", view=PAIR, source="csv_text", parameters={"path": "p.csv"})
        fit("sizes", [(f"{'good ' * n}thing", n / 2) for n in range(5)], backbone="hashing")
    return folder


@pytest.fixture
def client(project: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[TestClient]:
    """Pictures, with small limits."""
    monkeypatch.chdir(project)
    with serving("photos") as client:
        yield client


def serving(store: str, limits: Limits = LIMITS, **security_settings) -> TestClient:
    service = app.Service(HeadPredictor(f"{store}/head"), limits=limits)
    return TestClient(app.build(service, **security_settings), raise_server_exceptions=False)


def png(grey: int = 250, size: tuple[int, int] = (6, 6)) -> bytes:
    stream = io.BytesIO()
    Image.new("L", size, grey).save(stream, "PNG")
    return stream.getvalue()


def broken_png() -> bytes:
    """A picture whose file ends early."""
    stream = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (20, 20), np.uint8)).save(stream, "PNG")
    return stream.getvalue()[:250]


def png_that_claims(width: int, height: int) -> bytes:
    """A PNG of a few bytes whose header claims any size."""

    def chunk(name: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")
    )


def one_line(response, status: int) -> str:
    """The error of a response of this status: one line, without a trace of code."""
    assert response.status_code == status, response.text
    line = response.json()["error"]
    assert len(line.splitlines()) == 1
    assert "Traceback" not in line
    return line


# --- answers


def test_a_picture_gets_its_label_with_a_probability_for_each_class(client: TestClient) -> None:
    answer = client.post("/predict", files={"images": ("a.png", png(250))}).json()
    assert answer["head"] == "photos/head"
    (item,) = answer["items"]
    assert (item["name"], item["label"]) == ("a.png", "bright")
    assert list(item["probabilities"]) == ["bright", "dark"]
    assert sum(item["probabilities"].values()) == pytest.approx(1)


def test_each_picture_of_a_request_has_its_own_answer_or_error(client: TestClient) -> None:
    pictures = [("dark.png", png(5)), ("broken.png", broken_png()), ("text.png", b"no picture"), ("bright.png", png())]
    answer = client.post("/predict", files=[("images", each) for each in pictures])
    assert answer.status_code == 200
    dark, broken, text, bright = answer.json()["items"]
    assert [dark["label"], bright["label"]] == ["dark", "bright"]
    assert broken["error"].startswith("damaged or cut short")
    assert text["error"].startswith("not an image")


def test_answers_are_those_of_predict(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(project)
    random = np.random.default_rng(0)
    images = []
    for _ in range(8):
        stream = io.BytesIO()
        Image.fromarray(random.integers(0, 256, (9, 9, 3), np.uint8)).save(stream, "PNG")
        images.append(stream.getvalue())
    expected = fitted_head.load("photos/head").predict_proba(images)
    with serving("photos") as client:
        together = client.post("/predict", files=[("images", ("a", image)) for image in images]).json()["items"]
        alone = [client.post("/predict", files={"images": ("a", image)}).json()["items"][0] for image in images]
    for answers in (together, alone):
        np.testing.assert_allclose([list(each["probabilities"].values()) for each in answers], expected, atol=1e-6)


def test_texts_pairs_and_numbers(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(project)
    with serving("notes") as client:
        items = client.post("/predict", json={"texts": ["so good", "so bad", ""]}).json()["items"]
        assert [item["name"] for item in items] == ["0", "1", "2"]
        assert [item["label"] for item in items][:2] == ["plus", "minus"]
        assert "label" in items[2]  # an empty text is answered, as by predict
    with serving("clean") as client:
        items = client.post("/predict", json={"texts": ["SO GOOD", "so good"]}).json()["items"]
        assert items[0]["probabilities"] == items[1]["probabilities"]
    with serving("pairs") as client:
        items = client.post("/predict", json={"pairs": [["so good", "so good"], ["so bad"], "so bad"]}).json()["items"]
        assert items[0]["label"] == "plus"
        assert [item.get("error", "") for item in items] == [
            "",
            "expected two texts, found a list of 1",
            "expected two texts, found a text",
        ]
    with serving("sizes") as client:
        (item,) = client.post("/predict", json={"texts": ["good good thing"]}).json()["items"]
        assert item["value"] == pytest.approx(1.0, abs=0.3)


# --- what is wrong


PICTURE = {"files": {"images": ("a.png", png())}}
NO_PICTURES = {
    "nothing": ({}, 415, "found no content-type"),
    "text": ({"content": b"a", "headers": {"content-type": "text/plain"}}, 415, "found text/plain"),
    "json": ({"json": {"texts": ["a"]}}, 415, "found application/json"),
    "no boundary": ({"content": b"a", "headers": {"content-type": "multipart/form-data"}}, 400, "boundary"),
    "not multipart": (
        {"content": b"a" * 100, "headers": {"content-type": "multipart/form-data; boundary=b"}}, 400, "no whole"
    ),
    "empty multipart": (
        {"content": b"", "headers": {"content-type": "multipart/form-data; boundary=b"}}, 400, "no item"
    ),
    "cut short": (
        {
            "content": b'--b\r\nContent-Disposition: form-data; name="i"; filename="a.png"\r\n\r\n' + png(),
            "headers": {"content-type": "multipart/form-data; boundary=b"},
        }, 400, "ends before its last boundary",
    ),
    "no name": (
        {
            "content": b"--b\r\nContent-Disposition: form-data\r\n\r\nx\r\n--b--\r\n",
            "headers": {"content-type": "multipart/form-data; boundary=b"},
        }, 400, "name",
    ),
    "a text field": ({"files": {"a": ("a.png", png())}, "data": {"b": "x"}}, 400, "expected a file, found a text"),
    "an empty file": ({"files": {"images": ("a.png", b"")}}, 422, "item a.png: the file is empty"),
    "a broken file": ({"files": {"images": ("a.png", broken_png())}}, 422, "item a.png: damaged"),
    "too many": ({"files": [("i", ("a.png", png()))] * 9}, 413, "at most 8"),
    "too large": ({"files": {"images": ("a.png", bytes(70_000))}}, 413, "at most 60,000 bytes"),
    "unknown parameter": (PICTURE | {"params": {"coverge": "0.9"}}, 400, "did you mean 'coverage'?"),
    "no share": (PICTURE | {"params": {"coverage": "nan"}}, 400, "between 0 and 1"),
    "no sets": (PICTURE | {"params": {"coverage": "0.9"}}, 400, "sets are calibrated by"),
    "by class alone": (PICTURE | {"params": {"by_class": "true"}}, 400, "beside coverage"),
    "twice": (PICTURE | {"params": [("coverage", "0.9"), ("coverage", "0.8")]}, 400, "twice"),
}  # fmt: skip


@pytest.mark.parametrize("case", NO_PICTURES)
def test_a_request_that_holds_no_pictures_is_refused_in_a_line(client: TestClient, case: str) -> None:
    arguments, status, part = NO_PICTURES[case]
    assert part in one_line(client.post("/predict", **arguments), status)
    assert client.post("/predict", files={"images": ("a.png", png())}).status_code == 200


NO_TEXTS = {
    "empty": (b"", 400, "the body is empty"),
    "blank": (b" \n", 400, "the body is empty"),
    "no json": (b"texts", 400, "no JSON"),
    "cut": (b'{"texts": ["a"', 400, "no JSON"),
    "nan": (b'{"texts": [NaN]}', 400, "NaN"),
    "infinity": (b'{"texts": [-Infinity]}', 400, "Infinity"),
    "deep": (b"[" * 50_000, 400, "nested too deeply"),
    "deep object": (b'{"a":' * 10_000, 400, "nested too deeply"),
    "long number": (b'{"texts": [' + b"1" * 9_000 + b"]}", 400, "no JSON"),
    "not utf-8": (b'{"texts": ["\xff"]}', 400, "not UTF-8"),
    "a list": (b'["a"]', 400, "found a list of 1"),
    "null": (b"null", 400, "found nothing"),
    "no texts": (b"{}", 400, "found nothing"),
    "one text": (b'{"texts": "a"}', 400, "expected a list, found a text"),
    "no item": (b'{"texts": []}', 400, "found no item"),
    "other field": (b'{"texts": ["a"], "lables": 1}', 400, "'lables': not known"),
    "number": (b'{"texts": [1]}', 422, "item 0: expected a text, found a number"),
    "half a surrogate": (b'{"texts": ["\\ud800"]}', 422, "no Unicode"),
    "long text": (json.dumps({"texts": ["a" * 51]}).encode(), 422, "at most 50 characters"),
    "too many": (json.dumps({"texts": ["a"] * 9}).encode(), 413, "at most 8"),
    "too large": (json.dumps({"texts": ["a" * 70_000]}).encode(), 413, "at most 60,000 bytes"),
    "a field twice": (b'{"texts": ["a"], "texts": ["b"]}', 400, "a field stands there twice"),
    "a field twice inside": (b'{"texts": [{"a": 1, "a": 1}]}', 400, "a field stands there twice"),
}


@pytest.fixture(scope="module")
def notes(project: Path) -> Iterator[TestClient]:
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(project)
        with serving("notes") as client:
            yield client


@pytest.mark.parametrize("case", NO_TEXTS)
def test_a_request_that_holds_no_texts_is_refused_in_a_line(notes: TestClient, case: str) -> None:
    body, status, part = NO_TEXTS[case]
    response = notes.post("/predict", content=body, headers={"content-type": "application/json"})
    assert part in one_line(response, status)
    assert notes.post("/predict", json={"texts": ["so good"]}).json()["items"][0]["label"] == "plus"


def test_a_byte_order_mark_before_json_is_passed_over(notes: TestClient) -> None:
    body = b"\xef\xbb\xbf" + b'{"texts": ["so good"]}'
    response = notes.post("/predict", content=body, headers={"content-type": "application/json"})
    assert response.json()["items"][0]["label"] == "plus"


@pytest.mark.parametrize("encoding", ["gzip", "br", "deflate, gzip"])
def test_a_compressed_body_is_refused_by_its_header(notes: TestClient, client: TestClient, encoding: str) -> None:
    headers = {"content-type": "application/json", "content-encoding": encoding}
    packed = gzip.compress(b'{"texts": ["so good"]}')
    assert f"found {encoding}; send it plain" in one_line(notes.post("/predict", content=packed, headers=headers), 415)
    files = {"images": ("a.png", png())}
    one_line(client.post("/predict", files=files, headers={"content-encoding": encoding}), 415)


def test_a_body_without_a_length_is_measured_as_it_comes(notes: TestClient) -> None:
    parts = [b'{"texts": ["'] + [b"a" * 10_000] * 10
    response = notes.post("/predict", content=iter(parts), headers={"content-type": "application/json"})
    assert "at most 60,000 bytes" in one_line(response, 413)


def test_a_picture_of_too_many_pixels_costs_a_line_before_it_is_decoded(client: TestClient) -> None:
    bomb = png_that_claims(60_000, 60_000)
    assert "too large" in one_line(client.post("/predict", files={"i": ("b.png", bomb)}), 422)
    larger = png(size=(101, 100))
    assert "the limit is 10,000" in one_line(client.post("/predict", files={"i": ("b.png", larger)}), 422)
    assert client.post("/predict", files={"i": ("b.png", png(size=(100, 100)))}).status_code == 200


@pytest.mark.parametrize(
    ("method", "path", "status"), [("GET", "/predict", 405), ("GET", "/none", 404), ("PUT", "/model", 405)]
)
def test_other_addresses_and_methods_are_told_in_a_line(
    client: TestClient, method: str, path: str, status: int
) -> None:
    one_line(client.request(method, path), status)


def test_too_many_items_at_once_are_told_to_come_again(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(project)
    with serving("notes", Limits(all_items=3)) as client:
        response = client.post("/predict", json={"texts": ["a"] * 4})
        assert "busy" in one_line(response, 503)
        assert response.headers["retry-after"] == "1"
        assert client.post("/predict", json={"texts": ["a"] * 3}).status_code == 200
    with serving("notes", Limits(all_bytes=30)) as client:
        assert "busy" in one_line(client.post("/predict", json={"texts": ["a" * 40]}), 503)
        assert client.post("/predict", json={"texts": ["a"]}).status_code == 200


def test_a_bug_is_one_line_for_the_client_and_costs_its_own_item(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(project)
    predictor = HeadPredictor("notes/head")
    answer = predictor.answer

    def fails_at_bad(prepared):
        if any("bug" in str(each) for each in prepared):
            raise ValueError("a bug")
        return answer(prepared)

    monkeypatch.setattr(
        predictor,
        "prepare",
        lambda content: [["bug"]] if "bug" in content else HeadPredictor.prepare(predictor, content),
    )
    monkeypatch.setattr(predictor, "answer", fails_at_bad)
    with TestClient(app.build(app.Service(predictor))) as client:
        items = client.post("/predict", json={"texts": ["so good", "bug", "so bad"]}).json()["items"]
    assert [item.get("label", item.get("error")) for item in items] == ["plus", "could not be answered", "minus"]


# --- who may ask


def test_a_request_needs_the_token_where_there_is_one(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(project)
    with serving("notes", token="0123456789abcdef") as client:
        for path in ("/model", "/metrics", "/openapi.json"):
            assert "Authorization" in one_line(client.get(path), 401)
            for wrong in ("0123456789abcdef", "Bearer 0123456789abcdeF", "Bearer", "Basic 0123456789abcdef"):
                one_line(client.get(path, headers={"authorization": wrong}), 401)
            assert client.get(path, headers={"authorization": "Bearer 0123456789abcdef"}).status_code == 200
        one_line(client.post("/predict", json={"texts": ["a"]}), 401)
        assert client.get("/healthz").status_code == client.get("/readyz").status_code == 200


def test_pages_of_other_sites_and_other_names_are_refused(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(project)
    with serving("notes", hosts=["localhost", "127.0.0.1", "::1"]) as client:
        for host in ("localhost", "localhost:8000", "127.0.0.1:1", "[::1]:8000", "LOCALHOST"):
            assert client.get("/model", headers={"host": host}).status_code == 200, host
        for host in ("evil.example", "localhost.evil.example", "", "127.0.0.1.nip.io:8000"):
            one_line(client.get("/model", headers={"host": host}), 421)
        same = {"host": "localhost:8000", "origin": "http://localhost:8000"}
        assert client.get("/model", headers=same).status_code == 200
        for origin in ("https://evil.example", "null", "http://localhost:9", "http://[bad"):
            one_line(client.get("/model", headers=same | {"origin": origin}), 403)
        assert "access-control-allow-origin" not in client.get("/model", headers=same).headers
        assert "default-src 'self'" in client.get("/model", headers=same).headers["content-security-policy"]


def test_tokens_are_read_from_a_file_or_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(security.TOKEN_VARIABLE, raising=False)
    assert security.read_token(None) is None
    monkeypatch.setenv(security.TOKEN_VARIABLE, "of-the-environment")
    assert security.read_token(None) == "of-the-environment"
    file = tmp_path / "token"
    file.write_text("of-the-file-itself\n")
    assert security.read_token(file) == "of-the-file-itself"
    for weak in ("short", "", "with blanks in the midst", "ümlaut-and-more-of-it"):
        file.write_text(weak)
        with pytest.raises(IceboxError, match="expected a token of 16 or more") as error:
            security.read_token(file)
        assert not weak or weak not in str(error.value)
    with pytest.raises(IceboxError, match="No such file"):
        security.read_token(tmp_path / "none")


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.0.1", "example.org"])
def test_an_address_that_others_reach_needs_a_token(host: str) -> None:
    with pytest.raises(IceboxError, match="need a token"):
        security.refuse_open(host, None)
    security.refuse_open(host, "token")


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1", "127.1.2.3"])
def test_loopback_needs_none(host: str) -> None:
    security.refuse_open(host, None)


# --- descriptions


@pytest.mark.parametrize("store", ["photos", "notes", "pairs", "sizes"])
def test_the_description_is_valid_openapi(project: Path, monkeypatch: pytest.MonkeyPatch, store: str) -> None:
    monkeypatch.chdir(project)
    with serving(store) as client:
        document = client.get("/openapi.json").json()
    OpenAPIV31SpecValidator(document).validate()
    assert document["openapi"].startswith("3.1")


def test_metrics_count_requests_items_and_batches(client: TestClient) -> None:
    client.post("/predict", files=[("i", ("a", png())), ("i", ("b", b"x"))])
    client.post("/predict", content=b"")
    text = client.get("/metrics").text
    for line in (
        'icebox_requests_total{outcome="answered"} 1.0',
        'icebox_requests_total{outcome="refused"} 1.0',
        'icebox_requests_total{outcome="failed"} 0.0',
        'icebox_items_total{outcome="answered"} 1.0',
        'icebox_items_total{outcome="refused"} 1.0',
        "icebox_batch_items_count 1.0",
        "icebox_request_seconds_count 2.0",
        "icebox_waiting_items 0.0",
    ):
        assert line in text.splitlines()


def test_readiness_ends_with_the_service(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(project)
    service = app.Service(HeadPredictor("notes/head"))
    before = asyncio.run(service.readiness(None))  # type: ignore[arg-type]
    with TestClient(app.build(service)) as client:
        assert client.get("/readyz").status_code == 200
    assert before.status_code == asyncio.run(service.readiness(None)).status_code == 503  # type: ignore[arg-type]
