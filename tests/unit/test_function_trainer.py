"""The user's function: found, known by its content, called, and contained whatever it does."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from proxyflow.core.errors import InvalidValue, Terminated, TrainingFailed
from proxyflow.data.catalog import DataOptions, load_dataset
from proxyflow.spaces.metric import Metric
from proxyflow.spaces.space import Space
from proxyflow.strategies import parse_strategy
from proxyflow.subsets import Subset, choose_subset
from proxyflow.trainers import FunctionTrainer, Job, TrainingResult, TrainingSpec
from proxyflow.trainers.function.source import digest_of_function, load_function, split_target
from proxyflow.trainers.reported import NothingReported

LOSS = Metric("loss", "minimize")
Write = Callable[[str, str], Path]


@pytest.fixture(scope="module")
def subset() -> Subset:
    return choose_subset(load_dataset("digits@50", DataOptions(), lambda text: None), parse_strategy("random:0.5"), 0)


@pytest.fixture
def write(tmp_path: Path) -> Iterator[Write]:
    """Writes a module; its imports are forgotten after the test."""
    modules, path = set(sys.modules), list(sys.path)

    def write(name: str, text: str) -> Path:
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        return file.parent

    yield write
    sys.path[:] = path
    for name in set(sys.modules) - modules:
        if str(tmp_path) in str(getattr(sys.modules[name], "__file__", "")):
            del sys.modules[name]


def train(function: Callable[[Any], Any], subset: Subset, metric: Metric = LOSS) -> TrainingResult:
    trainer = FunctionTrainer("", metric, function=function)
    spec = TrainingSpec(Space.around([], {"lr": 0.1}).configuration({"lr": 0.1}), 3, 0, trainer)
    return trainer.train(Job(spec, subset, torch.device("cpu"))).result


# Finding it.


@pytest.mark.parametrize(
    "target", ["", "train", ":main", "train:", "train.py:main", "a b:main", "train:main()", "a..b:c", "/x:y", "a:b:c"]
)
def test_what_names_no_function_is_refused(target: str) -> None:
    with pytest.raises(InvalidValue) as caught:
        split_target(target)
    assert (caught.value.name, caught.value.value) == ("trainer", f"python:{target}")


def test_functions_of_modules_packages_and_classes(write: Write) -> None:
    write("found_pkg/__init__.py", "")
    write("found_pkg/inner.py", "from . import other\nclass A:\n    @staticmethod\n    def main(job): return other.x")
    folder = write("found_pkg/other.py", "x = 5").parent
    assert load_function("found_pkg.inner:A.main", folder)(None) == 5
    write("found_plain.py", "import functools\nmain = functools.partial(lambda a, job: a, 7)\nlate = lambda job: 8")
    assert load_function("found_plain:main", folder)(None) == 7
    assert load_function("found_plain:late", folder)(None) == 8


BROKEN = {
    "missing": ("", "no_such_module_at_all:main"),
    "no such function": ("def other(job): ...", "broken_{n}:main"),
    "not callable": ("main = 5", "broken_{n}:main"),
    "syntax": ("def (", "broken_{n}:main"),
    "raises": ("1 / 0", "broken_{n}:main"),
    "a missing dependency": ("import no_such_dependency", "broken_{n}:main"),
    "a dependency whose name begins its own": ("import brok", "broken_{n}:main"),
    "exits": ("import argparse\nargparse.ArgumentParser().parse_args(['--no-such-option'])", "broken_{n}:main"),
    "no argument": ("def main(): ...", "broken_{n}:main"),
    "two arguments": ("def main(job, more): ...", "broken_{n}:main"),
    "keyword": ("def main(job, *, more): ...", "broken_{n}:main"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_function_that_cannot_be_called_is_refused(case: str, write: Write) -> None:
    text, target = BROKEN[case]
    number = list(BROKEN).index(case)
    folder = write(f"broken_{number}.py", text)
    with pytest.raises(InvalidValue) as caught:
        load_function(target.format(n=number), folder)
    assert caught.value.name == "trainer"
    assert "\n" not in str(caught.value)
    if "dependency" in case:
        assert text.removeprefix("import ") in str(caught.value), "it says what is missing"
        assert "no such module" not in str(caught.value)


def test_a_module_of_the_same_name_from_another_folder_is_not_taken_for_it(write: Write) -> None:
    one, two = (
        write("one/same_name.py", "def main(job): return 1"),
        write("two/same_name.py", "def main(job): return 2"),
    )
    assert load_function("same_name:main", one)(None) == 1
    with pytest.raises(InvalidValue) as caught:
        load_function("same_name:main", two)
    assert str(one) in str(caught.value)


def test_a_module_with_a_name_of_pythons_own_is_not_taken_for_it(write: Write) -> None:
    folder = write("json.py", "def main(job): return 1")
    with pytest.raises(InvalidValue):
        load_function("json:main", folder)


def test_a_module_that_was_edited_after_its_import_is_refused(write: Write) -> None:
    write("edited_helper.py", "x = 1")
    folder = write("edited.py", "import edited_helper\ndef main(job): return edited_helper.x")
    assert load_function("edited:main", folder)(None) == 1
    assert load_function("edited:main", folder)(None) == 1
    write("edited_helper.py", "x = 2 ")
    with pytest.raises(InvalidValue) as caught:
        load_function("edited:main", folder)
    assert "edited_helper.py" in str(caught.value)


def test_an_edit_is_a_new_experiment(write: Write) -> None:
    write("keyed_pkg/__init__.py", "")
    write("keyed_pkg/model.py", "x = 1")
    folder = write("keyed_pkg/fit.py", "from .model import x\ndef main(job): return x").parent
    trainer = FunctionTrainer("keyed_pkg.fit:main", LOSS, folder=folder)
    before = trainer.identity(None, None)  # type: ignore[arg-type]
    assert before == trainer.identity(None, None)  # type: ignore[arg-type]
    write("keyed_pkg/model.py", "x = 2")
    assert before != trainer.identity(None, None)  # type: ignore[arg-type]


def test_an_edit_of_a_module_on_the_path_is_a_new_experiment(
    write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write("library/helps_on_path.py", "x = 1")
    monkeypatch.syspath_prepend(str(write("library/on_path.py", "import helps_on_path\ndef main(job): return 1")))
    (tmp_path / "study").mkdir()
    trainer = FunctionTrainer("on_path:main", LOSS, folder=tmp_path / "study")
    files = trainer.identity(None, None)["files"]  # type: ignore[arg-type]
    assert set(files) == {"/on_path.py", "/helps_on_path.py"}
    write("library/helps_on_path.py", "x = 20")
    assert trainer.identity(None, None)["files"] != files  # type: ignore[arg-type]


@pytest.mark.parametrize("module", ["json", "pytest", "numpy"])
def test_modules_of_python_and_packages_are_not_the_users(module: str, tmp_path: Path) -> None:
    assert FunctionTrainer(f"{module}:x", LOSS, folder=tmp_path).identity(None, None)["files"] == {}  # type: ignore[arg-type]


def test_fidelities(write: Write) -> None:
    folder = write(
        "less.py", "def main(job): ...\nmain.fidelities = ('size',)\ndef bad(job): ...\nbad.fidelities = ['x']"
    )
    assert FunctionTrainer("less:main", LOSS, folder=folder).fidelities == {"data", "size"}
    with pytest.raises(InvalidValue) as caught:
        _ = FunctionTrainer("less:bad", LOSS, folder=folder).fidelities
    assert (caught.value.name, caught.value.value) == ("fidelities", "x")


# Knowing it.


def make(captured: Any, default: Any = 0) -> Callable[[Any], Any]:
    def fit(job: Any, more: Any = default) -> Any:
        return captured

    return fit


class Fit:
    def __init__(self, width: int) -> None:
        self.width = width

    def __call__(self, job: Any) -> int:
        return self.width

    def method(self, job: Any) -> int:
        return self.width


def other(job: Any) -> int:
    return 0


DIFFERENT: list[Callable[[Any], Any]] = [
    make(1), make(2), make("1"), make(1, default=1), make((1, ("a", 2))), make((1, ("a", 3))), make(other), make(make(5)),
    make(make(6)), functools.partial(make(1)), functools.partial(make(1), more=2), functools.partial(make(1), more=3),
    Fit(1), Fit(2), Fit(1).method, Fit(2).method, other, lambda job: 1, lambda job: 2, print,
]  # fmt: skip


def test_functions_that_do_something_else_have_other_digests() -> None:
    digests = [digest_of_function(function) for function in DIFFERENT]
    # Both lambdas are on one line, which is their source text.
    assert len(set(digests)) >= len(DIFFERENT) - 1


def test_the_same_function_has_the_same_digest() -> None:
    assert digest_of_function(make([1, 2])) == digest_of_function(make([1, 2]))
    assert digest_of_function(Fit(1)) == digest_of_function(Fit(1))
    assert digest_of_function(make(object())) == digest_of_function(make(object())), "no address is part of it"


def test_a_function_may_note_its_calls() -> None:
    calls: list[int] = []
    number = 0

    def fit(job: Any) -> None:
        nonlocal number
        number += 1
        calls.append(number)

    before = digest_of_function(fit), FunctionTrainer("", LOSS, function=fit)
    noted = before[1].identity(None, None)  # type: ignore[arg-type]
    calls.append(1)
    assert digest_of_function(fit) == before[0]
    fit(None)
    assert before[1].identity(None, None) == noted  # type: ignore[arg-type]


def test_a_function_without_source_text_is_known_by_its_code() -> None:
    functions = []
    for text in ("lambda job: [x for x in range(3)]", "lambda job: [x for x in range(4)]"):
        functions += [eval(text), eval(text)]
    digests = list(map(digest_of_function, functions))
    assert digests[0] == digests[1] != digests[2] == digests[3]


def test_a_function_that_refers_to_itself_has_a_digest() -> None:
    def fit(job: Any) -> Any:
        return fit if loop else None

    loop: list[Any] = []
    loop.append(loop)
    assert digest_of_function(fit)


# Calling it.


def test_a_result_without_epochs_is_of_the_last_one(subset: Subset) -> None:
    result = train(lambda job: {"loss": 0.5, "extra": 2, "steps": 7, "objective": 99}, subset)
    assert [(record.epoch, record.values["loss"]) for record in result.records] == [(3, 0.5)]
    assert result.steps == 7
    assert result.metrics["extra"] == 2
    assert result.objective == 0.5


def test_peak_memory_is_measured_unless_the_function_knows_better(subset: Subset) -> None:
    def fill(job: Any) -> dict[str, float]:
        return {"loss": float(torch.ones(2**24).mean())}  # 64 MB

    assert train(fill, subset).metrics["peak_memory_mb"] > 64
    assert train(lambda job: {"loss": 0.5, "peak_memory_mb": 3}, subset).metrics["peak_memory_mb"] == 3


def raises(error: BaseException) -> Callable[[Any], Any]:
    def fit(job: Any) -> None:
        job.report(epoch=1, loss=0.5)
        raise error

    return fit


@pytest.mark.parametrize(
    "error",
    [
        ValueError("a\nb"),
        MemoryError(),
        SystemExit(2),
        SystemExit("no data"),
        InvalidValue("x", 1, "no"),
        OSError(28, "full"),
    ],
)
def test_whatever_a_function_raises_fails_its_training(error: BaseException, subset: Subset) -> None:
    with pytest.raises(TrainingFailed) as caught:
        train(raises(error), subset)
    assert "test_function_trainer.py" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("error", [KeyboardInterrupt, Terminated])
def test_interruptions_go_through(error: type[BaseException], subset: Subset) -> None:
    with pytest.raises(error):
        train(raises(error()), subset)


def test_a_function_may_end_with_sys_exit(subset: Subset) -> None:
    assert train(raises(SystemExit(0)), subset).best == 0.5
    assert train(raises(SystemExit()), subset).best == 0.5


@pytest.mark.parametrize("returned", ["done", [1], object()])
def test_a_function_that_returns_no_number_fails_its_training(returned: Any, subset: Subset) -> None:
    with pytest.raises(TrainingFailed):
        train(lambda job: returned, subset)


def test_a_function_that_reports_nothing_is_told(subset: Subset) -> None:
    with pytest.raises(NothingReported):
        train(lambda job: None, subset)


def test_a_loss_that_is_not_finite_is_divergence(subset: Subset) -> None:
    assert train(lambda job: float("inf"), subset).diverged
    assert train(lambda job: {"loss": 1.0, "train_loss": float("nan")}, subset).diverged


def test_what_a_function_changes_stays_its_own(subset: Subset) -> None:
    before = subset.train.labels.copy()

    def fit(job: Any) -> float:
        job.train.labels[:] = 0
        job.config["lr"] = 5
        return 0.5

    train(fit, subset)
    assert (subset.train.labels == before).all()
