"""The wheel: what is in it, what is not, and that it works without the checkout."""

import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow
ROOT = Path(__file__).resolve().parents[1]


NO_PACKAGES = ("tests", "experiments", "examples", "suites", "performance", "docs")


def checked_out() -> list[str]:
    """What git tracks, as a user's clone has it; building leaves files in the source."""
    files = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard"],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    ).stdout.splitlines()
    return [name for name in files if (ROOT / name).is_file()]


def wheel_of(source: Path, folder: Path) -> Path:
    subprocess.run(
        [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "--quiet",
         "--wheel-dir", folder, source],
        check=True,
        capture_output=True,
    )  # fmt: skip
    return next(folder.glob("*.whl"))


def sdist_of(source: Path, folder: Path) -> Path:
    subprocess.run(
        [sys.executable, "-c", "import sys; from setuptools import build_meta\n"
         "build_meta.build_sdist(sys.argv[1])", folder],
        cwd=source,
        check=True,
        capture_output=True,
    )  # fmt: skip
    return next(folder.glob("*.tar.gz"))


def names_in(wheel: Path) -> set[str]:
    return {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}


@pytest.fixture(scope="module")
def source(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("source")
    for name in checked_out():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes((ROOT / name).read_bytes())
    return folder


@pytest.fixture(scope="module")
def wheel(source, tmp_path_factory) -> Path:
    return wheel_of(source, tmp_path_factory.mktemp("wheel"))


def test_the_wheel_holds_every_module_of_the_package_and_nothing_else(wheel):
    modules = {
        name for name in checked_out() if name.endswith(".py") and not name.startswith(NO_PACKAGES)
    } - {"setup.py", "conftest.py"}
    kernel = "metrics/runtimes/direct_convolution.c"
    others = {"py.typed", "results/report.html.jinja", "results/literature.yaml", kernel}
    by_name = re.compile(
        r"experiments/.*\.yaml|suites/.*|examples/[^_].*\.(py|sh)|results/site/(style\.css|templates/.*\.jinja)"
        r"|results/(report.*|theme)\.(css|js)|results/suites/.*\.jinja"
    )
    others |= set(filter(by_name.fullmatch, checked_out()))
    assert names_in(wheel) == {f"prunebench/{name}" for name in modules | others}
    assert len(modules) > 100


def test_a_package_within_a_room_is_in_the_wheel_without_being_listed(source, wheel, tmp_path):
    nested = tmp_path / "source"
    shutil.copytree(source, nested, ignore=shutil.ignore_patterns("build", "*.egg-info"))
    added = {"strategies/own/__init__.py", "strategies/own/deep/__init__.py",
             "strategies/own/deep/method.py"}  # fmt: skip
    left_out = {"tests/__init__.py", "tests/own/__init__.py", "examples/__init__.py",
                "results/published/__init__.py"}  # fmt: skip
    for name in added | left_out:
        (nested / name).parent.mkdir(parents=True, exist_ok=True)
        (nested / name).write_text('"""One more."""\n')
    (tmp_path / "wheel").mkdir()
    names = names_in(wheel_of(nested, tmp_path / "wheel"))
    assert names - names_in(wheel) == {f"prunebench/{name}" for name in added}


def test_a_source_distribution_makes_the_same_wheel_and_has_no_half_of_the_tests(
    source, wheel, tmp_path
):
    sdist = sdist_of(source, tmp_path)
    with tarfile.open(sdist) as file:
        assert not [name for name in file.getnames() if "/tests" in name]
    assert names_in(wheel_of(sdist, tmp_path)) == names_in(wheel)


def test_the_installed_wheel_works_away_from_the_checkout(wheel, tmp_path):
    target = tmp_path / "site"
    subprocess.run(
        [sys.executable, "-m", "pip", "install", "--no-deps", "--quiet", "--target", target, wheel],
        check=True,
        capture_output=True,
    )
    code = (
        f"import sys; sys.path.insert(0, {str(target)!r})\n"
        "import prunebench\n"
        f"assert prunebench.__file__.startswith({str(target)!r}), prunebench.__file__\n"
        "record = prunebench.run(prunebench.Experiment(dataset='Digits', model='LeNetSmall',\n"
        "    strategy='Random', compression=2.0, pretraining={'epochs': 1}))\n"
        "assert record.status == 'ok', record.error\n"
        "assert record.environment['commit'] is None\n"
        "from prunebench.benchmark.command_line import main\n"
        "assert main(['run', 'digits', '--dry-run']) == 0\n"
        "assert main(['list', 'examples', 'own_model_and_data']) == 0\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], check=True, cwd=tmp_path, capture_output=True, text=True
    )
    assert (tmp_path / "runs").is_dir()
    assert f"{target}/prunebench/experiments/digits.yaml" in done.stderr
    assert "108 cells, 0 finished, 108 to run" in done.stdout
    assert done.stdout.endswith((ROOT / "examples/own_model_and_data.py").read_text())
