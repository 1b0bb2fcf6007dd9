"""Descriptions are Markdown to the MLflow UI: names in them stay names, and links lead to a run wherever it is."""

from __future__ import annotations

from types import SimpleNamespace
from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient

from proxyflow.tracking.ui.links import Links, escape_markdown, paragraphs, run_path


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("fashion-mnist@6000", "fashion-mnist@6000"),
        ("hardest:0.5,drop=0.05", "hardest:0.5,drop=0.05"),
        ("easiest:0.1,by=el2n_epoch_2", r"easiest:0.1,by=el2n\_epoch\_2"),
        ("[x](javascript:alert(1))", r"\[x\](javascript:alert(1))"),
        ("<b>&", "&lt;b&gt;&amp;"),
        ("`a`\n\n# b", r"\`a\` \# b"),
        ("http://www.x.y", r"http\://www\.x.y"),
    ],
)
def test_a_name_means_nothing_to_markdown(name: str, shown: str) -> None:
    assert escape_markdown(name) == shown


@given(st.text())
def test_no_name_makes_a_tag_or_a_line(name: str) -> None:
    shown = escape_markdown(name)
    assert not set(shown) & set("<>\n\r")


class Server:
    """Knows one run, and refuses to tell of others."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def get_run(self, run_id: str) -> SimpleNamespace:
        self.asked.append(run_id)
        if run_id != "known":
            raise MlflowException("no such run")
        return SimpleNamespace(info=SimpleNamespace(experiment_id="7"))


def test_a_link_leads_to_the_run_s_own_experiment_and_asks_once() -> None:
    server = Server()
    links = Links(cast(MlflowClient, server))
    path = "#/experiments/7/runs/known?workflowType=machine_learning"
    assert links.run("it", "known") == links.run("it", "known") == f"[it]({path})"
    assert server.asked == ["known"]


def test_a_link_to_a_run_that_nobody_tells_of_is_still_one() -> None:
    assert Links(cast(MlflowClient, Server())).run("it", "gone") == "[it](#/runs/gone)"


def test_an_artifact_has_a_place_of_its_own() -> None:
    assert run_path("7", "ab", "report/index.html") == (
        "#/experiments/7/runs/ab/artifacts/report/index.html?workflowType=machine_learning"
    )


def test_paragraphs_leave_out_what_is_empty() -> None:
    assert paragraphs("a", "", "b") == "a\n\nb"
