"""Sweeps whose records are elsewhere: what one machine has finished no other runs again."""

from pathlib import Path

import pytest

import prunebench
from prunebench.benchmark.command_line import main
from prunebench.errors import UsageError
from prunebench.results import Store, as_text, leaderboard

fsspec = pytest.importorskip("fsspec", reason="fsspec is not installed: pip install '.[remote]'")

SETTINGS = {
    "dataset": "Digits",
    "model": "Perceptron",
    "strategy": ["Random", "GlobalMagnitude"],
    "compression": 2,
    "pretraining": {"epochs": 1},
    "recovery": "NoRecovery",
    "measurements": ["Size"],
    "least_dense_quality": 0,
}
OPTIONS = ["--dataset", "Digits", "--model", "Perceptron", "--strategy", "Random",
           "GlobalMagnitude", "--compression", "2", "--pretraining.epochs", "1", "--recovery",
           "NoRecovery", "--measurements", "Size", "--least-dense-quality", "0"]  # fmt: skip


def sweep(runs, **options):
    return prunebench.sweep(prunebench.grid(**SETTINGS), runs=runs, progress=False, **options)


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """Go on at a machine that has no files yet."""

    def change(name):
        (tmp_path / name).mkdir()
        monkeypatch.chdir(tmp_path / name)

    yield change
    fsspec.filesystem("memory").store.clear()


def test_a_sweep_that_begins_again_elsewhere_runs_no_finished_cell(machine, capfd):
    url = "memory://bucket/runs"
    machine("first")
    records = sweep(url)
    assert [record.status for record in records] == ["ok", "ok"]
    machine("second")
    assert sweep(url) == records  # the same to the second that they took
    assert main(["run", *OPTIONS, "--seed", "0", "1", "--runs", url, "--dry-run"]) == 0
    assert "4 cells, 2 finished, 2 to run" in capfd.readouterr().out
    assert main(["leaderboard", url]) == 0
    assert as_text(leaderboard(records)) in capfd.readouterr().out
    path = Store(url).record_path(records[0].id)
    network = prunebench.load(str(path))
    kept = sum(int(weights.count_nonzero()) for weights in network.parameters())
    assert kept == records[0].final["nonzero"]


def test_nothing_is_run_where_nothing_can_be_written(machine, monkeypatch):
    def refused(*arguments, **options):
        raise PermissionError("read-only")

    machine("first")
    monkeypatch.setattr(type(fsspec.filesystem("memory")), "pipe_file", refused)
    with pytest.raises(UsageError, match="out of reach: PermissionError: read-only"):
        sweep("memory://bucket/runs")
    assert not list(Path().iterdir())


def test_what_cannot_be_sent_any_more_is_kept_and_sent_by_the_next_sweep(
    machine, monkeypatch, capfd
):
    url, files = "memory://bucket/runs", type(fsspec.filesystem("memory"))
    put = files.pipe_file

    def breaking(self, path, *arguments, **options):
        if path.endswith((".json", ".safetensors")):
            raise TimeoutError("no answer")
        return put(self, path, *arguments, **options)

    machine("first")
    with monkeypatch.context() as patch:
        patch.setattr(files, "pipe_file", breaking)
        with pytest.raises(UsageError, match="out of reach: TimeoutError: no answer"):
            sweep(url)
    here = Store(url).folder
    assert capfd.readouterr().err.count(f"the record is kept as {here}") == 2
    kept = {record.id: record for record in Store(here).records()}
    assert len(kept) == 2
    assert {record.id: record for record in sweep(url)} == kept
    assert {record.id: record for record in Store(url).records()} == kept
    assert list(Store(here).records()) == []


@pytest.fixture
def bucket(monkeypatch):
    """The URL of a bucket of a server on this machine that speaks S3."""
    pytest.importorskip("s3fs", reason="s3fs is not installed: pip install '.[remote]'")
    server = pytest.importorskip("moto.server", reason="moto, a server like S3, is not installed")
    here = server.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    here.start()
    host, port = here.get_host_and_port()
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_DEFAULT_REGION"):
        monkeypatch.setenv(name, "us-east-1")
    fsspec.filesystem("s3").mkdir("comparisons")
    yield "s3://comparisons/runs"
    here.stop()


@pytest.mark.slow
def test_workers_write_to_a_server_like_s3_what_they_write_to_a_folder(machine, bucket, capfd):
    machine("first")
    records = sweep(bucket, workers=2)
    assert [each.result() for each in records] == [each.result() for each in sweep("here")]
    for record in records:
        weights = Store("here").weights_path(record.id).read_bytes()
        assert Store(bucket).weights_path(record.id).read_bytes() == weights
    machine("second")
    assert main(["run", *OPTIONS, "--runs", bucket]) == 0
    assert f"records:     {bucket}/" in capfd.readouterr().out
    assert sorted(Store(bucket).records(), key=records.index) == records  # those of before
    assert main(["leaderboard", bucket]) == 0
    assert as_text(leaderboard(records)) in capfd.readouterr().out
    with pytest.raises(UsageError, match=r"s3://nowhere/runs/.* is out of reach"):
        sweep("s3://nowhere/runs")
