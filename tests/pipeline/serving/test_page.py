"""The page in a real browser, at two widths: pictures, texts, the keyboard alone."""

import re
import shutil
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from icebox.pipeline.serving import app, server
from icebox.pipeline.serving.predictor import HeadPredictor
from tests.pipeline.serving.heads import fit_pictures, fit_texts

TOKEN = "0123456789abcdef"
WIDTHS = (1280, 500)


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("page")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        fit_pictures()
        fit_texts()
        yield folder


@pytest.fixture(scope="module")
def address(project: Path) -> Iterator[Callable[..., str]]:
    """The address of a head that is served on a port of its own."""
    running = []

    def serve(head: str, token: str | None = None) -> str:
        service = app.Service(HeadPredictor(head))
        listening = server.bind("127.0.0.1", 0)
        hosts = server.hosts_for("127.0.0.1", [])
        made = server.of_app(app.build(service, token=token, hosts=hosts), service.limits)
        thread = threading.Thread(target=made.run, kwargs={"sockets": [listening]})
        thread.start()
        running.append((made, thread))
        return server.url_of(listening)

    yield serve
    for made, thread in running:
        made.should_exit = True
        thread.join(30)


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    path = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if path is None:
        pytest.skip("no chromium on PATH: the page is not tried in a browser")
    sync_api = pytest.importorskip("playwright.sync_api", reason="no playwright: the page is not tried in a browser")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox", "--disable-gpu"])
        yield browser
        browser.close()


@pytest.fixture(params=WIDTHS)
def page(request: pytest.FixtureRequest, chromium: Any) -> Iterator[Any]:
    """A page that may log no error, and is never wider than its window."""
    made = chromium.new_page(viewport={"width": request.param, "height": 900})
    problems = []
    made.on("console", lambda message: message.type == "error" and problems.append(message.text))
    made.on("pageerror", lambda error: problems.append(str(error)))
    yield made
    assert made.evaluate("document.documentElement.scrollWidth") <= request.param
    made.close()
    assert [each for each in problems if "401" not in each and "422" not in each] == []


@pytest.fixture(scope="module")
def photos(address: Callable[..., str]) -> str:
    return address("photos/head")


@pytest.fixture(scope="module")
def notes(address: Callable[..., str]) -> str:
    return address("notes/head")


def picture(path: Path, grey: int = 250) -> Path:
    Image.new("L", (40, 30), grey).save(path)
    return path


def test_pictures_that_are_picked_show_label_bars_and_nearest_items(photos: str, page: Any, tmp_path: Path) -> None:
    page.goto(photos)
    page.set_input_files("#pictures", [picture(tmp_path / "a.png"), picture(tmp_path / "b.png", 3)])
    page.locator("article").nth(1).wait_for()
    assert page.locator("article h2").all_inner_texts() == ["bright", "dark"]
    assert page.locator("article").first.locator(".class").all_inner_texts() == ["bright", "dark"]
    assert re.fullmatch(r"\d+\.\d %", page.locator(".number").first.inner_text())
    assert page.locator("article").first.locator(".nearest li").count() == 3
    page.wait_for_timeout(500)
    widths = page.locator(".nearest img, .item img").evaluate_all("all => all.map((each) => each.naturalWidth)")
    assert len(widths) == 8
    assert all(widths)
    assert page.locator("#status").inner_text() == "2 pictures answered"


def test_a_picture_is_dropped_and_a_broken_one_costs_a_line(photos: str, page: Any) -> None:
    page.goto(photos)
    page.locator("#pictures-form").wait_for()
    page.evaluate(
        """() => {
            const data = new DataTransfer();
            data.items.add(new File(['no picture'], 'note.txt'));
            document.dispatchEvent(new DragEvent('drop', { dataTransfer: data, cancelable: true }));
        }"""
    )
    assert "not an image" in page.locator("article .error").inner_text()
    assert page.locator("#status").inner_text() == "0 of 1 picture answered"


def test_texts_are_answered_by_the_keyboard_alone(notes: str, page: Any) -> None:
    page.goto(notes)
    page.locator("#texts-form").wait_for()
    page.keyboard.press("Tab")
    page.keyboard.type("so good")
    page.keyboard.press("Enter")
    page.keyboard.type("<b>so bad</b>")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Answer"
    page.keyboard.press("Enter")
    page.locator("article").nth(1).wait_for()
    assert page.locator("article .item").all_inner_texts() == ["so good", "<b>so bad</b>"]
    assert page.locator("article h2").all_inner_texts() == ["plus", "minus"]
    assert page.locator("article").first.locator(".nearest q").first.inner_text() == "so good"


def test_ctrl_enter_answers_and_no_text_is_told(notes: str, page: Any) -> None:
    page.goto(notes)
    page.locator("#texts").press("Control+Enter")
    assert page.locator("#status").inner_text() == "There is no text yet."
    page.fill("#texts", "so bad")
    page.locator("#texts").press("Control+Enter")
    page.locator("article").wait_for()
    assert page.locator("#status").inner_text() == "1 text answered: minus"


def test_pictures_are_chosen_by_the_keyboard_alone(photos: str, page: Any, tmp_path: Path) -> None:
    page.on("filechooser", lambda _: None)  # else Enter may be there before Playwright can catch it
    page.goto(photos)
    page.locator("#pictures-form").wait_for()
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.id") == "pictures"
    with page.expect_file_chooser() as chooser:
        page.keyboard.press("Enter")
    chooser.value.set_files(picture(tmp_path / "a.png"))
    page.locator("article h2").wait_for()
    assert page.locator("#status").inner_text() == "1 picture answered: bright"


def test_every_field_has_a_name_for_those_who_do_not_see_it(photos: str, notes: str, page: Any) -> None:
    for url in (photos, notes):
        page.goto(url)
        page.locator("form:not([hidden])").wait_for()
        names = page.evaluate("[...document.querySelectorAll('input, textarea')].map((each) => each.labels.length)")
        assert all(names)
        assert page.get_attribute("#status", "role") == "status"


def test_the_page_asks_for_the_token_and_keeps_it_to_itself(address: Callable[..., str], page: Any) -> None:
    page.goto(address("notes/head", TOKEN))
    page.locator("#token-form").wait_for()
    page.fill("#token", "wrong-wrong-wrong")
    page.keyboard.press("Enter")
    page.get_by_text("That is not the token.").wait_for()
    page.fill("#token", TOKEN)
    page.keyboard.press("Enter")
    page.fill("#texts", "so good")
    page.locator("#texts").press("Control+Enter")
    page.locator("article h2").wait_for()
    assert TOKEN not in page.url
    assert page.evaluate("localStorage.length + sessionStorage.length + document.cookie.length") == 0
