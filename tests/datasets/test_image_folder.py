"""Images in folders, decoded once or as needed, changed at random or not at all."""

import pickle
from pathlib import Path

import numpy as np
import pytest
import scipy.io
import torch
from PIL import Image

from prunebench.datasets import (
    CIFAR10,
    CIFAR100,
    SVHN,
    ImageFolder,
    ImageNet,
    TinyImageNet,
    note_digest,
)
from prunebench.datasets.augmentation import crop_and_flip
from prunebench.datasets.image_folder import decode
from prunebench.errors import UsageError

COLOURS = {"blue": (0, 0, 250), "green": (0, 250, 0), "red": (250, 0, 0)}


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Pictures of one colour each, of all sizes, in PNG and JPEG."""
    root = tmp_path_factory.mktemp("pictures")
    draw = np.random.default_rng(0)
    for split, count in (("train", 20), ("test", 4)):
        for name, colour in COLOURS.items():
            place = root / split / name
            place.mkdir(parents=True)
            for number in range(count):
                size = tuple(int(side) for side in draw.integers(12, 60, 2))
                suffix = "png" if number % 2 else "JPEG"
                Image.new("RGB", size, colour).save(place / f"{number}.{suffix}")
            (place / "notes.txt").write_text("no picture")
    return root


def load(folder, **settings):
    return ImageFolder(str(folder), **{"size": 16, **settings}).load(Path())


@pytest.mark.parametrize("augmentation", ["none", "crop", "resized crop"])
def test_every_picture_is_read_once_with_the_class_of_its_folder(folder, augmentation):
    task = load(folder, augmentation=augmentation, validation=0.2)
    assert task.class_names == ("blue", "green", "red")
    assert task.classes == 3
    assert task.input_shape == (3, 16, 16)
    assert [task.size(split) for split in ("train", "validation", "test")] == [48, 12, 12]
    seen = []
    for images, labels in task.batches("train", 10, rng()):
        assert images.shape[1:] == (3, 16, 16)
        brightest = images.mean((2, 3)).argmax(1)
        assert torch.equal(brightest, 2 - labels)  # blue is the last channel, and the first class
        seen += labels.tolist()
    for _, labels in task.batches("validation", 5):
        seen += labels.tolist()
    assert sorted(seen) == [0] * 20 + [1] * 20 + [2] * 20
    assert torch.equal(task.inputs(15)[:3], task.inputs(15)[12:])


@pytest.mark.parametrize("augmentation", ["none", "crop", "resized crop"])
def test_the_same_generator_gives_the_same_batches(folder, augmentation):
    task = load(folder, augmentation=augmentation)
    one, same, other = ([x for x, _ in task.training_batches(7, rng(seed))] for seed in (1, 1, 2))
    assert all(map(torch.equal, one, same))
    assert not all(map(torch.equal, one, other))
    assert sum(map(len, one)) == task.size("train")


def test_only_training_pictures_are_changed(folder):
    task, plain = load(folder, augmentation="crop"), load(folder, augmentation="none")
    for split in ("train", "validation", "test"):
        for (one, _), (other, _) in zip(
            task.batches(split, 8, rng()), plain.batches(split, 8, rng()), strict=True
        ):
            assert torch.equal(one, other)
    changed = torch.cat([x for x, _ in task.training_batches(8, rng())])
    same = torch.cat([x for x, _ in plain.training_batches(8, rng())])
    assert not torch.equal(changed, same)


def test_pictures_are_decoded_once_for_all_processes(folder, monkeypatch):
    expected = load(folder, augmentation="none", size=12).inputs(12)
    monkeypatch.setattr("prunebench.datasets.image_folder.decode", None)
    assert torch.equal(load(folder, augmentation="none", size=12).inputs(12), expected)


def other_shape(path):
    """Pictures of another size, with a digest as if they belonged there."""
    torch.save(torch.zeros(12, 3, 5, 5, dtype=torch.uint8), path)
    note_digest(path)


def without_digest(path):
    """Pictures of another size, as an earlier version might have left them."""
    torch.save(torch.zeros(12, 3, 5, 5, dtype=torch.uint8), path)
    path.with_name(f"{path.name}.sha256").unlink()


def cut(path):
    path.write_bytes(path.read_bytes()[:-100])


def turned(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize("damage", [cut, turned, other_shape, without_digest])
def test_damaged_pictures_in_the_cache_are_named_and_decoded_again(
    folder, tmp_path, monkeypatch, capsys, damage
):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    expected = load(folder, augmentation="none").inputs(12)
    for path in (tmp_path / "prunebench" / "images").glob("*.pt"):
        damage(path)
    capsys.readouterr()
    assert torch.equal(load(folder, augmentation="none").inputs(12), expected)
    assert capsys.readouterr().err.count(".pt is damaged") == 3  # one of each split
    assert torch.equal(load(folder, augmentation="none").inputs(12), expected)
    assert "damaged" not in capsys.readouterr().err


def test_the_middle_of_a_picture_is_scaled(tmp_path):
    pixels = np.zeros((40, 80, 3), dtype=np.uint8)
    pixels[:, 20:60] = 200  # the middle square
    Image.fromarray(pixels).save(tmp_path / "x.png")
    image = decode(tmp_path / "x.png", 8, None, margin=0)
    assert image.shape == (3, 8, 8)
    assert (image > 150).all()


def test_a_random_part_is_the_one_that_the_numbers_say(tmp_path):
    pixels = np.arange(100 * 100, dtype=np.uint8).reshape(100, 100, 1).repeat(3, 2)
    pixels[..., 0], pixels[..., 1] = np.arange(100)[:, None], np.arange(100)[None]
    Image.fromarray(pixels).save(tmp_path / "x.png")
    whole = decode(tmp_path / "x.png", 50, [1.0, 0.5, 0.3, 0.7, 0.9])
    mirrored = decode(tmp_path / "x.png", 50, [1.0, 0.5, 0.3, 0.7, 0.1])
    assert torch.equal(whole.flip(2), mirrored)
    assert whole[0, 0].float().mean() == pytest.approx(0.5, abs=1)
    area = (1 - 0.08) * 0.25 + 0.08
    part = decode(tmp_path / "x.png", 50, [0.25, 0.5, 1.0, 0.0, 0.9]).float()
    side = 100 * area**0.5
    assert part[1, 0, -1] == pytest.approx(99, abs=1.5)  # at the right edge
    assert part[1, 0, 0] == pytest.approx(100 - side, abs=1.5)
    assert part[0, 0, 0] == pytest.approx(0, abs=1.5)  # and at the top
    assert part[0, -1, 0] == pytest.approx(side, abs=1.5)


def test_a_crop_is_a_shift_or_a_mirrored_one():
    images = torch.randint(1, 256, (200, 3, 6, 6), generator=rng(), dtype=torch.uint8)
    changed = crop_and_flip(images, 2, True, rng(1))
    padded = torch.nn.functional.pad(images, [2] * 4)
    counts = {}
    for before, after in zip(padded, changed, strict=True):
        matches = [
            (down, right, mirrored)
            for down in range(5)
            for right in range(5)
            for mirrored in (False, True)
            if torch.equal(
                after.flip(2) if mirrored else after,
                before[:, down : down + 6, right : right + 6],
            )
        ]
        assert len(matches) == 1
        counts[matches[0]] = counts.get(matches[0], 0) + 1
    assert len(counts) > 40  # of 50 there are
    assert torch.equal(crop_and_flip(images, 0, False, rng()), images)


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"train": "none"}, r"there is no folder .*none"),
        ({"validation": 0.001}, r"validation: 0\.001 is not allowed: it takes 0 of 60"),
    ],
)
def test_folders_that_do_not_fit_get_one_clear_sentence(folder, settings, sentence):
    with pytest.raises(UsageError, match=sentence):
        load(folder, **settings)


def test_empty_and_foreign_classes_get_one_clear_sentence(folder, tmp_path):
    (tmp_path / "train" / "a").mkdir(parents=True)
    with pytest.raises(UsageError, match="a has no images"):
        load(tmp_path)
    for split, names in (("train", "ab"), ("test", "ac")):
        for name in names:
            (tmp_path / split / name).mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (8, 8)).save(tmp_path / split / name / "x.png")
    with pytest.raises(UsageError, match="must have the same folders of classes; they differ in b"):
        load(tmp_path, validation=0.5)


def test_a_file_that_is_no_picture_is_named(tmp_path):
    for split in ("train", "test"):
        for name in "ab":
            (tmp_path / split / name).mkdir(parents=True)
            (tmp_path / split / name / "x.png").write_bytes(b"nothing")
    with pytest.raises(UsageError, match=r"x\.png cannot be read as an image"):
        load(tmp_path, validation=0.5, augmentation="none")


def test_tiny_imagenet_is_read_as_it_unpacks(folder, tmp_path):
    root = tmp_path / "tiny-imagenet-200"
    (root / "val" / "images").mkdir(parents=True)
    (root / "train").symlink_to(folder / "train")
    lines = []
    for number, name in enumerate(["red", "blue", "green", "red"]):
        Image.new("RGB", (64, 64), COLOURS[name]).save(root / "val" / "images" / f"{number}.JPEG")
        lines.append(f"{number}.JPEG\t{name}\t0\t0\t62\t62")
    (root / "val" / "val_annotations.txt").write_text("\n".join(lines) + "\n")
    task = TinyImageNet().load(tmp_path)
    ((images, labels),) = task.batches("test", 10)
    assert labels.tolist() == [2, 0, 1, 2]
    assert torch.equal(images.mean((2, 3)).argmax(1), 2 - labels)


def test_imagenet_is_tested_on_its_validation_images(folder, tmp_path):
    (tmp_path / "imagenet").mkdir()
    (tmp_path / "imagenet" / "train").symlink_to(folder / "train")
    (tmp_path / "imagenet" / "val").symlink_to(folder / "test")
    task = ImageNet(size=24, validation=0.1).load(tmp_path)
    assert task.size("test") == 12
    assert task.input_shape == (3, 24, 24)


def test_cifar_is_read_as_it_is_published(tmp_path, monkeypatch):
    draw = np.random.default_rng(0)
    monkeypatch.setattr("torchvision.datasets.CIFAR10._check_integrity", lambda self: True)
    monkeypatch.setattr("torchvision.datasets.cifar.check_integrity", lambda *a: True)
    for kind, folder, parts, key in (
        (CIFAR10, "cifar-10-batches-py", [f"data_batch_{n}" for n in range(1, 6)], "labels"),
        (CIFAR100, "cifar-100-python", ["train"], "fine_labels"),
    ):
        root = tmp_path / folder
        root.mkdir()
        test = "test_batch" if kind is CIFAR10 else "test"
        content = {}
        for part in [*parts, test]:
            data = draw.integers(0, 256, (20, 3072), dtype=np.uint8)
            labels = draw.integers(0, kind.classes, 20).tolist()
            content[part] = (data, labels)
            (root / part).write_bytes(pickle.dumps({"data": data, key: labels}))
        meta = {"label_names": list("abcdefghij"), "fine_label_names": ["x"] * 100}
        for name in ("batches.meta", "meta"):
            (root / name).write_bytes(pickle.dumps(meta))
        task = kind(validation=10).load(tmp_path)
        assert task.size("train") == 20 * len(parts) - 10
        assert task.classes == kind.classes
        data, labels = content[test]
        ((images, found),) = task.batches("test", 100)
        assert found.tolist() == labels
        expected = torch.from_numpy(data).view(20, 3, 32, 32).float()
        spread = (images - images.mean()).flatten(1), (expected - expected.mean()).flatten(1)
        assert torch.nn.functional.cosine_similarity(*spread).min() > 0.99


class HouseNumbers(SVHN):
    """A data set of one's own, made of ours."""


@pytest.mark.parametrize("kind", [SVHN, HouseNumbers])
def test_svhn_is_read_as_it_is_published(kind, tmp_path, monkeypatch):
    monkeypatch.setattr("torchvision.datasets.SVHN._check_integrity", lambda self: True)
    draw = np.random.default_rng(0)
    for part, count in (("train", 30), ("test", 8)):
        labels = draw.integers(1, 11, (count, 1))
        images = draw.integers(0, 256, (32, 32, 3, count), dtype=np.uint8)
        scipy.io.savemat(tmp_path / f"{part}_32x32.mat", {"X": images, "y": labels})
    task = kind(validation=5).load(tmp_path)
    assert [task.size(split) for split in ("train", "validation", "test")] == [25, 5, 8]
    ((images, found),) = task.batches("test", 100)
    assert images.shape == (8, 3, 32, 32)
    assert found.tolist() == [int(label) % 10 for label in labels[:, 0]]


@pytest.mark.parametrize("kind", [CIFAR10, CIFAR100, SVHN])
def test_without_data_and_without_a_network_it_is_said_what_to_do(kind, tmp_path, monkeypatch):
    def download(self):
        raise RuntimeError("no route")

    monkeypatch.setattr(f"torchvision.datasets.{kind.__name__}.download", download)
    with pytest.raises(UsageError, match=rf"{kind.__name__} is not in .* \(no route\): connect"):
        kind().load(tmp_path)


def test_pictures_that_are_broken_or_too_deep_are_refused_in_a_sentence(tmp_path):
    deep, broken = tmp_path / "deep.png", tmp_path / "broken.png"
    Image.fromarray(np.full((8, 8), 40_000, dtype=np.uint16)).save(deep)
    with pytest.raises(UsageError, match=r"deep\.png .* more than 8 bits a pixel \(mode I(;16)?\)"):
        decode(deep, 8, None)
    broken.write_bytes(deep.read_bytes()[:40] + b"IDAT" * 20)
    with pytest.raises(UsageError, match=r"broken\.png cannot be read as an image"):
        decode(broken, 8, None)
