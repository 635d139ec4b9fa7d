"""The store keeps what it is given, whole, whatever happens while it writes."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prunebench.errors import UsageError
from prunebench.results import (
    Failure,
    Layer,
    Record,
    Round,
    Store,
    remove_abandoned,
    write_atomically,
)
from prunebench.results.files import create_atomically

names = st.text(max_size=12)
numbers = st.none() | st.integers(-(10**15), 10**15) | st.floats(allow_nan=False)
measurements = st.dictionaries(names, numbers, max_size=4)
finite = st.floats(allow_nan=False, allow_infinity=False)
whole = st.integers(0, 10**12)
documents = st.dictionaries(
    names,
    st.recursive(
        st.none() | st.booleans() | st.integers(-(10**15), 10**15) | finite | names,
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=3),
        max_leaves=6,
    ),
    max_size=4,
)
# What every experiment has.
EXPERIMENT = {
    "dataset": "MNIST",
    "model": "LeNet5",
    "strategy": "Random",
    "compression": 4.0,
    "rounds": 1,
    "schedule": "Geometric",
    "recovery": "FineTune",
    "pretraining": {"epochs": 20},
    "finetuning": {"epochs": 5},
    "seed": 0,
}
common = {
    "id": st.from_regex(r"\A[0-9a-f]{8,64}\Z"),
    "experiment": documents.map(lambda more: {**more, **EXPERIMENT}),
    "timings": st.dictionaries(names, st.none() | finite, max_size=3),
    "environment": documents,
    "collapsed_layers": st.lists(names, max_size=2).map(tuple),
    "layers": st.lists(
        st.builds(
            Layer,
            name=names,
            shape=st.lists(whole, max_size=4).map(tuple),
            parameters=whole,
            nonzero=whole,
            density=finite,
            flops=whole,
            effective_flops=finite,
        ),
        max_size=2,
    ).map(tuple),
}
finished_records = st.builds(
    Record,
    status=st.sampled_from(["ok", "collapsed"]),
    error=st.none(),
    quality=st.dictionaries(names, st.sampled_from(["higher", "lower"]), min_size=1, max_size=3),
    dense=measurements,
    final=measurements,
    rounds=st.lists(
        st.builds(
            Round,
            round=whole,
            density=finite,
            kept=whole,
            before=measurements,
            after=measurements,
            validation=measurements,
        ),
        max_size=2,
    ).map(tuple),
    **common,
)
failed_records = st.builds(
    Record,
    status=st.just("failed"),
    error=st.builds(Failure, type=names, message=names, traceback=names),
    quality=st.just({}),
    dense=st.just({}),
    final=st.just({}),
    rounds=st.just(()),
    **common,
)


@pytest.mark.slow
@settings(max_examples=40)  # each one waits for the disk
@given(finished_records | failed_records)
def test_any_record_comes_back_as_it_was_saved(record):
    with tempfile.TemporaryDirectory() as folder:
        store = Store(folder)
        store.save(record)
        assert store.load(record.id) == record
        assert list(store.records()) == [record]
        assert store.is_finished(record.id) == (record.status != "failed")


def test_records_and_weights_lie_beside_each_other_by_the_first_digits_of_the_id(tmp_path):
    store = Store(tmp_path)
    assert store.record_path("abcdef0123") == tmp_path / "ab" / "abcdef0123.json"
    assert store.weights_path("abcdef0123") == tmp_path / "ab" / "abcdef0123.safetensors"


def test_what_was_never_saved_is_none_and_not_finished(tmp_path):
    assert Store(tmp_path / "nowhere").load("abcdef0123") is None
    assert not Store(tmp_path / "nowhere").is_finished("abcdef0123")


def test_saving_again_replaces_the_earlier_record(make_record, tmp_path):
    store = Store(tmp_path)
    failed = store.save(make_record(status="failed"))
    path = store.save(make_record(top1=0.8))
    assert not failed.exists()
    assert store.save(make_record()) == path
    assert store.load(path.stem) == make_record()


def test_no_failure_takes_the_place_of_a_result_whoever_saves_when(make_record, tmp_path):
    store = Store(tmp_path)
    finished, failed = make_record(), make_record(status="failed")
    for first, second in ((finished, failed), (failed, finished)):
        store.save(first)
        store.save(second)
        assert store.load(finished.id) == finished
        assert list(store.records()) == [finished]
        store.record_path(finished.id).unlink()
    together = threading.Barrier(8)

    def save(record):
        together.wait()
        for _ in range(20):
            store.save(record)

    threads = [threading.Thread(target=save, args=[r]) for r in [failed] * 7 + [finished]]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert store.load(finished.id) == finished


def test_of_two_results_that_are_added_at_once_one_stays_and_the_other_is_told(
    make_record, tmp_path, monkeypatch
):
    twins = [make_record(timings={"finetuning_seconds": each}) for each in (1.0, 2.0)]
    both, told = threading.Barrier(2), threading.local()
    write = os.fsync

    def meeting(descriptor):  # neither has found a record, and both have theirs at hand
        write(descriptor)
        if not hasattr(told, "met"):
            told.met = both.wait()

    monkeypatch.setattr(os, "fsync", meeting)
    with ThreadPoolExecutor(2) as threads:
        added = list(threads.map(Store(tmp_path).add, twins))
    (winner,) = [twin for twin, path in zip(twins, added, strict=True) if path is not None]
    assert list(Store(tmp_path).records()) == [winner]
    assert [path.name for path in tmp_path.glob("??/*")] == [f"{winner.id}.json"]


def test_where_there_are_no_hard_links_what_is_finished_stays_too(
    make_record, tmp_path, monkeypatch
):
    def refused(path, target):
        raise PermissionError(path)

    monkeypatch.setattr(Path, "hardlink_to", refused)
    path = tmp_path / "x"
    assert write_atomically(path, b"old") is None
    assert not create_atomically(path, b"new")
    assert create_atomically(tmp_path / "y", b"new")
    assert {each.name: each.read_bytes() for each in tmp_path.iterdir()} == {
        "x": b"old",
        "y": b"new",
    }


def test_what_is_added_takes_the_place_of_a_failure_and_of_nothing_else(make_record, tmp_path):
    store, failed = Store(tmp_path), make_record(status="failed")
    first, second = (make_record(timings={"finetuning_seconds": each}) for each in (1.0, 2.0))
    path = store.record_path(failed.id)
    path.parent.mkdir()
    path.write_bytes(failed.to_json())  # as an earlier version called it
    assert store.add(failed) == store.failure_path(failed.id)
    assert store.add(first) == path
    assert store.add(second) is store.add(failed) is None
    assert list(store.records()) == [first]
    assert not store.failure_path(failed.id).exists()


def test_the_record_of_a_failure_that_an_earlier_version_left_is_read(make_record, tmp_path):
    store, failed = Store(tmp_path), make_record(status="failed")
    store.save(failed).rename(store.record_path(failed.id))
    assert store.load(failed.id) == failed
    assert not store.is_finished(failed.id)
    store.save(make_record())
    assert store.is_finished(failed.id)


def test_records_come_by_ascending_id_and_nothing_else_is_taken_for_one(make_sweep, tmp_path):
    store = Store(tmp_path)
    records = make_sweep(seeds=range(10))
    for record in records:
        store.save(record)
    some = store.record_path(records[0].id)
    for stray in (
        some.with_name(f".{some.name}.123~"),
        some.with_suffix(".safetensors"),
        some.with_name("notes.json"),
        some.with_name(f"{(int(some.stem[:2], 16) + 1) % 256:02x}cdef0123.json"),
        tmp_path / "leaderboard.csv",
        tmp_path / "pretrained" / "abcdef0123.json",
        tmp_path / "zz" / "abcdef0123.json",
    ):
        stray.parent.mkdir(exist_ok=True)
        stray.write_text("not a record")
    ids = [record.id for record in store.records()]
    assert ids == sorted(record.id for record in records)
    assert [outcome.id for outcome in store.outcomes()] == ids


def test_reading_a_folder_that_does_not_exist_is_a_usage_error(tmp_path):
    with pytest.raises(UsageError, match=r"no folder .*nowhere"):
        list(Store(tmp_path / "nowhere").records())


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: content[: len(content) // 2],
        lambda content: b"",
        lambda content: b"\xff" + content,
        lambda content: content.replace(b'"schema_version": 1', b'"schema_version": 2'),
        lambda content: content.replace(b'"status"', b'"state"'),
    ],
)
def test_a_damaged_or_foreign_file_is_a_usage_error_that_names_it(make_record, tmp_path, damage):
    store = Store(tmp_path)
    path = store.save(make_record())
    path.write_bytes(damage(path.read_bytes()))
    for read in (lambda: store.load(path.stem), lambda: list(store.records())):
        with pytest.raises(UsageError, match=path.name):
            read()


def test_a_file_under_the_name_of_another_record_is_a_usage_error(make_record, tmp_path):
    store = Store(tmp_path)
    path = store.save(make_record())
    path.rename(path.with_stem(path.stem + "0"))
    with pytest.raises(UsageError, match=f"another experiment, {path.stem}"):
        store.load(path.stem + "0")


def test_a_record_is_found_by_its_id_by_a_beginning_and_by_its_path(make_record, tmp_path):
    store = Store(tmp_path)
    record = make_record()
    path = store.save(record)
    for reference in (record.id, record.id[:5], record.id[:5].upper(), str(path), path):
        assert store.find(reference) == record


def test_an_id_is_found_even_if_it_is_the_beginning_of_another(make_record, tmp_path):
    store = Store(tmp_path)
    short, long = (make_record().model_copy(update={"id": "ab" * n}) for n in (4, 5))
    store.save(short)
    store.save(long)
    assert store.find("ab" * 4) == short


def test_an_ambiguous_beginning_is_refused_with_the_candidates(make_record, tmp_path):
    store = Store(tmp_path)
    ids = [f"abcd{n:08d}" for n in range(7)]
    for record_id in ids:
        store.save(make_record().model_copy(update={"id": record_id}))
    with pytest.raises(UsageError, match=f"ids of 7 records: {', '.join(ids[:5])}, …"):
        store.find("abc")


@pytest.mark.parametrize("reference", ["ffff", "no-such", "no/such.json", "../x"])
def test_an_unknown_reference_is_refused_in_one_sentence(make_record, tmp_path, reference):
    store = Store(tmp_path)
    store.save(make_record().model_copy(update={"id": "abcdef0123"}))
    with pytest.raises(UsageError, match="there is no record"):
        store.find(reference)


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_a_failing_disk_leaves_the_old_file_whole_and_nothing_else(tmp_path, monkeypatch, step):
    def fail(*_):
        raise OSError("no space left on device")

    path = tmp_path / "file"
    write_atomically(path, b"old")
    monkeypatch.setattr(*((os, "fsync") if step == "fsync" else (Path, "replace")), fail)
    with pytest.raises(OSError, match="no space left"):
        write_atomically(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.slow
def test_a_process_killed_before_the_rename_leaves_the_old_file_whole(tmp_path):
    path = tmp_path / "file"
    write_atomically(path, b"old")
    program = (
        "import os, signal; from pathlib import Path; from prunebench.results import *\n"
        "Path.replace = lambda *_: os.kill(os.getpid(), signal.SIGKILL)\n"
        f"write_atomically(Path({str(path)!r}), b'new')"
    )
    killed = subprocess.run([sys.executable, "-c", program], check=False, cwd=tmp_path)
    assert killed.returncode == -9
    assert path.read_bytes() == b"old"


def test_only_what_nobody_has_written_to_for_a_day_is_taken_for_abandoned(tmp_path):
    folder = tmp_path / "ab"
    folder.mkdir()
    name = f".abcdef0123.json.{'0' * 32}~"
    abandoned, alive = folder / name, tmp_path / name
    others = [folder / each for each in (".notes~", "abcdef0123.json", f"x.{'0' * 32}~", ".a.0~")]
    for path in (abandoned, alive, *others):
        path.write_text("half a rec")
        age = 3_600 if path == alive else 100_000
        os.utime(path, (time.time() - age,) * 2)
    remove_abandoned(tmp_path)
    assert not abandoned.exists()
    assert all(path.exists() for path in (alive, *others))


def test_the_content_is_on_the_disk_before_its_name_changes(tmp_path, monkeypatch):
    steps = []
    fsync, replace = os.fsync, Path.replace
    monkeypatch.setattr(os, "fsync", lambda file: (steps.append("fsync"), fsync(file)))
    monkeypatch.setattr(Path, "replace", lambda *paths: (steps.append("replace"), replace(*paths)))
    write_atomically(tmp_path / "file", b"new")
    assert steps == ["fsync", "replace", "fsync"]


@pytest.mark.slow
def test_the_results_package_imports_neither_torch_nor_matplotlib():
    program = (
        "import prunebench.results, sys; "
        "assert not {'torch', 'matplotlib'} & set(sys.modules), 'a heavy import'"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
