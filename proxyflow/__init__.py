"""proxyflow builds proxy data sets, trains on them and measures how well they predict the full data.

A proxy data set is good if ranking hyperparameter configurations on it ranks them as the full
data would (Shleifer & Prokop 2019, "Proxy Datasets for Training Convolutional Neural Networks").

Example:
    >>> import proxyflow as pf
    >>> labels = ["cat", "dog"] * 50
    >>> positions = pf.choose("random:0.1", labels, seed=0)  # in any code: train on these
    >>> len(positions)
    10

`score` says how hard examples are, from predictions of any model, and `choose` takes that. `measure` says how well
proxies predicted the full data, from a frame of trainings. `study` runs a sweep of a function in this process,
`search` finds its best configuration, and `check` says whether tuning it on a proxy is safe. A program that proxyflow
runs calls `report` after each epoch.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from proxyflow.api import choose, measure, score
    from proxyflow.api_check import check
    from proxyflow.api_search import log, search
    from proxyflow.api_study import study
    from proxyflow.program import report
    from proxyflow.spaces.metric import Metric

__version__ = "0.2.0"
__all__ = ["Metric", "__version__", "check", "choose", "log", "measure", "report", "score", "search", "study"]


def __getattr__(name: str) -> Any:
    # numpy, pandas and scipy take a second, which the help of the commands does not wait for.
    if name == "report":
        from proxyflow.program import report

        return report
    if name == "check":
        from proxyflow.api_check import check

        return check
    if name == "study":
        from proxyflow.api_study import study

        return study
    if name in ("log", "search"):
        from proxyflow import api_search

        return getattr(api_search, name)
    if name in __all__:
        from proxyflow import api

        return getattr(api, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
