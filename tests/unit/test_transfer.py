"""What hinders a download on this machine is said as what it is."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from mlflow.tracking import MlflowClient

from proxyflow.core.errors import StoreFailed, UserError
from proxyflow.tracking.artifacts import transfer
from proxyflow.tracking.artifacts.transfer import fetch


@pytest.mark.parametrize(
    ("number", "kind", "told"),
    [
        (errno.ENOSPC, UserError, r"\(.*No space left on device.*\): make room there"),
        (errno.EROFS, UserError, "make room there, or name another folder with PROXYFLOW_DATA_DIR, or TMPDIR"),
        (errno.EIO, StoreFailed, "subset/x of run a .*: .*Input/output error$"),
        (errno.ESTALE, StoreFailed, "Stale file handle$"),
    ],
)
def test_only_a_full_disk_asks_for_room(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, number: int, kind: type[Exception], told: str
) -> None:
    def fail(*given: object) -> None:
        raise OSError(number, os.strerror(number))

    known = SimpleNamespace(info=SimpleNamespace(artifact_uri=str(tmp_path / "store")))
    client: Any = SimpleNamespace(tracking_uri="http://127.0.0.1:9", get_run=lambda run_id: known)
    monkeypatch.setattr(transfer, "_download_rest", fail)
    with pytest.raises(kind, match=told):
        fetch(cast(MlflowClient, client), "a", "subset/x", tmp_path / "here" / "x")
