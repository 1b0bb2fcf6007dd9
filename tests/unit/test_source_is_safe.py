"""The house's rule: what is read is data, so nothing in the source may turn data into code."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCES = sorted(path for folder in ("proxyflow", "entrypoints") for path in (ROOT / folder).rglob("*.py"))

# Modules that load objects, as modules whose import is refused; cloudpickle and dill are pickles by another name.
MODULES = {"pickle", "cPickle", "_pickle", "cloudpickle", "dill", "shelve", "marshal", "jsonpickle", "code", "codeop"}
# Calls by the last part of their name: what they run or unpack.
CALLS = {
    "eval": "runs text",
    "exec": "runs text",
    "compile": "makes code of text",
    "__import__": "imports by name",
    "load_learner": "unpickles a fastai learner",
    "read_pickle": "unpickles",
    "to_pickle": "pickles",
    "unpack_archive": "has no filter for what climbs out",
    "system": "is a shell",
    "popen": "is a shell",
    "getoutput": "is a shell",
    "getstatusoutput": "is a shell",
    "row_group": "of Arrow ends the process at a damaged footer; see footers",
    "read_metadata": "of Arrow ends the process at a damaged footer; see footers",
}
# What may do one of these things all the same. Modules are found by names that stand in the source, in a registry.
EXCEPTIONS = {
    "proxyflow/cli/app.py": "imports by name",  # of a command, when it is called
    "proxyflow/trainers/images/engine.py": "imports by name",  # of an engine, when it is chosen
    "proxyflow/distillation/process.py": "imports by name",  # of a method, which imports torch
    "proxyflow/trainers/function/source.py": "imports by name",  # of the function that the user named
    "proxyflow/testing/trainers.py": "imports pickle",  # reads what it has just written
}


def findings(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Line and reason of each thing that could execute what it reads."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else [node.module or ""]
            yield from ((node.lineno, f"imports {name}") for name in names if name.split(".")[0] in MODULES)
        elif isinstance(node, ast.Call):
            yield from ((node.lineno, reason) for reason in _of_call(node))


def _of_call(node: ast.Call) -> Iterator[str]:
    function = node.func
    owner = ast.unparse(function.value) if isinstance(function, ast.Attribute) else ""
    name = (
        function.attr if isinstance(function, ast.Attribute) else function.id if isinstance(function, ast.Name) else ""
    )
    options = {each.arg: each.value for each in node.keywords if each.arg}
    # A torch module's eval sets it to evaluation, and re.compile makes a pattern.
    harmless = (name == "eval" and owner not in ("", "builtins", "pd")) or (name, owner) == ("compile", "re")
    if name in CALLS and not harmless:
        yield f"{name} {CALLS[name]}"
    if name == "load" and owner.split(".")[0] == "torch" and not _is(options.get("weights_only"), True):
        yield "torch.load without weights_only=True"
    if name == "load" and owner in ("np", "numpy") and not _is(options.get("allow_pickle"), False):
        yield "np.load without allow_pickle=False"
    if name in ("load", "load_all", "unsafe_load", "full_load") and owner == "yaml":
        yield "yaml.load; use safe_load"
    if name in ("compose", "parse", "scan") and owner == "yaml":
        loader = options.get("Loader")
        if loader is None or ast.unparse(loader) not in ("yaml.SafeLoader", "yaml.CSafeLoader"):
            yield "YAML without a safe loader"
    if "shell" in options and not _is(options["shell"], False):
        yield "a shell"
    if name in ("extractall", "extract") and owner and not _is(options.get("filter"), "data"):
        yield "unpacks an archive without filter='data'"
    if name == "import_module":
        yield "imports by name"
    if name == "load" and owner in ("joblib", "mlflow.pytorch", "mlflow.pyfunc"):
        yield f"{owner}.load unpickles"
    if name == "load_model":
        yield "loads a model with its code"


def _is(node: ast.expr | None, value: object) -> bool:
    return isinstance(node, ast.Constant) and (type(node.value), node.value) == (type(value), value)


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_nothing_turns_data_into_code(path: Path) -> None:
    place = str(path.relative_to(ROOT))
    found = [f"{place}:{line}: {reason}" for line, reason in findings(ast.parse(path.read_text(encoding="utf-8")))]
    expected = [EXCEPTIONS[place]] if place in EXCEPTIONS else []
    assert [each.rpartition(": ")[2] for each in found] == expected


@pytest.mark.parametrize(
    "line",
    [
        "import pickle",
        "from pickle import loads",
        "import cloudpickle as safe",
        "torch.load(path)",
        "torch.load(path, weights_only=False)",
        "np.load(path)",
        "np.load(path, allow_pickle=True)",
        "yaml.load(text)",
        "yaml.load(text, Loader=yaml.FullLoader)",
        "yaml.compose(text)",
        "eval(text)",
        "exec(text)",
        "builtins.exec(text)",
        "compile(text, '', 'exec')",
        "__import__(name)",
        "importlib.import_module(name)",
        "subprocess.run(text, shell=True)",
        "os.system(text)",
        "load_learner(path)",
        "fastai.learner.load_learner(path)",
        "pd.read_pickle(path)",
        "file.metadata.row_group(0).column(0)",
        "tar.extractall(folder)",
        "mlflow.pytorch.load_model(uri)",
    ],
)
def test_the_rule_sees_what_it_is_for(line: str) -> None:
    assert list(findings(ast.parse(line)))


@pytest.mark.parametrize(
    "line",
    [
        "model.eval()",
        "self.model.cpu().eval()",
        "re.compile('x')",
        "torch.load(path, weights_only=True)",
        "np.load(path, allow_pickle=False)",
        "yaml.safe_load(text)",
        "json.load(file)",
        "subprocess.run([git], check=False)",
        "tar.extractall(folder, filter='data')",
    ],
)
def test_the_rule_lets_pass_what_is_harmless(line: str) -> None:
    assert not list(findings(ast.parse(line)))
