"""The house's rule: imports go downwards, pure packages stay pure, and one module alone knows each server."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

# Each line may import itself and the lines above it.
LAYERS = [
    [
        "errors",
        "seeds",
        "registry",
        "settings",
        "files",
        "progress",
        "cores",
        "drawing",
        "checked",
        "footers",
        "tables",
    ],
    [
        "quality",
        "scoring.measures",
        "scoring.table",
        "distillation.methods",
        "distillation.spec",
        "training.architectures",
        "training.hyperparameters",
        "training.grids",
        "training.precision",
    ],
    ["strategies", "data"],
    ["subsets"],
    ["training"],
    ["scoring", "distillation"],
    ["tracking"],
    ["report", "studies"],
]
PURE = ["quality", "strategies", "scoring.measures", "scoring.table", "subsets", "training.hyperparameters"]
PURE += [
    "training.grids",
    "training.precision",
    "scoring.spec",
    "distillation.methods",
    "distillation.spec",
    "studies.plan",
    "studies.presets",
    "report.families",
    "data.images",
    "data.catalog",
]


def modules() -> dict[str, Path]:
    """Module names below proxyflow, and their files."""
    found = {}
    for path in (ROOT / "proxyflow").rglob("*.py"):
        parts = path.relative_to(ROOT / "proxyflow").with_suffix("").parts
        name = ".".join(part for part in parts if part != "__init__")
        if name:
            found[name] = path
    return found


def imports(path: Path) -> set[str]:
    """Everything that a file imports anywhere but for type checking, as dotted names."""
    tree = ast.parse(path.read_text())
    skipped: set[ast.AST] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            skipped.update(ast.walk(node))
    names: set[str] = set()
    for node in ast.walk(tree):
        if node in skipped:
            continue
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.update(f"{node.module}.{alias.name}" for alias in node.names)
    return names


def layer(module: str) -> int:
    """The layer of a module by its longest listed prefix."""
    matches = [
        (len(prefix), number)
        for number, prefixes in enumerate(LAYERS)
        for prefix in prefixes
        if module == prefix or module.startswith(prefix + ".")
    ]
    assert matches, f"{module} is in no layer; give it one"
    return max(matches)[1]


def test_imports_go_downwards() -> None:
    wrong = []
    for name, path in modules().items():
        for imported in imports(path):
            if not imported.startswith("proxyflow.") or imported == "proxyflow.__version__":
                continue
            target = imported.removeprefix("proxyflow.")
            if target not in modules() and "." not in target:
                continue
            if layer(target) > layer(name):
                wrong.append(f"{name} imports {target}")
    assert not wrong


@pytest.mark.parametrize(("package", "home"), [("mlflow", "tracking"), ("ray", "studies.executors.ray")])
def test_only_its_home_imports_a_server(package: str, home: str) -> None:
    users = {
        name for name, path in modules().items() for imported in imports(path) if imported.split(".")[0] == package
    }
    assert all(name == home or name.startswith(home + ".") for name in users), users


def test_entry_points_import_no_server_and_no_torch() -> None:
    for path in (ROOT / "entrypoints").glob("*.py"):
        roots = {imported.split(".")[0] for imported in imports(path)}
        assert not roots & {"mlflow", "torch", "fastai", "ray"}, path.name


@pytest.mark.parametrize("module", [*PURE, "report.run", "studies.dependencies", "studies.study"])
def test_importing_it_does_not_import_torch(module: str) -> None:
    forbidden = {"torch", "fastai", "mlflow"} if module in PURE else {"torch", "fastai"}
    code = f"import sys, proxyflow.{module}; assert not set(sys.modules) & {forbidden}"
    ended = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr


def test_help_does_not_wait_for_torch_or_mlflow() -> None:
    code = (
        "import sys; sys.argv = ['train', '--help']\n"
        "from entrypoints import _cli; from entrypoints.train import train\n"
        "assert _cli._status_of(train) == 0\n"
        "assert not set(sys.modules) & {'torch', 'fastai', 'mlflow'}, 'help imports too much'\n"
    )
    ended = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
