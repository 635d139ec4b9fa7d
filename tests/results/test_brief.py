"""How a record shows itself: in a terminal, in a notebook, among others in a list."""

import re
from html.parser import HTMLParser

import pytest

FOREIGN = "mine.py:Method(note='<script>alert(1)</script> & \x1b[2J')"


class Texts(HTMLParser):
    """The elements of a page, and its cells and lines of its caption in their order."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.elements, self.texts = set(), []
        self.feed(page)

    def handle_starttag(self, tag, attributes):
        self.elements.add(tag)

    def handle_data(self, data):
        self.texts.append(data)


@pytest.fixture
def record(make_record):
    return make_record(top1=0.8125, dense_top1=0.99, strategy=FOREIGN)


def test_printed_it_is_a_short_table_of_what_was_measured(make_record):
    record = make_record(top1=0.8125, dense_top1=0.99)
    heading, status, *table = str(record).splitlines()
    assert heading == f"{record.id}: GlobalMagnitude at 4× on LeNet5 and MNIST, seed 0"
    assert status == "status: ok"
    cells = {line[:28].strip(): line[28:].split() for line in table[2:]}
    assert cells["Top-1 accuracy (%)"] == ["99.00", "81.25"]
    assert cells["Loss"] == ["0.03", "0.1875"]
    assert cells["Parameters not zero"] == ["250"]
    assert cells["Compression (×)"] == ["4"]
    assert cells["FLOPs by weights not zero"] == ["2,000"]


def test_a_list_of_records_has_a_line_for_each(make_record):
    text = repr([make_record(top1=0.8125), make_record(seed=1)])
    assert "\n" not in text
    assert "seed 0: ok, Top-1 accuracy (%) 81.25, dense 99.00>, <Record" in text


def test_a_notebook_has_the_same_words_and_obeys_nothing_in_them(record):
    page = Texts(record._repr_html_())
    assert page.elements == {"table", "caption", "br", "thead", "tbody", "tr", "th", "td"}
    words = re.split(r"\n|  +", re.sub(r"-{3,}", "", str(record)))
    assert [each for each in page.texts if each] == [each for each in words if each]


def test_nothing_in_it_is_obeyed_by_a_terminal(record):
    for text in (str(record), repr(record)):
        assert "\x1b" not in text
        assert "\\x1b[2J" in text


def test_a_failed_or_collapsed_run_says_so(make_record):
    assert str(make_record(status="failed")).endswith("status: failed: ValueError: no")
    assert "seed 0: failed: ValueError: no>" in repr(make_record(status="failed"))
    assert "collapsed: nothing is left of fc.weight" in str(make_record(status="collapsed"))


def test_what_is_not_finite_or_of_the_users_own_is_written_as_declared(make_record):
    record = make_record(
        quality={"wrong": "lower"},
        described={"wrong": {"title": "Missed <b>", "unit": "%"}},
        dense={"wrong": 0.25},
        final={"wrong": float("nan")},
    )
    (line,) = (line for line in str(record).splitlines() if "Missed" in line)
    assert line.split("  ")[0] == "Missed <b> (%)"
    assert line.split()[-3:] == ["25.00", "not", "finite"]


def test_ipython_is_given_a_table_of_one_and_lines_of_several(record):
    class Printer:
        def __init__(self, indentation):
            self.indentation = indentation

        def text(self, text):
            self.said = text

    alone, among_others = Printer(0), Printer(1)
    record._repr_pretty_(alone, False)
    record._repr_pretty_(among_others, False)
    assert (alone.said, among_others.said) == (str(record), repr(record))
