"""The house rules that can be read off the source: who imports whom, and what starts fast."""

import ast
import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import prunebench.results
from prunebench.benchmark.catalogue.memory import answers

ROOT = Path(__file__).resolve().parents[1]

ALLOWED = {
    "benchmark": {"strategies", "metrics", "results", "models", "datasets"},
    "strategies": {"datasets"},
    "metrics": {"datasets"},
    "results": set(),
    "models": set(),
    "datasets": set(),
}
EVERYWHERE = {p.stem for p in ROOT.glob("*.py")} - {"__init__", "__main__", "setup", "conftest"}


def name_of(path: Path) -> str:
    """The module in a file, without the package's own name."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


NO_MODULES = {ROOT / f"{name}.py" for name in ("__init__", "__main__", "setup", "conftest")}
FILES = {
    name_of(path): path
    for place, pattern in [(ROOT, "*.py"), *((ROOT / room, "**/*.py") for room in ALLOWED)]
    for path in place.glob(pattern)
    if path not in NO_MODULES
}


def imports_of(name: str) -> set[str]:
    """The modules of ours that a module imports anywhere in its file, types included."""
    path = FILES[name]
    package = name.split(".") if path.name == "__init__.py" else name.split(".")[:-1]
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.level == 0:
            assert not node.module.startswith("prunebench"), f"{path}: imports must be relative"
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) + 1 - node.level]
            module = ".".join([*base, *([node.module] if node.module else [])])
            for alias in node.names:
                inner = f"{module}.{alias.name}".lstrip(".")
                found.add(inner if inner in FILES else module)
    return found - {name, ""}  # the package itself says only which version this is


def room_of(name: str) -> str:
    return name.partition(".")[0]


@pytest.mark.parametrize("room", ALLOWED)
def test_a_room_imports_only_the_rooms_it_may(room):
    modules = [name for name in FILES if room_of(name) == room]
    assert len(modules) > 1
    for name in modules:
        foreign = {room_of(each) for each in imports_of(name)} - {room} - EVERYWHERE
        assert foreign <= ALLOWED[room], f"{name} imports {foreign}"


def test_modules_import_each_other_in_no_circle():
    graph = {name: imports_of(name) for name in FILES}
    assert sum(map(len, graph.values())) > len(FILES)
    TopologicalSorter(graph).prepare()  # which raises CycleError


def test_strategies_and_metrics_know_of_data_sets_only_what_a_task_is():
    for name, path in FILES.items():
        if room_of(name) not in ("strategies", "metrics"):
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and node.module == "datasets":
                names = {alias.name for alias in node.names}
                assert names <= {"Task", "Batch", "Split", "Translation", "LanguageModelling"}, path


def test_results_never_mention_torch():
    for name, path in FILES.items():
        if room_of(name) != "results":
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            module = node.module or "" if isinstance(node, ast.ImportFrom) else ""
            assert not any(each.startswith(("torch", "safetensors")) for each in [*names, module])


def test_importing_the_package_imports_neither_torch_nor_pandas():
    code = "import sys, prunebench; assert not {'torch', 'pandas', 'pydantic'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


SLOW = {"torch", "torchvision", "pandas", "scipy", "matplotlib", "pydantic", "ruamel"}


@pytest.mark.parametrize(
    ("arguments", "needed"),
    [
        (["--help"], set()),
        (["list", "--help"], set()),
        (["list", "datasets", "Digits"], set()),
        (["run", "--help"], {"pydantic", "ruamel"}),
        (["show", "--help"], set()),
        (["show", "abc", "--runs", "."], {"pydantic"}),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_command_imports_nothing_that_is_slow_and_not_needed(tmp_path, arguments, needed):
    answers()  # list knows them now
    code = (
        "import sys\nfrom prunebench.benchmark.command_line import main\n"
        f"try:\n    main({arguments})\nexcept SystemExit:\n    pass\n"
        f"assert {SLOW - needed} & {{*sys.modules}} == set(), {SLOW} & {{*sys.modules}}"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout or "there is no record abc" in done.stderr


def test_what_workers_are_forked_from_has_imported_what_training_needs_and_no_more():
    code = (
        "import sys, prunebench.benchmark.sweeps.preloaded, torch\n"
        "before = {*sys.modules}\n"
        "assert not {'torchvision', 'pandas', 'scipy', 'matplotlib'} & before\n"
        "assert not torch.cuda.is_initialized()\n"
        "optimizer = torch.optim.Adam([torch.zeros(2, requires_grad=True)])\n"
        "optimizer.step()\n"
        "assert {*sys.modules} == before, {*sys.modules} - before\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("package", [prunebench, prunebench.results], ids=lambda p: p.__name__)
def test_every_public_name_exists(package):
    for name in package.__all__:
        assert getattr(package, name) is not None
    with pytest.raises(AttributeError, match="nonsense"):
        package.nonsense  # noqa: B018
