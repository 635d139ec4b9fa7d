"""Classifiers of texts: filling counts for nothing, and methods prune them as they learn."""

import random
import re

import pytest
import torch

from prunebench.benchmark.command_line import main
from prunebench.errors import UsageError
from prunebench.models import MODELS
from prunebench.results import Store

transformers = pytest.importorskip("transformers")
pytestmark = pytest.mark.slow  # importing the library takes seconds

SIZES = "'num_hidden_layers': 2, 'hidden_size': 32, 'num_attention_heads': 2"
BERT = (
    f"transformers/bert(config={{{SIZES}, 'intermediate_size': 48, 'vocab_size': 257}}, "
    "head='classification')"
)


def made(model=BERT, length=12):
    torch.manual_seed(0)
    return MODELS.component(model).create(input_shape=(length,), classes=3).eval()


def test_it_gives_the_librarys_logits_of_texts_whose_filling_counts_for_nothing():
    network = made()
    assert isinstance(network.network, transformers.BertForSequenceClassification)
    tokens = torch.randint(1, 257, (4, 8))
    filled = torch.cat([tokens, torch.zeros(4, 4, dtype=torch.long)], 1)
    expected = network.network(input_ids=tokens).logits
    assert expected.shape == (4, 3)
    torch.testing.assert_close(network(filled), expected)


@pytest.mark.parametrize("family", ["gpt2", "llama"])
def test_decoders_classify_by_the_last_token_that_is_none_of_the_filling(family):
    model = f"transformers/{family}(config={{{SIZES}}}, head='classification')"
    network = made(model.replace("32", "16"))
    tokens = torch.randint(1, 257, (4, 8))
    filled = torch.cat([tokens, torch.zeros(4, 4, dtype=torch.long)], 1)
    torch.testing.assert_close(network(filled), network(tokens))


@pytest.mark.parametrize("family", ["roberta", "xlm-roberta"])
@pytest.mark.parametrize("padding", [0, 1])
def test_a_family_that_counts_positions_from_its_padding_has_room_for_all_tokens(family, padding):
    """RoBERTa's first token has position 1 + its padding; texts of full length had no room."""
    config = f"{SIZES}, 'intermediate_size': 48, 'vocab_size': 257, 'pad_token_id': {padding}"
    network = made(f"transformers/{family}(config={{{config}}}, head='classification')")
    tokens = torch.randint(2, 257, (4, 12))
    assert network(tokens).shape == (4, 3)
    assert network.network.config.max_position_embeddings == 12 + 1 + padding


def test_positions_that_are_never_used_do_not_count_where_one_asks_for_some():
    config = f"{SIZES}, 'vocab_size': 257, 'max_position_embeddings': 12"
    with pytest.raises(UsageError, match=r"roberta has 11 positions, and blocks of this data set"):
        made(f"transformers/roberta(config={{{config}}}, head='classification')")


def test_a_filling_that_is_not_that_of_the_data_set_is_refused(texts, capsys):
    model = BERT.replace("'vocab_size'", "'pad_token_id': 3, 'vocab_size'")
    arguments = ["run", "bert-classification", "--dataset", texts, "--model", model, "--dry-run"]
    assert main([*arguments, "--sparsity", "0.5", "--seed", "0"]) == 2
    said = capsys.readouterr().err
    assert "leaves out token 3 as what fills texts up" in said
    assert "give it config={'pad_token_id': 0}" in said


def test_a_vocabulary_that_is_too_small_is_said_in_one_sentence():
    with pytest.raises(UsageError, match=r"^model transformers/bert has fewer tokens than the voc"):
        made()(torch.full((1, 12), 300))


def test_a_family_without_such_a_head_is_refused_in_one_sentence():
    with pytest.raises(UsageError, match=r"^model transformers/distilbert cannot be read"):
        MODELS.component("transformers/distilbert").create(input_shape=(12,), classes=9)


@pytest.fixture
def texts(tmp_path):
    """Two classes of texts, which differ in their letters."""
    lots = random.Random(0)
    for split, count in (("train", 240), ("validation", 40), ("test", 40)):
        lines = ["text,label"]
        for number in range(count):
            letters, label = (("abcde", "early"), ("vwxyz", "late"))[number % 2]
            lines.append("".join(lots.choices(letters, k=lots.randint(4, 12))) + f",{label}")
        (tmp_path / f"{split}.csv").write_text("\n".join(lines) + "\n")
    return f"LabelledText(folder={str(tmp_path)!r}, length=12)"


def test_the_experiment_that_comes_along_runs_on_a_small_network(texts, tmp_path, capsys):
    runs = tmp_path / "runs"
    arguments = ["run", "bert-classification", "--dataset", texts, "--model", BERT]
    arguments += ["--sparsity", "0.5", "--seed", "0", "--runs", str(runs)]
    for recipe in ("pretraining", "finetuning"):
        arguments += [f"--{recipe}.learning-rate", "3e-3", f"--{recipe}.batch-size", "16"]
    assert main([*arguments, "--measurements", "Size"]) == 0, capsys.readouterr().err
    records = {record.experiment["strategy"]: record for record in Store(runs).records()}
    assert set(records) == {"GlobalMagnitude", "Wanda", "Movement"}
    for name, record in records.items():
        assert record.status == "ok", (name, record.error)
        assert record.dense["top1"] > 0.9
        assert record.final["top1"] > 0.9, name
        assert record.by_class.keys() == {"early", "late"}
        pruned = [each for each in record.layers if each.nonzero < each.parameters - 100]
        assert pruned
        assert all(re.match(r"network\.bert\.encoder\.", each.name) for each in pruned)
