"""Joined stores in params.yaml: what can't be one is refused before anything runs."""

from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from icebox.features.errors import IceboxError
from icebox.pipeline.config import loader

PARAMS: dict[str, Any] = {
    "datasets": {
        "digits": None,
        "notes": {"source": "csv_text", "path": "notes.csv", "task": "regression"},
    },
    "backbones": {"pixels": {"size": 8}, "hashing": None},
    "stores": {
        "a": {"dataset": "digits", "backbone": "pixels"},
        "b": {"dataset": "digits", "backbone": "pixels", "views": ["identity", "hflip"]},
        "c": {"dataset": "notes", "backbone": "hashing"},
    },
    "joined": {"both": {"stores": ["a", "b"]}},
    "heads": ["ridge"],
}


def load(folder: Path, **sections: Any) -> loader.Config:
    path = folder / "params.yaml"
    with path.open("w") as stream:
        YAML(typ="safe", pure=True).dump(PARAMS | sections, stream)
    return loader.load(path)


def test_a_joined_store_has_inputs_members_and_names_like_any_other(tmp_path):
    config = load(
        tmp_path,
        joined={"both": {"stores": ["a", "b"], "input": {"views": ["hflip"]}}, "all": {"stores": ["both", "c2"]}},
        stores=PARAMS["stores"] | {"c2": {"dataset": "digits", "backbone": "pixels"}},
        inputs={"both/few": {"labels_per_class": 5, "outputs": ["a/image"]}},
    )
    assert set(config.every_input()) == {"a", "b", "c", "c2", "both", "both/few", "all"}
    assert config.members("all") == ["a", "b", "c2"]
    assert (config.dataset_name("both/few"), config.backbone_name("both")) == ("digits", "pixels")


def test_heads_see_of_a_joined_store_what_they_see_of_its_members(tmp_path):
    seen = {"outputs": ["image"], "views": ["hflip", "identity"]}
    stores = {
        "b": {"dataset": "digits", "backbone": "pixels", "views": ["identity", "hflip"], "input": seen},
        "a": PARAMS["stores"]["a"],
    }
    config = load(tmp_path, stores=stores, joined={"both": {"stores": ["b", "a"]}, "other": {"stores": ["a", "b"]}})
    assert config.joined_outputs("both") == {"b": ["image"], "a": None}
    assert config.every_input()["both"].views == ["hflip", "identity"]
    assert config.every_input()["other"].views is None


@pytest.mark.parametrize(
    ("sections", "message"),
    [
        ({"joined": {"both": {"stores": ["a", "d"]}}}, r"joined.both.stores: no store named 'd'"),
        ({"joined": {"both": {"stores": ["a"]}}}, r"joined.both.stores: "),
        ({"joined": {"both": {"stores": ["a", "b", "c"]}}}, r"joined.both.stores: "),
        ({"joined": {"both": {"stores": ["a", "a"]}}}, r"joined.both.stores: holds 'a' twice"),
        ({"joined": {"a": {"stores": ["a", "b"]}}}, r"joined.a: this name stands under stores: too"),
        ({"joined": {"x": {"stores": ["a", "y"]}, "y": {"stores": ["x", "b"]}}}, r"'x' would be made of itself"),
        ({"joined": {"x": {"stores": ["a", "x"]}}}, r"joined.x.stores: 'x' would be made of itself"),
        ({"joined": {"x": {"stores": ["a", "b"]}, "y": {"stores": ["x", "b"]}}}, r"joined.y.stores: holds 'b' twice"),
        ({"joined": {"both": {"stores": ["a", "c"]}}}, r"'a' is classification, that of 'c' is regression"),
        ({"joined": {"both": {"stores": ["a", "b"], "missing": "keep"}}}, r"joined.both.missing: "),
        ({"joined": {"both": {"stores": ["a", "b"], "input": {"views": ["tiles-2x2"]}}}}, r"no view named 'tile-2x2"),
        ({"joined": {"both": {"stores": ["a", "b"], "input": {"outputs": ["image"]}}}}, "expected STORE/OUTPUT, found"),
        ({"inputs": {"bot/few": {}}}, "inputs.bot/few: no store named 'bot'; did you mean 'both'"),
        (
            {"unfreeze": {"tuned": {"store": "both", "start": "ridge"}}},
            "unfreeze.tuned.store: 'both' is joined of several networks' features; unfreeze .*: a, b",
        ),
    ],
)
def test_what_cannot_be_joined_is_one_line(tmp_path, sections, message):
    with pytest.raises(IceboxError, match=message):
        load(tmp_path, **sections)
