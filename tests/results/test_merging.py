"""Merging: folders of records become one, in which each run has one result."""

from pathlib import Path

import pytest

from prunebench.benchmark.command_line import main
from prunebench.errors import UsageError
from prunebench.results import Store
from prunebench.results.merging import Merged, merge
from prunebench.results.record_file import RECORDS_FILE, write_records


def contents(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


@pytest.fixture
def two_folders(make_record, tmp_path):
    """Six runs in two folders: one in both, one that failed in the first, one in the second."""
    a, b = Store(tmp_path / "a"), Store(tmp_path / "b")
    for seed in (0, 1, 2):
        a.save(make_record(seed=seed), f"weights {seed}".encode())
    a.save(make_record(seed=3, status="failed"))
    a.save(make_record(seed=5, status="failed"))
    b.save(make_record(seed=2, timings={"finetuning_seconds": 7.0}), b"weights 2")
    b.save(make_record(seed=3), b"weights 3")
    b.save(make_record(seed=4), b"weights 4")
    b.save(make_record(seed=5, status="failed"))
    return a.folder, b.folder


def test_identical_results_appear_once_and_finished_ones_before_failed(two_folders, tmp_path):
    before = [contents(folder) for folder in two_folders]
    assert merge(two_folders, tmp_path / "c") == Merged(6, failed=1, added=6, repeated=1)
    assert [contents(folder) for folder in two_folders] == before
    store = Store(tmp_path / "c")
    records = {record.experiment["seed"]: record for record in store.records()}
    assert [records[seed].finished for seed in range(6)] == [True] * 5 + [False]
    assert records[2].timings == {}  # the earlier stays
    for seed in range(5):
        assert store.weights_path(records[seed].id).read_bytes() == f"weights {seed}".encode()


def test_merging_again_changes_nothing(two_folders, tmp_path):
    merge(two_folders, tmp_path / "c")
    before = contents(tmp_path / "c")
    assert merge(two_folders[::-1], tmp_path / "c").added == 0
    assert contents(tmp_path / "c") == before


def test_two_results_of_one_run_are_an_error_that_names_both(make_record, two_folders, tmp_path):
    record = make_record(seed=1)
    forged = record.model_copy(update={"final": {**record.final, "top1": 0.95}})
    path = Store(tmp_path / "d").save(forged)
    with pytest.raises(UsageError) as error:
        merge([*two_folders, tmp_path / "d"], tmp_path / "c")
    said = str(error.value)
    assert "final.top1 is 0.9 in" in said
    assert f"and 0.95 in {path}" in said
    assert str(Store(two_folders[0]).record_path(record.id)) in said
    assert not (tmp_path / "c").exists()


def test_a_merging_that_is_interrupted_anywhere_is_completed_by_the_next(
    two_folders, tmp_path, monkeypatch
):
    merge(two_folders, tmp_path / "whole")
    expected = contents(tmp_path / "whole")
    for place in range(len(expected)):
        left = iter(range(place))

        def or_die(step, left=left):
            def one(path, target):
                if next(left, None) is None:
                    raise KeyboardInterrupt
                return step(path, target)

            return one

        folder = tmp_path / f"interrupted-{place}"
        with monkeypatch.context() as patch:
            patch.setattr(Path, "replace", or_die(Path.replace))  # weights
            patch.setattr(Path, "hardlink_to", or_die(Path.hardlink_to))  # records
            with pytest.raises(KeyboardInterrupt):
                merge(two_folders, folder)
        for record in Store(folder).records() if folder.exists() else ():
            assert record.finished == Store(folder).weights_path(record.id).is_file()
        merge(two_folders, folder)
        assert contents(folder) == expected


def test_a_published_file_of_records_is_a_source_and_weights_come_from_wherever_they_are(
    make_record, tmp_path
):
    write_records([make_record(seed=0), make_record(seed=1)], tmp_path / "records.jsonl.gz")
    Store(tmp_path / "a").save(make_record(seed=0), b"weights")
    merge([tmp_path / "records.jsonl.gz"], tmp_path / "c")
    store = Store(tmp_path / "c")
    assert not store.weights_path(make_record(seed=0).id).exists()
    assert merge([tmp_path / "a"], tmp_path / "c") == Merged(2, failed=0, added=0, repeated=1)
    assert store.weights_path(make_record(seed=0).id).read_bytes() == b"weights"


def test_where_a_users_file_lay_is_no_difference(make_record, tmp_path):
    for host in ("alice", "bob"):
        record = make_record(seed=0)
        settings = {**record.experiment, "strategy": f"/home/{host}/mine.py:Mine(alpha=2)"}
        Store(tmp_path / host).save(record.model_copy(update={"experiment": settings}))
    assert merge([tmp_path / "alice", tmp_path / "bob"], tmp_path / "c").repeated == 1


def test_a_folder_is_not_merged_into_itself_and_what_is_missing_is_named(two_folders, capsys):
    a, b = map(str, two_folders)
    assert main(["merge", a, b, "-o", a]) == 2
    assert f"{a} is to be merged into itself" in capsys.readouterr().err
    assert main(["merge", a, "nowhere", "-o", b]) == 2
    assert "nowhere" in capsys.readouterr().err


def test_a_published_folder_is_a_source(make_record, two_folders, tmp_path):
    (tmp_path / "published").mkdir()
    write_records([make_record(seed=9)], tmp_path / "published" / RECORDS_FILE)
    merged = merge([*two_folders, tmp_path / "published"], tmp_path / "c")
    assert merged == Merged(7, failed=1, added=7, repeated=1)


def test_nothing_is_merged_into_a_published_folder(make_record, two_folders, tmp_path):
    write_records([make_record(seed=9)], tmp_path / RECORDS_FILE)
    before = contents(tmp_path)
    with pytest.raises(UsageError, match=r"is a published folder, .* give another folder"):
        merge(two_folders, tmp_path)
    assert contents(tmp_path) == before


def test_dense_networks_come_along_each_from_one_folder(two_folders, tmp_path):
    for folder, names in zip(two_folders, (("one", "two"), ("two", "three")), strict=True):
        (folder / "pretrained").mkdir()
        for name in names:
            for end in (".safetensors", ".safetensors.sha256", ".json", "-epoch-1.safetensors"):
                (folder / f"pretrained/{name}{end}").write_text(f"{end} of {name} in {folder.name}")
            (folder / f"pretrained/{name}.lock").touch()
    merge(two_folders, tmp_path / "c")
    found = contents(tmp_path / "c/pretrained")
    assert {name.partition(".")[0].partition("-")[0] for name in found} == {"one", "two", "three"}
    assert len(found) == 4 * 3
    for name, content in found.items():
        assert content.decode().endswith("in b" if name.startswith("three") else "in a")


def test_sources_without_any_record_are_said(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError, match=r"there are no records in .*empty"):
        merge([tmp_path / "empty"], tmp_path / "c")
    assert not (tmp_path / "c").exists()


def test_when_and_beside_what_a_run_was_run_makes_no_other_result(make_record, tmp_path):
    record = make_record()
    for place, revision in enumerate((9, 10)):
        again = record.model_copy(update={"revision": revision, "stacked": 1 + place})
        Store(tmp_path / str(place)).save(again)
    assert merge([tmp_path / "0", tmp_path / "1"], tmp_path / "c").repeated == 1
