"""Where files are written: plain files, links, devices, pipes and folders."""

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from prunebench import UsageError
from prunebench.benchmark.command_line import main
from prunebench.results import Store, write_atomically


def test_a_symbolic_link_stays_and_its_target_is_written(tmp_path):
    target, link = tmp_path / "elsewhere" / "target.csv", tmp_path / "link.csv"
    link.symlink_to(Path("elsewhere") / "target.csv")
    for content in (b"first", b"second"):  # into nothing, then in the place of a file
        write_atomically(link, content)
        assert link.is_symlink()
        assert target.read_bytes() == content
    assert [path.name for path in target.parent.iterdir()] == ["target.csv"]


def test_a_pipe_is_written_to_and_stays_a_pipe(tmp_path):
    pipe, read = tmp_path / "pipe", []
    os.mkfifo(pipe)
    reader = threading.Thread(target=lambda: read.append(pipe.read_bytes()), daemon=True)
    reader.start()
    write_atomically(pipe, b"through")
    reader.join(timeout=600)
    assert read == [b"through"]
    assert pipe.is_fifo()


@pytest.fixture
def terminal():
    """A device that can come to no harm, and what reads from it."""
    master, slave = os.openpty()
    yield Path(os.ttyname(slave)), lambda: os.read(master, 1 << 16)
    os.close(master)
    os.close(slave)


def test_a_device_is_written_to_and_stays_a_device(terminal, tmp_path):
    device, read = terminal
    link = tmp_path / "link"
    link.symlink_to(device)
    for path in (device, link):
        write_atomically(path, b"shown")
        assert read() == b"shown"
    assert device.is_char_device()
    assert link.is_symlink()


@pytest.mark.slow
@pytest.mark.parametrize("reader", ["pipe", "file"])
def test_standard_output_is_written_in_order_whatever_it_is(tmp_path, reader):
    link = tmp_path / "stdout"  # as /dev/stdout is, but nobody minds if it is lost
    link.symlink_to("/dev/fd/1")
    program = (
        "from pathlib import Path; from prunebench.results import write_atomically\n"
        "print('before')\n"
        f"write_atomically(Path({str(link)!r}), b'between\\n')\n"
        "print('after')"
    )
    command = [sys.executable, "-c", program]
    if reader == "pipe":
        said = subprocess.run(command, check=True, capture_output=True).stdout
    else:
        with (tmp_path / "out").open("wb") as file:
            subprocess.run(command, check=True, stdout=file)
        said = (tmp_path / "out").read_bytes()
    assert said == b"before\nbetween\nafter\n"


def test_a_folder_is_refused_and_stays_as_it_was(tmp_path):
    for path in (tmp_path, tmp_path / "file" / "x.csv"):
        (tmp_path / "file").touch()
        with pytest.raises(UsageError, match="cannot be written"):
            write_atomically(path, b"x")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["leaderboard", "{runs}", "-o", "{folder}"], "{folder} is a folder"),
        (["leaderboard", "{runs}", "--report", "{folder}"], "{folder} is a folder"),
        (["leaderboard", "{runs}", "--plots", "{file}"], "{file} is a file"),
        (["export", "abc", "--runs", "{runs}", "-o", "{folder}"], "{folder} is a folder"),
        (["heatmap", "abc", "--runs", "{runs}", "-o", "{file}"], "{file} is a file"),
        (["study", "{runs}", "-o", "{file}"], "{file} is a file"),
        (["sensitivity", "none.yaml", "-o", "{file}"], "{file} is a file"),
        (["break-even", "--linear", "8", "8", "-o", "{file}"], "{file} is a file"),
    ],
)
def test_a_command_refuses_a_wrong_kind_of_output_before_it_begins(
    make_sweep, tmp_path, capsys, arguments, sentence
):
    names = {"runs": tmp_path / "runs", "folder": tmp_path / "folder", "file": tmp_path / "file"}
    names["folder"].mkdir()
    names["file"].touch()
    for record in make_sweep():
        Store(names["runs"]).save(record)
    assert main([text.format(**names) for text in arguments]) == 2
    said = capsys.readouterr()
    assert sentence.format(**names) in said.err
    assert said.err.count("\n") == 1
    assert said.out == ""


@pytest.mark.slow
def test_the_leaderboard_goes_to_a_device_and_through_links(make_record, tmp_path, terminal):
    device, read = terminal
    Store(tmp_path / "runs").save(make_record())
    link, plots = tmp_path / "link.html", tmp_path / "plots"
    link.symlink_to(tmp_path / "target.html")
    (tmp_path / "figures").mkdir()
    plots.symlink_to(tmp_path / "figures")
    options = ["-o", str(device), "--report", str(link), "--plots", str(plots)]
    assert main(["leaderboard", str(tmp_path / "runs"), *options]) == 0
    assert read().startswith(b"dataset,model")
    assert "LeNet5 on MNIST" in (tmp_path / "target.html").read_text()
    assert link.is_symlink()
    assert len(list((tmp_path / "figures").iterdir())) == 2
