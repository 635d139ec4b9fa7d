"""What is remembered of a leaderboard is never told from what is made of the records."""

import random

import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from prunebench.errors import UsageError
from prunebench.folders import cache_folder
from prunebench.results import Store, leaderboard, memory


@pytest.fixture
def of_few(monkeypatch):
    """Few records are remembered too."""
    monkeypatch.setattr(memory, "_LEAST_FILES", 1)


def kept():
    return sorted((cache_folder() / "leaderboards").glob("*"))


def test_a_table_is_the_same_when_it_is_remembered(of_few, make_sweep, make_record, tmp_path):
    store = Store(tmp_path)
    for record in make_sweep():
        store.save(record)
    store.save(make_record(seed=9, status="failed"))
    store.save(make_record(seed=8, top1=float("nan"), doubts={"measured_speedup_batch1": "no"}))
    made = leaderboard(list(store.records()))
    before = len(kept())
    for _ in range(2):
        pd.testing.assert_frame_equal(leaderboard(tmp_path), made, check_exact=True)
    assert len(kept()) == before + 1


def test_few_records_are_not_worth_remembering(make_sweep, tmp_path):
    for record in make_sweep():
        Store(tmp_path).save(record)
    before = len(kept())
    leaderboard(tmp_path)
    assert len(kept()) == before


edits = st.lists(
    st.tuples(st.sampled_from(["change", "add", "delete", "damage", "fail", "forget", "spoil"]),
              st.integers(0, 10**6)), min_size=1, max_size=5,
)  # fmt: skip


@settings(max_examples=6, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(edits)
def test_whatever_is_done_to_the_records_the_table_is_made_of_what_is_there(
    make_record, tmp_path_factory, edits
):
    store = Store(tmp_path_factory.mktemp("runs"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(memory, "_LEAST_FILES", 1)
        for seed in range(3):
            store.save(make_record(seed=seed))
        leaderboard(store.folder)
        for edit, lot in edits:
            _edit(edit, store, random.Random(lot), make_record)
            try:
                found = leaderboard(store.folder)
            except UsageError:
                with pytest.raises(UsageError, match="is not a record"):
                    list(store.outcomes())
            else:
                made = leaderboard(list(store.outcomes()))
                pd.testing.assert_frame_equal(found, made, check_exact=True)


def _edit(edit, store, random, make_record):
    path = random.choice([*sorted(store.folder.glob("??/*.json")), None])
    if edit == "add":
        store.save(make_record(seed=random.randrange(100)))
    elif edit == "fail":
        store.save(make_record(seed=random.randrange(100), status="failed"))
    elif edit == "change":  # to what has as many bytes
        store.save(make_record(seed=1, top1=0.5 + random.randrange(4) / 10))
    elif edit == "forget":
        for each in kept():
            each.unlink()
    elif edit == "spoil":
        for each in kept():
            content = each.read_bytes()
            each.write_bytes(content[: random.randrange(len(content) + 1)])
    elif path is not None and edit == "delete":
        path.unlink()
    elif path is not None:
        path.write_bytes(path.read_bytes()[:-30])
