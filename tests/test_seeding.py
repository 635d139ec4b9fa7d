"""Random numbers by seed and purpose."""

import random

import numpy as np
import pytest
import torch

from prunebench.seeding import derived_seed, random_state, seeded, set_random_state


class Generator:
    """A device's global generator: torch's functions of its module."""

    def __init__(self):
        self.state = torch.tensor(0)

    def manual_seed(self, seed):
        self.state = torch.tensor(seed)

    def get_rng_state(self):
        return self.state

    def set_rng_state(self, state):
        self.state = state


@pytest.fixture
def generators(monkeypatch):
    devices = {"cuda": Generator(), "mps": Generator()}
    monkeypatch.setattr(torch, "get_device_module", lambda device: devices[device.type])
    return devices


def test_global_numbers_are_the_same_again_and_nobody_elses():
    before = torch.get_rng_state()
    with seeded(3, "dropout"):
        drawn = torch.rand(3)
    lots = torch.Generator().manual_seed(derived_seed(3, "dropout"))
    assert torch.equal(drawn, torch.rand(3, generator=lots))
    assert torch.equal(torch.get_rng_state(), before)


def test_numbers_of_numpy_and_python_are_the_same_again_and_nobody_elses():
    before = random_state()
    drawn = []
    for _ in range(2):
        with seeded(3, "data"):
            drawn.append((np.random.rand(), random.random()))
        np.random.rand(), random.random()  # others draw between
    assert drawn[0] == drawn[1]
    with seeded(3, "data"):
        np.random.rand()
        under_way = random_state()
        following = np.random.rand(), random.random()
        set_random_state(under_way)
        assert (np.random.rand(), random.random()) == following
    set_random_state(before)
    now = random_state()
    assert now["numpy"] == before["numpy"]
    assert now["python"] == before["python"]


@pytest.mark.parametrize("device", ["cuda", "mps"])
def test_the_generator_of_the_device_in_use_is_seeded_and_restored(generators, device):
    expected = derived_seed(0, "dropout")
    with seeded(0, "dropout", device=torch.device(device)):
        assert {name: int(each.state) for name, each in generators.items()} == {
            "cuda": 0,
            "mps": 0,
            device: expected,
        }
    assert all(each.state == 0 for each in generators.values())


def test_states_go_back_to_the_device_in_use(generators):
    states = random_state(torch.device("mps"))
    assert set(states) == {"cpu", "numpy", "python", "mps"}
    generators["mps"].state = torch.tensor(5)
    set_random_state(states, torch.device("mps"))
    assert generators["mps"].state == 0
    assert set(random_state()) == set(random_state(torch.device("cpu"))) == set(states) - {"mps"}
    set_random_state(states)  # on a machine that has no such device
