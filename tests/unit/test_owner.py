"""A live worker's run is never taken, and a dead one's is not waited for."""

from __future__ import annotations

import os

import psutil
import pytest

from proxyflow.tracking import names
from proxyflow.tracking.runs import owner
from proxyflow.tracking.runs.owner import (
    MAX_HEARTBEAT_AGE_SECONDS,
    MAX_OBSERVATION_GAP_SECONDS,
    STALE_SECONDS,
    StaleRunDetector,
    is_dead,
    this_process,
)

HOST, _, ME = this_process().partition(" ")
NOBODY = f"{HOST} 4194305 17.00"  # above the largest process id
ELSEWHERE = "another-host/1 17 3.5"
NOW = 1e9


class Clocks:
    """The wall clock and the monotonic one, which go when they are told to."""

    def __init__(self) -> None:
        self.since_start = 1000.0

    def monotonic(self) -> float:
        return self.since_start

    def time(self) -> float:
        return NOW + self.since_start


@pytest.fixture
def clocks(monkeypatch: pytest.MonkeyPatch) -> Clocks:
    made = Clocks()
    monkeypatch.setattr(owner, "time", made)
    return made


def told(who: str, beat: float | None = None) -> dict[str, str]:
    return {names.OWNER: who, **({} if beat is None else {names.HEARTBEAT: f"{beat:.0f}"})}


def test_this_process_and_its_parent_live_and_nobody_is_dead() -> None:
    parent = psutil.Process(os.getppid())
    assert not is_dead(this_process())
    assert not is_dead(f"{HOST} {parent.pid} {parent.create_time():.2f}")
    assert is_dead(NOBODY)


def test_an_id_that_is_used_again_is_another_process() -> None:
    assert is_dead(f"{HOST} {os.getpid()} {psutil.Process().create_time() - 60:.2f}")


def test_of_another_host_nothing_is_known() -> None:
    assert not is_dead(ELSEWHERE)
    assert is_dead(f"{HOST} what is this")


def test_on_this_host_the_system_knows_and_no_heartbeat_counts(clocks: Clocks) -> None:
    watch = StaleRunDetector()
    assert watch.is_stale("a", told(NOBODY, clocks.time()))
    assert not watch.is_stale("b", told(this_process(), NOW - 10 * MAX_HEARTBEAT_AGE_SECONDS))


def test_a_run_without_an_owner_is_left_alone() -> None:
    assert not StaleRunDetector().is_stale("a", {})


def look(watch: StaleRunDetector, clocks: Clocks, seconds: float, beat: float, every: float = 10.0) -> list[bool]:
    """Looks at one run, whose heartbeat stays, for so long."""
    found = []
    for _ in range(int(seconds / every)):
        found.append(watch.is_stale("run", told(ELSEWHERE, beat)))
        clocks.since_start += every
    return found


def test_a_heartbeat_that_moves_is_alive_whatever_its_clock_says(clocks: Clocks) -> None:
    watch = StaleRunDetector()
    for beat in range(100):
        hours_off = 3600 * 3
        assert not watch.is_stale("run", told(ELSEWHERE, clocks.time() - hours_off + beat % 2))
        clocks.since_start += 15


def test_a_heartbeat_that_stands_still_is_lost_after_it_was_watched_for_long_enough(clocks: Clocks) -> None:
    found = look(StaleRunDetector(), clocks, STALE_SECONDS + 30, clocks.time())
    assert found[:13] == [False] * 13
    assert found[-1]


def test_a_heartbeat_that_moves_again_starts_the_watch_anew(clocks: Clocks) -> None:
    watch, beat = StaleRunDetector(), clocks.time()
    assert not any(look(watch, clocks, STALE_SECONDS, beat))
    assert not any(look(watch, clocks, STALE_SECONDS, beat + 1))


def test_what_happened_between_two_looks_far_apart_was_not_seen(clocks: Clocks) -> None:
    found = look(StaleRunDetector(), clocks, 10 * STALE_SECONDS, clocks.time(), every=MAX_OBSERVATION_GAP_SECONDS + 1)
    assert not any(found)


def test_a_heartbeat_of_long_ago_is_lost_at_the_first_look(clocks: Clocks) -> None:
    assert StaleRunDetector().is_stale("run", told(ELSEWHERE, clocks.time() - MAX_HEARTBEAT_AGE_SECONDS - 1))
    assert not StaleRunDetector().is_stale("run", told(ELSEWHERE, clocks.time() - MAX_HEARTBEAT_AGE_SECONDS + 60))


@pytest.mark.parametrize("tags", [told(ELSEWHERE), {names.OWNER: ELSEWHERE, names.HEARTBEAT: "soon"}])
def test_who_has_no_heartbeat_is_left_alone(tags: dict[str, str]) -> None:
    assert not StaleRunDetector().is_stale("run", tags)
