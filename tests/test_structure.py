"""The house rules that can be read off the source: who imports whom, and what starts fast."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

ALLOWED = {
    "benchmark": {"strategies", "metrics", "results", "models", "datasets"},
    "strategies": {"datasets"},
    "metrics": {"datasets"},
    "results": set(),
    "models": set(),
    "datasets": set(),
}
EVERYWHERE = {"errors", "protocols", "quality", "registry", "seeding"}


def imports_of(path: Path) -> set[str]:
    """The rooms, and the modules in the root, that a file of a room imports."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.level == 2:
            names = [node.module] if node.module else [alias.name for alias in node.names]
            found |= {name.partition(".")[0] for name in names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            assert not node.module.startswith("prunebench"), f"{path}: imports must be relative"
    return found


@pytest.mark.parametrize("room", ALLOWED)
def test_a_room_imports_only_the_rooms_it_may(room):
    files = list((ROOT / room).glob("*.py"))
    assert files
    for path in files:
        foreign = imports_of(path) - ALLOWED[room] - EVERYWHERE - {"__version__"}
        assert not foreign, f"{path} imports {foreign}"


def test_strategies_and_metrics_know_of_data_sets_only_what_a_task_is():
    for room in ("strategies", "metrics"):
        for path in (ROOT / room).glob("*.py"):
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.ImportFrom) and node.module == "datasets":
                    names = {alias.name for alias in node.names}
                    assert names <= {"Task", "Batch", "Split", "Translation"}, path


def test_results_never_mention_torch():
    for path in (ROOT / "results").glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            module = node.module or "" if isinstance(node, ast.ImportFrom) else ""
            assert not any(name.startswith(("torch", "safetensors")) for name in [*names, module])


def test_importing_the_package_imports_neither_torch_nor_pandas():
    code = "import sys, prunebench; assert not {'torch', 'pandas', 'pydantic'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_every_public_name_exists():
    import prunebench

    for name in prunebench.__all__:
        assert getattr(prunebench, name) is not None
    with pytest.raises(AttributeError, match="nonsense"):
        prunebench.nonsense  # noqa: B018
