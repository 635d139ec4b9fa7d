"""The wheel: what is in it, what is not, and that it works without the checkout."""

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow
ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    # From what git tracks, as a user's clone has it; building leaves files in the source.
    files = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard"],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    ).stdout.splitlines()
    for name in files:
        if (ROOT / name).is_file():
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            (source / name).write_bytes((ROOT / name).read_bytes())
    subprocess.run(
        [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "--quiet",
         "--wheel-dir", folder, source],
        check=True,
        capture_output=True,
    )  # fmt: skip
    return next(folder.glob("*.whl"))


def test_the_wheel_holds_every_module_of_the_package_and_nothing_else(wheel):
    names = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    rooms = ("benchmark", "strategies", "metrics", "models", "datasets", "results")
    expected = {f"prunebench/{path.relative_to(ROOT)}" for r in rooms for path in
                (ROOT / r).glob("*.py")}  # fmt: skip
    expected.add("prunebench/results/report.html.jinja")
    root = {"__init__.py", "__main__.py", "errors.py", "registry.py", "seeding.py", "py.typed"}
    assert names == expected | {f"prunebench/{name}" for name in root}


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
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=tmp_path)
    assert (tmp_path / "runs").is_dir()
