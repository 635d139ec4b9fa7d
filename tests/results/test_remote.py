"""Records below a URL: as those in a folder, wherever fsspec reads and writes."""

import pytest

from prunebench.errors import UsageError
from prunebench.results import Store, leaderboard, place_of
from prunebench.results.merging import merge

fsspec = pytest.importorskip("fsspec", reason="fsspec is not installed: pip install '.[remote]'")


@pytest.fixture
def url(tmp_path, monkeypatch):
    """That of an empty place; what belongs beside it on this machine has a folder of its own."""
    monkeypatch.chdir(tmp_path)
    files = fsspec.filesystem("memory")
    yield "memory://bucket/runs"
    files.store.clear()


def break_writing(patch):
    def refused(*arguments, **options):
        raise TimeoutError("no answer")

    patch.setattr(type(fsspec.filesystem("memory")), "pipe_file", refused)


def test_what_is_saved_lies_below_the_url_and_comes_back(make_sweep, url):
    store, records = Store(url), make_sweep(seeds=range(3))
    for record in records:
        store.save(record, weights=b"weights")
    files = fsspec.filesystem("memory")
    for record in records:
        stem = f"/bucket/runs/{record.id[:2]}/{record.id}"
        assert files.cat(f"{stem}.json") == record.to_json()
        assert files.cat(f"{stem}.safetensors") == b"weights"
    expected = sorted(records, key=lambda record: record.id)
    assert list(Store(f"{url}/").records()) == expected
    assert store.finished([*(record.id for record in records), "0" * 16]) == set(store.ids())
    some = expected[0]
    for reference in (some.id, some.id[:9], str(store.record_path(some.id))):
        assert Store.holding(reference, url).find(reference) == some


def test_a_leaderboard_of_a_url_is_that_of_the_folder(make_sweep, url, tmp_path):
    records = make_sweep(seeds=range(2))
    for record in records:
        Store(url).save(record)
        Store(tmp_path / "here").save(record)
    assert leaderboard(url).equals(leaderboard(tmp_path / "here"))
    assert not (tmp_path / "runs").exists()


def test_folders_here_and_elsewhere_are_merged(make_sweep, url, tmp_path):
    first, second = make_sweep(seeds=range(2))[:2]
    Store(tmp_path / "here").save(first, weights=b"weights")
    Store(url).save(second)
    merged = merge([tmp_path / "here", url], "memory://bucket/all")
    assert (merged.records, merged.added) == (2, 2)
    store = Store("memory://bucket/all")
    assert set(store.ids()) == {first.id, second.id}
    assert store.weights_path(first.id).read_bytes() == b"weights"
    with pytest.raises(UsageError, match="merged into itself"):
        merge([url], url)


def test_a_failure_gives_way_to_a_result_and_never_the_other_way_round(make_record, url):
    store = Store(url)
    finished, failed = make_record(), make_record(status="failed")
    store.save(failed)
    assert list(store.records()) == [failed]
    store.save(finished)
    store.save(failed)
    assert list(store.records()) == [finished]
    assert not store.failure_path(failed.id).exists()


def test_a_result_that_another_puts_there_in_the_same_moment_stays(make_record, url, monkeypatch):
    first, second = (make_record(timings={"finetuning_seconds": each}) for each in (1.0, 2.0))
    memory = type(fsspec.filesystem("memory"))
    put = memory.pipe_file

    def late(files, path, content, **how):
        monkeypatch.setattr(memory, "pipe_file", put)
        assert Store(url).add(first)  # after the second has seen that there is none
        return put(files, path, content, **how)

    monkeypatch.setattr(memory, "pipe_file", late)
    assert Store(url).add(second) is None
    assert list(Store(url).records()) == [first]


def test_a_store_that_cannot_tell_is_looked_at_before_it_is_written_to(
    make_record, url, monkeypatch
):
    memory = type(fsspec.filesystem("memory"))
    put = memory.pipe_file

    def simple(files, path, content, **how):
        if how:
            raise NotImplementedError(how)
        put(files, path, content)

    monkeypatch.setattr(memory, "pipe_file", simple)
    path = place_of(url) / "x"
    assert path.create_bytes(b"first")
    assert not path.create_bytes(b"second")
    assert path.read_bytes() == b"first"


@pytest.mark.parametrize("damage", [lambda content: content[:100], lambda content: b""])
def test_what_is_damaged_is_named_and_set_aside(make_record, url, damage):
    store, record = Store(url), make_record()
    path = store.save(record)
    path.write_bytes(damage(record.to_json()))
    with pytest.raises(UsageError, match=f"{path} is not a record"):
        list(store.records())
    assert store.finished([record.id]) == set()
    assert store.set_aside(record.id) == [path]
    assert list(store.ids()) == []
    (aside,) = fsspec.filesystem("memory").find("/bucket")
    assert f"{record.id}.json.damaged-" in aside


def test_a_record_that_cannot_be_sent_is_kept_here_until_it_can(make_record, url, capfd):
    store, record = Store(url), make_record()
    with pytest.MonkeyPatch.context() as patch:
        break_writing(patch)
        with pytest.raises(UsageError, match="out of reach: TimeoutError: no answer"):
            store.require_writable()
        kept = store.save(record, weights=b"weights")
        assert f"out of reach: TimeoutError: no answer; the record is kept as {kept}" in (
            capfd.readouterr().err
        )
        with pytest.raises(UsageError, match="out of reach"):
            store.send_kept()
    assert Store(kept.parent.parent).load(record.id) == record
    store.require_writable()
    store.send_kept()
    assert store.load(record.id) == record
    assert store.weights_path(record.id).read_bytes() == b"weights"
    assert not list(kept.parent.iterdir())
    assert set(fsspec.filesystem("memory").find("/bucket")) == {
        f"/bucket/runs/{record.id[:2]}/{record.id}{end}" for end in (".json", ".safetensors")
    }


def test_a_place_that_is_not_there_or_of_no_known_kind_is_a_usage_error(url):
    with pytest.raises(UsageError, match="no folder memory://bucket/runs"):
        list(Store(url).records())
    with pytest.raises(UsageError, match=r"nothing://bucket .*is not allowed: Protocol not known"):
        list(Store("nothing://bucket").records())


def test_a_url_of_this_machine_is_a_folder(tmp_path):
    assert place_of(f"file://{tmp_path}/runs") == tmp_path / "runs"
    assert Store(f"file://{tmp_path}/runs").folder == tmp_path / "runs"
