"""The check of built pages finds each kind of broken link."""

import pytest

from docs.builder import links


def site_of(tmp_path, body):
    (tmp_path / "other.html").write_text('<h2 id="here">Here</h2>')
    (tmp_path / "index.html").write_text(f'<h1 id="top">Top</h1>{body}')
    return links.faults(tmp_path)


@pytest.mark.parametrize(
    "body",
    [
        '<a href="other.html#here">x</a>',
        '<a href="#top">x</a>',
        '<a href="https://example.org/page#part">a reader may leave</a>',
        '<link rel="canonical" href="https://example.org/">',
        '<a href="mailto:somebody@example.org">x</a>',
    ],
)
def test_links_that_lead_somewhere_pass(tmp_path, body):
    assert site_of(tmp_path, body) == []


@pytest.mark.parametrize(
    ("body", "fault"),
    [
        ('<a href="gone.html">x</a>', "index.html: gone.html: no such file"),
        ('<a href="other.html#gone">x</a>', "index.html: other.html#gone: no such anchor"),
        ('<a href="#gone">x</a>', "index.html: #gone: no such anchor"),
        ('<img src="gone.png">', "index.html: gone.png: no such file"),
        ('<script src="https://example.org/x.js"></script>', "index.html: fetches https://example.org/x.js"),
        ('<link rel="stylesheet" href="//example.org/x.css">', "index.html: fetches //example.org/x.css"),
    ],
)
def test_a_broken_link_is_named(tmp_path, body, fault):
    assert site_of(tmp_path, body) == [fault]


@pytest.mark.parametrize("rule", ["@import 'https://example.org/x';", "a { background: url(https://example.org/x) }"])
def test_a_style_that_fetches_is_named(tmp_path, rule):
    (tmp_path / "a.css").write_text(rule)
    (fault,) = links.faults(tmp_path)
    assert fault.startswith("a.css: fetches https://example.org/x")
