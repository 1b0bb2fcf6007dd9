"""Names of any length and any letters fit wherever they are sent, stay apart, and are kept in full."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mlflow.store.tracking.dbmodels import models
from mlflow.utils import validation

from proxyflow.core import platform
from proxyflow.core.errors import InvalidValue
from proxyflow.reporting.run import check_out, folder_of
from proxyflow.strategies import parse_strategy
from proxyflow.strategies.base import LONGEST_SPELLING
from proxyflow.tracking import names
from proxyflow.tracking.delivery.background import BackgroundLogger
from proxyflow.tracking.delivery.write_ahead_log import WriteAheadLog
from proxyflow.tracking.runs.run import Run, format_tags
from proxyflow.tracking.ui.links import LONGEST_NAME, escape_markdown

CLASSES = "+".join(map(str, range(83)))
LENGTHS = (names.KEY_LENGTH, names.RUN_NAME_LENGTH, names.PARAM_LENGTH, names.INPUT_LENGTH, names.TAG_LENGTH)
printable_text = st.text(st.characters(exclude_categories=["C"]))


@given(printable_text, st.sampled_from([24, 60, 150, 200, 250]), st.sampled_from([len, names.utf8_length]))
def test_what_fits_stays_and_what_does_not_is_shortened(text: str, longest: int, size: type[len]) -> None:  # type: ignore[valid-type]
    for given_text in (text, text * 40):
        short = names.shorten(given_text, longest, size)
        assert size(short) <= longest
        assert (short == given_text) == (size(given_text) <= longest)
        assert names.shorten(short, longest, size) == short


@pytest.mark.parametrize("longest", LENGTHS)
def test_names_that_differ_anywhere_stay_apart(longest: int) -> None:
    text = "x" * 2 * longest
    different = [text[:n] + "y" + text[n + 1 :] for n in range(0, len(text), 7)] + [text, text + "x"]
    assert len({names.shorten(each, longest) for each in different}) == len(different)


@pytest.mark.parametrize("n", [1, 5000, 5001, 23_456])
def test_the_full_value_is_in_tags(n: int) -> None:
    text = "".join(chr(97 + i % 26) for i in range(n))
    tags = names.full_value_tags(text, 500)
    assert all(len(value) <= names.TAG_LENGTH for value in tags.values())
    assert "".join(tags.values()) == (text if n > 500 else "")
    for key in tags:  # the digest in a shortened name leads to it
        assert key.removeprefix(names.FULL_VALUE).partition(".")[0] in names.shorten(text, 500)


def test_limits_are_those_of_mlflow_and_its_tables() -> None:
    assert names.KEY_LENGTH <= validation.MAX_ENTITY_KEY_LENGTH
    assert names.PARAM_LENGTH <= validation.MAX_PARAM_VAL_LENGTH
    assert names.TAG_LENGTH <= validation.MAX_TAG_VAL_LENGTH
    assert names.INPUT_LENGTH <= validation.MAX_DATASET_NAME_SIZE
    assert names.STUDY_LENGTH <= validation.MAX_EXPERIMENT_NAME_LENGTH
    for column, limit in (
        (models.SqlRun.name, names.RUN_NAME_LENGTH),
        (models.SqlExperiment.name, names.STUDY_LENGTH),
        (models.SqlTag.key, names.KEY_LENGTH),
        (models.SqlTag.value, names.TAG_LENGTH),
        (models.SqlMetric.key, names.KEY_LENGTH),
        (models.SqlParam.key, names.KEY_LENGTH),
        (models.SqlParam.value, names.PARAM_LENGTH),
        (models.SqlDataset.name, names.INPUT_LENGTH),
    ):
        assert limit <= column.type.length
    assert LONGEST_SPELLING <= names.TAG_LENGTH


ODD = ["", ".", "..", "...", "a/b", "../x", "/x", "a,b=c", "a\n", "’", " ", f"classes:{CLASSES}", "x" * 1000, "/" * 400]


@pytest.mark.parametrize("strategy", ODD)
@pytest.mark.parametrize("measure", ["r2", "expected_regret_of_means"])
def test_mlflow_takes_the_metric_of_any_strategy(measure: str, strategy: str, monkeypatch: pytest.MonkeyPatch) -> None:
    validation._validate_metric(names.quality_metric_name(measure, strategy), 0.5, 0, 0)
    monkeypatch.setattr(validation, "is_windows", lambda: True)
    monkeypatch.setattr(platform.os, "name", "nt")
    name = names.quality_metric_name(measure, strategy)
    monkeypatch.undo()
    validation._validate_metric(name, 0.5, 0, 0)
    assert ":" not in name


@given(printable_text)
def test_mlflow_takes_the_metric_of_any_text(strategy: str) -> None:
    validation._validate_metric(names.quality_metric_name("r2", strategy), 0.5, 0, 0)


def test_a_strategys_metrics_share_its_short_name() -> None:
    found = {
        names.quality_metric_name(measure, f"classes:{CLASSES}").partition("/")[2]
        for measure in ("r2", "relative_cost")
    }
    assert len(found) == 1


@pytest.mark.parametrize("n", [10, 250, 5000, 12_000])
def test_every_tag_fits_and_long_ones_are_kept(n: int) -> None:
    value = "ab " * (n // 3)
    tags = format_tags({names.DATASET: value, names.RUN_NAME: value, names.DESCRIPTION: value, names.ERROR: None})
    assert names.ERROR not in tags
    assert len(tags[names.RUN_NAME]) <= names.RUN_NAME_LENGTH
    for key, text in tags.items():
        validation._validate_tag(key, text)
        assert len(text) <= names.TAG_LENGTH
    assert value in (tags[names.DATASET], "".join(v for k, v in tags.items() if k.startswith(names.FULL_VALUE)))


class Sent:
    """Stands for the client of a run without params, and keeps what is sent to it."""

    def __init__(self) -> None:
        self.inputs: list[object] = []
        self.params: dict[str, str] = {}
        self.tags: dict[str, str] = {}
        self.metrics: list[str] = []

    def log_inputs(self, run_id: str, datasets: list[object]) -> None:
        for each in datasets:
            validation._validate_dataset_inputs([each])
            self.inputs.append(each)

    def log_batch(
        self, run_id: str, metrics: list[object], params: list[object], tags: list[object], synchronous: bool
    ) -> None:
        validation._validate_batch_log_data(metrics, params, tags)
        self.params |= {each.key: each.value for each in params}  # type: ignore[attr-defined]
        self.tags |= {each.key: each.value for each in tags}  # type: ignore[attr-defined]
        self.metrics += [each.key for each in metrics]  # type: ignore[attr-defined]


def test_a_run_sends_nothing_that_is_too_long(store: str) -> None:
    client, long = Sent(), "x" * 900
    run = Run(client, "0" * 32, "mine")  # type: ignore[arg-type]
    run._existing_params = {}
    run._logger = BackgroundLogger(lambda record: _write(client, record), WriteAheadLog(None, "me"))
    run.log_params({"strategy": long, "n": 3})
    run.log_metrics({long: 1.0})
    run.log_data(long, "f" * 64, "training", 3, 2)
    run._logger.flush()
    run._logger.close()
    assert len(client.params["strategy"]) == names.PARAM_LENGTH
    assert client.params["n"] == "3"
    assert long in client.tags.values()
    assert [len(name) for name in client.metrics] == [names.KEY_LENGTH]
    (made,) = client.inputs
    assert len(made.dataset.name) == names.INPUT_LENGTH  # type: ignore[attr-defined]
    assert json.loads(made.dataset.source)["tags"]["proxyflow"] == long  # type: ignore[attr-defined]


def _write(client: Sent, record: object) -> None:
    from proxyflow.tracking.delivery.background import write_record

    write_record(client, "0" * 32, record)  # type: ignore[arg-type]


@pytest.mark.parametrize("study", ["x" * 256, "数" * 256, "a:" * 128, "😀" * 100, "short"])
def test_a_reports_folder_has_a_name_that_file_systems_take(study: str, tmp_path: Path) -> None:
    folder = check_out(str(tmp_path), study)
    assert folder == folder_of(str(tmp_path), study)
    assert len(folder.name.encode()) <= names.FILE_BYTES
    assert folder != folder_of(str(tmp_path), study[:-1] + "y")


def test_a_description_has_short_names() -> None:
    assert len(escape_markdown("x" * 1000)) == LONGEST_NAME


def test_a_spelling_that_no_tag_holds_is_refused() -> None:
    longest = "+".join(map(str, range(1220)))
    assert len(f"classes:{longest}") <= LONGEST_SPELLING
    assert parse_strategy(f"classes:{longest}").canonical == f"classes:{longest}"
    with pytest.raises(InvalidValue) as caught:
        parse_strategy(f"classes:{longest}+{'+'.join(map(str, range(1220, 1300)))}")
    assert caught.value.name == "strategy"
