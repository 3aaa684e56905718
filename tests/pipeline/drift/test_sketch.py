"""Sketches: what they hold, merge, keep small, and refuse."""

import contextlib
import json
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from icebox.features.errors import IceboxError
from icebox.pipeline.drift import sketch as sketches
from icebox.pipeline.drift.sketch import Sketch

SOURCE = {"fingerprint": "f", "outputs": ["last"], "view": "identity"}


def of(*parts: np.ndarray) -> Sketch:
    made = Sketch(SOURCE)
    for part in parts:
        made.add(part)
    return made


@settings(max_examples=20, deadline=None)
@given(st.lists(st.integers(0, 30), min_size=1, max_size=5), st.integers(0, 99))
def test_moments_are_those_of_all_items_however_they_came(sizes: list[int], seed: int) -> None:
    parts = [
        np.random.default_rng(seed + i).normal(100, 3, (size, 5)).astype(np.float32) for i, size in enumerate(sizes)
    ]
    merged = of(*parts[:2])
    merged.merge(of(*parts[2:]))
    features = np.concatenate(parts).astype(np.float64)
    assert merged.count == len(features)
    if merged.count:
        np.testing.assert_allclose(merged.mean, features.mean(axis=0), rtol=1e-12)
        np.testing.assert_allclose(merged.squares / merged.count, features.var(axis=0), rtol=1e-6, atol=1e-9)
        assert len(merged.sample) == min(merged.count, sketches.SAMPLE_ITEMS)


def test_it_stays_small_and_its_sample_is_of_all_items_alike(tmp_path: Path) -> None:
    made = Sketch(SOURCE)
    for start in range(0, 10_000, 1000):
        made.add(np.arange(start, start + 1000, dtype=np.float32)[:, None])
    assert len(made.sample) == 1000
    assert made.sample.mean() == pytest.approx(5000, abs=500)
    large = of(np.random.default_rng(0).normal(size=(2000, 512)).astype(np.float32))
    large.write(tmp_path / "sketch")
    assert (tmp_path / "sketch").stat().st_size < 320_000


def test_what_is_written_is_what_is_read_and_more_is_added_to_it(tmp_path: Path) -> None:
    path = tmp_path / "day.sketch"
    features = np.random.default_rng(0).normal(size=(30, 100)).astype(np.float32)
    assert sketches.open_for(path, SOURCE).count == 0
    of(features).write(path)
    again = sketches.open_for(path, SOURCE)
    expected = sketches.projected(features, SOURCE)
    np.testing.assert_allclose(np.sort(again.sample, axis=0), np.sort(expected, axis=0), rtol=1e-6)
    again.add(features)
    assert again.count == 60
    np.testing.assert_allclose(again.mean, features.mean(axis=0), atol=1e-6)


def test_rows_that_are_not_finite_are_left_out() -> None:
    made = of(np.array([[1.0, 2.0], [np.nan, 1.0], [np.inf, 0.0]]))
    assert made.count == 1


def test_projections_keep_distances_and_hang_on_the_source_alone() -> None:
    features = np.random.default_rng(0).normal(size=(200, 1000)).astype(np.float32)
    projected = sketches.projected(features, SOURCE)
    before = np.linalg.norm(features[:100] - features[100:], axis=1) / np.sqrt(1000)
    after = np.linalg.norm(projected[:100] - projected[100:], axis=1) / np.sqrt(64)
    np.testing.assert_allclose(after / before, 1, atol=0.4)
    assert not np.allclose(projected, sketches.projected(features, SOURCE | {"view": "other"}))
    np.testing.assert_array_equal(sketches.projected(features[:, :64], SOURCE), features[:, :64])


CHANGED = {
    "texts": {"mean": np.array(["a"] * 5)}, "complex": {"mean": np.ones(5, complex)}, "keys": {"keys": np.array("x")},
    "no list": {"keys": np.float64(3)}, "negative": {"squares": -np.ones(5)}, "whole": {"mean": np.ones(5, int)},
    "wide": {"sample": np.ones((30, 5))}, "objects": {"mean": np.array([None] * 5)},
    "nan": {"keys": np.full(30, np.nan)},
}  # fmt: skip


@pytest.mark.parametrize("case", [*CHANGED, "count", "true", "flips"])
def test_a_sketch_of_other_arrays_or_damaged_bytes_is_one_line(tmp_path: Path, case: str) -> None:
    path, made = tmp_path / "a.sketch", Sketch(SOURCE)
    made.add(np.random.default_rng(0).normal(size=(30, 5)).astype(np.float32))
    for name, array in CHANGED.get(case, {}).items():
        setattr(made, name, array)
    made.count = {"count": 10**30, "true": True}.get(case, made.count)
    made.write(path)
    if case != "flips":
        with pytest.raises(IceboxError, match="is no whole sketch"):
            sketches.read(path)
        return
    content = path.read_bytes()
    for place in range(0, len(content), 13):  # of headers too: another version of zip, a password, a compression
        path.write_bytes(content[:place] + bytes([content[place] ^ 0x55]) + content[place + 1 :])
        with contextlib.suppress(IceboxError):
            sketches.read(path)


def test_what_is_no_sketch_is_one_line(tmp_path: Path) -> None:
    path = tmp_path / "s"
    with pytest.raises(IceboxError, match="not found"):
        sketches.read(path)
    whole = of(np.ones((3, 2)))
    whole.write(path)
    content = path.read_bytes()
    for cut in (0, 10, len(content) // 2, len(content) - 1):
        path.write_bytes(content[:cut])
        with pytest.raises(IceboxError, match="no whole sketch"):
            sketches.read(path)
    for name, value in (("keys", np.zeros(7)), ("mean", np.full(2, np.nan)), ("sample", np.zeros((3, 5), np.float32))):
        odd = of(np.ones((3, 2)))
        setattr(odd, name, value)
        odd.write(path)
        with pytest.raises(IceboxError, match="no whole sketch"):
            sketches.read(path)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("sketch.json", json.dumps({"format": 9, "source": {}, "count": 0}))
    with pytest.raises(IceboxError, match="no whole sketch"):
        sketches.read(path)
    whole.write(path)
    with pytest.raises(IceboxError, match="other features than this head's"):
        sketches.open_for(path, SOURCE | {"fingerprint": "g"})
