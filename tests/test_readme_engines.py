"""The README's commands for several processes and machines run as they stand, from nothing, with the same bytes."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from icebox.pipeline.cli.app import main
from icebox.pipeline.project import paths
from tests.conftest import PROJECT

pytest.importorskip("ray", reason="needs icebox[ray]")
SECTION = (PROJECT / "README.md").read_text().partition("## Outgrow one machine\n")[2].partition("\n## ")[0]
COMMANDS = re.findall(r"^icebox .*$", SECTION, flags=re.MULTILINE)
PARAMS = """
datasets: {digits: {}}
backbones: {pixels: {size: 2}}
stores: {digits-glyphnet: {dataset: digits, backbone: pixels, views: [identity, hflip]}}
heads: [knn]
"""


@pytest.mark.slow
def test_each_engine_and_the_parts_give_the_same_store(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("RAY_ADDRESS", "local")  # one that is started, even beside other clusters of this machine
    (tmp_path / "params.yaml").write_text(PARAMS)
    for command in (["manifest", "digits"], ["fetch", "pixels"], ["extract", "digits-glyphnet"]):
        assert main(command) == 0
    store = paths.store("digits-glyphnet")
    expected = {path.name: path.read_bytes() for path in store.iterdir()}
    engines, parts = COMMANDS[:2], COMMANDS[2:]
    assert [command.partition("#")[0].split()[-1] for command in engines] == ["processes", "ray"]
    assert len(parts) == 3
    environment = os.environ | {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "PYTHONPATH": str(PROJECT),
    }
    for commands in (*([command] for command in engines), parts):
        shutil.rmtree(store)
        shutil.rmtree(paths.shards())
        script = "\n".join(commands)
        done = subprocess.run(["bash", "-euc", script], env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        assert {path.name: path.read_bytes() for path in store.iterdir()} == expected
