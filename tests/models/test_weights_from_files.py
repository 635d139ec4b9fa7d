"""FromFile on weights, and on every other file that somebody might name."""

import pickle
import zipfile

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from prunebench import UsageError
from prunebench.models import INITIALISATIONS


class Harmful:
    """A pickle of it writes a file as soon as it is read."""

    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return open, (str(self.marker), "w")


def load(path, model=None):
    model = model or nn.Linear(3, 2)
    INITIALISATIONS.component(f"FromFile(path={str(path)!r})").create()(model)
    return model


@pytest.mark.parametrize("suffix", ["safetensors", "pt", "pth"])
@pytest.mark.parametrize("key", [None, "state_dict", "model_state_dict", "model"])
def test_a_state_dict_is_loaded_bit_by_bit(tmp_path, suffix, key):
    path, network = tmp_path / f"weights.{suffix}", nn.Linear(3, 2)
    if suffix == "safetensors":
        save_file(network.state_dict(), path)
    else:
        torch.save({key: network.state_dict()} if key else network.state_dict(), path)
    assert torch.equal(load(path).weight, network.weight)


@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.", "module._orig_mod."])
def test_what_wrappers_put_before_all_names_is_left_out(tmp_path, prefix):
    path, network = tmp_path / "weights.pt", nn.Linear(3, 2)
    torch.save({f"{prefix}{name}": each for name, each in network.state_dict().items()}, path)
    assert torch.equal(load(path).weight, network.weight)


def test_a_network_with_a_layer_called_module_keeps_its_names(tmp_path):
    path, network = tmp_path / "weights.pt", nn.ModuleDict({"module": nn.Linear(3, 2)})
    torch.save({"module.weight": network.module.weight.detach()}, path)
    with pytest.raises(UsageError, match=r"it lacks module\.bias$"):
        load(path, network)
    torch.save(nn.DataParallel(network).state_dict(), path)
    loaded = load(path, nn.ModuleDict({"module": nn.Linear(3, 2)}))
    assert torch.equal(loaded.module.weight, network.module.weight)


@pytest.mark.parametrize("content", [nn.Linear(3, 2), {"net": nn.Linear(3, 2).state_dict()}])
def test_what_holds_no_state_dict_is_told_what_to_save(tmp_path, content):
    torch.save(content, tmp_path / "weights.pt")
    with pytest.raises(UsageError, match=r"model\.state_dict\(\)"):
        load(tmp_path / "weights.pt")


def _zip(path):
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("archive/data.pkl", b"no pickle")


OTHER_FILES = {
    "text": lambda path: path.write_text("dataset: MNIST\n" * 50),
    "nothing": lambda path: path.write_bytes(b""),
    "noise": lambda path: path.write_bytes(bytes(range(256)) * 20),
    "utf-16": lambda path: path.write_bytes("weights".encode("utf-16")),
    "folder": lambda path: path.mkdir(),
    "zip": _zip,
    "pickle": lambda path: path.write_bytes(pickle.dumps({"weight": [1.0, 2.0]})),
    "cut pickle": lambda path: path.write_bytes(pickle.dumps({"weight": [1.0, 2.0]})[:-5]),
    "module": lambda path: torch.save(nn.Linear(3, 2), path),
    "tensor": lambda path: torch.save(torch.zeros(2, 3), path),
    "list": lambda path: torch.save([torch.zeros(2, 3)], path),
    "numbered": lambda path: torch.save({0: torch.zeros(2, 3), "bias": torch.zeros(2)}, path),
    "other weights": lambda path: torch.save({"weight": torch.zeros(5, 5)}, path),
    "sparse": lambda path: torch.save(
        {"weight": torch.eye(3)[:2].to_sparse(), "bias": torch.zeros(2)}, path
    ),
    "damaged": lambda path: (
        torch.save(nn.Linear(3, 2).state_dict(), path),
        path.write_bytes(path.read_bytes()[:-400]),
    ),
}


@pytest.mark.parametrize("suffix", ["safetensors", "pt"])
@pytest.mark.parametrize("kind", OTHER_FILES)
def test_any_other_file_is_refused_in_one_sentence_that_names_it(tmp_path, kind, suffix):
    path = tmp_path / f"file.{suffix}"
    OTHER_FILES[kind](path)
    network = nn.Linear(3, 2)
    before = network.weight.clone()
    with pytest.raises(UsageError, match=r"FromFile.*file\.") as refused:
        load(path, network)
    assert "weights_only" not in str(refused.value)
    assert torch.equal(network.weight, before)


def test_what_a_pickle_would_do_is_not_done(tmp_path):
    path, marker = tmp_path / "weights.pt", tmp_path / "marker"
    for write in (torch.save, lambda content, path: path.write_bytes(pickle.dumps(content))):
        write({"weight": Harmful(marker)}, path)
        with pytest.raises(UsageError, match="no weights that can be read"):
            load(path)
        assert not marker.exists()


@pytest.mark.parametrize("kind", ["folder", "missing"])
def test_an_experiment_with_a_file_that_cannot_be_read_is_refused(experiment, tmp_path, kind):
    if kind == "folder":
        (tmp_path / kind).mkdir()
    chosen = experiment(initialisation=f"FromFile(path={str(tmp_path / kind)!r})")
    with pytest.raises(UsageError, match=f"{kind} cannot be read"):
        assert chosen.id
