"""The site leads nowhere that is not there, says what the tables say, and is there whole or not."""

from __future__ import annotations

import posixpath
import re
import sys
from html.parser import HTMLParser
from pathlib import Path

import pandas as pd
import pytest

from prunebench.benchmark.command_line import main
from prunebench.errors import UsageError
from prunebench.results import leaderboard, write_csv
from prunebench.results.comparison import comparisons
from prunebench.results.manifest import describe, write_manifest
from prunebench.results.published_pages import pages_beside
from prunebench.results.record_file import write_records

pytest.importorskip("markdown_it", reason="sites come with the extra site")

from prunebench.results.site import pages
from prunebench.results.site.entry import Entry
from prunebench.results.site.markdown import as_html
from prunebench.results.site.standings import leaders, standings, summary
from prunebench.results.site.writing import write_site

ROOT = Path(__file__).resolve().parents[2]
METHODS = (ROOT / "strategies/README.md").read_text()
VOID = {"meta", "link", "img", "br", "wbr", "hr", "input"}


class Page(HTMLParser):
    """What a page links to, what may be linked to in it, and its words; every tag is closed."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.links: list[str] = []
        self.anchors: set[str] = set()
        self.words = ""
        self.open: list[str] = []
        self.feed(path.read_text(encoding="utf-8"))
        self.close()
        assert not self.open, f"{path}: never closed: {self.open}"

    def handle_starttag(self, tag, attributes):
        if tag not in VOID:
            self.open.append(tag)
        for name, value in attributes:
            if (tag, name) == ("a", "href") and value.startswith("https://"):
                continue
            if name in ("href", "src"):
                self.links.append(value)
            if name == "id":
                assert value not in self.anchors, f"two places have the anchor {value}"
                self.anchors.add(value)

    def handle_startendtag(self, tag, attributes):
        self.handle_starttag(tag, attributes)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words += re.sub(r"\s+", " ", data.replace("\u202f", " "))


def crawled(site: Path) -> dict[str, Page]:
    """All pages that the index leads to, each of whose links and anchors is there."""
    found, left = {}, ["index.html"]
    while left:
        place = left.pop()
        if place in found:
            continue
        page = found[place] = Page(site / place)
        for link in page.links:
            assert not link.startswith(("http:", "https:", "//", "/", "data:")), (place, link)
            path, _, anchor = link.partition("#")
            target = posixpath.normpath(posixpath.join(posixpath.dirname(place), path or "."))
            target = target if path else place
            assert (site / target).is_file(), f"{place} leads to {link}, which is not there"
            if target.endswith(".html") and not target.endswith("report.html"):
                left.append(target)
                if anchor:
                    assert anchor in Page(site / target).anchors, f"{place}: {link}"
    return found


@pytest.fixture
def published(make_sweep, tmp_path):
    """A folder with a comparison, one without records, a study of both, and a page about them."""
    folder = tmp_path / "results/published"
    for name in ("first", "second", "study"):
        (folder / name).mkdir(parents=True)
    records = make_sweep(strategies=("Random", "GlobalMagnitude", "mine.py:Mine(a=1)"))
    write_records(records, folder / "first/records.jsonl.gz")
    for name in ("first", "second"):
        write_csv(leaderboard(records), folder / name / "leaderboard.csv")
    write_manifest(
        folder / "first", describe(folder / "first", records, label="self-reported", by="Ada")
    )
    (folder / "study/schemes.png").write_bytes(b"\x89PNG")
    (tmp_path / "experiments").mkdir()
    (tmp_path / "experiments/x.yaml").write_text("a: 1\n")
    (tmp_path / "results/README.md").write_text("# Columns\n\n[beside](published/first)\n")
    (folder / "README.md").write_text(
        "# Published\n\nSee [columns](../README.md), [races](races.md), [far](a.md#the-deep-one).\n"
    )
    (folder / "races.md").write_text(
        "# Races\n\n## A race & its end\n\n```console\n$ # run\n## no heading\n```\n\n"
        "Words [of](../../experiments/x.yaml) it, and of [nothing](nothing.txt).\n\n"
        "<!-- first -->\n```\ntable\n```\n<!-- end of first -->\n\n[`first/`](first)\n"
    )
    (folder / "a.md").write_text(
        "# Others\n\n## The deep one\n\n| a | b |\n| --- | ---: |\n| <b>1</b> | 2 |\n\n"
        "![drawn](study/schemes.png) [`study/`](study)\n"
    )
    return folder


def command(published: Path, output: Path) -> int:
    return main(["site", str(published), "-o", str(output)])


@pytest.mark.slow
def test_every_link_of_a_site_leads_somewhere_within_it(published, tmp_path, capsys):
    assert command(published, tmp_path / "site") == 0
    captured = capsys.readouterr()
    assert "2 folders of comparisons and 1 others" in captured.out
    assert "second has no records" in captured.err
    found = crawled(tmp_path / "site")
    all_pages = {
        path.relative_to(tmp_path / "site").as_posix()
        for path in (tmp_path / "site").rglob("*.html")
        if path.name != "report.html"
    }
    assert found.keys() == all_pages
    assert {"methods/SNIP.html", "files/results/README.html"} <= all_pages
    assert (tmp_path / "site/files/experiments/x.yaml").read_text() == "a: 1\n"
    assert "nothing.txt" not in found["notes/races.html"].links
    assert "<b>1</b>" in found["notes/a.html"].words
    page = found["results/first/index.html"]
    assert "A race & its end" in page.words
    assert "Words of it" in page.words
    assert "(0/3)" not in page.words
    for place in ("index.html", "results/first/index.html"):
        assert found[place].words.count("Reported by Ada (self-reported).") == 1
    assert "../../methods/GlobalMagnitude.html" in page.links
    assert "../../methods/Mine.html" not in page.links
    assert "The deep one: study" in found["results/study/index.html"].words
    assert "It is spoken of in Others." in found["results/study/index.html"].words
    assert re.search(r"came of it\s+Published\s+Races\s+Others", found["index.html"].words)


def test_a_site_is_the_same_bytes_each_time_and_takes_the_place_of_an_earlier_one(
    published, tmp_path, monkeypatch
):
    monkeypatch.setattr(pages, "report", lambda frame, path, *_: path.write_text("<!DOCTYPE html>"))
    bytes_of = []
    for _ in range(2):
        assert command(published, tmp_path / "site") == 0
        files = [path for path in (tmp_path / "site").rglob("*") if path.is_file()]
        bytes_of.append({path: path.read_bytes() for path in files})
        (tmp_path / "site/results/left-over.txt").touch()
    assert bytes_of[0] == bytes_of[1]
    assert not list(tmp_path.glob(".site*"))


def test_a_folder_with_other_files_is_left_as_it_is(published, tmp_path, capsys):
    (tmp_path / "thesis.tex").touch()
    before = sorted(tmp_path.rglob("*"))
    assert command(published, tmp_path) == 2
    assert "has files in it that are no site" in capsys.readouterr().err
    assert sorted(tmp_path.rglob("*")) == before


def test_a_site_that_cannot_be_finished_leaves_the_earlier_one(published, tmp_path, monkeypatch):
    monkeypatch.setattr(pages, "report", lambda frame, path, *_: path.write_text("<!DOCTYPE html>"))
    assert command(published, tmp_path / "site") == 0
    (published / "first/leaderboard.csv").unlink()

    def full(*_):
        raise OSError("no space left on device")

    monkeypatch.setattr(pages, "report", full)
    assert command(published, tmp_path / "site") == 1
    crawled(tmp_path / "site")
    assert not list(tmp_path.glob(".site*"))


def test_what_is_lacking_is_said_before_anything_is_written(published, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "markdown_it", None)
    content = pages.Content([], published, {}, METHODS)
    with pytest.raises(UsageError, match=re.escape("pip install '.[site]'")):
        write_site(content, tmp_path / "site")
    assert not (tmp_path / "site").exists()


def test_a_page_says_why_a_comparison_is_stale(published, tmp_path, monkeypatch):
    monkeypatch.setattr(pages, "report", lambda frame, path, *_: path.write_text("<!DOCTYPE html>"))
    entries = [Entry(published / "first", ["an <old> reason"]), Entry(published / "second", [])]
    write_site(pages.Content(entries, published, {}, METHODS), tmp_path / "site")
    found = crawled(tmp_path / "site")
    assert "an <old> reason" in found["results/first/index.html"].words
    assert "It is what today’s code gives." in found["results/second/index.html"].words
    assert "notes/index.html" not in found


def test_ranks_are_those_of_the_means_and_equal_means_share_one(make_record):
    accuracies = {"OBD": 0.5, "SNIP": 0.7, "Wanda": 0.9, "LAMP": 0.70001}
    records = [
        make_record(strategy=name, compression=compression, top1=top1 if compression > 1 else 0.9)
        for name, top1 in accuracies.items()
        for compression in (1, 2)
    ]
    records.append(make_record(strategy="Random", compression=2, status="failed"))
    (comparison,) = comparisons(leaderboard(records))
    found = standings(comparison)
    assert {name: line[-1].rank for name, line in found.items()} == {
        "Wanda": 1, "LAMP": 2, "SNIP": 2, "OBD": 4, "Random": None,
    }  # fmt: skip
    assert {line[-1].among for line in found.values()} == {4}
    assert {line[0].rank for line in found.values()} == {None}
    (_, alike, _), (target, first, quality) = leaders(found)
    assert sorted(alike) == ["LAMP", "OBD", "SNIP", "Wanda"]
    assert (target, first, quality) == ("2×", ["Wanda"], "90.00")
    assert "1 point of comparisons: first at 1" in summary(found["Wanda"])
    assert "No published comparison" in summary(found["Random"])


def test_where_lower_is_better_the_lowest_is_first(make_record):
    quality = {"perplexity": "lower"}
    records = [
        make_record(strategy=name, quality=quality, final={"perplexity": value},
                    dense={"perplexity": 1.0})
        for name, value in (("OBD", 30.0), ("SNIP", 4.0))
    ]  # fmt: skip
    (comparison,) = comparisons(leaderboard(records))
    assert standings(comparison)["SNIP"][0].rank == 1


def test_markdown_obeys_no_html_and_no_link_that_leads_nowhere():
    html = as_html(
        "# A & b\n\n## A & b\n\n<script>x</script> [gone](x) [here](y) ![p](z)\n",
        {"y": "y.html", "z": None, "x": None}.__getitem__,
    )
    assert '<h1 id="a--b">' in html
    assert '<h2 id="a--b-1">' in html
    assert "<script>" not in html
    assert 'gone <a href="y.html">here</a>' in html
    assert "<img" not in html


@pytest.mark.slow
def test_all_that_is_published_makes_a_site_without_a_dead_link(tmp_path, monkeypatch):
    published = ROOT / "results/published"
    monkeypatch.setattr(pages, "report", lambda frame, path, *_: path.write_text("<!DOCTYPE html>"))
    entries = [Entry(folder) for folder in sorted(published.iterdir()) if folder.is_dir()]
    notes = pages_beside(published)
    write_site(pages.Content(entries, published, notes, METHODS), tmp_path / "site")
    found = crawled(tmp_path / "site")
    assert {f"results/{entry.name}/index.html" for entry in entries} <= found.keys()
    frame = pd.read_csv(published / "lenet-mnist/leaderboard.csv")
    row = frame[(frame["strategy"] == "GlobalMagnitude") & (frame["target_compression"] == 32)]
    mean = f"{100 * row['top1_mean'].item():.2f}"
    assert f"32×: GlobalMagnitude, {mean}" in found["index.html"].words


@pytest.mark.browser
@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_pages_fit_a_phone_and_complain_of_nothing(
    published, tmp_path, monkeypatch, browser, scheme
):
    monkeypatch.setattr(pages, "report", lambda frame, path, *_: path.write_text(""))
    assert command(published, tmp_path / "site") == 0
    context = browser.new_context(viewport={"width": 390, "height": 800}, color_scheme=scheme)
    page, said = context.new_page(), []
    page.on("console", lambda message: said.append(message.text))
    page.on("requestfailed", lambda request: said.append(request.url))
    for place in ("index.html", "results/first/index.html", "methods/GlobalMagnitude.html"):
        page.goto((tmp_path / "site" / place).as_uri())
        root = "document.documentElement"
        assert page.evaluate(f"{root}.scrollWidth <= {root}.clientWidth"), place
        ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert (ground == "rgb(17, 21, 26)") == (scheme == "dark")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "To the content"
    context.close()
    assert said == []
