"""An export is pushed to a hub: a server on this machine speaks the endpoints that huggingface_hub calls."""

import base64
import hashlib
import json
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx2
import pytest
from huggingface_hub.errors import OfflineModeIsEnabled

from icebox.features.errors import IceboxError
from icebox.pipeline.export import hub
from icebox.pipeline.exported import folder as exported

LARGE = ".onnx"  # files of this ending go by LFS
TOKEN = "hf_of_a_test"


class Hub(BaseHTTPRequestHandler):
    """Repositories, preuploads, LFS objects and commits."""

    def log_message(self, *_):
        """Nothing."""

    def answer(self, content, status=200):
        body = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def body(self):
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def do_PUT(self):
        content = self.body()
        self.server.objects[hashlib.sha256(content).hexdigest()] = content
        self.answer({})

    def do_GET(self):
        self.answer({"error": "not found"}, 404)

    def do_POST(self):
        content, url = self.body(), f"http://127.0.0.1:{self.server.server_port}"
        if self.headers.get("Authorization") != f"Bearer {TOKEN}":
            return self.answer({"error": "who are you?"}, 401)
        self.server.calls.append(self.path)
        if self.path == "/api/repos/create":
            self.server.created.append(json.loads(content))
            return self.answer({"url": f"{url}/me/model"})
        if self.path.startswith("/api/models/me/model/preupload/"):
            files = [
                {"path": each["path"], "uploadMode": "lfs" if each["path"].endswith(LARGE) else "regular",
                 "shouldIgnore": False}
                for each in json.loads(content)["files"]
            ]  # fmt: skip
            return self.answer({"files": files})
        if self.path.endswith("/info/lfs/objects/batch"):
            objects = [
                {**each, "actions": {"upload": {"href": f"{url}/lfs/{each['oid']}"}}}
                for each in json.loads(content)["objects"]
            ]
            return self.answer({"transfer": "basic", "objects": objects})
        if self.path.startswith("/api/models/me/model/commit/"):
            for line in map(json.loads, content.decode().splitlines()):
                if line["key"] == "file":
                    self.server.files[line["value"]["path"]] = base64.b64decode(line["value"]["content"])
                elif line["key"] == "lfsFile":
                    self.server.files[line["value"]["path"]] = self.server.objects[line["value"]["oid"]]
            return self.answer({"commitUrl": f"{url}/me/model/commit/1", "commitOid": "1" * 40, "success": True})
        return self.answer({"errors": [], "warnings": []})


@pytest.fixture
def server():
    made = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    made.created, made.calls, made.files, made.objects = [], [], {}, {}
    thread = threading.Thread(target=made.serve_forever, daemon=True)
    thread.start()
    yield made
    made.shutdown()
    made.server_close()
    thread.join()


@pytest.fixture
def model(tmp_path):
    folder = tmp_path / "model"
    folder.mkdir()
    config = {
        exported.MARK: exported.VERSION, "name": "store/head", "format": "torch", "model": "model.onnx",
        "task": "classification", "classes": ["a", "b"], "scores": "probabilities", "thresholds": None,
        "input": {"kind": "image", "names": ["images"]},
        "preprocess": {"kind": "glyph", "channels": 1, "resize": [32]}, "coverage": None,
        "network": {"backbone": "b"}, "dataset": {"name": "d", "source": None, "parameters": {}, "clean": []},
    }  # fmt: skip
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "model.onnx").write_bytes(bytes(range(256)) * 100)
    (folder / "README.md").write_text("---\nlibrary_name: onnx\n---\n# store/head\n")
    exported.write_manifest(folder)
    return folder


def push(server, model, *options, token=TOKEN):
    """The command, in a process whose hub is the server: huggingface_hub reads its address when it is imported."""
    env = {"HF_ENDPOINT": f"http://127.0.0.1:{server.server_port}", "HF_HOME": str(model.parent / "hf")}
    env |= {"HF_HUB_DISABLE_XET": "1", "HF_HUB_DISABLE_PROGRESS_BARS": "1"} | ({"HF_TOKEN": token} if token else {})
    code = "import os, sys; os.environ.update(eval(sys.argv.pop(1))); from icebox.pipeline.cli.app import main; "
    command = [sys.executable, "-c", code + "sys.exit(main(sys.argv[1:]))", repr(env)]
    return subprocess.run(
        [*command, "push", str(model), "me/model", *options], capture_output=True, text=True, check=False
    )


@pytest.mark.slow
def test_a_new_repository_is_private_and_has_every_file(server, model):
    done = push(server, model)
    assert done.returncode == 0, done.stderr
    assert server.created[0]["name"] == "model"
    assert server.created[0].get("private") is True or server.created[0].get("visibility") == "private"
    assert server.files == {file.name: file.read_bytes() for file in model.iterdir()}
    assert sorted(done.stdout.split()) == sorted(server.files)


@pytest.mark.slow
def test_it_is_public_where_that_is_asked_for(server, model):
    assert push(server, model, "--public").returncode == 0
    assert server.created[0].get("private") is not True
    assert server.created[0].get("visibility") != "private"


@pytest.mark.slow
def test_a_dry_run_lists_the_files_and_sends_nothing(server, model):
    done = push(server, model, "--dry-run", token=None)
    assert sorted(done.stdout.split()) == ["README.md", "config.json", "manifest.json", "model.onnx"]
    assert (server.calls, server.created) == ([], [])


@pytest.mark.slow
def test_the_hubs_refusal_is_one_line(server, model):
    done = push(server, model, token="hf_wrong")
    assert done.returncode == 1
    (line,) = done.stderr.strip().splitlines()
    assert line.startswith("error: push me/model: the hub refused (401")
    assert "HF_TOKEN" in line


@pytest.mark.parametrize("name", ["a//b", "a/b/c", "a b", "", "../x", "-x/y"])
@pytest.mark.parametrize("dry_run", [True, False])
def test_a_repository_of_no_such_name_is_refused_before_anything_is_done(name, dry_run):
    with pytest.raises(IceboxError, match="expected OWNER/NAME"):
        hub.push("nothing/here", name, dry_run=dry_run)


@pytest.mark.parametrize(
    ("reason", "line"),
    [
        (httpx2.ConnectError("refused"), "can't be reached (refused); look at the network"),
        (httpx2.UnsupportedProtocol("no http://"), "at HF_ENDPOINT"),
        (httpx2.ReadTimeout("slow"), "can't be reached"),
        (OfflineModeIsEnabled("offline"), "HF_HUB_OFFLINE is set; unset it"),
    ],
)
def test_a_hub_that_can_not_be_reached_is_one_line(model, monkeypatch, reason, line):
    def fails(*_, **__):
        raise reason

    monkeypatch.setattr("huggingface_hub.HfApi.create_repo", fails)
    with pytest.raises(IceboxError, match="push me/model: ") as error:
        hub.push(str(model), "me/model")
    assert line in str(error.value)


def test_a_changed_export_is_not_pushed(model):
    (model / "model.onnx").write_bytes(b"")
    with pytest.raises(IceboxError, match="expected sha256"):
        hub.push(str(model), "me/model", dry_run=True)
