"""Folders are layers: imports go down the list, pure folders stay pure, and one folder alone knows each server."""

from __future__ import annotations

import ast
import subprocess
import sys
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

from proxyflow.cli.app import COMMANDS

ROOT = Path(__file__).parents[2]

# A folder may import itself and the folders of the lines above its own.
LAYERS = (
    ("core",),
    ("spaces",),
    ("quality",),
    ("scores",),
    ("strategies",),
    ("proxies",),
    ("data",),
    ("subsets",),
    ("trainers",),
    ("scoring",),
    ("distillation",),
    ("tracking",),
    ("searching",),
    ("studies",),
    ("reporting",),
    ("testing",),
    ("cli",),
)
LAYER_OF = {folder: number for number, folders in enumerate(LAYERS) for folder in folders}

# Neither a framework nor a server: what these folders hold is values and arithmetic on them.
PURE = ("spaces", "quality", "scores", "strategies", "proxies", "searching")
FRAMEWORKS = {"torch", "torchvision", "fastai", "mlflow", "ray", "PIL"}
# Whatever the data and the trainer are, these are the same.
GENERIC = (
    "core",
    "spaces",
    "quality",
    "scores",
    "strategies",
    "proxies",
    "subsets",
    "tracking",
    "studies",
    "reporting",
)
OF_IMAGES = ("data.images", "trainers.images")
SERVERS = {"mlflow": "tracking", "ray": "studies.executors.ray"}

# What knows images outside of their folders, as `importer imports imported`: built-in choices of them.
KNOW_IMAGES: set[str] = set()


def modules() -> dict[str, Path]:
    """Modules below proxyflow by their names in it, and their files."""
    found = {}
    for path in (ROOT / "proxyflow").rglob("*.py"):
        parts = path.relative_to(ROOT / "proxyflow").with_suffix("").parts
        found[".".join(part for part in parts if part != "__init__")] = path
    del found[""]
    return found


MODULES = modules()


def imports(path: Path) -> set[str]:
    """Everything that a file imports, in functions too, but for type checking, as dotted names."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
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


def own_imports(module: str) -> set[str]:
    """The modules of proxyflow that a module imports."""
    found = set()
    for name in imports(MODULES[module]):
        target = name.removeprefix("proxyflow.")
        if target != name:
            found |= {target if target in MODULES else target.rpartition(".")[0]} & set(MODULES)
    return found - {module}


def is_in(module: str, folder: str) -> bool:
    return module == folder or module.startswith(f"{folder}.")


def folder_of(module: str) -> str | None:
    """The folder whose layer a module is in; None for modules beside the folders, which are above all of them."""
    folder = module.partition(".")[0]
    return folder if (ROOT / "proxyflow" / folder).is_dir() else None


EDGES = [(module, target) for module in MODULES for target in own_imports(module)]


def test_every_folder_is_a_layer() -> None:
    folders = {folder for module in MODULES if (folder := folder_of(module)) is not None}
    assert folders <= set(LAYER_OF), "give a new folder its place in LAYERS"


def test_imports_go_down() -> None:
    upward = set()
    for module, target in EDGES:
        here, there = folder_of(module), folder_of(target)
        if here is None:
            continue
        if there is None or LAYER_OF[there] > LAYER_OF[here]:
            upward.add(f"{module} imports {target}")
    assert not upward


def test_no_imports_form_a_circle() -> None:
    """An import in a function may save time; it must not hide that two modules need each other."""
    graph = {module: {target for source, target in EDGES if source == module} for module in MODULES}
    try:
        list(TopologicalSorter(graph).static_order())
    except CycleError as error:
        pytest.fail(f"a circle of imports: {' <- '.join(error.args[1])}")


def test_only_folders_of_images_know_images() -> None:
    generic = {module for module in MODULES if folder_of(module) in GENERIC or folder_of(module) == "data"}
    # The catalog registers the sources that come with the package.
    generic -= {"data.catalog", *(module for module in generic if is_in(module, "data.images"))}
    found = {
        f"{module} imports {target}"
        for module, target in EDGES
        if module in generic and any(is_in(target, folder) for folder in OF_IMAGES)
    }
    assert found == KNOW_IMAGES


@pytest.mark.parametrize("folder", PURE)
def test_pure_folders_import_no_framework(folder: str) -> None:
    found = {
        f"{module} imports {name}"
        for module, path in MODULES.items()
        if is_in(module, folder)
        for name in imports(path)
        if name.partition(".")[0] in FRAMEWORKS
    }
    assert not found


@pytest.mark.parametrize(("package", "home"), SERVERS.items())
def test_only_its_home_imports_a_server(package: str, home: str) -> None:
    users = {module for module, path in MODULES.items() for name in imports(path) if name.partition(".")[0] == package}
    assert {module for module in users if not is_in(module, home)} == set()


@pytest.mark.parametrize(
    ("call", "home"), [("torch.cuda.empty_cache(", "core.cuda"), ("torch.cuda.graph(", "trainers.images.capture")]
)
def test_one_module_alone_does_what_threads_must_not_do_at_once(call: str, home: str) -> None:
    assert [module for module, path in MODULES.items() if call in path.read_text(encoding="utf-8")] == [home]


def import_in_a_new_process(modules: list[str], forbidden: set[str]) -> None:
    lines = "; ".join(f"import proxyflow.{module}" for module in modules)
    run_in_a_new_process(f"import sys; {lines}; found = set(sys.modules) & {forbidden}; assert not found, found")


def run_in_a_new_process(code: str) -> None:
    ended = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr


def test_importing_pure_folders_takes_no_framework() -> None:
    import_in_a_new_process([module for module in MODULES if folder_of(module) in PURE], {"torch", "fastai", "mlflow"})


@pytest.mark.parametrize(
    ("modules", "forbidden"),
    [
        (["data.catalog", "subsets.artifact", "scoring.spec", "studies.plan"], {"torch", "fastai", "mlflow"}),
        (["reporting.run", "studies.dependencies", "studies.study"], {"torch", "fastai"}),
    ],
)
def test_planning_and_reporting_do_not_wait_for_torch(modules: list[str], forbidden: set[str]) -> None:
    import_in_a_new_process(modules, forbidden)


def test_entry_points_import_no_server_and_no_torch() -> None:
    for path in (ROOT / "entrypoints").glob("*.py"):
        assert not {name.partition(".")[0] for name in imports(path)} & FRAMEWORKS, path.name


def test_help_imports_no_heavy_library() -> None:
    heavy, also = {"torch", "fastai", "mlflow", "matplotlib", "ray"}, {"numpy", "pandas", "scipy"}
    run_in_a_new_process(
        "import sys; from proxyflow.cli.app import program; from proxyflow.cli.running import status_of\n"
        f"for arguments, heavy in [([], {heavy | also}), *(([name], {heavy}) for name in {list(COMMANDS)})]:\n"
        "    assert status_of(program, [*arguments, '--help']) == 0\n"
        "    assert not arguments or status_of(program, [*arguments, '--help-all']) == 0\n"
        "    assert not set(sys.modules) & heavy, (arguments, set(sys.modules) & heavy)\n"
    )
