"""A check of built pages: every link and anchor inside the site exists, and nothing is fetched from outside."""

import re
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

FETCHED = {"link": "href", "script": "src", "img": "src", "iframe": "src", "source": "src"}  # tag → attribute
OPENED = {"a": "href"}  # by the reader, who may leave the site
NOT_FETCHED = {"canonical", "prev", "next"}  # relations of <link>


class Page(HTMLParser):
    """The ids of a page, what it fetches, and where its links lead."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.ids: set[str] = set()
        self.fetched: list[str] = []
        self.opened: list[str] = []
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note the element's id and what it refers to."""
        attributes = dict(attrs)
        self.ids |= {value for name in ("id", "name") if (value := attributes.get(name))}
        if (target := attributes.get(FETCHED.get(tag, ""))) and attributes.get("rel") not in NOT_FETCHED:
            self.fetched.append(target)
        if target := attributes.get(OPENED.get(tag, "")):
            self.opened.append(target)


def faults(root: Path) -> list[str]:
    """The faults of the links of the site in `root`, a line each."""
    pages = {path: Page(path) for path in sorted(root.rglob("*.html"))}
    found = [f"{path.relative_to(root)}: fetches {url}" for path, page in pages.items() for url in outside(page)]
    for path, page in pages.items():
        if path.name == "404.html":  # its links begin at the address where the site will be
            continue
        for target in page.fetched + page.opened:
            if not leaves_the_site(target) and (reason := fault(path, target, pages)):
                found.append(f"{path.relative_to(root)}: {target}: {reason}")
    for style in sorted(root.rglob("*.css")):
        urls = re.findall(r"""(?:url\(|@import )["']?((?:https?:)?//[^"')]+)""", style.read_text(encoding="utf-8"))
        found += [f"{style.relative_to(root)}: fetches {url}" for url in urls]
    return found


def outside(page: Page) -> list[str]:
    """The addresses elsewhere that a page fetches from."""
    return [url for url in page.fetched if leaves_the_site(url) and not url.startswith("data:")]


def leaves_the_site(target: str) -> bool:
    """Whether a link is to another place, or no address of a page at all (mailto:)."""
    return bool(urlsplit(target).scheme or urlsplit(target).netloc)


def fault(path: Path, target: str, pages: dict[Path, Page]) -> str:
    """Why a link from the page at `path` leads nowhere, or ""."""
    parts = urlsplit(target)
    file = (path.parent / unquote(parts.path)).resolve() if parts.path else path
    if not file.exists():
        return "no such file"
    if parts.fragment and file in pages and unquote(parts.fragment) not in pages[file].ids:
        return "no such anchor"
    return ""
