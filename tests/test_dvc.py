"""dvc.yaml and the code agree on where things lie."""

from pathlib import Path

from ruamel.yaml import YAML

from pipeline import paths

PROJECT = Path(__file__).parents[1]


def stages() -> dict:
    return YAML(typ="safe", pure=True).load((PROJECT / "dvc.yaml").read_text())["stages"]


def outs(stage: dict) -> set[str]:
    body = stage.get("do", stage)
    listed = [*body.get("outs", []), *body.get("metrics", []), *body.get("plots", [])]
    return {next(iter(out)) if isinstance(out, dict) else out for out in listed}


def test_every_stage_writes_where_the_code_says():
    found = {name: outs(stage) for name, stage in stages().items()}
    pair = ("${item.store}", "${item.head}")
    assert found == {
        "check": {str(paths.PLAN)},
        "manifest": {str(paths.manifest("${key}"))},
        "fetch": {str(paths.backbone("${key}"))},
        "pretrain": {str(paths.backbone("${key}"))},
        "extract": {str(paths.store("${key}"))},
        "fit": {
            str(paths.bundle(*pair)),
            str(paths.card(*pair)),
            str(paths.metrics(*pair)),
            str(paths.predictions(*pair)),
            str(paths.plot(*pair, "confusion")),
            str(paths.plot(*pair, "roc")),
        },
        "report": {str(paths.REPORT)},
    }


def test_every_source_file_a_stage_depends_on_exists():
    for stage in stages().values():
        for dependency in stage.get("do", stage)["deps"]:
            if dependency.endswith((".py", ".jinja")):
                assert (PROJECT / dependency).exists(), dependency


def test_every_stage_is_a_command():
    for name, stage in stages().items():
        assert stage.get("do", stage)["cmd"].startswith(f"python -m pipeline {name}")
        assert (PROJECT / f"pipeline/stages/{name}.py").exists()
