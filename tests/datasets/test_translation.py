"""Translation: what becomes of two text files on the way to a batch, and of bad ones."""

import gzip
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from prunebench.datasets import DATASETS, Multi30k, ParallelText, Translation
from prunebench.datasets.subwords import BEGIN, END, PADDING, Subwords
from prunebench.errors import UsageError


def text_of(folder, **files):
    for name, content in files.items():
        (folder / name.replace("_", ".")).write_text(content)
    return folder


def load(folder, **settings):
    return ParallelText(str(folder), **{"source": "xx", "target": "yy", **settings}).load(Path())


def test_the_tokens_of_a_sentence_give_the_sentence_back(reversal, corpus):
    sentences = (corpus / "train.yy").read_text().splitlines()
    subwords = Subwords.learned(sentences, 40, corpus / "vocabularies")
    for sentence, tokens in zip(sentences, subwords.tokens(sentences), strict=True):
        assert subwords.text(tokens) == sentence


def test_a_vocabulary_has_the_size_that_was_asked_for_and_is_learned_once(corpus):
    sentences = (corpus / "train.yy").read_text().splitlines()
    cache = corpus / "once"
    first = Subwords.learned(sentences, 40, cache)
    (model,) = cache.glob("*.model")
    before = model.stat().st_mtime_ns
    again = Subwords.learned(sentences, 40, cache)
    assert len(first) == len(again) == 40
    assert model.stat().st_mtime_ns == before
    assert first.tokens(sentences) == again.tokens(sentences)


@pytest.mark.parametrize(
    "damage",
    [lambda content: content[:50], lambda content: content.replace(b"e", b"f"), lambda _: b""],
)
def test_a_damaged_vocabulary_is_named_and_learned_again(corpus, tmp_path, capsys, damage):
    sentences = (corpus / "train.yy").read_text().splitlines()
    expected = Subwords.learned(sentences, 40, tmp_path).tokens(sentences)
    (model,) = tmp_path.glob("*.model")
    model.write_bytes(damage(model.read_bytes()))
    assert Subwords.learned(sentences, 40, tmp_path).tokens(sentences) == expected
    assert f"{model} is damaged" in capsys.readouterr().err


def test_a_folder_that_cannot_be_written_is_no_obstacle(corpus):
    (corpus / "file").touch()
    sentences = (corpus / "train.yy").read_text().splitlines()
    assert len(Subwords.learned(sentences, 40, corpus / "file" / "below")) == 40


def test_an_input_is_source_and_target_and_the_labels_are_the_target_one_step_later(reversal):
    (inputs, labels), *_ = reversal.batches("validation", 5)
    for (source, target), label in zip(inputs, labels, strict=True):
        length = int((label != PADDING).sum())
        assert target[0] == BEGIN
        assert label[length - 1] == END
        assert torch.equal(target[1:length], label[: length - 1])
        assert (target[length:] == PADDING).all()
        assert source[int((source != PADDING).sum()) - 1] == END
        written = reversal.text(label[: length - 1].tolist())
        assert written in reversal.references("validation")


@pytest.mark.parametrize("seed", [None, 0, 1])
def test_a_pass_meets_every_pair_once_in_as_many_batches_as_are_told(reversal, seed):
    generator = None if seed is None else torch.Generator().manual_seed(seed)
    batches = list(reversal.batches("train", 32, generator))
    assert len(batches) == reversal.steps(32)
    seen = sorted(tuple(row[row != PADDING].tolist()) for _, labels in batches for row in labels)
    expected = sorted(
        tuple(row[row != PADDING].tolist())
        for _, labels in reversal.batches("train", 1_000_000)
        for row in labels
    )
    assert seen == expected
    assert len(seen) == reversal.size("train") == 800


def test_batches_hold_pairs_of_like_length_and_about_equally_many_tokens(reversal):
    generator = torch.Generator().manual_seed(0)
    batches = list(reversal.batches("train", 32, generator))
    tokens = [reversal.examples(batch) for batch in batches]
    assert sum(tokens) == sum(
        reversal.examples(batch) for batch in reversal.batches("train", 1_000_000)
    )
    filled = [labels.numel() for _, labels in batches]
    assert max(filled) <= 32 * sum(tokens) / 800 + 1
    assert sum(tokens) / sum(filled) > 0.95
    lengths = [int((labels != PADDING).sum(1).max()) for _, labels in batches]
    assert lengths != sorted(lengths)  # they come in random order


def test_the_order_depends_on_the_generator_alone(reversal):
    one, same, other = (
        [b.tolist() for b, _ in reversal.batches("train", 32, torch.Generator().manual_seed(seed))]
        for seed in (3, 3, 4)
    )
    assert one == same != other


class _Uniform(nn.Module):
    """Every token is as likely as every other."""

    def __init__(self, classes):
        super().__init__()
        self.logits = nn.Parameter(torch.zeros(classes))

    def forward(self, pairs):
        steps = int((pairs[:, 1] != PADDING).sum(1).max())
        return self.logits.expand(len(pairs), steps, -1)


def test_the_loss_is_the_mean_over_tokens_and_knows_no_padding(reversal):
    torch.manual_seed(0)
    model = _Uniform(reversal.classes)
    nn.init.normal_(model.logits)
    batch = next(iter(reversal.batches("train", 800)))
    labels = batch[1][batch[1] != PADDING]
    expected = -F.log_softmax(model.logits, 0)[labels]
    assert reversal.examples(batch) == len(labels)
    assert reversal.loss(model, batch).item() == pytest.approx(expected.mean().item(), rel=1e-5)
    smoothed = 0.8 * expected.mean() - 0.2 * F.log_softmax(model.logits, 0).mean()
    found = reversal.smoothed_loss(model, batch, 0.2)
    assert found.item() == pytest.approx(smoothed.item(), rel=1e-5)


def test_sampled_targets_are_drawn_from_the_model_for_real_tokens_alone(reversal):
    model = _Uniform(reversal.classes)
    with torch.no_grad():
        model.logits[7] = 50.0  # nothing but this one is ever drawn
    batch = next(iter(reversal.batches("train", 64)))
    loss = reversal.sampled_loss(model, batch, torch.Generator().manual_seed(0))
    assert loss.item() == pytest.approx(0.0, abs=1e-6)


def test_sources_name_their_places_in_the_split(reversal, corpus):
    sentences = (corpus / "test.xx").read_text().splitlines()
    places = []
    for numbers, tokens in reversal.sources("test", 16):
        places += numbers
        for number, row in zip(numbers, tokens, strict=True):
            row = row[row != PADDING]
            assert row[-1] == END
            assert reversal.text(row[:-1].tolist()) == sentences[number]
    assert sorted(places) == list(range(60))


def test_compressed_files_are_read_too(corpus, tmp_path, reversal):
    for file in corpus.glob("*.??"):
        (tmp_path / f"{file.name}.gz").write_bytes(gzip.compress(file.read_bytes()))
    task = load(tmp_path, vocabulary=50, shared=True)
    assert torch.equal(task.inputs(8), reversal.inputs(8))


def test_each_language_has_its_own_vocabulary_unless_it_is_to_be_shared(corpus, reversal):
    own, sentences = load(corpus, vocabulary=30), reversal.references("test")
    assert own.classes == 30
    for inputs, labels in own.batches("test", 60):
        for source, label in zip(inputs[:, 0], labels, strict=True):
            assert own.text(label[label > 3].tolist()) in sentences
            if len(source[source > 3]) > 1:
                assert own.text(source[source > 3].tolist()) not in sentences


def test_long_pairs_are_left_out_of_the_training_split_alone(corpus, reversal):
    task = load(corpus, vocabulary=30, longest=6)
    assert 0 < task.size("train") < 800
    assert task.size("test") == 60
    assert max(labels.shape[1] for _, labels in task.batches("train", 32)) <= 6


def test_the_parts_of_a_batch_have_the_loss_of_the_whole(reversal):
    """A model may leave out steps that are padding in a part, as ours does."""
    model = _Uniform(reversal.classes)
    nn.init.normal_(model.logits)
    inputs, labels = next(iter(reversal.batches("train", 800)))
    order = (labels != PADDING).sum(1).argsort()
    halves = [(inputs[part], labels[part]) for part in order.chunk(2)]
    assert len({int((half[1] != PADDING).sum(1).max()) for half in halves}) == 2
    sums = [reversal.loss(model, half) * reversal.examples(half) for half in halves]
    whole = inputs, labels
    expected = reversal.loss(model, whole) * reversal.examples(whole)
    assert sum(sums).item() == pytest.approx(expected.item(), rel=1e-5)
    for half in halves:
        assert reversal.sampled_loss(model, half, torch.Generator()).isfinite()


GOOD = {
    f"{split}_{side}": "a b\nb c\n" for split in ("train", "val", "test") for side in ("xx", "yy")
}


@pytest.mark.parametrize(
    ("files", "settings", "sentence"),
    [
        ({"val_yy": "a b\n"}, {}, r"val\.xx has 2 lines and .*val\.yy has 1"),
        ({"test_xx": "a b\n \n"}, {}, r"test\.xx: line 2 is empty"),
        ({"train_xx": ""}, {}, r"train\.xx: line 1 is empty"),
        ({}, {"test": "none"}, r"there is no .*none\.xx, and no such file that ends with \.gz"),
        ({}, {"longest": 2}, r"longest: 2 is not allowed: all pairs of the training split have"),
        ({}, {"validation": "train"}, r"validation: 'train' is not allowed: it is the train split"),
        ({}, {"source": "yy"}, r"target: 'yy' is not allowed: it is the source too"),
        ({}, {"vocabulary": 6}, r"vocabulary: 6 is not allowed .* 4 .* at least 8 "),
        ({}, {"vocabulary": 5_000}, r"vocabulary: 5000 is not allowed .* and at most \d+ are"),
        ({"test_yy": "äöü ßéè\nñç\n"}, {}, r"\d+% of the tokens of the sentences \(test, target\)"),
    ],
)
def test_bad_text_gets_one_clear_sentence(tmp_path, files, settings, sentence):
    folder = text_of(tmp_path, **{**GOOD, **files})
    with pytest.raises(UsageError, match=sentence) as caught:
        load(folder, **{"vocabulary": 9, **settings})
    assert "\n" not in str(caught.value)


def test_the_least_vocabulary_that_a_sentence_names_is_allowed(tmp_path):
    folder = text_of(tmp_path, **GOOD)
    assert load(folder, vocabulary=8).classes == 8
    with pytest.raises(UsageError, match="at least 8"):
        load(folder, vocabulary=7)


def test_bytes_that_are_no_text_get_one_clear_sentence(tmp_path):
    folder = text_of(tmp_path, **GOOD)
    (folder / "val.yy").write_bytes(b"a b\n\xff\n")
    with pytest.raises(UsageError, match=r"val\.yy cannot be read as UTF-8 text"):
        load(folder, vocabulary=9)


@pytest.mark.parametrize(
    ("setting", "sentence"),
    [
        ("Multi30k(source='pt')", "source: 'pt' is not allowed: give cs, de, en, fr"),
        ("Multi30k(target='de')", "target: 'de' is not allowed: it is the source too"),
        ("Multi30k(test='train')", "test: 'train' is not allowed: give test_2016_flickr"),
    ],
)
def test_multi30k_knows_its_languages_and_splits(setting, sentence):
    with pytest.raises(UsageError, match=sentence):
        DATASETS.component(setting).create()


def test_multi30k_is_downloaded_where_it_is_missing(tmp_path, corpus, monkeypatch):
    asked = []

    def download(url, folder, name):
        asked.append(url)
        side = "xx" if ".de." in url else "yy"
        split = url.rpartition("/")[2].partition(".")[0].replace("test_2016_flickr", "test")
        content = gzip.compress((corpus / f"{split}.{side}").read_bytes())
        (Path(folder) / name).write_bytes(content)

    monkeypatch.setattr("torchvision.datasets.utils.download_url", download)
    task = Multi30k(vocabulary=30).load(tmp_path)
    assert isinstance(task, Translation)
    assert task.size("train") == 800
    assert len(asked) == 6
    assert all(url.startswith(f"{Multi30k.url}/") and url.endswith(".gz") for url in asked)
    Multi30k(vocabulary=30).load(tmp_path)
    assert len(asked) == 6


def test_multi30k_without_a_network_says_what_to_do_and_leaves_no_half_of_a_file(
    tmp_path, monkeypatch
):
    def download(url, folder, name):
        (Path(folder) / name).write_bytes(b"half of it")
        raise OSError("no route")

    monkeypatch.setattr("torchvision.datasets.utils.download_url", download)
    with pytest.raises(UsageError, match=r"train\.de\.gz is not in .* \(no route\): connect to"):
        Multi30k().load(tmp_path)
    assert not [path for path in tmp_path.rglob("*") if path.is_file() and path.stat().st_size]


@pytest.mark.slow
@pytest.mark.parametrize("pair", [("de", "en"), pytest.param(("en", "fr"), marks=pytest.mark.slow)])
def test_the_real_multi30k(real_data, pair):
    task = Multi30k(source=pair[0], target=pair[1]).load(real_data)
    assert [task.size(split) for split in ("train", "validation", "test")] == [29_000, 1_014, 1_000]
    assert task.classes == 4_000
    unknown = sum(int((batch[0] == 1).sum()) for batch in task.batches("test", 100))
    assert unknown < 30
