"""What a hurried user gets wrong: exit status 2 and one line that names the value and what would be right."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest
from entry_points import Entry

from proxyflow.cli.app import COMMANDS

NOWHERE = "0123456789abcdef0123456789abcdef"


FILES = {
    "space.yaml": "learning_rate: {low: 0.001, high: 0.1, log: true}\n",
    "upside-down.yaml": "learning_rate: {low: 0.1, high: 0.001}\n",
    "one-value.yaml": "optimizer: [adam]\n",
    "no-high.yaml": "learning_rate: {low: 0.1}\n",
    "unknown-name.yaml": "learning_rte: [0.1, 0.2]\n",
    "grid-typo.yaml": "- {}\n- {learning_rte: 0.01}\n",
    "grid-value.yaml": "- {}\n- {optimizer: Adam}\n",
    "no-yaml.yaml": "- {}\n- {: [\n",
    "study-typo.yaml": "datasets: [digits]\nstrategy: [full]\n",
    "search-typo.yaml": "space: demo\nbudgt: 3\n",
    "numbers.csv": "x,y\n1,2\n",
}


@pytest.fixture
def files(store: str) -> None:
    """Files with a mistake each, in the working folder."""
    for name, text in FILES.items():
        Path(name).write_text(text)


# By entry point: the options, and what the message names: the value as it was typed, or what it is a part of.
WRONG: dict[str, list[tuple[str, str]]] = {
    "main": [
        ("--dataset imagenete", "dataset=imagenete"),
        ("--dataset folder:/no/where", "dataset=folder:/no/where"),
        ("--dataset digits@99999", "dataset=digits@99999"),
        ("--preset huge", "preset=huge"),
        ("--out /proc/nowhere", "out=/proc/nowhere"),
        ("--valid-examples 5", "valid_examples=5"),
        ("--study pets.yaml", "study=pets.yaml"),
        ("--epochs 2", "--epochs"),
    ],
    "score": [
        ("--dataset folder:/no/where", "dataset=folder:/no/where"),
        ("--precision tf32", "precision=tf32"),
        ("--holdout-folds 1", "holdout_folds=1"),
        ("--repeats 0", "repeats=0"),
        ("--early-epochs 2,x", "early_epochs=x"),
        ("--predictions nowhere.csv", "predictions=nowhere.csv"),
        ("--predictions numbers.csv --epochs 3", "epochs=3"),
        ("--predictions numbers.csv", "numbers.csv"),
        ("--held-out true", "held_out=true"),
    ],
    "materialize": [
        ("--strategy nothing", "strategy=nothing"),
        ("--strategy distilled:10", "strategy=distilled:10"),
        ("--strategy random:0.1+epochs:2", "strategy=random:0.1+epochs:2"),
        (f"--strategy easiest:0.1 --scores {NOWHERE}", f"scores={NOWHERE}"),
        ("--dataset folder:/proc/self/fd", "/proc/self/fd"),
        ("--seed -1", "seed=-1"),
    ],
    "distill": [
        ("--method magic", "method=magic"),
        ("--settings colour=red", "colour=red"),
        ("--settings width=0", "width=0"),
        ("--images-per-class 0", "images_per_class=0"),
        ("--iterations 0", "iterations=0"),
        ("--image-size 4", "image_size=4"),
    ],
    "train": [
        ("--dataset digit", "dataset=digit"),
        ("--dataset digits:/tmp", "dataset=digits:/tmp"),
        ("--dataset digits@5", "dataset=digits@5"),
        ("--dataset folder", "dataset=folder"),
        ("""--dataset '"folder:a,b"'""", "dataset=folder:a,b"),
        ("--dataset folder:/ --data-dir /proc/no", "/proc/no"),
        ("--strategy easyest:0.1", "easyest"),
        ("--strategy random:0", "F=0"),
        ("--strategy random:1.5", "F=1.5"),
        ("--strategy random:nan", "F=nan"),
        ("--strategy random", "F is missing"),
        ("--strategy easiest:0.1,by=colour", "by=colour"),
        ("--strategy hardest:0.1,drop=0.1", "drop=0.1"),
        ("--strategy classes:0,1", "classes:0+1"),
        ("--strategy distilled:0", "N=0"),
        ("--strategy distilled:1,method=magic", "method=magic"),
        ("--learning-rate abc", "learning_rate=abc"),
        ("--learning_rate -1", "learning_rate=-1"),
        ("--learning-rate inf", "learning_rate=inf"),
        ("--lerning-rate 1", "--lerning-rate"),
        ("--arch resnet50", "arch=resnet50"),
        ("--arch torchvision/vit_b_16 --image-size 8", "does not take images of 8 pixels"),
        ("--optimizer Adam", "optimizer=Adam"),
        ("--flip-probability 2", "flip_probability=2"),
        ("--epochs 2.5", "epochs=2.5"),
        ("--batch-size 1", "batch_size=1"),
        ("--precision fp16", "precision=fp16"),
        ("--precision tf32", "precision=tf32"),
        ("--precision bf16 --image-size 16", "precision=bf16"),
        ("--engine fastai --resume-training true", "resume_training=true"),
        ("--save-model maybe", "save_model=maybe"),
        ("--skip-bad perhaps", "skip_bad=perhaps"),
        ("--valid-examples 5", "valid_examples=5"),
        (f"--subset {NOWHERE}", f"subset={NOWHERE}"),
        ("""--subset "it's" """, "subset=it's"),
        (f"--strategy easiest:0.1 --scores {NOWHERE}", f"scores={NOWHERE}"),
        ("--config {learning_rate:0.1}", "config={learning_rate:0.1}"),
        ("--trainer program --program 'pythn train.py'", "program=pythn train.py"),
        ("--trainer program", "program is missing"),
        ("surplus", "surplus"),
    ],
    "sweep": [
        ("--datasets ''", "datasets is missing"),
        ("--datasets digits,cifar", "dataset=cifar"),
        ("--datasets 'folder:/no where'", "dataset=folder:/no where"),
        ("--strategies full,foo", "strategy=foo"),
        ("--strategies papr", "strategy=papr"),
        ("--strategies full,epochs:20", "epochs:20"),
        ("--grid large", "grid=large"),
        ("--grid nowhere.yaml", "grid=nowhere.yaml"),
        ("--grid grid-typo.yaml", "grid-typo.yaml: configuration 2: hyperparameter=learning_rte"),
        ("--grid grid-value.yaml", "grid-value.yaml: configuration 2: optimizer=Adam"),
        ("--grid no-yaml.yaml", "no-yaml.yaml is not YAML: line 2"),
        ("--study study-typo.yaml", "study-typo.yaml, line 2: key=strategy"),
        ("--seeds 0,x", "seeds=x"),
        ("--jobs 2", "jobs=2"),
        ("--executor slurm", "executor=slurm"),
        ("--max-cost-usd 5", "max_cost_usd=5"),
        ("--precision fp16", "precision=fp16"),
        ("--precision tf32", "precision=tf32"),
    ],
    "search": [
        ("--space upside-down.yaml", "upside-down.yaml: learning_rate.high=0.001"),
        ("--space one-value.yaml", "space=one-value.yaml"),
        ("--space unknown-name.yaml", "unknown-name.yaml: hyperparameter=learning_rte"),
        ("--space no-high.yaml", "no-high.yaml: learning_rate.high is missing"),
        ("--space nowhere.yaml", "space=nowhere.yaml"),
        ("--space nothing", "space=nothing"),
        ("--trainer program --program 'python -c 1'", "space is missing"),
        ("--ladder epochs:1", "ladder=epochs:1"),
        ("--ladder full,epochs:1", "ladder=full,epochs:1"),
        ("--ladder epochs:20,full", "epochs:20"),
        ("--ladder size:8,full --trainer program --program 'python -c 1' --space space.yaml", "strategy=size:8"),
        ("--budget 0.5", "budget=0.5"),
        ("--tolerance -1", "tolerance=-1"),
        ("--confirm 0", "confirm=0"),
        ("--candidates 1", "candidates=1"),
        ("--sampler magic", "sampler=magic"),
        ("--memory nobodys", "memory=nobodys"),
        ("--dataset digit", "dataset=digit"),
        ("--study search-typo.yaml", "search-typo.yaml, line 2: key=budgt"),
        ("--max-cost-usd 5", "max_cost_usd=5"),
    ],
    "check": [
        ("--strategies full", "strategies=full"),
        ("--strategies epochs:20", "strategy=epochs:20"),
        ("--strategies papr", "strategy=papr"),
        ("--strategies width:0.5 --trainer program --program 'python -c 1' --space space.yaml", "strategy=width:0.5"),
        ("--configurations 2", "configurations=2"),
        ("--tolerance -1", "tolerance=-1"),
        ("--space upside-down.yaml", "upside-down.yaml: learning_rate.high=0.001"),
        ("--space nowhere.yaml", "space=nowhere.yaml"),
        ("--memory nobodys", "memory=nobodys"),
        ("--trainer python:nowhere:train --space space.yaml", "trainer=python:nowhere:train"),
        ("--alternatives perhaps", "alternatives=perhaps"),
    ],
    "report": [
        ("--study nobodys", "study=nobodys"),
        ("--compare nobodys", "compare=nobodys"),
        ("--runs nowhere.csv", "nowhere.csv"),
        ("--runs numbers.csv", "numbers.csv"),
        ("--runs numbers.csv --compare pets", "compare=pets"),
        ("--cost-basis money", "cost_basis=money"),
        ("--good-fraction 0", "good_fraction=0"),
        ("--bootstrap -1", "bootstrap=-1"),
    ],
}


def test_every_command_is_asked_wrong_things() -> None:
    assert list(WRONG) == list(COMMANDS)
    assert all(len(rows) >= 4 for rows in WRONG.values())


@pytest.mark.parametrize(
    ("name", "typed", "named"), [(name, typed, named) for name, rows in WRONG.items() for typed, named in rows]
)
def test_wrong_input_is_refused_in_one_line_that_names_it(
    entry: Entry, files: None, name: str, typed: str, named: str
) -> None:
    from mlflow.tracking import MlflowClient

    def runs() -> int:
        client = MlflowClient()
        return len(client.search_runs([each.experiment_id for each in client.search_experiments()]))

    before = runs()
    ended = entry(name, *shlex.split(typed))
    assert ended.status == 2, ended.err
    # Of the data set, which some requests do not fit, a line may come before.
    told = [line for line in ended.err.splitlines() if not line.startswith("data set digits: ")]
    assert len(told) == 1, ended.err
    assert told[0].startswith("error: ")
    assert named in told[0]
    assert ended.out == ""
    assert runs() == before, "work was done for a wrong request"


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        (
            "main --dataset folder:/no/where",
            "dataset=folder:/no/where is not accepted: there is no such folder; give one that holds train/CLASS/*.jpg "
            "and val/CLASS/*.jpg, or CLASS/*.jpg",
        ),
        ("train --optimizer Adam", "optimizer=Adam is not accepted: it must be one of adam, sgd, rmsprop"),
        (
            "search --space upside-down.yaml",
            "upside-down.yaml: learning_rate.high=0.001 is not accepted: it must be above low, which is 0.1",
        ),
        (
            "search --space no-high.yaml",
            "no-high.yaml: learning_rate.high is missing: give low and high, or a list of values",
        ),
        (
            "search --space one-value.yaml",
            "space=one-value.yaml is not accepted: it has one configuration only: give a range, or a list of several "
            "values",
        ),
        (
            "search --budget 0.5",
            "budget=0.5 is not accepted: it must pay for one training on the full data at least: give 1 or more",
        ),
        (
            "sweep --grid grid-value.yaml",
            "grid-value.yaml: configuration 2: optimizer=Adam is not accepted: it must be one of adam, sgd, rmsprop",
        ),
        (
            "sweep --study study-typo.yaml",
            "study-typo.yaml, line 2: key=strategy is not accepted: did you mean strategies?",
        ),
        ("train --strategy random", "strategy=random is not accepted: F is missing; write random:F"),
        (
            "sweep --max-cost-usd 5",
            "max_cost_usd=5 is not accepted: give price_per_hour with it, in US dollars",
        ),
        (
            f"train --strategy easiest:0.1 --scores {NOWHERE}",
            f"scores={NOWHERE} does not exist on the tracking server: give the id of a finished score run",
        ),
    ],
)
def test_messages_give_the_value_the_rule_and_the_remedy(entry: Entry, files: None, typed: str, said: str) -> None:
    name, *options = shlex.split(typed)
    assert entry(name, *options).err == f"error: {said}\n"


NO_STUDIES = ("it's", " x", "a\nb", "\x1b[2J", "pets.yaml", "x/UP.YML")


@pytest.mark.parametrize("name", COMMANDS)
def test_a_name_that_no_study_can_have_is_refused_before_any_work(
    entry: Entry, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    from mlflow.tracking import MlflowClient

    from proxyflow.studies import context as context

    def work(*given: object) -> None:
        raise AssertionError("a data set was loaded for a study that cannot be")

    monkeypatch.setattr(context, "load_dataset", work)
    client = MlflowClient()
    deleted = f"deleted before {name}"
    client.delete_experiment(client.create_experiment(deleted))
    before = len(client.search_runs(["0"]))
    files = ("pets.yaml", "x/UP.YML")
    for study in (*NO_STUDIES, deleted):
        ended = entry(name, "--study", study)
        assert ended.status == 2, study
        assert ended.err.startswith("error: study="), ended.err
        assert (ended.err.count("\n"), ended.out) == (1, "")
    # The experiment that is active may have any name.
    for study in set(NO_STUDIES) - set(files):
        monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", study)
        assert entry(name, "--study", "auto").status == 2
    assert len(client.search_runs(["0"])) == before


def test_a_study_file_names_no_study_that_cannot_be(entry: Entry) -> None:
    Path("it's.yaml").write_text("epochs: 1\n")
    Path("named.yaml").write_text("epochs: 1\nstudy: it's\n")
    for file, place in (("it's.yaml", ""), ("named.yaml", "named.yaml, line 2, study: ")):
        ended = entry("sweep", "--study", file)
        assert ended.status == 2
        assert ended.err.startswith(f"error: {place}study=it's is not accepted")


def test_runs_of_another_kind_are_refused(entry: Entry) -> None:
    from mlflow.tracking import MlflowClient

    assert entry("materialize", "--strategy", "random:0.1").status == 0
    client = MlflowClient()
    subset = client.search_runs(["0"], "tags.`proxyflow.kind` = 'subset'")[0].info.run_id
    ended = entry("train", "--strategy", "easiest:0.1", "--scores", subset)
    assert ended.status == 2
    assert f"scores={subset} is a subset run, not a score run" in ended.err
    foreign = client.create_run("0").info.run_id
    ended = entry("train", "--subset", foreign)
    assert f"subset={foreign} is a foreign run, not a subset run" in ended.err
    client.set_tag(subset, "proxyflow.status", "interrupted")
    ended = entry("train", "--subset", subset)
    assert f"subset={subset} is interrupted, not finished" in ended.err
    report = entry("report", "--study", "Default")
    assert report.status == 2
    assert "study=Default has no training yet: run sweep with study=Default first" in report.err


def test_an_altered_subset_is_refused(entry: Entry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from mlflow.tracking import MlflowClient

    # A cache that another test filled would give the file as it was made, and so nothing to refuse.
    monkeypatch.setenv("PROXYFLOW_DATA_DIR", str(tmp_path))

    assert entry("materialize", "--strategy", "random:0.2", "--study", "altered").status == 0
    client = MlflowClient()
    experiment = client.get_experiment_by_name("altered")
    assert experiment
    run = client.search_runs([experiment.experiment_id])[0]
    path = Path(run.info.artifact_uri.removeprefix("file://")) / "subset" / "train-00000.parquet"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(bytes(data))
    ended = entry("train", "--subset", run.info.run_id, "--arch", "xresnet10-w16")
    assert ended.status == 2
    assert "was altered: it does not have the checksum" in ended.err
