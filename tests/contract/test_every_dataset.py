"""What every data set of the catalog promises, whatever its source."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from source_files import MAKE, published_md5

from proxyflow.data.catalog import DataOptions, datasets
from proxyflow.data.images.sources import download
from proxyflow.testing import Check, dataset_checks

# Of any data set; those of each are made with its files.
NAMES = [check.name for check in dataset_checks("digits")]
Checks = dict[str, Check]


@pytest.fixture(params=list(datasets), scope="module")
def checks(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Checks]:
    data_dir = tmp_path_factory.mktemp(request.param)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(download, "md5_of", published_md5)
        name, options = MAKE[request.param](data_dir), DataOptions(data_dir)
        yield {check.name: check for check in dataset_checks(name, options)}


@pytest.mark.parametrize("name", NAMES)
def test_it_keeps_its_promises(checks: Checks, name: str) -> None:
    checks[name]()
