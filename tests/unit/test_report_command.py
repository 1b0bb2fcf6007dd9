"""The command at a report's foot makes the same report again, so it names every option that is not as it is anyway."""

from __future__ import annotations

import pytest

from proxyflow.reporting.run import ReportOptions


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (ReportOptions(), ""),
        (ReportOptions(out="elsewhere"), ""),
        (ReportOptions(min_accuracy=0.0), " -P min_accuracy=0.0"),
        (ReportOptions(good_fraction=0.3, bootstrap=0), " -P good_fraction=0.3 -P bootstrap=0"),
        (ReportOptions(compare=("two words", "b")), " -P 'compare=two words,b'"),
    ],
)
def test_what_differs_from_the_default_is_told(options: ReportOptions, told: str) -> None:
    assert options.command("pets") == f"mlflow run . -e report -P study=pets{told}"
