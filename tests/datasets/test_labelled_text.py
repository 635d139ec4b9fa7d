"""Texts with labels: what becomes of files on the way to a batch, and bad ones."""

import gzip
import json
import re

import pytest
import torch

from prunebench.datasets import LabelledText
from prunebench.errors import UsageError

ROWS = {
    "train": [('good, "very" good\nindeed', "yes"), ("bad", "no"), ("☃ so so", "no")],
    "validation": [("good", "yes")],
    "test": [("a text that is longer than the others", "no"), ("bad", "no")],
}


@pytest.fixture
def folder(tmp_path):
    for split, rows in ROWS.items():
        lines = [f'{label},"{text.replace(chr(34), 2 * chr(34))}"\r\n' for text, label in rows]
        (tmp_path / f"{split}.csv").write_bytes(("label,text\r\n" + "".join(lines)).encode())
        objects = [json.dumps({"label": label, "text": text, "n": 1}) for text, label in rows]
        (tmp_path / f"{split}.jsonl").write_text("\n".join(objects))
        (tmp_path / f"{split}.jsonl.gz").write_bytes(gzip.compress("\n".join(objects).encode()))
    return tmp_path


def read(task, split):
    """The texts and labels of a split, from its batches."""
    return [
        (bytes(token - 1 for token in tokens.tolist() if token), task.class_names[label])
        for batch in task.batches(split, 2)
        for tokens, label in zip(*batch, strict=True)
    ]


@pytest.mark.parametrize("kind", ["csv", "jsonl", "jsonl.gz"])
def test_texts_and_labels_come_out_as_they_are_in_the_files(folder, kind):
    files = {split: f"{split}.{kind}" for split in ROWS}
    if kind == "jsonl.gz":
        files = {split: name.removesuffix(".gz") for split, name in files.items()}
        for name in files.values():
            (folder / name).unlink()
    task = LabelledText(str(folder), **files, length=24).load(folder)
    assert task.class_names == ("no", "yes")
    assert task.input_shape == (24,)
    for split, rows in ROWS.items():
        assert task.size(split) == len(rows)
        assert read(task, split) == [(text.encode()[:24], label) for text, label in rows]


def test_a_generator_mixes_examples_and_inputs_begin_again(folder):
    task = LabelledText(str(folder), length=8).load(folder)
    seen = [
        row.tolist()
        for tokens, _ in task.batches("train", 1, torch.Generator().manual_seed(1))
        for row in tokens
    ]
    stored = [row.tolist() for tokens, _ in task.batches("train", 3) for row in tokens]
    assert sorted(seen) == sorted(stored)
    assert torch.equal(task.inputs(5)[:2], task.inputs(5)[2:4])


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("text,label\n", "has no examples"),
        ("text,labels\na,b\n", "example 1 has no 'label'"),
        ("text,label\na,b\n,c\n", "example 2 has no 'text'"),
        ("text,label\na,perhaps\n", "the test split has the label 'perhaps', which the training"),
    ],
)
def test_files_that_lack_something_are_refused_in_one_sentence(folder, content, sentence):
    (folder / "test.csv").write_text(content)
    with pytest.raises(UsageError, match=re.escape(sentence)):
        LabelledText(str(folder)).load(folder)


def test_other_files_and_lines_that_are_no_objects_are_refused(folder):
    (folder / "test.txt").write_text("good")
    with pytest.raises(UsageError, match=r"test\.txt is not allowed: give a file that ends with"):
        LabelledText(str(folder), test="test.txt").load(folder)
    (folder / "test.jsonl").write_text("[1]")
    with pytest.raises(UsageError, match=r"test\.jsonl: line 1 is no JSON object"):
        LabelledText(str(folder), test="test.jsonl").load(folder)
    with pytest.raises(UsageError, match=r"dataset LabelledText: there is no .*none\.csv"):
        LabelledText(str(folder), train="none.csv").load(folder)


def test_long_texts_and_the_mark_of_spreadsheets_are_read(folder):
    long = "word " * 40_000
    (folder / "test.csv").write_text(f"\ufefftext,label\n{long},no\n", encoding="utf-8")
    task = LabelledText(str(folder), length=8).load(folder)
    assert task.size("test") == 1


def test_one_label_alone_and_a_file_of_two_splits_are_refused(folder):
    with pytest.raises(UsageError, match=r"validation: 'train\.csv' is not allowed"):
        LabelledText(str(folder), validation="train.csv").load(folder)
    (folder / "train.csv").write_text("text,label\na,no\nb,no\n")
    with pytest.raises(UsageError, match="the training split has one label only, 'no'"):
        LabelledText(str(folder)).load(folder)
