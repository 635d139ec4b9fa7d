"""One file for all records of a comparison."""

import gzip

import pytest

from prunebench.errors import UsageError
from prunebench.results.record_file import RECORDS_FILE, read_records, write_records


def test_records_come_back_from_their_file_by_ascending_id(tmp_path, make_record):
    records = [make_record(seed=seed) for seed in range(5)]
    write_records(records, tmp_path / "records.jsonl.gz")
    expected = sorted(records, key=lambda record: record.id)
    assert list(read_records(tmp_path / "records.jsonl.gz")) == expected


def test_the_same_records_give_the_same_bytes(tmp_path, make_record):
    records = [make_record(seed=0), make_record(seed=1)]
    write_records(records, tmp_path / "one")
    write_records(records[::-1], tmp_path / "two")
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


def test_a_table_is_told_from_records(tmp_path):
    path = tmp_path / "leaderboard.csv"
    path.write_text("dataset,model\n")
    with pytest.raises(UsageError, match=r"leaderboard\.csv is a table: give the folder of"):
        list(read_records(path))


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"no gzip", "is not a file of records"),
        (gzip.compress(b"{}\n"), "line 1 is not a record"),
        (gzip.compress(b"{}\n")[:-3], "is not a file of records"),
        (gzip.compress(b"\xff\xfe\n"), "line 1 is not a record"),
    ],
    # Named, since the bytes of gzip hold the time and workers must agree on the tests' names.
    ids=["no gzip", "empty record", "cut off", "not text"],
)
def test_a_damaged_file_is_refused_by_name(tmp_path, content, sentence):
    path = tmp_path / "records.jsonl.gz"
    path.write_bytes(content)
    with pytest.raises(UsageError, match=sentence) as raised:
        list(read_records(path))
    assert str(path) in str(raised.value)


def test_a_folder_that_has_such_a_file_is_read_from_it(make_record, tmp_path):
    write_records([make_record(seed=7)], tmp_path / RECORDS_FILE)
    (record,) = read_records(tmp_path)
    assert record.experiment["seed"] == 7
