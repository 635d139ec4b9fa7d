"""Data sets: real images, held-out splits, batches that depend on the seed alone."""

import numpy as np
import pytest
import torch
from torchvision import datasets as tv

from prunebench import Experiment, UsageError
from prunebench.datasets import KMNIST, MNIST, Classification, Digits, FashionMNIST
from prunebench.seeding import generator


def test_the_digits_are_divided_without_overlap_and_without_loss():
    from sklearn.datasets import load_digits

    images, labels = load_digits(return_X_y=True)
    task = Digits().load(None)
    sizes = {split: task.size(split) for split in ("train", "validation", "test")}
    assert sizes == {"train": 1257, "validation": 180, "test": 360}
    scale, shift = task._scale, task._shift
    everything = torch.cat(
        [
            torch.cat([((x - shift) / scale).flatten(1), labels.unsqueeze(1)], 1)
            for split in sizes
            for x, labels in task.batches(split, 100)
        ]
    )
    ours = sorted(map(tuple, everything.round().int().tolist()))
    assert ours == sorted(map(tuple, np.column_stack([images, labels]).astype(int).tolist()))


def test_the_split_is_the_same_in_every_process_and_for_every_seed():
    torch.manual_seed(1)
    first = next(Digits().load(None).batches("test", 360))
    torch.manual_seed(2)
    second = next(Digits().load(None).batches("test", 360))
    assert torch.equal(first[0], second[0])
    assert torch.equal(first[1], second[1])


@pytest.mark.parametrize("count", [0, 1797])
def test_a_split_that_leaves_nothing_is_refused(count):
    with pytest.raises(UsageError, match="cannot be held out of 1797"):
        Digits(test=count).load(None)


def test_training_images_have_mean_zero_and_variance_one_in_each_channel():
    images = torch.randint(0, 256, (500, 3, 4, 5), dtype=torch.uint8)
    images[:, 1] //= 7
    batch = (images, torch.zeros(500, dtype=torch.int64))
    task = Classification({"train": batch, "validation": batch, "test": batch}, classes=2)
    ((normalised, _),) = task.batches("train", 500)
    assert torch.allclose(normalised.mean((0, 2, 3)), torch.zeros(3), atol=1e-5)
    assert torch.allclose(normalised.var((0, 2, 3), correction=0), torch.ones(3), atol=1e-4)


def test_a_shuffled_pass_gives_each_example_once_in_the_order_of_the_generator():
    labels = torch.arange(103)
    batch = (torch.zeros(103, 1, 2, 2, dtype=torch.uint8), labels)
    task = Classification({"train": batch, "validation": batch, "test": batch}, classes=103)

    def order(seed):
        batches = [y for _, y in task.batches("train", 25, generator(seed, "order"))]
        assert [len(y) for y in batches] == [25, 25, 25, 25, 3]
        return torch.cat(batches).tolist()

    assert sorted(order(0)) == labels.tolist()
    assert order(0) == order(0) != order(1)
    assert torch.cat([y for _, y in task.batches("train", 25)]).tolist() == labels.tolist()


def test_exactly_as_many_inputs_come_as_are_asked_for_even_beyond_the_test_split(digits):
    assert digits.inputs(1).shape == (1, 1, 8, 8)
    many = digits.inputs(500)
    assert many.shape == (500, 1, 8, 8)
    assert torch.equal(many[:140], many[360:])


def test_mnist_holds_out_5000_of_the_60000_and_leaves_the_test_set_whole(real_data):
    task = MNIST().load(real_data)
    assert [task.size(s) for s in ("train", "validation", "test")] == [55_000, 5_000, 10_000]
    reference = tv.MNIST(real_data, train=False)
    labels = torch.cat([y for _, y in task.batches("test", 3_000)])
    assert torch.equal(labels, reference.targets)
    training = tv.MNIST(real_data, train=True).targets
    held = torch.cat([y for s in ("train", "validation") for _, y in task.batches(s, 9_000)])
    assert np.array_equal(np.bincount(held), np.bincount(training))


@pytest.mark.parametrize("dataset", [MNIST, FashionMNIST, KMNIST])
def test_missing_files_are_downloaded_or_else_explained(dataset, tmp_path, monkeypatch):
    asked = []

    def unreachable(request, *arguments, **keywords):
        asked.append(getattr(request, "full_url", request))
        raise OSError("network is unreachable")

    monkeypatch.setattr("urllib.request.urlopen", unreachable)
    with pytest.raises(UsageError) as caught:
        dataset().load(tmp_path / "data")
    assert asked
    sentence = str(caught.value)
    for part in (dataset.__name__, str(tmp_path / "data"), "--data", "PRUNEBENCH_DATA"):
        assert part in sentence


def test_damaged_files_are_named_rather_than_read(tmp_path):
    raw = tmp_path / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for part in ("train-images-idx3", "train-labels-idx1", "t10k-images-idx3", "t10k-labels-idx1"):
        (raw / f"{part}-ubyte").write_bytes(b"\x00\x00\x08\x03 and no more")
    with pytest.raises(UsageError, match=r"cannot be read .* delete the files"):
        MNIST().load(tmp_path)


def test_pixels_are_standardised_or_in_the_unit_interval():
    torch.manual_seed(0)
    images = torch.randint(256, (40, 1, 3, 3), dtype=torch.uint8)
    splits = dict.fromkeys(("train", "validation", "test"), (images, torch.arange(40) % 10))
    standardised, unit = (
        next(Classification(splits, 10, scaling=scaling).batches("train", 40))[0]
        for scaling in ("standardised", "unit")
    )
    assert torch.allclose(unit, images / 255)
    assert torch.allclose(standardised, (unit - unit.mean()) / unit.std(correction=0), atol=1e-5)


def test_scaling_is_a_part_of_what_an_experiment_is_only_where_it_is_not_standardised():
    ids = {
        text: Experiment(dataset=text, model="LeNet5", strategy="OBD", compression=2).id
        for text in ("MNIST", "MNIST(scaling='standardised')", "MNIST(scaling='unit')")
    }
    assert len(set(ids.values())) == 2
    assert ids["MNIST"] == ids["MNIST(scaling='standardised')"]
