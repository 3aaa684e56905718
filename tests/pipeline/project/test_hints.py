import typing

import pytest

from icebox.features.errors import Hint, IceboxError
from icebox.features.store import index
from icebox.pipeline.project import hints


def test_every_hint_has_a_wording():
    assert set(hints.WORDING) == set(typing.get_args(Hint))


def test_a_hint_follows_the_message_with_its_values_filled_in():
    error = IceboxError("no outputs", hint="choose other outputs", store="s", outputs="a, b")
    assert hints.with_hint(error) == (
        "no outputs; heads need others: set stores.s.input.outputs: [a, b] "
        "(and stores.s.outputs, if these are not stored)"
    )


def test_an_error_without_a_hint_is_its_message():
    assert hints.with_hint(IceboxError("no {such} thing")) == "no {such} thing"


def test_a_hint_outlives_the_place_that_is_put_before_the_message(tmp_path):
    with pytest.raises(IceboxError) as caught:
        index.read(tmp_path / "s")
    assert hints.with_hint(caught.value.at("stores.s")) == (
        f"stores.s: {tmp_path / 's'}: no finished feature store here; run: dvc repro extract@s"
    )
