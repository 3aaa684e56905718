"""dvc.yaml and the code agree on where things lie."""

from pathlib import Path

from ruamel.yaml import YAML

from icebox.pipeline.project import paths

PROJECT = Path(__file__).parents[1]


def stages() -> dict:
    return YAML(typ="safe", pure=True).load((PROJECT / "dvc.yaml").read_text())["stages"]


def outs(stage: dict) -> set[str]:
    body = stage.get("do", stage)
    listed = [*body.get("outs", []), *body.get("metrics", []), *body.get("plots", [])]
    return {next(iter(out)) if isinstance(out, dict) else out for out in listed}


def test_every_stage_writes_where_the_code_says():
    found = {name: outs(stage) for name, stage in stages().items()}
    pair, seen, tuned = (
        ("${item.store}", "${item.head}"),
        ("${item.input}", "${item.head}"),
        ("${item.store}", "${key}"),
    )
    assert found == {
        "check": {str(paths.PLAN), str(paths.manifest("none")), str(paths.generated("none"))},
        "manifest": {
            str(paths.manifest("${key}")),
            str(paths.findings("${key}")),
            str(paths.manifest_sample("${key}")),
            str(paths.dataset_summary("${key}")),
        },
        "fetch": {str(paths.backbone("${key}"))},
        "pretrain": {
            str(paths.backbone("${key}")),
            str(paths.curve("${key}") / "metrics.json"),
            str(paths.curve("${key}") / "plots/metrics"),
        },
        "generate": {str(paths.samples("${key}")), str(paths.generated("${key}"))},
        "extract": {str(paths.store("${key}"))},
        "fit": {
            str(paths.bundle(*pair)),
            str(paths.card(*pair)),
            str(paths.details(*pair)),
            str(paths.metrics(*pair)),
            str(paths.predictions(*pair)),
            str(paths.plot(*pair, "confusion")),
            str(paths.plot(*pair, "roc")),
        },
        "fit-input": {
            str(paths.bundle(*seen)),
            str(paths.card(*seen)),
            str(paths.details(*seen)),
            str(paths.metrics(*seen)),
            str(paths.predictions(*seen)),
            str(paths.plot(*seen, "confusion")),
            str(paths.plot(*seen, "roc")),
        },
        "join": {str(paths.store("${key}"))},
        "unfreeze": {
            str(paths.backbone("${key}")),
            str(paths.bundle(*tuned)),
            str(paths.card(*tuned)),
            str(paths.details(*tuned)),
            str(paths.metrics(*tuned)),
            str(paths.predictions(*tuned)),
            str(paths.plot(*tuned, "confusion")),
            str(paths.plot(*tuned, "roc")),
            str(paths.curve("${key}") / "metrics.json"),
            str(paths.curve("${key}") / "plots/metrics"),
        },
        "look": {str(paths.feature_map("${key}")), str(paths.look("${key}"))},
        "ensemble": {
            str(paths.bundle("${key}", paths.ENSEMBLE)),
            str(paths.card("${key}", paths.ENSEMBLE)),
            str(paths.details("${key}", paths.ENSEMBLE)),
            str(paths.metrics("${key}", paths.ENSEMBLE)),
            str(paths.predictions("${key}", paths.ENSEMBLE)),
            str(paths.plot("${key}", paths.ENSEMBLE, "confusion")),
            str(paths.plot("${key}", paths.ENSEMBLE, "roc")),
        },
        "report": {str(paths.REPORT)},
    } | {f"{name}-joined": found[name] for name in ("fit", "look")}


def test_every_stage_hangs_on_a_stamp_of_its_code_and_names_no_source_file():
    for name, stage in stages().items():
        deps = stage.get("do", stage)["deps"]
        assert name == "check" or str(paths.code_stamp("stages", command_of(name))) in deps, name
        assert "params" not in stage.get("do", stage), name  # DVC would miss a key that is left to its default
        assert not [dependency for dependency in deps if dependency.endswith(".py")], name


def test_stamps_are_made_anew_on_every_run_since_dvc_does_not_watch_the_code():
    assert stages()["check"]["always_changed"]


def test_every_stage_is_a_command():
    for name, stage in stages().items():
        # and no more: a name from params.yaml would be read by a shell
        assert stage.get("do", stage)["cmd"] == f"python -m icebox {command_of(name)}"
        assert (PROJECT / f"pipeline/stages/{command_of(name)}.py").exists()


def command_of(stage: str) -> str:
    """The command of a stage: fit has three stages, on a store, on an entry of inputs and on a joined store."""
    return stage.removesuffix("-input").removesuffix("-joined")
