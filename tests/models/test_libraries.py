"""Networks of torchvision and timm by name, and weights from files."""

import copy

import pytest
import torch
import torchvision
from safetensors.torch import load_file, save_file

import prunebench
from prunebench.errors import UsageError
from prunebench.models import MODELS, LeNetSmall
from prunebench.models.initialisation import FromFile


@pytest.mark.slow
@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v3_small", "googlenet", "inception_v3"])
def test_a_network_of_torchvision_is_torchvisions_own(name):
    component = MODELS.component(f"torchvision/{name}")
    model = component.create(input_shape=(3, 96, 96), classes=7)
    assert type(model).__module__.startswith("torchvision.models")
    assert model.eval()(torch.zeros(2, 3, 96, 96)).shape == (2, 7)
    assert str(component) == f"torchvision/{name}"


@pytest.mark.slow
def test_a_network_of_timm_is_timms_own():
    timm = pytest.importorskip("timm")
    model = MODELS.component("timm/resnet10t").create(input_shape=(1, 32, 32), classes=7)
    assert model.eval()(torch.zeros(2, 1, 32, 32)).shape == (2, 7)
    reference = timm.create_model("resnet10t", num_classes=7, in_chans=1)
    assert model.state_dict().keys() == reference.state_dict().keys()


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("torchvision/resnet19", "unknown torchvision model 'resnet19': did you mean"),
        ("torchvision/resnet18(depth=3)", "depth"),
        ("torchvision/resnet18(pretrained=2)", "pretrained"),
        ("nobody/resnet18", "unknown model 'nobody/resnet18'"),
    ],
)
def test_what_a_library_does_not_have_gets_one_clear_sentence(name, sentence):
    with pytest.raises(UsageError, match=sentence):
        MODELS.component(name)


def test_an_unknown_network_of_timm_gets_one_clear_sentence():
    pytest.importorskip("timm")
    with pytest.raises(UsageError, match="unknown timm model 'resnet19x'"):
        MODELS.component("timm/resnet19x")


def test_grey_images_are_refused_by_networks_of_colour():
    with pytest.raises(UsageError, match=r"needs images of 3 channels, and those .* have 1"):
        MODELS.component("torchvision/resnet18").create(input_shape=(1, 28, 28), classes=10)


def test_pretrained_weights_are_loaded_but_for_an_output_layer_that_does_not_fit(monkeypatch):
    state = torchvision.models.resnet18(num_classes=1_000).state_dict()
    monkeypatch.setattr(
        torchvision.models.WeightsEnum, "get_state_dict", lambda self, **_: copy.copy(state)
    )
    component = MODELS.component("torchvision/resnet18(pretrained=True)")
    whole = component.create(input_shape=(3, 64, 64), classes=1_000).state_dict()
    assert all(torch.equal(whole[name], tensor) for name, tensor in state.items())
    part = component.create(input_shape=(3, 64, 64), classes=5).state_dict()
    for name, tensor in state.items():
        if name.startswith("fc."):
            assert len(part[name]) == 5
        else:
            assert torch.equal(part[name], tensor)


def test_weights_that_cannot_be_downloaded_get_one_clear_sentence(monkeypatch):
    def download(self, **_):
        raise OSError("no route")

    monkeypatch.setattr(torchvision.models.WeightsEnum, "get_state_dict", download)
    with pytest.raises(UsageError, match=r"pretrained weights could not be downloaded \(no route"):
        MODELS.component("torchvision/resnet18(pretrained=True)").create()


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["safetensors", "pt", "nested"])
def test_a_network_is_pruned_as_it_comes_from_a_file(experiment, tmp_path, kind):
    trained = prunebench.run(experiment(), runs=tmp_path)
    pretrained = next((tmp_path / "pretrained").glob("*.safetensors"))
    state = load_file(pretrained)
    path = tmp_path / ("mine.safetensors" if kind == "safetensors" else "mine.pt")
    if kind == "safetensors":
        save_file(state, path)
    else:
        torch.save({"state_dict": state} if kind == "nested" else state, path)
    settings = {"recovery": "NoRecovery", "pretraining": {"epochs": 0}}
    made = experiment(initialisation=f"FromFile(path='{path}')", **settings)
    record = prunebench.run(made, runs=tmp_path)
    for name in ("top1", "loss"):
        assert record.dense[name] == trained.dense[name]
    assert record.final["top1"] == trained.rounds[0].before["top1"]
    moved = tmp_path / f"elsewhere{path.suffix}"
    before = made.id
    path.rename(moved)
    same = experiment(initialisation=f"FromFile(path='{moved}')", **settings)
    assert same.id == before
    torch.save({name: tensor + 1 for name, tensor in state.items()}, tmp_path / "other.pt")
    other = experiment(initialisation=f"FromFile(path='{tmp_path / 'other.pt'}')", **settings)
    assert other.id != before


def test_weights_that_do_not_fit_get_one_clear_sentence(tmp_path):
    state = LeNetSmall().state_dict()
    changed = {"more": torch.zeros(1), "linear2.bias": torch.zeros(3), **state}
    changed["linear2.bias"] = torch.zeros(3)
    del changed["conv1.bias"]
    cases = {
        "does not have the weights of LeNetSmall: it lacks conv1.bias; it has beside them more; "
        r"it has linear2\.bias \(3,\) instead of \(10,\)": changed,
        "holds no state dict": [1, 2],
    }
    for sentence, content in cases.items():
        torch.save(content, tmp_path / "x.pt")
        with pytest.raises(UsageError, match=sentence):
            FromFile(path=str(tmp_path / "x.pt"))(LeNetSmall())


@pytest.mark.parametrize("recovery", ["Reinitialise", "LastRound", "LastRound(last=Rewind())"])
def test_weights_of_a_file_cannot_be_drawn_anew(experiment, tmp_path, recovery):
    torch.save(LeNetSmall().state_dict(), tmp_path / "x.pt")
    settings = {"initialisation": f"FromFile(path='{tmp_path / 'x.pt'}')", "recovery": recovery}
    if recovery == "LastRound(last=Rewind())":
        assert experiment(**settings).id
    else:
        with pytest.raises(UsageError, match=r"recovery: .* initialisation FromFile\(.* not drawn"):
            experiment(**settings)


def test_pretrained_weights_cannot_be_drawn_anew_unless_an_initialisation_does(experiment):
    settings = {
        "model": "torchvision/resnet18(pretrained=True)",
        "recovery": "Reinitialise",
        "dataset": "ImageNet",
    }
    with pytest.raises(UsageError, match=r"the model torchvision/resnet18\(.* not drawn"):
        experiment(**settings)
    assert experiment(**settings, initialisation="KaimingNormal").id


@pytest.mark.parametrize("name", ["x.pt", "x.safetensors"])
def test_a_file_that_holds_no_weights_is_named(tmp_path, name):
    weights = FromFile(path=str(tmp_path / name))
    with pytest.raises(UsageError, match=rf"{name} cannot be read \(No such file"):
        weights(LeNetSmall())
    (tmp_path / name).write_bytes(b"nothing of the kind")
    with pytest.raises(UsageError, match=rf"{name} holds no weights that can be read"):
        weights(LeNetSmall())


@pytest.mark.slow
@pytest.mark.parametrize("pretrained", [False, True])
def test_pretrained_googlenet_has_the_inputs_that_its_weights_were_trained_on(
    monkeypatch, pretrained
):
    monkeypatch.setattr(torchvision.models.WeightsEnum, "get_state_dict", lambda *_, **__: {})
    component = MODELS.component(f"torchvision/googlenet(pretrained={pretrained})")
    model = component.create(input_shape=(3, 96, 96), classes=7)
    assert model.transform_input is pretrained


def test_a_tag_that_there_is_not_gets_one_clear_sentence():
    pytest.importorskip("timm")
    component = MODELS.component("timm/resnet10t.nope(pretrained=True)")
    with pytest.raises(UsageError, match=r"^model timm/resnet10t\.nope cannot be made: "):
        component.create(input_shape=(3, 32, 32), classes=7)
