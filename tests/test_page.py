"""A run's page in a browser, opened from the disk: at three widths, light and dark, every picture, formula and link.

Runs where Chromium is installed (Debian: ``apt install chromium``)."""

import shutil
from pathlib import Path
from urllib.parse import unquote, urlsplit

import browser
import pytest

from tsgen import figures
from tsgen.running import environment, report
from tsgen.store import write_json

pytestmark = pytest.mark.skipif(not browser.CHROMIUM, reason="Chromium is not installed: nothing can open the page")

WIDTHS = (1440, 820, 390)
FAULTS = """(async () => {
  for (const each of document.querySelectorAll('details')) each.open = true;
  const faults = [], dark = matchMedia('(prefers-color-scheme: dark)').matches;
  for (const image of document.images) {
    await image.decode().catch(() => faults.push('picture not loaded: ' + (image.alt || image.src)));
    if (image.className == 'formula' && dark == (getComputedStyle(image).filter == 'none'))
      faults.push('formula in the colour of its page: ' + image.alt);
  }
  for (const each of document.querySelectorAll('code.tex')) faults.push('formula not drawn: ' + each.innerText);
  const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  for (let text = texts.nextNode(); text; text = texts.nextNode())
    if (/\\$[^$]+\\$/.test(text.data) && !text.parentElement.closest('pre, code'))
      faults.push('formula not drawn: ' + text.data);
  const scrolls = each => each && (/auto|scroll/.test(getComputedStyle(each).overflowX) || scrolls(each.parentElement));
  for (const each of document.body.querySelectorAll('*'))
    if (each.getBoundingClientRect().right > innerWidth + 1 && !scrolls(each.parentElement))
      faults.push('wider than the page: ' + each.tagName + ' ' + each.className);
  if (document.documentElement.scrollWidth > innerWidth) faults.push('the page scrolls sideways');
  return faults;
})()"""
LINKS = "[...document.querySelectorAll('a[href]')].map(each => each.href)"


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    with browser.chromium(tmp_path_factory.mktemp("chromium")) as opened:
        yield opened


@pytest.fixture(scope="module")
def run(study, smoke_findings, tmp_path_factory):
    """Folder of a finished run: the findings and some figures of the smoke run, the committed notebooks."""
    folder = tmp_path_factory.mktemp("page") / "run"
    for name in report.LEADING:
        (folder / "figures").mkdir(parents=True, exist_ok=True)
        shutil.copy(figures.draw(study, name), folder / "figures")
    (folder / "notebooks").mkdir()
    for path in environment.choose():
        shutil.copy(path, folder / "notebooks")
    write_json(folder / "run.json", {path.stem: {"seconds": 1.0} for path in environment.choose()})
    write_json(folder / "results.json", study.results)
    report.write(folder, figures.CAPTIONS)
    return folder


def faults(page, path, width, dark=False):
    """What is wrong with the page at ``path`` in a window of so many pixels: sentences."""
    page.open(path.as_uri(), width, dark=dark)
    found = page.evaluate(FAULTS)
    for link in map(urlsplit, page.evaluate(LINKS)):
        target = Path(unquote(link.path))
        there = link.scheme != "file" or target.exists()
        if there and link.scheme == "file" and link.fragment:
            names = {link.fragment, unquote(link.fragment)}  # browsers look for both
            there = any(f'id="{name}"' in target.read_text() for name in names)
        found += [] if there else [f"link to nothing: {link.geturl()}"]
    return found + [f"console: {each}" for each in page.trouble]


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_every_page_of_a_run_is_whole(page, run, width, dark):
    pages = [run / "index.html", *sorted((run / "notebooks").glob("*.html"))]
    assert len(pages) == 1 + len(environment.choose())
    assert {path.name: found for path in pages if (found := faults(page, path, width, dark))} == {}


def test_the_front_page_tells_the_story_in_one_screen(page, run):
    page.open((run / "index.html").as_uri(), WIDTHS[0])
    ends = "['.front', '.three', '.judged'].map(each => document.querySelector(each).getBoundingClientRect().bottom)"
    abstract, pictures, table = page.evaluate(ends)
    assert 0 < abstract < pictures < table < 1100  # pixels: a common screen has 1,080
    assert page.evaluate("document.querySelectorAll('.three img').length") == 3
    shown = page.evaluate("document.body.innerText")
    assert all(title in shown for title in ("TimesNet-Gen", "the paper's S × S", "What does the score not see?"))
    assert page.evaluate("document.querySelectorAll('details[open]').length") == 0


def test_solutions_and_checks_are_not_shown(run):
    text = "".join(path.read_text() for path in (run / "notebooks").glob("*.html"))
    assert "answer = " not in text and "check(&quot;" not in text


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ("<img src='none.png' alt='a figure'>", "picture not loaded: a figure"),
        ("<p>costs $\\tfrac12\\ln 5$ here</p>", "formula not drawn"),
        ("<code class='tex'>\\nosuch</code>", "formula not drawn: \\nosuch"),
        ("<img class='formula' src='data:image/svg+xml,<svg xmlns=\"http://www.w3.org/2000/svg\"/>'>", "in the colour"),
        ("<table style='width: 60rem'><tr><td>1</td></tr></table>", "wider than the page: TABLE"),
        ("<a href='none.html'>on</a>", "link to nothing"),
        ("<p id='a'><a href='#b'>on</a></p>", "link to nothing"),
        ("<script>console.error('a fault'); nothing()</script>", "console: "),
    ],
)
def test_a_planted_fault_is_found(body, told, page, tmp_path):
    (tmp_path / "faulty.html").write_text(f"<!DOCTYPE html><meta charset='utf-8'><body>{body}")
    assert any(told in found for found in faults(page, tmp_path / "faulty.html", 390, dark=True))
    sound = "<div style='overflow-x: auto'><table style='width: 60rem'><tr><td>1</td></tr></table></div>"
    (tmp_path / "sound.html").write_text(f"<!DOCTYPE html><meta charset='utf-8'><body>{sound}")
    assert faults(page, tmp_path / "sound.html", 390) == []
