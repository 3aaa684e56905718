"""dvc.lock as `icebox run` has it written: DVC's bytes, of which a stage changes its own lines only."""

import random
from pathlib import Path

import pytest
from dvc import dvcfile
from dvc.cli import main as dvc
from dvc.utils.serialize import dumps_yaml, parse_yaml_for_update

from icebox.pipeline.project import dvc_lock

STAGES = """\
stages:
  first:
    foreach: [a, b]
    do:
      cmd: "echo ${item} > ${item}.txt && cat params.yaml >> ${item}.txt"
      deps: [params.yaml]
      outs: ["${item}.txt"]
  last:
    cmd: cat a.txt b.txt > all.txt
    always_changed: true
    deps: [a.txt, b.txt]
    params: [n]
    outs: [all.txt: {cache: false}]
"""


def locked(rng: random.Random) -> dict[str, object]:
    """What DVC could lock of a stage, and some that it hardly would."""
    texts = [
        "python -m icebox fit",
        "a\nb\n",
        "a\n\nb",
        "x " * 60,
        "é\u2028ü",
        "'q': #",
        "12e3",
        "",
        "- a",
        "&x",
        "0" * 32,
    ]
    values = [*texts, 1, 0.5, 1e-5, True, None, [], {}, [1, [2]], {"a b": "?", "n": [{"k": "v"}]}]
    files = [
        {"path": rng.choice(texts), "hash": "md5", "md5": f"{i}", "size": i, "any": rng.choice(values)}
        for i in range(3)
    ]
    return {
        "cmd": rng.choice(texts),
        "deps": files[: rng.randrange(4)],
        "params": {"p.yaml": {"k": rng.choice(values)}},
    }


@pytest.mark.parametrize("seed", range(30))
def test_a_stage_takes_its_lines_and_the_bytes_are_those_of_dvc(seed):
    rng = random.Random(seed)
    names = ["check", "fit@a-b", "fit-input@s/n-h", "a_b", "é", "7"]
    text = dumps_yaml({"schema": "2.0", "stages": {name: locked(rng) for name in names[: rng.randrange(1, 5)]}})
    for name in rng.choices(names, k=4):
        stage = locked(rng)
        whole = parse_yaml_for_update(text, "dvc.lock")
        whole["stages"].update({name: stage})
        after = dvc_lock.with_stages(text, {name: stage})
        assert after in (None, dumps_yaml(whole))  # None: DVC does it
        text = dumps_yaml(whole)


def stage(cmd: str) -> dict[str, object]:
    return {"cmd": cmd, "deps": [{"path": "params.yaml", "hash": "md5", "md5": "0" * 32, "size": 1}]}


def test_ordinary_stages_are_not_left_to_dvc():
    text = dumps_yaml({"schema": "2.0", "stages": {"check": stage("x"), "fit@a-b": stage("y")}})
    changed = dvc_lock.with_stages(text, {"check": stage("z"), "fit-input@s/n-h": stage("x")})
    whole = {"check": stage("z"), "fit@a-b": stage("y"), "fit-input@s/n-h": stage("x")}
    assert changed == dumps_yaml({"schema": "2.0", "stages": whole})


@pytest.mark.parametrize(
    "text",
    [
        "",
        "stages: {}\n",
        "# mine\nschema: '2.0'\nstages:\n  a:\n    cmd: x\n",
        "schema: '2.0'\nstages:\n  # mine\n  a:\n    cmd: x\n",
        "schema: '2.0'\nstages:\n  a:\n    cmd: x\n  a:\n    cmd: y\n",
        "schema: '2.0'\nstages:\n  a:\n    cmd: x\ndatasets: []\n",
        "schema: '2.0'\nstages:\n  a: {cmd: x}\n",
        "schema: '2.0'\nstages:\n  a:\n    deps: &id001\n    - path: x\n  c:\n    deps: *id001\n",
        "schema: '2.0'\nstages:\n  a:\n    cmd: x",
        "schema: '2.0'\nstages:\n<<<<<<< HEAD\n  a:\n    cmd: x\n",
        "schema: '2.0'\r\nstages:\r\n  a:\r\n    cmd: x\r\n",
    ],
)
def test_a_file_of_another_form_is_left_to_dvc(text):
    assert dvc_lock.with_stages(text, {"b": {"cmd": "y"}}) is None


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of libraries of DVC
def test_a_pipeline_run_in_parts_leaves_the_lock_that_dvc_leaves(tmp_path, monkeypatch):
    original = dvcfile.Lockfile.dump_stages
    locks: dict[bool, list[bytes]] = {False: [], True: []}
    left_to_dvc: list[str] = []

    def counted(lock, stages, **options):
        left_to_dvc.extend(stage.name for stage in stages)
        original(lock, stages, **options)

    for in_parts, contents in locks.items():
        folder = tmp_path / str(in_parts)
        folder.mkdir()
        monkeypatch.chdir(folder)
        monkeypatch.setattr(dvcfile.Lockfile, "dump_stages", dvc_lock.dumping_parts(counted) if in_parts else original)
        assert dvc(["init", "--no-scm", "-q"]) == 0
        Path("dvc.yaml").write_text(STAGES)
        for n in (1, 2, 2):
            Path("params.yaml").write_text(f"n: {n}\n")
            assert dvc(["repro", "-q"]) == 0
            contents.append(Path("dvc.lock").read_bytes())
    assert locks[True] == locks[False]
    assert left_to_dvc == ["first@a"]  # the first of a new file
