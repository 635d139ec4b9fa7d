"""Language models of transformers: built from configurations, pruned like any other, shrunk."""

import copy
import re

import pytest
import torch
from contexts import context_of
from torch import nn

import prunebench
from prunebench.benchmark.conformance import CHECKS
from prunebench.benchmark.conformance.networks import registered_network
from prunebench.datasets import Text
from prunebench.errors import UsageError
from prunebench.metrics import work_by_weight
from prunebench.models import MODELS, CausalLanguageModel
from prunebench.strategies import (
    NM,
    CoupledChannels,
    couple,
    output_weights,
    prunable_weights,
    shrink,
)
from prunebench.strategies.channels.shrinking import try_shrinking

transformers = pytest.importorskip("transformers")
pytestmark = pytest.mark.slow  # importing the library takes seconds

GPT2 = "transformers/gpt2(config={'n_layer': 2, 'n_embd': 16, 'n_head': 4, 'n_inner': 24})"
SIZES = "'num_hidden_layers': 2, 'hidden_size': 16, 'num_attention_heads': 4"
LLAMA = f"transformers/llama(config={{{SIZES}, 'num_key_value_heads': 2, 'intermediate_size': 24}})"
OPT = f"transformers/opt(config={{{SIZES}, 'word_embed_proj_dim': 16, 'ffn_dim': 24}})"
LAYERS = {
    GPT2: "network.transformer.h.*",
    LLAMA: "network.model.layers.*",
    OPT: "network.model.decoder.layers.*",
}
PROSE = "the cat sat on the mat and the dog on the log\n"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("text")
    for split, count in (("train", 60), ("validation", 12), ("test", 12)):
        (folder / f"{split}.txt").write_text(PROSE * count)
    return folder


@pytest.fixture(scope="module")
def task(folder):
    return Text(str(folder), length=12).load(folder)


def made(model, **settings):
    torch.manual_seed(0)
    given = {"input_shape": (12,), "classes": 256, **settings}
    return MODELS.component(model).create(**given).eval()


def tokens(batch=3, classes=11):
    return torch.randint(0, classes, (batch, 12), generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("model", LAYERS)
def test_it_gives_the_librarys_logits_and_fits_the_task(model):
    network = made(model, classes=11)
    assert isinstance(network, CausalLanguageModel)
    assert type(network.network).__module__.startswith("transformers.models.")
    assert network(tokens()).shape == (3, 12, 11)
    assert torch.equal(network(tokens()), network.network(tokens()).logits)
    assert network.network.config.max_position_embeddings == 12


@pytest.mark.parametrize("model", LAYERS)
def test_heads_with_their_keys_and_hidden_units_can_be_cut_out(model):
    network = made(model, classes=11)
    coupling = couple(network, tokens(), prunable_weights(network))
    heads = 2 if model == LLAMA else 4  # two share keys and values
    sizes = [group.stop - group.start for group in coupling.groups.values()]
    assert sorted(sizes) == [heads, heads, 24, 24]
    assert try_shrinking(network, coupling, tokens()) < 1e-5
    kept = coupling.half("test")
    small = shrink(network, coupling, kept)
    left = sum(int(each.numel()) for each in small.parameters())
    masks = coupling.masks(network, kept)
    gone = sum(int((~mask).sum()) for mask in masks.values())
    assert left == sum(int(each.numel()) for each in network.parameters()) - gone
    assert small(tokens()).shape == (3, 12, 11)


def test_attention_whose_output_layer_has_another_name_can_lose_heads():
    network = made(f"transformers/phi(config={{{SIZES}, 'intermediate_size': 24}})", classes=11)
    coupling = couple(network, tokens(), prunable_weights(network))
    sizes = [group.stop - group.start for group in coupling.groups.values()]
    assert sorted(sizes) == [4, 4, 24, 24]
    assert try_shrinking(network, coupling, tokens()) < 1e-5


def with_linear_layers(network):
    plain = copy.deepcopy(network)
    for name, module in list(plain.named_modules()):
        if type(module).__name__ == "Conv1D":
            layer = nn.Linear(*module.weight.shape).to(module.weight.dtype)
            layer.weight.data.copy_(module.weight.T)
            layer.bias.data.copy_(module.bias)
            plain.set_submodule(name, layer)
    return plain


@pytest.fixture(scope="module")
def pair(task):
    """GPT-2 as the library has it, and with linear layers."""
    stored = made(GPT2).double()
    with torch.no_grad():
        for parameter in stored.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    return stored, with_linear_layers(stored)


def turned(tensors, network):
    stored = {
        f"{name}.weight"
        for name, module in network.named_modules()
        if type(module).__name__ == "Conv1D"
    }
    return {name: each.T if name in stored else each for name, each in tensors.items()}


@pytest.mark.parametrize(
    ("strategy", "settings"),
    [
        *(
            (name, {})
            for name in ("GlobalMagnitude", "Wanda", "SparseGPT", "SNIP", "OBD", "Fisher")
        ),
        *((name, {}) for name in ("LayerActivationMagnitude", "StructuredL1", "ChannelTaylor")),
        ("FPGM", {}),
        ("Wanda", {"structure": NM()}),
        ("SparseGPT", {"structure": NM()}),
        ("StructuredL1", {"structure": CoupledChannels()}),
    ],
)
def test_layers_of_gpt2_are_pruned_as_if_they_were_plain_linear_ones(
    pair, task, frugal, strategy, settings
):
    chosen = frugal(strategy, **settings)
    pruned = []
    for network in map(copy.deepcopy, pair):
        names = [name for name in prunable_weights(network) if ".h." in name]
        masks = {n: torch.ones_like(network.get_parameter(n), dtype=torch.bool) for n in names}
        assert chosen.scorable(network, names) == names
        budget = sum(mask.numel() for mask in masks.values()) // 2
        found = chosen.prune(context_of(network, task, masks=masks), budget).masks
        pruned.append((dict(found), {name: network.get_parameter(name) for name in names}))
    (masks, weights), (others, plain) = pruned
    masks, weights = turned(masks, pair[0]), turned(weights, pair[0])
    assert not all(mask.all() for mask in masks.values())
    for name, other in others.items():
        assert torch.equal(masks[name], other)
    for name, other in plain.items():
        torch.testing.assert_close(weights[name], other)


def test_layers_of_gpt2_cost_what_plain_linear_ones_do(pair):
    stored, plain = (
        [(each.factor.weight, each.flops) for each in work_by_weight(network, tokens(1))]
        for network in pair
    )
    assert sorted(stored, key=str) == sorted(plain, key=str)


@pytest.mark.parametrize(
    ("model", "output"),
    [
        (GPT2, "network.transformer.wte.weight"),
        (LLAMA, "network.lm_head.weight"),
        (OPT, "network.model.decoder.embed_tokens.weight"),
    ],
)
def test_the_output_layer_is_found_where_it_is_the_embedding_too(model, output):
    network = made(model, classes=11)
    assert output_weights(network, tokens()) == (output,)
    assert prunable_weights(network).count(output) == 1


def test_channels_keep_every_rule_where_heads_share_keys(frugal):
    sizes = "'num_hidden_layers': 1, 'hidden_size': 16, 'intermediate_size': 24, 'head_dim': 2"
    heads = "'num_attention_heads': 16, 'num_key_value_heads': 8"
    network = registered_network(f"transformers/llama(config={{{sizes}, {heads}}})")
    for check in CHECKS:
        assert (
            check.violations(frugal("StructuredL1", structure=CoupledChannels()), [network]) == []
        )


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    return tmp_path_factory.mktemp("runs")


@pytest.mark.parametrize("model", LAYERS)
def test_small_ones_are_trained_pruned_and_measured(folder, runs, model):
    for strategy in ("GlobalMagnitude", "Wanda", "SparseGPT"):
        experiment = prunebench.Experiment(
            dataset=f"Text(folder='{folder}', length=24)",
            model=model,
            strategy=strategy,
            sparsity=0.5,
            recovery="NoRecovery",
            prune_only=[LAYERS[model]],
            pretraining={"epochs": 4, "batch_size": 4, "learning_rate": 0.01},
            measurements=["Size", "Flops"],
        )
        record = prunebench.run(experiment, runs=runs)
        assert record.status == "ok"
        assert record.dense["perplexity"] < 3
        assert record.final["prunable_sparsity"] == pytest.approx(0.5, abs=0.01)
        assert record.dense["perplexity"] < record.final["perplexity"] < 6


def test_a_text_is_read_in_the_tokens_of_a_model(folder, tmp_path):
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    learned = Tokenizer(models.BPE())
    learned.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    learned.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=270, special_tokens=["<end>"], initial_alphabet=alphabet
    )
    learned.train_from_iterator([PROSE * 60], trainer)
    tokenizer = transformers.PreTrainedTokenizerFast(tokenizer_object=learned, eos_token="<end>")
    tokenizer.save_pretrained(tmp_path)
    task = Text(str(folder), length=12, vocabulary=f"transformers/{tmp_path}").load(folder)
    assert task.classes == 270
    batches = list(task.batches("test", 4))
    assert batches[0][0][0, 0] == tokenizer.eos_token_id
    labels = torch.cat([labels[labels != task.padding] for _, labels in batches])
    assert tokenizer.decode(labels) == PROSE * 12
    assert task.bytes("test") == len(PROSE) * 12
    with pytest.raises(UsageError, match=r"vocabulary: transformers/.* cannot be read or down"):
        Text(str(folder), vocabulary=f"transformers/{tmp_path / 'none'}").load(folder)


def test_a_folder_is_read_from_safetensors_alone_and_counts_by_what_is_in_it(tmp_path):
    drawn = made(GPT2, classes=11)
    folder, moved = tmp_path / "one", tmp_path / "two"
    drawn.network.save_pretrained(folder)
    component = MODELS.component(f"transformers/{folder}(pretrained=True)")
    read = component.create(input_shape=(12,), classes=11).eval()
    assert torch.equal(read(tokens()), drawn(tokens()))
    identity = component.identity
    folder.rename(moved)
    same = MODELS.component(f"transformers/{moved}(pretrained=True)")
    assert same.identity == identity
    assert str(tmp_path) not in identity
    fresh = MODELS.component(f"transformers/{moved}").create(input_shape=(12,), classes=11)
    assert not torch.equal(fresh.eval()(tokens()), drawn(tokens()))
    torch.save(drawn.network.state_dict(), moved / "pytorch_model.bin")
    (moved / "model.safetensors").unlink()
    assert MODELS.component(str(same)).identity != identity
    with pytest.raises(UsageError, match=r"two cannot be read or downloaded: .*model\.safetensors"):
        same.create(input_shape=(12,), classes=11)


@pytest.mark.parametrize(
    ("model", "settings", "sentence"),
    [
        ("transformers/gpt3", {}, "unknown transformers model 'gpt3': give a model of the hub"),
        ("transformers/vit", {}, "unknown transformers model 'vit'"),
        ("transformers/gpt2(config={'layers': 2})", {}, "config: 'layers' is not allowed: "),
        (GPT2, {"input_shape": (1, 8, 8)}, "gpt2 needs sequences of tokens, as Text has"),
        (
            "transformers/gpt2(config={'n_positions': 8, 'n_layer': 1, 'n_embd': 8, 'n_head': 1})",
            {},
            "gpt2 has 8 positions, and blocks of this data set have 12",
        ),
        (
            "transformers/gpt2(config={'vocab_size': 8, 'n_layer': 1, 'n_embd': 8, 'n_head': 1})",
            {},
            "gpt2 has 8 tokens, and the vocabulary of this data set has 256",
        ),
    ],
)
def test_what_does_not_fit_gets_one_clear_sentence(model, settings, sentence):
    with pytest.raises(UsageError, match=sentence) as caught:
        made(model, **settings)
    assert "\n" not in str(caught.value)


def test_a_model_of_the_hub_that_cannot_be_downloaded_gets_one_clear_sentence(monkeypatch):
    def unreachable(name, **_):
        raise OSError("We couldn't connect to the hub to load the files.\nCheck your connection.")

    monkeypatch.setattr(transformers.AutoConfig, "from_pretrained", unreachable)
    sentence = re.escape("somebody/net cannot be read or downloaded: We couldn't connect to the")
    with pytest.raises(UsageError, match=sentence):
        made("transformers/somebody/net(pretrained=True)")


def test_a_misspelt_model_is_no_model_of_the_hub():
    with pytest.raises(UsageError, match="unknown model 'lenet6': did you mean 'LeNet5'"):
        MODELS.component("lenet6")
