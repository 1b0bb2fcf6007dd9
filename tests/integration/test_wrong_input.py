"""What a hurried user gets wrong: exit status 2 and one line that names the value and what would be right."""

from __future__ import annotations

from pathlib import Path

import pytest
from entry_points import Entry

NOWHERE = "0123456789abcdef0123456789abcdef"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["train", "--dataset", "digit"], ["dataset=digit", "did you mean digits"]),
        (["train", "--strategy", "easyest:0.1"], ["easyest", "did you mean easiest"]),
        (["train", "--strategy", "random:0"], ["F=0", "above 0 and at most 1"]),
        (["train", "--strategy", "random:1.5"], ["F=1.5", "above 0 and at most 1"]),
        (["train", "--strategy", "random:nan"], ["F=nan", "above 0 and at most 1"]),
        (["train", "--strategy", "random"], ["F is missing", "random:F"]),
        (["train", "--strategy", "easiest:0.1,by=colour"], ["by=colour", "loss, margin"]),
        (["train", "--strategy", "hardest:0.1,drop=0.1"], ["drop=0.1", "below F=0.1"]),
        (["train", "--learning-rate", "abc"], ["learning_rate=abc", "above 0"]),
        (["train", "--learning_rate", "-1"], ["learning_rate=-1", "above 0"]),
        (["train", "--learning-rate", "inf"], ["learning_rate=inf"]),
        (["train", "--arch", "resnet50"], ["arch=resnet50", "xresnet18"]),
        (["report", "--runs", "nowhere.csv"], ["nowhere.csv", "No such file", "give the runs.csv of a report"]),
        (["report", "--runs", "runs.csv", "--compare", "pets"], ["compare=pets", "leave out runs"]),
        (["train", "--optimizer", "Adam"], ["optimizer=Adam", "adam, sgd, rmsprop"]),
        (["train", "--flip-probability", "2"], ["flip_probability=2", "at most 1"]),
        (["train", "--epochs", "2.5"], ["epochs=2.5", "whole number"]),
        (["train", "--batch-size", "1"], ["batch_size=1", "at least 2"]),
        (["train", "--precision", "fp16"], ["precision=fp16", "bf16"]),
        (["train", "--precision", "tf32"], ["precision=tf32", "fp32"]),
        (["score", "--precision", "tf32"], ["precision=tf32", "fp32"]),
        (["train", "--precision", "bf16", "--image-size", "16"], ["precision=bf16", "16 pixels", "fp32"]),
        (["train", "--engine", "fastai", "--resume-training", "true"], ["resume_training=true", "engine=fast"]),
        (["train", "--save-model", "maybe"], ["save_model=maybe", "true or false"]),
        (["train", "--subset", NOWHERE], [f"subset={NOWHERE}", "does not exist"]),
        (["train", "--subset", "it's"], ["subset=it's"]),
        (["train", "--strategy", "easiest:0.1", "--scores", NOWHERE], [f"scores={NOWHERE}", "does not exist"]),
        (["train", "--lerning-rate", "1"], ["--lerning-rate", "--learning-rate"]),
        (["train", "surplus"], ["surplus"]),
        (["materialize", "--strategy", "nothing"], ["strategy=nothing", "known are"]),
        (["materialize", "--strategy", "distilled:10"], ["strategy=distilled:10", "selects none", "distill"]),
        (["train", "--strategy", "distilled:0"], ["N=0", "at least 1"]),
        (["train", "--strategy", "distilled:1,method=magic"], ["method=magic", "gradient-steps"]),
        (["distill", "--method", "magic"], ["method=magic", "distribution-matching"]),
        (["distill", "--settings", "colour=red"], ["colour=red", "settings of distribution-matching are iterations"]),
        (["distill", "--settings", "width=0"], ["width=0", "at least 1"]),
        (["distill", "--images-per-class", "0"], ["images_per_class=0", "at least 1"]),
        (["distill", "--iterations", "0"], ["iterations=0", "auto, or"]),
        (["score", "--holdout-folds", "1"], ["holdout_folds=1", "use 0, or 2"]),
        (["score", "--repeats", "0"], ["repeats=0", "at least 1"]),
        (["sweep", "--datasets", ""], ["datasets=", "at least one"]),
        (["sweep", "--datasets", "digits,cifar"], ["dataset=cifar", "known are digits"]),
        (["sweep", "--strategies", "full,foo"], ["strategy=foo"]),
        (["sweep", "--strategies", "full,epochs:20"], ["epochs:20", "epochs=20"]),
        (["sweep", "--grid", "large"], ["grid=large", "paper, paper-narrow, demo", ".yaml"]),
        (["sweep", "--grid", "no.yaml"], ["grid=no.yaml", "no such file"]),
        (["sweep", "--seeds", "0,x"], ["seeds=x", "whole number"]),
        (["sweep", "--jobs", "2"], ["jobs=2", "jobs may be at most 1"]),
        (["sweep", "--executor", "slurm"], ["executor=slurm", "local"]),
        (["sweep", "--max-cost-usd", "5"], ["max_cost_usd=5", "price_per_hour"]),
        (["report", "--study", "nobodys"], ["study=nobodys", "does not exist"]),
        (["report", "--compare", "nobodys"], ["compare=nobodys", "does not exist"]),
        (["train", "--dataset", '"folder:a,b"'], ["no quotes are needed", "dataset=folder:a,b"]),
        (["train", "--strategy", "classes:0,1"], ["write classes:0+1"]),
        (["train", "--valid-examples", "5"], ["valid_examples=5", "give at least 10"]),
        (["report", "--cost-basis", "money"], ["cost_basis=money", "train_seconds"]),
        (["report", "--good-fraction", "0"], ["good_fraction=0", "above 0"]),
        (["main", "--out", "/proc/nowhere"], ["out=/proc/nowhere", "cannot be written"]),
        (["sweep", "--precision", "fp16"], ["precision=fp16"]),
        (["sweep", "--precision", "tf32"], ["precision=tf32", "fp32"]),
        (["sweep", "--strategies", "papr"], ["strategy=papr", "lists demo, paper"]),
        (["main", "--preset", "huge"], ["preset=huge", "demo"]),
        (["train", "--dataset", "digits:/tmp"], ["dataset=digits:/tmp", "takes no path"]),
        (["train", "--dataset", "digits@5"], ["dataset=digits@5", "one example per class (10)", "all (1,297)"]),
        (["main", "--dataset", "digits@99999"], ["dataset=digits@99999", "fewer than all (1,297)"]),
        (["train", "--dataset", "folder"], ["dataset=folder", "folder:PATH"]),
        (["score", "--dataset", "folder:/no/where"], ["dataset=folder:/no/where", "no such folder", "train/CLASS"]),
        (["materialize", "--dataset", "folder:/proc/self/fd"], ["/proc/self/fd", "no class folders"]),
        (["sweep", "--datasets", "folder:/no where"], ["dataset=folder:/no where"]),
        (["train", "--skip-bad", "perhaps"], ["skip_bad=perhaps", "true or false"]),
        (["train", "--dataset", "folder:/", "--data-dir", "/proc/no"], ["/proc/no", "PROXYFLOW_CACHE_DIR"]),
    ],
)
def test_wrong_input_is_said_in_one_line(entry: Entry, arguments: list[str], said: list[str]) -> None:
    ended = entry(*arguments)
    assert ended.status == 2
    assert ended.err.count("\n") == 1, ended.err
    assert ended.err.startswith("error: ")
    for words in said:
        assert words in ended.err
    assert ended.out == ""


NO_STUDIES = ("it's", " x", "a\nb", "\x1b[2J", "pets.yaml", "x/UP.YML")


@pytest.mark.parametrize("name", ["main", "score", "materialize", "distill", "train", "sweep", "report"])
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
