"""The page in a real browser: what people click, type, see, and print."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from prunebench.results import as_text, leaderboard
from prunebench.results.record import Epoch, Layer
from prunebench.results.report import report

pytestmark = [pytest.mark.browser, pytest.mark.slow]

STRATEGIES = ("GlobalMagnitude", "LayerMagnitude", "OBD", "Random")
DOUBT = "other processes took 80 % of the processor"


@pytest.fixture(scope="module")
def frame(make_page_records) -> pd.DataFrame:
    return leaderboard(make_page_records)


@pytest.fixture(scope="module")
def make_page_records():
    from .conftest import _make_record

    layer = Layer(name="a", shape=(10, 10), parameters=100, nonzero=50, density=0.5, flops=None,
                  effective_flops=None, weight_class="a")  # fmt: skip
    whole = layer.model_copy(update={"name": "b", "density": 1.0})
    epochs = [
        Epoch(training="pretraining", epoch=n, loss=1 / n, validation={"top1": 0.9}) for n in (1, 2)
    ]
    return [
        _make_record(
            strategy=name,
            compression=compression,
            seed=seed,
            top1=0.98 - 0.013 * compression * place - 0.002 * seed,
            timings={"measured_speedup_batch1": None if place == 1 else 1.0 + place / 10},
            doubts={"measured_speedup_batch1": DOUBT} if place == 1 else {},
        ).model_copy(update={"layers": (layer, whole), "history": tuple(epochs)})
        for place, name in enumerate(STRATEGIES, 1)
        for compression in (2.0, 4.0, 8.0)
        for seed in (0, 1, 2)
    ]


@pytest.fixture(scope="module")
def path(frame, make_page_records, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("page") / "report.html"
    report(frame, path, make_page_records)
    return path


@pytest.fixture
def opened(browser):
    """Open a page, at whose end it must have asked for nothing and complained of nothing."""
    contexts, amiss = [], []

    def open_page(path: Path, width: int = 1280, **settings):
        context = browser.new_context(viewport={"width": width, "height": 900}, **settings)
        context.set_default_timeout(600_000)
        page = context.new_page()
        page.on("console", lambda message: amiss.append(message.text))
        page.on("pageerror", lambda error: amiss.append(str(error)))
        page.on("request", lambda request: requests.append(request.url))
        contexts.append(context)
        page.goto(path.as_uri())
        if settings.get("java_script_enabled", True):
            page.locator(".numbers").first.scroll_into_view_if_needed()
            page.wait_for_selector(".all tbody tr")
            page.evaluate("() => scrollTo(0, 0)")
        return page

    requests: list[str] = []
    yield open_page
    for context in contexts:
        context.close()
    assert amiss == []
    assert len(requests) == len(contexts), "nothing but the page itself is loaded"


def settled(page) -> None:
    page.evaluate(
        "() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))"
    )


def column(page, table: str, place: int) -> list[str]:
    cells = page.locator(f"{table} tbody tr:visible > :nth-child({place})")
    return [text.strip() for text in cells.all_inner_texts()]


def test_a_click_on_a_head_sorts_and_another_one_turns_it_round(opened, path, frame):
    page = opened(path)
    head = page.locator(".all thead th").nth(2)
    head.get_by_role("button").click()
    means = [float(text.split()[0]) for text in column(page, ".all", 3)]
    assert means == sorted((round(100 * v, 2) for v in frame["top1_mean"]), reverse=True)
    assert head.get_attribute("aria-sort") == "descending"
    head.get_by_role("button").press("Enter")
    assert [float(text.split()[0]) for text in column(page, ".all", 3)] == means[::-1]
    assert head.get_attribute("aria-sort") == "ascending"
    page.locator(".matrix thead button").nth(3).click()
    assert column(page, ".matrix", 1) == list(STRATEGIES), "the best at the third target first"
    page.locator(".matrix thead button").nth(3).click()
    assert column(page, ".matrix", 1) == list(STRATEGIES)[::-1]


def test_the_filter_leaves_the_rows_that_have_all_of_its_words(opened, path):
    page = opened(path)
    page.fill("#filter", "magnitude 4×")
    page.wait_for_selector("#found:not(:empty)")
    assert page.inner_text("#found") == "2 rows"
    assert column(page, ".all", 1) == ["GlobalMagnitude", "LayerMagnitude"]
    assert column(page, ".all", 2) == ["4×", "4×"]
    assert column(page, ".matrix", 1) == ["GlobalMagnitude", "LayerMagnitude"]
    assert page.locator(".figure g.line").count() == 2
    page.fill("#filter", "nothing of the kind")
    page.wait_for_selector("#comparison1", state="hidden")
    page.press("#filter", "Escape")
    assert len(column(page, ".all", 1)) == 12


def test_chips_say_which_strategies_are_drawn(opened, path):
    page = opened(path)
    lines = page.locator(".explorer g.line")
    assert lines.count() == len(STRATEGIES)
    chip = page.get_by_role("button", name="OBD", exact=True)
    chip.click()
    assert chip.get_attribute("aria-pressed") == "false"
    assert lines.count() == len(STRATEGIES) - 1
    page.get_by_role("button", name="None", exact=True).click()
    assert lines.count() == 0
    assert "nothing to draw" in page.locator(".explorer .figure").inner_text()
    page.get_by_role("button", name="All", exact=True).click()
    assert lines.count() == len(STRATEGIES)


def tip(page) -> str:
    return page.locator(".explorer .tip:visible").inner_text()


def test_every_point_says_the_numbers_of_the_csv_file(opened, path, frame):
    page = opened(path)
    page.locator(".explorer .figure").focus()
    for _, row in frame.iterrows():
        page.keyboard.press("ArrowRight")
        text = tip(page)
        assert row["strategy"] in text
        numbers = [float(number) for number in re.findall(r"−?\d+(?:\.\d+)?", text.split("\n")[1])]
        assert numbers[1:3] == [
            pytest.approx(100 * row[f"top1_{end}"], rel=1e-5) for end in ("mean", "std")
        ]
        assert f"{row['compression_mean']:g}×" in text
    page.keyboard.press("Escape")
    assert page.locator(".explorer .tip:visible").count() == 0


def page_of(tmp_path, name, values, dense):
    """A page of a metric of which less is better, with its leaderboard."""
    from .conftest import _make_record

    records = [
        _make_record(strategy=strategy, seed=seed, quality={name: "lower"},
                     final={name: value}, dense={name: dense})
        for strategy, of_seeds in zip(STRATEGIES, values, strict=True)
        for seed, value in enumerate(of_seeds)
    ]  # fmt: skip
    frame = leaderboard(records)
    report(frame, tmp_path / "report.html", records)
    return tmp_path / "report.html", frame


def test_numbers_are_written_as_in_the_tables_without_scripts(opened, tmp_path):
    values = [(45.6, 45.58, 45.65), (1234.5, 1234.5), (1.5e6, 2.5e6), (19.859, 19.859)]
    path, frame = page_of(tmp_path, "perplexity", values, 19.0)
    page = opened(path)
    shown = [text.replace("\u202f", " ") for text in column(page, ".all", 3)]
    assert shown == [
        line.removeprefix(name).strip()
        for name in STRATEGIES
        for line in as_text(frame).splitlines()
        if line.startswith(name)
    ]
    static = page.locator(".matrix tbody td").all_text_contents()
    for change, text in zip(column(page, ".all", 4), static, strict=True):
        assert text.strip().endswith(change)


def test_values_without_a_logarithm_have_a_linear_scale(opened, tmp_path):
    path, _ = page_of(tmp_path, "score", [(-1.5, -1.4), (-1.0, -1.1), (0.0, 0.1), (0.5, 0.4)], -2)
    page = opened(path)
    assert chosen(page, "Its scale").locator("option").all_inner_texts() == ["Linear"]
    places = page.locator(".explorer g.line .marker").evaluate_all(
        "(nodes) => nodes.map((node) => node.getAttribute('transform'))"
    )
    assert len(set(places)) == len(STRATEGIES)
    assert "-1" in page.locator(".explorer .tick").all_text_contents()


def test_a_pointer_over_a_marker_brings_its_line_out_and_dims_all_others(opened, path):
    page = opened(path)
    page.locator(".explorer g.line .marker").nth(4).hover(force=True)
    assert STRATEGIES[1] in tip(page)
    assert page.locator(".explorer g.line.lit").count() == 1
    assert page.locator(".explorer g.line.dim").count() == len(STRATEGIES) - 1
    assert page.locator(".matrix tr.lit").inner_text().startswith(STRATEGIES[1])


def chosen(page, name: str):
    return page.get_by_role("combobox", name=name, exact=True)


def test_axes_scales_and_intervals_can_be_chosen(opened, path):
    page = opened(path)
    title = page.locator(".explorer .axis").first
    against = chosen(page, "Against")
    titles = against.locator("option").all_inner_texts()
    assert titles[:3] == ["Compression of the whole network", "Sparsity of the prunable weights",
                          "Theoretical speedup (FLOPs)"]  # fmt: skip
    assert "Measured speedup, batch of 1" in titles
    assert "Nonzero parameters" in titles
    for each in titles:
        against.select_option(label=each)
        assert title.text_content() == each
    chosen(page, "Quality").select_option(label="Loss")
    assert page.locator(".explorer .axis").nth(1).text_content() == "Loss"
    ticks = page.locator(".explorer .tick").all_text_contents()
    chosen(page, "Its scale").select_option(label="Linear")
    assert page.locator(".explorer .tick").all_text_contents() != ticks
    assert page.locator(".explorer .band").count() > 0
    chosen(page, "Intervals").select_option(label="None")
    assert page.locator(".explorer .band").count() == 0


def test_a_speedup_without_a_verdict_is_marked_with_its_reason(opened, path):
    page = opened(path)
    cell = page.locator(".all .doubt").first
    assert cell.inner_text() == "no verdict"
    assert cell.get_attribute("title") == DOUBT
    cell.focus()
    assert DOUBT in cell.inner_text()
    chosen(page, "Against").select_option(label="Measured speedup, batch of 1")
    assert "no verdict" in page.locator(".explorer .tick").all_text_contents()
    page.locator(".explorer .figure").focus()
    page.keyboard.press("ArrowRight")
    assert f"no verdict: {DOUBT}" in tip(page)


def test_layers_and_curves_of_single_runs_open(opened, path):
    page = opened(path)
    page.get_by_text("What is left of each layer").click()
    page.wait_for_selector(".heat tbody td")
    assert page.locator(".heat tbody td").all_inner_texts() == ["50", "100"] * len(STRATEGIES)
    page.get_by_text("Curves of training").click()
    page.wait_for_selector(".details g.line", state="attached")
    assert page.locator(".details g.line").count() == len(STRATEGIES)


def test_all_can_be_reached_and_done_by_keys(opened, path):
    page = opened(path)
    reached = []
    for _ in range(60):
        page.keyboard.press("Tab")
        reached.append(
            page.evaluate(
                "() => { const e = document.activeElement; const s = getComputedStyle(e);"
                " return [e.id || e.className || e.tagName, s.outlineStyle]; }"
            )
        )
    names = [name for name, *_ in reached]
    names = names[: names.index("filter", 1)]  # from there on it is the first round again
    for expected in ("filter", "theme", "figure", "chip", "sort", "scroll tall"):
        assert expected in names
    assert names.count("chip") == 1, "arrow keys go on from there"
    assert all(outline != "none" for name, outline in reached if name != "BODY")
    page.locator(".chip").first.focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Space")
    assert page.locator(".chip").nth(1).get_attribute("aria-pressed") == "false"


@pytest.mark.parametrize("width", [320, 400])
def test_a_phone_scrolls_tables_and_never_the_page(opened, path, width):
    page = opened(path, width)
    for summary in page.locator("section.comparison summary").all():
        summary.click()
    settled(page)
    assert page.evaluate("() => document.documentElement.scrollWidth") <= width


LUMINANCE = """() => {
  const paint = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  const rgb = (colour, below) => {
    paint.globalCompositeOperation = "copy";
    paint.fillStyle = below ?? "#fff"; paint.fillRect(0, 0, 1, 1);
    paint.globalCompositeOperation = "source-over";
    paint.fillStyle = colour; paint.fillRect(0, 0, 1, 1);
    return [...paint.getImageData(0, 0, 1, 1).data].slice(0, 3);
  };
  const ground = (node) => {
    const behind = [];
    for (let n = node; n; n = n.parentElement) behind.unshift(getComputedStyle(n).backgroundColor);
    return behind.reduce((below, colour) => `rgb(${rgb(colour, below).join(",")})`, "#fff");
  };
  const found = [];
  for (const node of document.querySelectorAll("body *")) {
    const own = [...node.childNodes].some((n) => n.nodeType === 3 && n.textContent.trim());
    if (!own || !node.getClientRects().length || node.closest("script, .hidden")) continue;
    const style = getComputedStyle(node), svg = node instanceof SVGElement;
    const below = ground(svg ? node.closest("div, button") : node);
    const ink = rgb(svg ? style.fill : style.color, below);
    found.push([ink, rgb(below), node.textContent.trim().slice(0, 30)]);
  }
  return found;
}"""


def luminance(rgb: list[int]) -> float:
    """Relative luminance, as WCAG 2 defines it."""
    parts = [v / 255 for v in rgb]
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_all_text_has_a_contrast_of_four_and_a_half(opened, path, scheme):
    page = opened(path, color_scheme=scheme)
    for summary in page.locator("section.comparison summary").all():
        summary.click()
    page.locator(".chip").last.click()
    page.mouse.move(0, 0)
    page.locator("h1").click()
    settled(page)
    found = page.evaluate(LUMINANCE)
    assert len(found) > 100
    for ink, ground, text in found:
        low, high = sorted((luminance(ink), luminance(ground)))
        assert (high + 0.05) / (low + 0.05) >= 4.5, f"{text}: {ink} on {ground}"
    dark = luminance(page.evaluate(LUMINANCE)[0][1]) < 0.1
    assert dark == (scheme == "dark")
    page.locator("#theme").click()
    assert (luminance(page.evaluate(LUMINANCE)[0][1]) < 0.1) != dark


def test_print_has_the_static_tables_and_plots_and_no_controls(opened, path):
    page = opened(path, color_scheme="dark")
    page.emulate_media(media="print")
    assert page.locator("body .scripted:visible").count() == 0
    assert page.locator(".plots svg:visible").count() == 2
    assert page.locator(".costs tbody tr:visible").count() == 12
    assert luminance(page.evaluate(LUMINANCE)[0][1]) > 0.9
    assert len(page.pdf()) > 10_000


def test_without_scripts_there_are_the_tables_and_plots(opened, path):
    page = opened(path, java_script_enabled=False)
    assert page.locator(".plots svg:visible").count() == 2
    assert page.locator(".matrix tbody tr:visible").count() == len(STRATEGIES)
    assert page.locator(".costs tbody tr:visible").count() == 12
    assert page.locator("body .scripted:visible").count() == 0


@pytest.fixture(scope="module")
def large(frame, tmp_path_factory, request) -> Path:
    """2,400 rows: 120 strategies at 20 targets."""
    count = np.arange(2400)
    rows = frame.iloc[np.zeros(2400, dtype=int)].reset_index(drop=True)
    names = [f"Method{number:03d}" for number in count // 20]
    targets = 2 + (count % 20) / 4
    rows = rows.assign(strategy=names, label=names, target_compression=targets,
                       compression_mean=targets, top1_mean=0.99 - (count // 20) / 2000)  # fmt: skip
    path = tmp_path_factory.mktemp("large") / "report.html"
    report(rows, path)
    return path


def test_thousands_of_rows_can_be_sorted_and_filtered(opened, large):
    page = opened(large)
    page.wait_for_selector(".large.complete")
    assert page.locator(".chip").count() == len(column(page, ".matrix", 1)) == 120
    assert "2,400 rows" in page.locator(".numbers").inner_text()
    assert page.locator(".all tbody tr").count() < 1000, "no more than what is looked at"
    page.locator(".all thead button").nth(2).click()
    assert column(page, ".all", 1)[0] == "Method000"
    page.evaluate(
        "() => { const table = document.querySelector('.numbers .scroll'); table.scrollTop = 1e6; }"
    )
    settled(page)
    assert page.locator(".all tbody tr").count() > 200, "more come as they are scrolled to"
    page.fill("#filter", "method119")
    page.wait_for_selector("#found:not(:empty)")
    assert page.inner_text("#found") == "20 rows"
    assert set(column(page, ".all", 1)) == {"Method119"}
