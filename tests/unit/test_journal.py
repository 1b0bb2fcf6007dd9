"""Journals are where the user says, apart by server, and a place that takes none is said once."""

from __future__ import annotations

from pathlib import Path

import pytest

from proxyflow.tracking.journal import STATE_VARIABLE, Journal, Record, folder_of, left_behind

ONE, OTHER = "http://one.example", "http://other.example"


def test_the_variable_names_the_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv(STATE_VARIABLE, str(tmp_path))
    assert folder_of(ONE).parent == tmp_path / "journal"


def test_else_it_is_in_the_users_state_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv(STATE_VARIABLE)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_STATE_HOME", raising=False)
    assert folder_of(ONE).parent == tmp_path / ".local/state/proxyflow/journal"
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    assert folder_of(ONE).parent == tmp_path / "state/proxyflow/journal"
    monkeypatch.setenv(STATE_VARIABLE, "~/mine")
    assert folder_of(ONE).parent == tmp_path / "mine/journal"


def test_each_server_has_a_folder_of_its_own() -> None:
    assert folder_of(ONE) == folder_of(ONE)
    assert folder_of(ONE) != folder_of(OTHER)


def test_a_folder_that_cannot_be_is_said_once_for_all_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("this is no folder")
    folder = tmp_path / "file" / "journal"
    for run in ("a", "b", "c"):
        kept = Journal(folder / f"{run}.jsonl", "me")
        kept.append(Record(tags={"x": "y"}), durable=True)
        kept.append(Record(tags={"x": "z"}))
        kept.discard()
        kept.close()
    said = capsys.readouterr().err
    assert said.count("note: no journal can be kept in") == 1
    assert f"in {folder} (" in said
    assert f"{STATE_VARIABLE} names another folder" in said
    assert list(left_behind(folder)) == []


def test_what_is_no_journal_is_left_out_and_said_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a.jsonl").write_text("this is none\n")
    (tmp_path / "b.jsonl").write_text('{"owner": "me"}\n{"metrics": 3}\n')
    (tmp_path / "c.txt").write_text("this is none either\n")
    kept = Journal(tmp_path / "d.jsonl", "me")
    kept.append(Record(tags={"x": "y"}))
    kept.close()
    for _ in range(2):
        assert [left.run_id for left in left_behind(tmp_path)] == ["d"]
    said = capsys.readouterr().err.splitlines()
    assert [line.partition(" is damaged (")[0] for line in said] == [
        f"note: the journal {tmp_path / name}" for name in ("a.jsonl", "b.jsonl")
    ]
    assert said[1].endswith("what it holds of run b is not delivered; mend or delete it")
