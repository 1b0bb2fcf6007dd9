"""An edit of any file of a program is seen; files of others, and what cannot be read, change nothing."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from proxyflow.core.errors import InvalidValue
from proxyflow.trainers.program.files import is_mlflow_run, watched_files

Files = dict[str, str]
Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Writes files of a project, by name."""

    def write(files: Files, folder: str = "project") -> Path:
        for name, text in files.items():
            path = tmp_path / folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        return tmp_path / folder

    return write


IMPORTS: dict[str, tuple[Files, list[str], set[str]]] = {
    "a module and what it imports": (
        {"fit.py": "import a", "a.py": "from b import x", "b.py": "", "c.py": ""},
        ["python", "fit.py"],
        {"fit.py", "a.py", "b.py"},
    ),
    "modules beside the script": (
        {"src/fit.py": "import a", "src/a.py": "", "a2.py": ""},
        ["python", "src/fit.py"],
        {"src/fit.py", "src/a.py"},
    ),
    "a folder without __init__": (
        {"fit.py": "import models\nfrom models.net import Net\nimport other", "models/net.py": "", "other.py": ""},
        ["python", "fit.py"],
        {"fit.py", "models/net.py", "other.py"},
    ),
    "packages": (
        {"fit.py": "from pkg import a", "pkg/__init__.py": "from . import b", "pkg/a.py": "", "pkg/b.py": ""},
        ["python", "fit.py"],
        {"fit.py", "pkg/__init__.py", "pkg/a.py", "pkg/b.py"},
    ),
    "python -m with relative imports": (
        {
            "pkg/__init__.py": "",
            "pkg/fit.py": "from . import a\nfrom .b import x\nfrom ..up import y",
            "pkg/a.py": "",
            "pkg/b.py": "",
            "up.py": "",
        },
        ["python", "-m", "pkg.fit"],
        {"pkg/__init__.py", "pkg/fit.py", "pkg/a.py", "pkg/b.py"},
    ),
    "a package that runs": (
        {"pkg/__init__.py": "", "pkg/__main__.py": "from .deep.net import x", "pkg/deep/net.py": ""},
        ["python", "-m", "pkg"],
        {"pkg/__init__.py", "pkg/__main__.py", "pkg/deep/net.py"},
    ),
    "imports in functions": (
        {"fit.py": "def f():\n    try:\n        import a\n    except ImportError:\n        pass", "a.py": ""},
        ["python", "fit.py"],
        {"fit.py", "a.py"},
    ),
    "a syntax error in one module": (
        {"fit.py": "import a\nimport b", "a.py": "def (", "b.py": ""},
        ["python", "fit.py"],
        {"fit.py", "a.py", "b.py"},
    ),
    "modules that import each other": (
        {"fit.py": "import a", "a.py": "import b", "b.py": "import a, fit"},
        ["python", "fit.py"],
        {"fit.py", "a.py", "b.py"},
    ),
    "another module of Python": (
        {"fit.py": "import os, numpy.random", "numpy.txt": ""},
        ["python", "fit.py"],
        {"fit.py"},
    ),
    "files that are named": (
        {"fit.py": "", "my config.yaml": "", "b.yaml": ""},
        ["python", "fit.py", "--config", "my config.yaml", "--lr={lr}", "x" * 5000, "a\0b"],
        {"fit.py", "my config.yaml"},
    ),
    "no module": ({"a.py": ""}, ["python", "-m", "", "-m", "..", "-m", "/a", "-m"], set()),
    "a project": (
        {"p/MLproject": "", "p/src/fit.py": "", "p/conda.yaml": "", "p/data.bin": "", "p/.venv/a.py": ""},
        ["mlflow", "run", "p", "-P", "lr={lr}"],
        {"p/MLproject", "p/src/fit.py", "p/conda.yaml"},
    ),
}


@pytest.mark.parametrize("case", IMPORTS)
def test_the_files_of_a_program(case: str, write: Write) -> None:
    files, words, expected = IMPORTS[case]
    folder = write(files)
    assert set(watched_files(words, folder, ())) == expected


def test_an_edit_of_an_imported_module_is_seen_in_the_same_process(write: Write) -> None:
    folder = write({"fit.py": "import a", "a.py": "x = 1", "late.py": ""})
    first = watched_files(["python", "fit.py"], folder, ())
    write({"a.py": "x = 1  # more"})
    second = watched_files(["python", "fit.py"], folder, ())
    assert first["fit.py"] == second["fit.py"]
    assert first["a.py"] != second["a.py"]
    write({"a.py": "import late  # now"})
    assert "late.py" in watched_files(["python", "fit.py"], folder, ())
    (folder / "a.py").unlink()
    assert set(watched_files(["python", "fit.py"], folder, ())) == {"fit.py"}


def test_files_elsewhere_with_the_same_name_are_told_apart(write: Write) -> None:
    folder = write({"train.py": ""})
    one, two = write({"train.py": "1"}, "one") / "train.py", write({"train.py": "2"}, "two") / "train.py"
    words = ["python", "train.py", str(one), str(two)]
    seen = [watched_files(words, folder, ())]
    for path in (folder / "train.py", one, two):
        path.write_text(path.read_text() + "edited")
        seen.append(watched_files(words, folder, ()))
    assert len({tuple(sorted(each.items())) for each in seen}) == 4


def test_what_is_outside_of_the_folder_does_not_depend_on_the_machine(write: Write) -> None:
    words = [(write({"tool.py": "1"}, place) / "tool.py").as_posix() for place in ("here", "there")]
    folder = write({"a": ""})
    assert watched_files(words[:1], folder, ()) == watched_files(words[1:], folder, ())


def test_a_link_to_a_script_is_followed_to_its_modules(write: Write) -> None:
    real = write({"fit.py": "import a", "a.py": "1"}, "real")
    folder = write({"other.py": ""})
    (folder / "run.py").symlink_to(real / "fit.py")
    before = watched_files(["python", "run.py"], folder, ())
    (real / "a.py").write_text("12")
    assert watched_files(["python", "run.py"], folder, ()) != before


def test_patterns(write: Write) -> None:
    folder = write({"conf/a.yaml": "", "conf/deep/b.yaml": "", ".git/c.yaml": "", "ünïcode name.txt": ""})
    assert set(watched_files([], folder, ["conf/**/*.yaml"])) == {"conf/a.yaml", "conf/deep/b.yaml"}
    assert set(watched_files([], folder, ["**/*.yaml", "ü*"])) == {
        "conf/a.yaml",
        "conf/deep/b.yaml",
        "ünïcode name.txt",
    }


@pytest.mark.parametrize("pattern", ["*.nothing", "conf", "/etc/*", "a**b", ".git/*"])
def test_a_pattern_that_is_none_is_refused(pattern: str, write: Write) -> None:
    folder = write({"conf/a.yaml": "", ".git/c.yaml": ""})
    with pytest.raises(InvalidValue) as caught:
        watched_files([], folder, [pattern])
    assert (caught.value.name, caught.value.value) == ("watch", pattern)


def test_a_pattern_that_matches_everything_is_refused(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("proxyflow.trainers.program.files.MOST_FILES", 2)
    folder = write({"a": "", "b": "", "c": ""})
    with pytest.raises(InvalidValue) as caught:
        watched_files([], folder, ["*"])
    assert caught.value.name == "watch"


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["mlflow", "run", "."], True),
        (["/usr/bin/mlflow", "run", "git@x:y"], True),
        (["python3", "-m", "mlflow", "run", "."], True),
        (["mlflow", "models", "run"], False),
        (["python", "mlflow", "run"], False),
        (["run"], False),
        ([], False),
    ],
)
def test_mlflow_projects_are_recognized(words: list[str], expected: bool) -> None:
    assert is_mlflow_run(words) is expected
