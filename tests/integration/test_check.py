"""A check says which proxies are safe to tune on: those that want the same configuration as everything does."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from entry_points import Ended, Entry
from mlflow.tracking import MlflowClient

import proxyflow as pf
from proxyflow.core.errors import InvalidValue, TrainingFailed
from proxyflow.tracking import names

SUPPORT = Path(__file__).parents[1] / "support"


@pytest.fixture(autouse=True)
def support(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(SUPPORT))


def check(entry: Entry, folder: Path, trainer: str, *more: str) -> Ended:
    (folder / "space.yaml").write_text("width: {low: 0.05, high: 0.95}\n")
    fixed = ("--trainer", f"python:user_functions:{trainer}", "--metric", "valid_accuracy", "--dataset", "digits@100")
    sizes = ("--space", str(folder / "space.yaml"), "--epochs", "8", "--memory", "none", "--study", folder.name)
    return entry("check", *fixed, *sizes, *more)


def test_a_proxy_that_agrees_is_safe(entry: Entry, tmp_path: Path) -> None:
    asked = ("--strategies", "random:0.6,epochs:2", "--alternatives", "false", "--tolerance", "1")
    done = check(entry, tmp_path, "classify", *asked)
    assert done.status == 0, done.err
    assert "Tuning on random:0.6 is safe" in done.out
    assert "Tuning on epochs:2 is safe" in done.out


def test_a_proxy_that_misleads_is_not_and_another_is_named(entry: Entry, tmp_path: Path) -> None:
    done = check(entry, tmp_path, "misled", "--strategies", "random:0.1", "--configurations", "12")
    assert done.status == 0, done.err
    assert "Tuning on random:0.1 is not" in done.out
    assert "Use epochs:2 instead" in done.out
    client = MlflowClient()
    experiment = client.get_experiment_by_name(tmp_path.name)
    assert experiment is not None
    [run] = client.search_runs([experiment.experiment_id], f"tags.`{names.KIND}` = 'report'")
    path = client.download_artifacts(run.info.run_id, "report/check.json", str(tmp_path))
    rows = {row["proxy"]: row for row in json.loads(Path(path).read_text())["proxies"]}
    assert rows["random:0.1"]["loss"] > 5 > rows["epochs:2"]["high"]
    assert run.data.metrics["expected_loss/random:0.1"] == pytest.approx(rows["random:0.1"]["loss"])
    # The same command trains nothing again.
    before = len(client.search_runs([experiment.experiment_id], f"tags.`{names.KIND}` = 'training'"))
    assert check(entry, tmp_path, "misled", "--strategies", "random:0.1", "--configurations", "12").status == 0
    assert len(client.search_runs([experiment.experiment_id], f"tags.`{names.KIND}` = 'training'")) == before == 48


def test_a_proxy_on_which_nothing_learns_is_said_to_rank_nothing(entry: Entry, tmp_path: Path) -> None:
    done = check(entry, tmp_path, "idle_on_few", "--strategies", "random:0.1", "--alternatives", "false")
    assert done.status == 0, done.err
    assert "none of its 10 trainings learned anything" in done.out


def test_a_check_that_was_stopped_says_nothing_of_proxies(entry: Entry, tmp_path: Path) -> None:
    done = check(entry, tmp_path, "classify", "--max-hours", "0.0000001")
    assert done.status == 1
    assert "run the same command to go on" in done.err
    assert "Tuning" not in done.out


def test_a_dry_run_tells_what_would_be_trained(entry: Entry, tmp_path: Path) -> None:
    done = check(entry, tmp_path, "classify", "--strategies", "random:0.6", "--alternatives", "false", "--dry-run")
    assert done.status == 0, done.err
    assert "20 runs, 20 to do" in done.out
    assert MlflowClient().get_experiment_by_name(tmp_path.name) is None


def test_what_is_lost_of_a_loss_is_told_in_its_own_unit(
    store: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)

    def train(job: Any) -> None:
        wanted = 0.7 if len(job.train) > 100 else 0.1  # few examples mislead
        job.report(epoch=1, valid_loss=5 + 10 * (job.config["width"] - wanted) ** 2)

    space = {"width": {"low": 0.05, "high": 0.95}}
    fixed: dict[str, Any] = {"space": space, "labels": ["cat", "dog"] * 300, "metric": "valid_loss"}
    checked = pf.check(train, **fixed, alternatives=False, name=tmp_path.name)
    assert checked.unit == "in loss"
    assert 0.3 < checked.table.set_index("proxy").loc["random:0.1", "loss"] < 5  # 3.6 if it chose .1
    assert "loses in loss [95 %]" in str(checked)
    assert "in per cent of the spread of values" in str(checked)
    assert "No other proxy" not in str(checked)


def test_a_check_in_python(store: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    trained: list[float] = []

    def train(job: Any) -> None:
        trained.append(job.config["width"])
        wanted = 0.7 if len(job.train) > 100 else 0.1  # few examples mislead
        for epoch in range(1, job.epochs + 1):
            job.report(epoch=epoch, valid_accuracy=0.9 - 0.5 * (job.config["width"] - wanted) ** 2)

    fixed: dict[str, Any] = {"space": {"width": {"low": 0.05, "high": 0.95}}, "labels": ["cat", "dog"] * 300}

    def run(**arguments: Any) -> Any:
        return pf.check(
            train, strategies=["random:0.1", "random:0.5"], epochs=4, name=tmp_path.name, **fixed | arguments
        )

    checked = run()
    # Ten configurations on both proxies, on the two rungs of a search without widths, and on everything.
    assert len(trained) == 50
    assert list(checked.table["proxy"])[-1] == "full"
    assert set(checked.table["proxy"]) == {"random:0.1", "random:0.5", "epochs:1", "random:0.4+epochs:1", "full"}
    assert list(checked.table["cost"]) == sorted(checked.table["cost"])
    rows = checked.table.set_index("proxy")
    assert rows.loc["random:0.1", "loss"] > 5 > rows.loc["random:0.5", "high"]
    assert (rows["low"] <= rows["loss"]).all()
    assert (rows["loss"] <= rows["high"]).all()
    assert checked.unit == "points"
    assert len(checked.verdict) == 2
    assert checked.cheapest_safe == next(name for name, row in rows.iterrows() if row["safe"])
    assert not rows.loc["random:0.1", "safe"]
    assert all(sentence in str(checked) for sentence in checked.verdict)
    again = run()
    assert len(trained) == 50, "finished trainings are found again"
    assert str(again) == str(checked)
    assert run(alternatives=False, tolerance=0).cheapest_safe is None
    wrong: list[tuple[str, dict[str, Any]]] = [
        ("labels", {"dataset": "digits"}),
        ("space", {"space": {"width": [0.1]}}),
        ("strategies", {"strategies": "full"}),
        ("strategy", {"strategies": "epochs:9"}),
        ("configurations", {"configurations": 2}),
        ("tolerance", {"tolerance": -1}),
        ("epochs", {"epochs": 0}),
        ("study", {"name": " "}),
    ]
    for name, arguments in wrong:
        with pytest.raises(InvalidValue) as caught:
            pf.check(train, **{**fixed, **arguments})
        assert caught.value.name == name
    assert len(trained) == 50


@pytest.mark.parametrize(("tolerance", "tried"), [(100, False), (0, True)])
def test_what_costs_more_than_what_is_asked_about_is_tried_only_if_nothing_cheaper_is_safe(
    store: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tolerance: float, tried: bool
) -> None:
    monkeypatch.chdir(tmp_path)
    trained: list[tuple[int, int]] = []

    def train(job: Any) -> None:
        trained.append((job.epochs, len(job.train)))
        job.report(epoch=1, valid_accuracy=0.9 - 0.5 * (job.config["width"] - 0.4) ** 2)

    checked = pf.check(
        train,
        space={"width": {"low": 0.05, "high": 0.95}},
        labels=["cat", "dog"] * 300,
        epochs=4,
        tolerance=tolerance,
        name=tmp_path.name,
    )
    costs = checked.table.set_index("proxy")["cost"]
    assert ("epochs:1" in costs) is tried
    assert costs["random:0.4+epochs:1"] < 0.15, "what costs as much is tried at once"
    assert len(trained) == len(set(trained)) * 10 == 10 * len(costs), "and nothing is trained twice"


def test_a_check_whose_trainings_fail_says_so(store: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)

    def broken(job: Any) -> float:
        raise ValueError("no such layer")

    with pytest.raises(TrainingFailed):
        pf.check(broken, space={"a": [1, 2, 3]}, labels=["cat", "dog"] * 300, name=tmp_path.name)
