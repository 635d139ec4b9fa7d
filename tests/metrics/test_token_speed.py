"""Tokens per second: what they come to on a machine whose clock is given, and what is generated."""

import copy
import math

import pytest
import torch

import prunebench
from prunebench.datasets import Text
from prunebench.errors import UsageError
from prunebench.metrics import Subject, TokenSpeed
from prunebench.models import GPT, LeNetSmall
from prunebench.strategies import couple, prunable_weights, shrink


class TimedGenerator(torch.nn.Module):
    """A language model whose forward pass takes as long as it is told, and each token a tenth."""

    def __init__(self, machine, seconds):
        super().__init__()
        self.machine, self.seconds = machine, seconds
        self.layer = torch.nn.Linear(1, 1)

    def forward(self, tokens):
        self.machine.compute(self.seconds)
        return tokens

    def generate(self, tokens, count):
        assert tokens.shape == (2, 3)
        for _ in range(count):
            self.machine.compute(self.seconds / 10)
        return tokens[:, :1].expand(-1, count)


@pytest.fixture(scope="module")
def task(tmp_path_factory):
    folder = tmp_path_factory.mktemp("text")
    for split in ("train", "validation", "test"):
        (folder / f"{split}.txt").write_text("the cat sat on the mat\n" * 20)
    return Text(str(folder), length=12).load(folder)


def small():
    torch.manual_seed(0)
    return GPT(input_shape=(12,), classes=256, width=16, depth=2, heads=2, hidden=24).eval()


def test_tokens_per_second_are_all_tokens_of_a_pass_over_its_time(machine, task):
    dense, pruned, shrunk = (TimedGenerator(machine, seconds) for seconds in (0.2, 0.2, 0.1))
    subject = Subject(pruned, dense, task, (), shrunk=shrunk)
    metric = TokenSpeed(batch_size=2, prompt=3, tokens=5)
    measured, doubts = metric.measure_and_doubt(subject)
    assert doubts == {}
    assert measured["scoring_dense_tokens_per_second"] == pytest.approx(2 * 12 / 0.2)
    assert measured["scoring_shrunk_tokens_per_second"] == pytest.approx(2 * 12 / 0.1)
    assert measured["generation_pruned_tokens_per_second"] == pytest.approx(2 * 5 / (5 * 0.02))
    assert measured["generation_shrunk_tokens_per_second"] == pytest.approx(2 * 5 / (5 * 0.01))
    for what in ("scoring", "generation"):
        assert measured[f"{what}_control"] == pytest.approx(1)
        assert measured[f"{what}_speedup"] == pytest.approx(1)
        assert measured[f"{what}_speedup_shrunk"] == pytest.approx(2)


def test_speedups_on_a_busy_machine_are_in_doubt_and_say_why(machine, task):
    machine.others = 0.5
    dense, pruned = (TimedGenerator(machine, 0.2) for _ in range(2))
    metric = TokenSpeed(batch_size=2, prompt=3, tokens=5)
    measured, doubts = metric.measure_and_doubt(Subject(pruned, dense, task, ()))
    assert doubts == dict.fromkeys(
        ("scoring_speedup", "generation_speedup"), "other processes took 50 % of the processor"
    )
    assert math.isnan(measured["generation_speedup"])
    assert measured["scoring_dense_tokens_per_second"] > 0


def goes_on(network, prompts, count):
    """Whether each generated token is the most probable after all before it, in one pass."""
    generated = network.generate(prompts, count)
    assert generated.shape == (len(prompts), count)
    logits = network(torch.cat([prompts, generated], 1))
    return torch.equal(logits[:, prompts.shape[1] - 1 : -1].argmax(2), generated)


def test_gpt_generates_the_most_probable_tokens_shrunk_too():
    network = small()
    prompts = torch.randint(0, 256, (3, 4))
    assert goes_on(network, prompts, 8)
    assert network.generate(prompts, 20).shape == (3, 20)  # beyond its positions
    coupling = couple(network, prompts, prunable_weights(network))
    assert goes_on(shrink(network, coupling, coupling.half("test")), prompts, 8)


@pytest.mark.slow
@pytest.mark.parametrize("family", ["llama", "gpt2"])
def test_models_of_transformers_generate_the_most_probable_tokens_shrunk_too(family):
    pytest.importorskip("transformers")
    sizes = {"num_hidden_layers": 2, "hidden_size": 16, "num_attention_heads": 4}
    if family == "llama":
        sizes |= {"num_key_value_heads": 2, "intermediate_size": 24}
    made = prunebench.models.MODELS.component(f"transformers/{family}(config={sizes})")
    network = made.create(input_shape=(12,), classes=50).eval()
    prompts = torch.randint(0, 50, (3, 4))
    with torch.no_grad():
        assert goes_on(network, prompts, 8)
        coupling = couple(network, prompts, prunable_weights(network))
        assert goes_on(shrink(network, coupling, coupling.half("test")), prompts, 8)


def test_a_network_that_cannot_and_a_text_that_does_not_fit_are_refused(task):
    with pytest.raises(UsageError, match=r"TokenSpeed .* LeNetSmall has no generate\(\)"):
        TokenSpeed().check(task, LeNetSmall(input_shape=(1, 8, 8), classes=10))
    with pytest.raises(UsageError, match=r"tokens: 10 is not allowed: a block has 12 .* is 3 of"):
        TokenSpeed(prompt=3, tokens=10).check(task, small())
    TokenSpeed(prompt=3, tokens=9).check(task, small())


def test_a_record_has_them_among_its_times_and_not_in_its_result(task, tmp_path):
    for split in ("train", "validation", "test"):
        (tmp_path / f"{split}.txt").write_text("the cat sat on the mat\n" * 20)
    settings = {
        "dataset": f"Text(folder={str(tmp_path)!r}, length=12)",
        "model": "GPT(width=16, depth=1, heads=2, hidden=24)",
        "strategy": "StructuredL1(structure=CoupledChannels)",
        "channel_sparsity": 0.5,
        "recovery": "NoRecovery",
        "pretraining": {"epochs": 0},
        "measurements": ["Size"],
    }
    speed = "TokenSpeed(prompt=2, tokens=2, repeats=3, seconds=0.01)"
    made = prunebench.Experiment(**settings, metrics=[speed])
    record = prunebench.run(made, runs=tmp_path)
    assert record.finished, record.error
    for name in ("dense", "pruned", "shrunk"):
        assert record.timings[f"generation_{name}_tokens_per_second"] > 0
    assert not any("tokens_per_second" in name for name in (*record.final, *record.dense))
    plain = copy.deepcopy(record.result())
    again = prunebench.run(made, runs=tmp_path, force=True)
    assert again.result() == plain
