"""Corpora by name: what is asked of the hub, what becomes of its rows, and what is said without."""

import re
import sys
from importlib.machinery import ModuleSpec
from types import ModuleType

import pytest
import torch

from prunebench.datasets import C4, PennTreebank, TinyStories, WikiText2, WikiText103
from prunebench.errors import UsageError

ROWS = {
    "train": [f"page {number} ☃\nof many" for number in range(20)],
    "validation": ["", " = A title = \n", "text", "more"],
    "test": ["the end"],
}


class FakeHub(ModuleType):
    """``datasets`` as far as it is asked for, with splits in memory and slices of them."""

    def __init__(self, rows=ROWS):
        super().__init__("datasets")
        self.__spec__ = ModuleSpec("datasets", None)
        self.rows, self.asked = rows, []

    def load_dataset(self, path, name=None, *, split, data_files=None):
        self.asked.append((path, name, split, data_files))
        split, _, part = split.partition("[")
        rows = self.rows[split]
        first, last = part.rstrip("]").split(":") if part else ("", "")
        start, stop = (
            len(rows) * int(each[:-1]) // 100 if each.endswith("%") else int(each or default)
            for each, default in ((first, 0), (last, len(rows)))
        )
        return {"text": rows[start:stop]}


@pytest.fixture
def hub(monkeypatch):
    hub = FakeHub()
    monkeypatch.setitem(sys.modules, "datasets", hub)
    return hub


def text_of(task, split):
    """What a task of bytes has, to the letter."""
    labels = [batch[1] for batch in task.batches(split, 1)]
    return bytes(torch.cat(labels, 1)[torch.cat(labels, 1) != task.padding].tolist()).decode()


@pytest.mark.parametrize(
    ("corpus", "source"),
    [
        (WikiText2, ("Salesforce/wikitext", "wikitext-2-raw-v1")),
        (WikiText103, ("Salesforce/wikitext", "wikitext-103-raw-v1")),
    ],
)
def test_the_rows_of_each_split_are_one_text_with_empty_lines_between(
    hub, tmp_path, corpus, source
):
    task = corpus(length=1).load(tmp_path)
    assert hub.asked == [(*source, split, None) for split in ("train", "validation", "test")]
    for split, rows in ROWS.items():
        assert text_of(task, split) == "\n\n".join(rows)


def test_a_slice_of_c4_is_of_the_first_file_and_two_splits_of_stories_are_three(hub, tmp_path):
    task = C4(train="train[:3]", validation="train[5:7]", test="validation", length=1).load(
        tmp_path
    )
    files = hub.asked[0][-1]
    assert files["train"] == "en/c4-train.00000-of-01024.json.gz"
    assert files["validation"] == "en/c4-validation.00000-of-00008.json.gz"
    assert text_of(task, "train") == "\n\n".join(ROWS["train"][:3])
    assert text_of(task, "validation") == "\n\n".join(ROWS["train"][5:7])
    hub.rows = {**ROWS, "validation": ["a", "b", "c", "d"]}
    stories = TinyStories(length=1).load(tmp_path)
    assert [text_of(stories, split) for split in ("validation", "test")] == ["a\n\nb", "c\n\nd"]


def test_what_has_been_downloaded_is_read_without_the_library(hub, tmp_path, monkeypatch):
    first = text_of(WikiText2(length=8).load(tmp_path), "train")
    asked = len(hub.asked)
    monkeypatch.setitem(sys.modules, "datasets", None)
    assert text_of(WikiText2(length=8).load(tmp_path), "train") == first
    assert len(hub.asked) == asked
    assert (tmp_path / "wikitext-2/train.txt").read_text() == "\n\n".join(ROWS["train"])


def test_slices_of_different_bounds_are_different_files(hub, tmp_path):
    others = {"validation": "validation", "test": "test", "length": 1}
    texts = {
        text_of(C4(train=f"train[{part}]", **others).load(tmp_path), "train")
        for part in (":2", "2:", "2:4", ":50%")
    }
    assert len(texts) == 4


def test_without_the_library_the_extra_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "datasets", None)
    said = re.escape("dataset WikiText2: datasets not installed: pip install '.[corpora]'")
    with pytest.raises(UsageError, match=f"^{said}"):
        WikiText2().load(tmp_path)


def test_a_hub_that_is_out_of_reach_is_said_in_one_sentence(hub, tmp_path, monkeypatch):
    def unreachable(*arguments, **settings):
        raise ConnectionError("Couldn't reach 'Salesforce/wikitext' on the Hub.\nmore of it")

    monkeypatch.setattr(hub, "load_dataset", unreachable)
    expected = (
        f"dataset WikiText2: train.txt is not in {tmp_path / 'wikitext-2'} and could not be "
        "downloaded there (Couldn't reach 'Salesforce/wikitext' on the Hub): connect to the"
    )
    with pytest.raises(UsageError, match=f"^{re.escape(expected)}") as caught:
        WikiText2().load(tmp_path)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "wikitext-2/train.txt").exists()


def test_penn_treebank_is_read_from_its_files_line_by_line(tmp_path):
    folder = tmp_path / "penn-treebank"
    folder.mkdir()
    for split in ("train", "valid", "test"):
        (folder / f"{split}.txt").write_text(" no it was n't <unk> \n the N \n")
    task = PennTreebank(length=4).load(tmp_path)
    assert text_of(task, "test") == " no it was n't <unk> \n the N \n"
    assert task.words("test") == 7 + 2  # an end for each sentence, as the literature counts
    with pytest.raises(UsageError, match="test: 'val' is not allowed: give train, valid, test"):
        PennTreebank(test="val")


def test_a_checkouts_own_folder_is_not_taken_for_the_library(monkeypatch, tmp_path):
    import prunebench

    (checkout,) = prunebench.__path__
    installed = tmp_path / "installed"
    installed.mkdir()
    (installed / "datasets.py").write_text(
        "def load_dataset(path, name, split):\n    return {'text': [path]}\n"
    )
    monkeypatch.setattr(sys, "path", [checkout, str(installed), *sys.path])
    monkeypatch.delitem(sys.modules, "datasets", raising=False)
    try:
        task = WikiText2(length=4).load(tmp_path)
    finally:
        sys.modules.pop("datasets", None)
    assert text_of(task, "test") == "Salesforce/wikitext"
    assert sys.path[0] == checkout
