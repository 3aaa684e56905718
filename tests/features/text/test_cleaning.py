import os
from pathlib import Path
from typing import get_args

import pytest

from icebox.features.datasets import csv_text
from icebox.features.errors import IceboxError
from icebox.features.text import cleaning
from icebox.features.text.cleaning import STEPS, clean


@pytest.mark.parametrize(
    ("step", "text", "expected"),
    [
        ("mentions", "@switchfoot hi @a_1, me@home.org", "@user hi @user, me@home.org"),
        ("mentions", ".@you and (@them)", ".@you and (@user)"),
        ("links", "see http://t.co/x?a=1 or WWW.Site.org/b now", "see http or http now"),
        ("links", "the webhttp is not one", "the webhttp is not one"),
        ("html", "&quot;A&amp;B&quot; &lt;3 &amp;amp; more", '"A&B" <3 & more'),
        ("html", "one<br/>two <b>bold</b>, 1 < 2 > 0", "one two  bold , 1 < 2 > 0"),
        ("repeats", "soooo coooool, 1000 times... naïïïve", "soo cool, 1000 times... naïïve"),
        ("hashtags", "#monday is C# & &#39;", "monday is C# & &#39;"),
        ("full_stop", "Yes. No. ", "Yes. No"),
        ("full_stop", "and so on...", "and so on..."),
        ("lower", "ÀB", "àb"),
        ("spaces", " a\t b\n\u00a0c ", "a b c"),
    ],
)
def test_each_step_does_what_its_name_says(step, text, expected):
    assert STEPS[step](text) == expected


def test_steps_run_in_the_one_order_that_works_whatever_was_asked():
    text = "@me http&#58;//x.org/@you   yesssss"
    expected = "@user http yess"
    assert clean(text, ["repeats", "mentions", "links", "html"]) == expected
    assert clean(text, ["html", "links", "mentions", "repeats"]) == expected


def test_without_steps_a_text_stays_as_it_is():
    assert clean("  @me  soooo ", []) == "  @me  soooo "


def test_cleaning_twice_changes_nothing_more():
    steps = list(STEPS)
    once = clean("@Me &amp;quot;<i>Yaaaay</i>&amp;quot; #go www.a.b", steps)
    assert clean(once, steps) == once == '@user " yaay " go http'


def test_a_step_that_does_not_exist_is_refused():
    with pytest.raises(IceboxError, match="no step 'mention'; did you mean 'mentions'"):
        clean("x", ["mention"])


def test_params_accept_exactly_the_steps_there_are():
    assert set(get_args(csv_text.Step)) == set(STEPS)


@pytest.mark.real_data
@pytest.mark.skipif("ICEBOX_REAL_DATA" not in os.environ, reason="ICEBOX_REAL_DATA names no folder")
def test_real_tweets_hold_nothing_more_to_clean():
    path = Path(os.environ["ICEBOX_REAL_DATA"], "sentiment140/training.csv")
    settings = {"path": path, "header": False, "text": 5, "label": 0, "encoding": "latin-1"}
    plain = csv_text.Source(**settings)
    raw = [plain.read(item.source) for item in plain.items()]
    steps = ["html", "links", "mentions", "repeats"]
    source = csv_text.Source(**settings, clean=steps)
    texts = [source.read(item.source) for item in source.items()]
    changed = [a.split() != b.split() for a, b in zip(raw, texts, strict=True)]
    assert 0.5 < sum(changed) / len(changed) < 1
    assert [text for text in texts if cleaning.LINK.search(text)] == []
    assert [text for text in texts if "&amp;" in text or "&quot;" in text] == []
    assert sum("@user" in text for text in texts) > 4000
