"""Logs are in the folder that the user names, one per server; an error of a folder or a log is reported once."""

from __future__ import annotations

from pathlib import Path

import pytest

from proxyflow.tracking.delivery.write_ahead_log import STATE_VARIABLE, Record, WriteAheadLog, log_folder, pending_logs

ONE, OTHER = "http://one.example", "http://other.example"


def test_the_variable_names_the_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv(STATE_VARIABLE, str(tmp_path))
    assert log_folder(ONE).parent == tmp_path / "journal"


def test_else_it_is_in_the_users_state_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv(STATE_VARIABLE)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_STATE_HOME", raising=False)
    assert log_folder(ONE).parent == tmp_path / ".local/state/proxyflow/journal"
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    assert log_folder(ONE).parent == tmp_path / "state/proxyflow/journal"
    monkeypatch.setenv(STATE_VARIABLE, "~/mine")
    assert log_folder(ONE).parent == tmp_path / "mine/journal"


def test_each_server_has_a_folder_of_its_own() -> None:
    assert log_folder(ONE) == log_folder(ONE)
    assert log_folder(ONE) != log_folder(OTHER)


def test_an_unusable_folder_is_reported_once_for_all_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("this is no folder")
    folder = tmp_path / "file" / "journal"
    for run in ("a", "b", "c"):
        kept = WriteAheadLog(folder / f"{run}.jsonl", "me")
        kept.append(Record(tags={"x": "y"}), durable=True)
        kept.append(Record(tags={"x": "z"}))
        kept.discard()
        kept.close()
    said = capsys.readouterr().err
    assert said.count(str(folder)) == 2  # one line, which also quotes the system's error
    assert len(said.splitlines()) == 1
    assert STATE_VARIABLE in said
    assert list(pending_logs(folder)) == []


def test_a_damaged_log_is_skipped_and_reported_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a.jsonl").write_text("this is none\n")
    (tmp_path / "b.jsonl").write_text('{"owner": "me"}\n{"metrics": 3}\n')
    (tmp_path / "c.txt").write_text("this is none either\n")
    kept = WriteAheadLog(tmp_path / "d.jsonl", "me")
    kept.append(Record(tags={"x": "y"}))
    kept.close()
    for _ in range(2):
        assert [left.run_id for left in pending_logs(tmp_path)] == ["d"]
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 2
    assert all(str(tmp_path / name) in line for name, line in zip(("a.jsonl", "b.jsonl"), said, strict=True))
