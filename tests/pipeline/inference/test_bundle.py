import json

import joblib
import pytest
from sklearn.dummy import DummyClassifier

from icebox.features.errors import IceboxError
from icebox.pipeline.inference import bundle
from icebox.pipeline.project import paths


@pytest.fixture
def saved(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    head = DummyClassifier().fit([[0], [1]], [0, 1])
    to_save = bundle.Bundle(
        head=head,
        classes=["a", "b"],
        store="s",
        fingerprint="f",
        backbone="pixels",
        family="pixels",
        outputs=["last"],
        precision="float32",
        stored="float16",
    )
    bundle.save(to_save, input_name="s", head="h")
    return paths.bundle("s", "h")


def test_a_saved_bundle_opens(saved):
    assert bundle.load(saved).classes == ["a", "b"]


def test_the_card_can_be_read_without_opening_the_bundle(saved):
    card = json.loads(paths.card("s", "h").read_text())
    assert card["format"] == bundle.FORMAT
    assert card["classes"] == ["a", "b"]
    assert card["backbone"] == {"name": "pixels", "family": "pixels", "outputs": ["last"], "precision": "float32"}


def test_a_bundle_that_its_card_does_not_vouch_for_stays_closed(saved, tmp_path):
    class Trap:
        def __reduce__(self):
            return (open, (str(tmp_path / "sprung"), "w"))

    joblib.dump(Trap(), saved)
    with pytest.raises(IceboxError, match=r"expected sha256 .*left closed.*--trust"):
        bundle.load(saved)
    assert not (tmp_path / "sprung").exists()


def test_a_bundle_without_its_card_stays_closed(saved):
    paths.card("s", "h").unlink()
    with pytest.raises(IceboxError, match="found none; to open it all the same: --trust"):
        bundle.load(saved)
    assert bundle.load(saved, trust=True).classes == ["a", "b"]


def test_another_pickle_is_no_bundle(saved):
    joblib.dump([1], saved)
    with pytest.raises(IceboxError, match="expected a bundle of this project, found list"):
        bundle.load(saved, trust=True)


def test_a_missing_bundle_says_what_to_run(saved):
    with pytest.raises(IceboxError, match="not found; run: dvc repro"):
        bundle.load(paths.bundle("s", "other"))


def test_a_bundle_of_another_version_is_one_line_that_says_to_fit_anew(saved):
    """Pickles name classes by their module: one whose module has moved can't be opened."""
    saved.write_bytes(saved.read_bytes().replace(b"inference.bundle", b"inference.bandle"))
    with pytest.raises(IceboxError, match=r"another \(No module named .*bandle'\); .*dvc repro -f fit@s-h"):
        bundle.load(saved, trust=True)


def test_a_bundle_of_a_class_that_is_gone_is_one_line_too(saved):
    saved.write_bytes(saved.read_bytes().replace(b"DummyClassifier", b"DummyClassifiez"))
    with pytest.raises(IceboxError, match=r"of another .*DummyClassifiez.*fit it anew"):
        bundle.load(saved, trust=True)


@pytest.mark.parametrize("trust", [False, True])
def test_a_bundle_of_another_format_is_left_closed(saved, trust):
    card = paths.card("s", "h")
    card.write_text(card.read_text().replace('"format": 2', '"format": 1'))
    with pytest.raises(IceboxError, match=r"of another \(format 1, not 2\); fit it anew: dvc repro -f fit@s-h"):
        bundle.load(saved, trust=trust)


@pytest.mark.parametrize(
    "content", [b"", b"[]", b"null", b"{}", b"\xff\xfe{", b'{"sha256": 3}', b'{"sha', b"[" * 20_000, b'"text"']
)
def test_a_damaged_card_is_one_line_and_its_bundle_stays_closed(saved, content):
    paths.card("s", "h").write_bytes(content)
    with pytest.raises(IceboxError, match=r"h\.json: the card is damaged .*fit anew: dvc repro -f fit@s-h") as error:
        bundle.load(saved)
    assert "\n" not in str(error.value)
    assert bundle.load(saved, trust=True).classes == ["a", "b"]


def test_the_bytes_that_are_opened_are_those_that_were_hashed(saved, tmp_path, monkeypatch):
    """A file that is swapped after it was read runs no code."""

    class Trap:
        def __reduce__(self):
            return (open, (str(tmp_path / "sprung"), "w"))

    def swapped(path, content):
        joblib.dump(Trap(), saved)
        return genuine(path, content)

    genuine = bundle.refuse_unrecorded
    monkeypatch.setattr(bundle, "refuse_unrecorded", swapped)
    assert bundle.load(saved).classes == ["a", "b"]
    assert not (tmp_path / "sprung").exists()


@pytest.mark.parametrize("keep", [0, 1, 40, 200, -1])
def test_a_torn_bundle_is_one_line_even_when_it_is_trusted(saved, keep):
    saved.write_bytes(saved.read_bytes()[:keep])
    with pytest.raises(IceboxError, match="left closed"):
        bundle.load(saved)
    with pytest.raises(IceboxError, match="is no whole bundle") as error:
        bundle.load(saved, trust=True)
    assert "\n" not in str(error.value)


def test_a_folder_in_the_bundles_place_is_one_line(saved):
    saved.unlink()
    saved.mkdir()
    with pytest.raises(IceboxError, match="can't be read"):
        bundle.load(saved)
