"""The site's folder: sources laid out as Zensical wants them, built, and the built pages' links checked.

FOLDER/zensical.toml, FOLDER/pages/: what Zensical reads; FOLDER/html/: what it writes.
"""

import re
import shutil
import subprocess
import sys
from pathlib import Path

from docs.builder import commands, library, links, notebook, params

DOCS = Path(__file__).resolve().parent.parent
PROJECT = DOCS.parent
BUILT = "html"
FROM_THE_ROOT = {"CONTRIBUTING.md": "contributing.md", "CHANGELOG.md": "changelog.md"}  # file → page


def build(folder: Path) -> list[str]:
    """Build the site in `folder`, which is emptied first → what is wrong with it, a line each; [] if nothing."""
    shutil.rmtree(folder, ignore_errors=True)
    lay_out(folder)
    done = subprocess.run(
        [sys.executable, "-m", "zensical", "build", "--strict"],
        cwd=folder, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode != 0:
        return [re.sub(r"\x1b\[[\d;]*m", "", done.stdout + done.stderr.partition("Traceback")[0])]
    return links.faults(folder / BUILT)


def lay_out(folder: Path) -> None:
    """Write all that Zensical reads."""
    pages = folder / "pages"
    shutil.copytree(DOCS, pages, ignore=shutil.ignore_patterns("builder", "*.ipynb", "*.toml", "__pycache__"))
    shutil.copy(DOCS / "zensical.toml", folder)
    for file, page in FROM_THE_ROOT.items():
        (pages / page).write_text((PROJECT / file).read_text(encoding="utf-8"), encoding="utf-8")
    for source in DOCS.glob("*.ipynb"):
        (pages / f"{source.stem}.md").write_text(notebook.as_markdown(source), encoding="utf-8")
    (pages / "reference").mkdir()
    for page, text in (params.pages() | commands.pages() | library.pages()).items():
        (pages / "reference" / f"{page}.md").write_text(text, encoding="utf-8")
    for path in pages.glob("*.md"):
        path.write_text(within_the_site(path.read_text(encoding="utf-8")), encoding="utf-8")


def within_the_site(text: str) -> str:
    """A page whose links to files of the repository lead to their pages."""
    for file, page in FROM_THE_ROOT.items():
        text = text.replace(f"](../{file}", f"]({page}").replace(f"]({file}", f"]({page}")
    return re.sub(r"\]\(docs/", "](", text)
