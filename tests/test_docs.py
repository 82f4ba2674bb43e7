"""Every block of code in README and docs runs, and prints what the page says."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.docs_runner import Page, missing_promise, read_page, run_page

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
PAGES_WITH_CODE = [(path, page) for path in PAGES if (page := read_page(path.read_text())) is not None]
ANCHORED = re.compile(r"\[[^\]]*\]\((?!https?:|mailto:)([^)#\s]*)#([^)\s]+)\)")
HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)
FENCED = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\[[^\]]*\]\((?!https?:|#|mailto:)([^)#\s]+)")


@pytest.mark.parametrize("page", [pytest.param(page, id=str(path.relative_to(ROOT))) for path, page in PAGES_WITH_CODE])
def test_the_code_of_a_page_runs_and_prints_what_the_page_says(page: Page, tmp_path: Path) -> None:
    run_page(page, tmp_path)


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_link_between_pages_leads_somewhere(path: Path) -> None:
    broken = [target for target in LINK.findall(path.read_text()) if not (path.parent / target).exists()]

    assert broken == []


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_link_to_a_heading_finds_it(path: Path) -> None:
    links = [(path.parent / page if page else path, anchor) for page, anchor in ANCHORED.findall(path.read_text())]

    assert [(page.name, anchor) for page, anchor in links if anchor not in anchors(page)] == []


def anchors(path: Path) -> list[str]:
    """The anchors of a page's headings, as they are made where the pages are shown: a repeated one gets a number."""
    found: list[str] = []
    for heading in HEADING.findall(FENCED.sub("", path.read_text())):
        plain = re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-")
        again = sum(re.fullmatch(rf"{plain}(-\d+)?", other) is not None for other in found)
        found.append(f"{plain}-{again}" if again else plain)
    return found


def test_the_readme_shows_code() -> None:
    assert "README.md" in [path.name for path, _ in PAGES_WITH_CODE]


def test_what_an_actor_costs_is_in_the_readme_as_it_was_measured() -> None:
    measured = (ROOT / "docs" / "explanation" / "performance.md").read_text()
    said = re.search(r"some (\d+) ms to start and some (\d+) MiB", (ROOT / "README.md").read_text())
    start = re.search(r"^\| start to ready, 1 actor \|.*?\| ms \| ([\d.]+) \|", measured, re.MULTILINE)
    memory = re.search(r"^\| PSS of 20 idle actors \|.*?\| MiB \| ([\d.]+) \|", measured, re.MULTILINE)

    assert said is not None
    assert start is not None
    assert memory is not None
    assert float(start[1]) == pytest.approx(int(said[1]), rel=0.2)
    assert float(memory[1]) / 20 == pytest.approx(int(said[2]), rel=0.2)


FAKE_PAGE = '''
```python
import multiprocessing
SIZE = 3

def work(n):
    print("worked", n * SIZE, flush=True)
```
Then:
```python
child = multiprocessing.get_context("spawn").Process(target=work, args=(5,))
child.start()
child.join()
print("child", child.exitcode)  # child 0
text = """two
lines"""
print(text)  # two
```
```text
lines
```
```console
$ not run
```
```python
if __name__ == "__main__":
    print("at", 12345)  # at ...5
```
Prose between the two: a picture, and no promise.
```text
not printed
```
'''


def test_blocks_are_one_script_that_other_processes_can_import(tmp_path: Path) -> None:
    page = read_page(FAKE_PAGE)

    assert page is not None
    assert page.promises == ("child 0", "two", "lines", "at ...5")
    run_page(page, tmp_path)


def test_a_page_that_fails_or_breaks_a_promise_fails_with_its_output(tmp_path: Path) -> None:
    wrong = read_page("```python\nprint(1 + 1)  # 3\n```\n")
    failing = read_page("```python\nraise SystemExit(4)\n```\n")

    assert wrong is not None
    assert failing is not None
    with pytest.raises(AssertionError, match="promised and not printed: '3'"):
        run_page(wrong, tmp_path)
    with pytest.raises(AssertionError, match="exit code 4"):
        run_page(failing, tmp_path)


def test_a_page_without_code_is_no_script() -> None:
    assert read_page("# Words\n```text\nx\n```\n") is None


@pytest.mark.parametrize(
    ("promises", "output", "missing"),
    [
        pytest.param(("a", "b"), "a\nx\nb\n", None, id="in order"),
        pytest.param(("b", "a"), "a\nb\n", "a", id="out of order"),
        pytest.param(("pid ... left",), "pid 77 left\n", None, id="wildcard"),
        pytest.param(("pid",), "pid 77\n", "pid", id="whole lines"),
        pytest.param((), "", None, id="nothing"),
    ],
)
def test_promises_are_kept_in_order(promises: tuple[str, ...], output: str, missing: str | None) -> None:
    assert missing_promise(promises, output) == missing
