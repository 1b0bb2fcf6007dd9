"""Proxies: how a training is made cheaper, as examples (`strategies`) with further reductions, one file each."""

# The order of these imports is the order in which reductions are registered: that of their parts in a spelling.

from proxyflow.proxies.reduction import Reduction, reductions
from proxyflow.proxies.epochs import Epochs
from proxyflow.proxies.size import Size
from proxyflow.proxies.width import Width
from proxyflow.proxies.batch import Batch
from proxyflow.proxies.proxy import (
    COMBINED,
    TARGET,
    Proxy,
    check_data_only,
    data_of,
    known_fidelities,
    parse_proxies,
    parse_proxy,
    split_proxies,
)

__all__ = [
    "COMBINED",
    "TARGET",
    "Batch",
    "Epochs",
    "Proxy",
    "Reduction",
    "Size",
    "Width",
    "check_data_only",
    "data_of",
    "known_fidelities",
    "parse_proxies",
    "parse_proxy",
    "reductions",
    "split_proxies",
]
