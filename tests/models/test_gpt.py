"""The own GPT: against GPT-2 of another library, its structure, and whole experiments on it."""

import pytest
import torch

import prunebench
from prunebench.benchmark.conformance import CHECKS
from prunebench.benchmark.conformance.networks import registered_network
from prunebench.errors import UsageError
from prunebench.metrics import flops_by_module
from prunebench.models import GPT, MODELS
from prunebench.strategies import STRATEGIES, CoupledChannels, couple, prunable_weights, shrink
from prunebench.strategies.channels.shrinking import try_shrinking

SMALL = {"input_shape": (12,), "classes": 11, "width": 8, "depth": 2, "heads": 4, "hidden": 20}


def tokens(batch=3, steps=12, classes=11):
    return torch.randint(0, classes, (batch, steps), generator=torch.Generator().manual_seed(0))


@pytest.fixture
def small():
    torch.manual_seed(0)
    return GPT(**SMALL).eval()


def gpt2_of(model):
    """The library's GPT-2 with the same weights."""
    transformers = pytest.importorskip("transformers")
    vocabulary, width = model.embedding.weight.shape
    other = transformers.GPT2LMHeadModel(
        transformers.GPT2Config(
            vocab_size=vocabulary,
            n_positions=len(model.positions),
            n_embd=width,
            n_layer=len(model.blocks),
            n_head=width // model.blocks[0].attention.head_width,
            n_inner=model.blocks[0].feed_forward.up.out_features,
        )
    ).to(model.positions.dtype)
    state = {
        "transformer.wte.weight": model.embedding.weight,
        "lm_head.weight": model.output.weight,
        "transformer.wpe.weight": model.positions,
        "transformer.ln_f.weight": model.norm.weight,
        "transformer.ln_f.bias": model.norm.bias,
    }
    for number, block in enumerate(model.blocks):
        attention = block.attention
        parts = (attention.query, attention.key, attention.value)
        for name, weight, bias in (
            ("ln_1", block.attention_norm.weight, block.attention_norm.bias),
            (
                "attn.c_attn",
                torch.cat([part.weight for part in parts]).T,
                torch.cat([part.bias for part in parts]),
            ),
            ("attn.c_proj", attention.output.weight.T, attention.output.bias),
            ("ln_2", block.feed_forward_norm.weight, block.feed_forward_norm.bias),
            ("mlp.c_fc", block.feed_forward.up.weight.T, block.feed_forward.up.bias),
            ("mlp.c_proj", block.feed_forward.down.weight.T, block.feed_forward.down.bias),
        ):
            state[f"transformer.h.{number}.{name}.weight"] = weight
            state[f"transformer.h.{number}.{name}.bias"] = bias
    other.load_state_dict(state)
    return other.eval()


@pytest.mark.slow  # importing the library takes seconds
def test_it_computes_what_gpt2_does_with_the_same_weights(small):
    small = small.double()
    with torch.no_grad():
        for parameter in small.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
        expected = gpt2_of(small)(tokens()).logits
        assert (small(tokens()) - expected).abs().max() <= 1e-10


def test_a_token_is_predicted_from_itself_and_those_before_it_alone(small):
    changed = tokens()
    changed[:, 7] = (changed[:, 7] + 1) % 11
    with torch.no_grad():
        differs = (small(tokens()) != small(changed)).any(2).any(0)
    assert differs.tolist() == [False] * 7 + [True] * 5
    torch.testing.assert_close(small(tokens()[:, :5]), small(tokens())[:, :5])


@pytest.mark.parametrize("tied", [True, False])
def test_it_has_its_documented_size_and_a_matrix_less_if_tied(tied):
    model = MODELS.component(f"GPT(tied={tied})").create(input_shape=(256,), classes=256)
    count = sum(parameter.numel() for parameter in model.parameters())
    assert count == 858_880 + (0 if tied else 256 * 128)
    assert "858,880 parameters" in GPT.__doc__
    assert ("output.weight" in prunable_weights(model)) is not tied


def test_its_multiply_adds_are_those_of_its_layers_and_of_attention(small):
    steps, width, hidden = 12, 8, 20
    block = steps * (4 * width * width + 2 * width * hidden) + 2 * steps * steps * width
    expected = 2 * block + steps * width * 11
    assert sum(flops_by_module(small, tokens(1)).values()) == expected


def test_dropout_acts_in_training_only(small):
    small.train()
    assert not torch.equal(small(tokens()), small(tokens()))
    small.eval()
    assert torch.equal(small(tokens()), small(tokens()))


@pytest.mark.parametrize(
    ("model", "shape", "sentence"),
    [
        ("GPT", (1, 28, 28), r"needs sequences of tokens, .* examples .* are 1×28×28"),
        ("GPT(heads=3)", (16,), "heads: 3 is not allowed: the width, 128, must be a multiple"),
    ],
)
def test_what_does_not_fit_is_refused(model, shape, sentence):
    with pytest.raises(UsageError, match=sentence):
        MODELS.component(model).create(input_shape=shape, classes=10)


def test_heads_and_hidden_units_can_be_cut_out(small):
    coupling = couple(small, tokens(), prunable_weights(small))
    sizes = [group.stop - group.start for group in coupling.groups.values()]
    assert sizes == [4, 20] * 2
    assert try_shrinking(small, coupling, tokens()) < 1e-5
    kept = torch.ones(coupling.channels, dtype=torch.bool)
    kept[[0, 2, 4, 5, 6]] = False  # two heads of the first block, and three of its hidden units
    first, second = shrink(small, coupling, kept).blocks
    assert first.attention.query.weight.shape == (4, 8)
    assert first.attention.output.weight.shape == (8, 4)
    assert first.feed_forward.down.weight.shape == (8, 17)
    assert second.attention.query.weight.shape == (8, 8)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["SparseGPT", "StructuredL1"])
def test_strategies_keep_every_rule_on_it(name, frugal):
    coupled = {"structure": CoupledChannels()} if name == "StructuredL1" else {}
    network = registered_network("GPT(width=8, depth=1, heads=8, hidden=16)")
    for check in CHECKS:
        assert check.violations(frugal(name, **coupled), [network]) == []


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """The folder of runs that share their dense network, and a text to learn."""
    folder = tmp_path_factory.mktemp("runs")
    for split, count in (("train", 60), ("validation", 12), ("test", 12)):
        (folder / f"{split}.txt").write_text(
            "the cat sat on the mat and the dog on the log\n" * count
        )
    return folder


@pytest.mark.slow
@pytest.mark.parametrize(
    ("strategy", "settings"),
    [
        *((name, {}) for name in ("Random", "Wanda", "SparseGPT", "OBD", "Movement")),
        ("StructuredL1(structure=CoupledChannels)", {"finetuned_network": "shrunk"}),
    ],
)
def test_it_is_trained_pruned_and_measured(runs, strategy, settings):
    experiment = prunebench.Experiment(
        dataset=f"Text(folder='{runs}', length=24)",
        model="GPT(width=16, depth=2, heads=4, hidden=32, dropout=0.0)",
        strategy=strategy,
        sparsity=0.5,
        prune_only=["blocks.*"],
        pretraining={"epochs": 4, "batch_size": 4, "learning_rate": 0.01},
        finetuning={"epochs": 1, "batch_size": 8},
        measurements=["Size", "Flops"],
        **settings,
    )
    record = prunebench.run(experiment, runs=runs)
    assert record.status == "ok"
    assert record.dense["perplexity"] < 2
    assert record.final["prunable_sparsity"] == pytest.approx(0.5, abs=0.03)
    assert record.final["theoretical_speedup"] > 1.2
    assert record.final["perplexity_per_byte"] == record.final["perplexity"]
    assert 1 < record.final["perplexity"] < 8
    assert STRATEGIES.component(strategy).factory.__name__ in str(record)
