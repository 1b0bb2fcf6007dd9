"""What other packages' searches are replayed on: costs, budgets, seeds, the judge, and nearest configurations."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from benchmarks.peers import launch
from benchmarks.peers.__main__ import _proxies, main
from benchmarks.peers.blackbox import MOST_FREE, PERMUTATIONS, Blackbox, BudgetSpent, Parameter
from benchmarks.peers.export import box_of
from benchmarks.peers.fidelity import Epochs, Incumbent, Ladder, fidelity_of
from benchmarks.peers.simple import halving, random_search, screen
from proxyflow.tables import load

SPACE = (
    Parameter("rate", "float", 1e-4, 1e-1, log=True),
    Parameter("width", "int", 10, 20),
    Parameter("optimizer", "categorical", choices=("adam", "sgd")),
    Parameter("smooth", "categorical", choices=(0.0, 0.1)),
)
CONFIGURATIONS = tuple(
    {"rate": rate, "width": width, "optimizer": optimizer, "smooth": 0.1, "fixed": 64}
    for rate in (1e-4, 1e-3, 1e-2, 1e-1)
    for width in (10, 20)
    for optimizer in ("adam", "sgd")
)
COUNT, EPOCHS = len(CONFIGURATIONS), 4
PROXIES = ("epochs:1", "easiest:0.5", "full")


def box(target_seeds: int = 3, curves: bool = True) -> Blackbox:
    """The value of configuration c with seed s is c + s / 10; the test value of the last configuration is the best."""
    seeds = {proxy: (0, 1) for proxy in PROXIES} | {"full": tuple(range(target_seeds))}
    values = {p: np.arange(COUNT)[:, None] + np.array(seeds[p]) / 10 + place for place, p in enumerate(PROXIES)}
    costs = {p: np.full((COUNT, len(seeds[p])), cost) for p, cost in zip(PROXIES, (0.25, 0.5, 1.0), strict=True)}
    full = values["full"]
    return Blackbox(
        table="made-up",
        metric="accuracy",
        unit="flops",
        judged_by="test",
        configurations=CONFIGURATIONS,
        space=SPACE,
        epochs={"epochs:1": 1, "easiest:0.5": EPOCHS, "full": EPOCHS},
        seeds=seeds,
        choice_costs={"epochs:1": 0.0, "easiest:0.5": 2.0, "full": 0.0},
        values=values,
        costs=costs,
        judge=full * (1 + np.arange(target_seeds)),
        curves=full[:, :, None] * np.arange(1, EPOCHS + 1) / EPOCHS if curves else None,
    )


def test_a_replicate_sees_two_seeds_and_is_judged_by_the_third():
    made = box()
    assert [made.order_of(number) for number in range(6)] == list(PERMUTATIONS)
    assert made.order_of(7) == made.order_of(1) == (0, 2, 1)
    replay = made.replay(1, 9)
    assert replay.train(5) == pytest.approx(7.0)
    assert replay.train(5, order=1) == pytest.approx(7.2)
    assert made.regret(1, 5) == pytest.approx(2 * 10)  # judged by seed 1, whose test values are twice as large
    assert made.regret(0, 5) == pytest.approx(3 * 10)
    assert made.regret(0, COUNT - 1) == 0


@pytest.mark.parametrize(
    ("replicate", "first", "second"),
    [(0, 0, 1), (1, 0, 1), (2, 1, 0), (3, 1, 0), (4, 1, 0), (5, 0, 1)],
)
def test_a_proxy_without_the_seed_gives_one_that_the_other_order_does_not_take(replicate, first, second):
    replay = box().replay(replicate, 9)
    assert replay.train(3, "epochs:1") == pytest.approx(3 + first / 10)
    assert replay.train(3, "epochs:1", order=1) == pytest.approx(3 + second / 10)


def test_with_two_seeds_of_the_target_there_is_no_second_one_to_ask_for():
    made = box(target_seeds=2)
    assert [made.order_of(number) for number in range(3)] == [(0, 1), (1, 0), (0, 1)]
    replay = made.replay(1, 9)
    assert replay.train(2) == pytest.approx(4.1)
    with pytest.raises(ValueError, match="sees 1 seeds"):
        replay.train(2, order=1)


def test_one_seed_is_seen_and_judges():
    made = box(target_seeds=1)
    assert made.order_of(4) == (0,)
    assert made.replay(4, 9).train(2) == pytest.approx(4.0)


def test_a_training_is_paid_for_once():
    replay = box().replay(0, 9)
    first = replay.train(4, "epochs:1")
    assert replay.train(4, "epochs:1") == first
    assert replay.cost == pytest.approx(0.25)
    replay.train(4, "epochs:1", order=1)
    assert replay.cost == pytest.approx(0.5)


def test_choosing_examples_is_paid_for_with_the_first_training():
    replay = box().replay(0, 9)
    replay.train(1, "easiest:0.5")
    assert replay.cost == pytest.approx(2.5)
    replay.train(2, "easiest:0.5")
    assert replay.cost == pytest.approx(3.0)


def test_a_training_that_goes_on_pays_for_new_epochs():
    replay = box().replay(0, 9)
    assert replay.train_to(8, 1) == pytest.approx(10 / 4)
    assert replay.cost == pytest.approx(0.25)
    assert replay.train_to(8, 3) == pytest.approx(30 / 4)
    assert replay.cost == pytest.approx(0.75)
    assert replay.train_to(8, 2) == pytest.approx(20 / 4)
    assert replay.train(8) == pytest.approx(10)
    assert replay.cost == pytest.approx(1.0)
    assert replay.train_to(8, 4) == pytest.approx(10)
    assert replay.cost == pytest.approx(1.0)


def test_what_does_not_fit_is_not_trained():
    replay = box().replay(0, 1.5)
    replay.train(0)
    with pytest.raises(BudgetSpent):
        replay.train(1)
    assert replay.cost == pytest.approx(1.0)
    assert replay.trained() == {0}
    replay.train_to(1, 2)
    assert replay.cost == pytest.approx(1.5)
    assert replay.trained(epoch=2) == {0, 1}
    with pytest.raises(BudgetSpent):
        replay.train(2, "epochs:1")
    assert replay.trained("epochs:1") == set()


def test_a_search_that_asks_nothing_new_ends():
    replay = box().replay(0, 9)
    replay.train(0)
    for _ in range(MOST_FREE):
        replay.train(0)
    with pytest.raises(BudgetSpent, match="answered before"):
        replay.train(0)


def test_unknown_trainings_are_refused():
    replay = box().replay(0, 9)
    with pytest.raises(ValueError, match=r"no proxy random:0\.1: it has epochs:1"):
        replay.train(0, "random:0.1")
    with pytest.raises(ValueError, match="4 epochs"):
        replay.train_to(0, 5)
    with pytest.raises(ValueError, match="no curves"):
        box(curves=False).replay(0, 9).train_to(0, 1)


def test_without_curves_full_trainings_still_cost_one():
    replay = box(curves=False).replay(0, 9)
    replay.train(0)
    assert replay.cost == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("proposed", "nearest"),
    [
        ({"rate": 1e-3, "width": 20, "optimizer": "sgd"}, 7),
        ({"rate": 2.9e-3, "width": 10, "optimizer": "adam"}, 4),  # nearer by logarithms to 1e-3
        ({"rate": 5e-3, "width": 14, "optimizer": "adam"}, 8),  # nearer to 1e-2; 10 is nearer than 20
        ({"rate": 1e-2, "width": 20, "optimizer": np.str_("sgd")}, 11),
        ({"rate": 1e-2, "width": 20, "optimizer": "sgd", "smooth": "0.1", "other": 3}, 11),
        ({"rate": 7.0, "width": 99, "optimizer": "adam"}, 14),  # outside is the edge
        ({"rate": 1e-4, "width": 15, "optimizer": "adam"}, 0),  # the first of equally near ones
    ],
)
def test_nearest(proposed, nearest):
    assert box().nearest({"smooth": 0.0} | proposed) == nearest


def test_another_choice_is_as_far_as_the_whole_range_of_a_number():
    two = replace(box(), configurations=(CONFIGURATIONS[0], CONFIGURATIONS[13]))
    assert two.nearest({"rate": 1e-4, "width": 10, "optimizer": "sgd", "smooth": 0.1}) == 0
    assert two.nearest({"rate": 1e-3, "width": 10, "optimizer": "sgd", "smooth": 0.1}) == 1


def test_an_unknown_choice_is_refused():
    with pytest.raises(ValueError, match="optimizer has no choice 'lion': it has adam, sgd"):
        box().nearest({"rate": 1e-3, "width": 10, "optimizer": "lion", "smooth": 0.1})


def test_a_proposal_is_the_nearest_one_that_is_not_trained_at_its_fidelity():
    replay = box().replay(0, 99)
    proposed = CONFIGURATIONS[6]
    assert replay.propose(proposed) == replay.nearest(proposed) == 6
    replay.train_to(6, 2)
    assert replay.propose(proposed) == 6
    assert replay.propose(proposed, epoch=2) == 2
    assert replay.propose(proposed, epoch=3) == 6
    replay.train(6, "epochs:1")
    assert replay.propose(proposed, "epochs:1") == 2
    for configuration in range(COUNT):
        replay.train(configuration)
    again = [replay.propose(proposed) for _ in range(2 * COUNT - 1)]  # nothing new is left
    assert again[:2] == [2, 10]  # 6 had two turns above
    assert sorted(again) == sorted([each for each in range(COUNT) if each != 6] * 2 + [6])
    assert again[-1] == 6


def test_recommendations_are_noted_when_they_change():
    made = box()
    replay = made.replay(0, 9)
    for configuration in (3, 3, 7):
        replay.train(configuration, "epochs:1")
        replay.recommend(configuration)
    assert replay.trace == [(pytest.approx(0.25), 3), (pytest.approx(0.5), 7)]
    assert made.regret_at(0, replay.trace, 0.3) == made.regret(0, 3)
    assert made.regret_at(0, replay.trace, 9) == made.regret(0, 7)
    assert made.regret_at(0, replay.trace, 0.1) == made.regret(0, 0)


def test_the_incumbent_is_the_best_at_the_highest_budget():
    replay = box().replay(0, 9)
    incumbent = Incumbent(replay)
    for configuration, value, budget in [(1, 0.9, 1), (2, 0.5, 3), (3, 0.99, 1), (4, 0.6, 3)]:
        incumbent.add(configuration, value, budget)
    assert [each for _, each in replay.trace] == [1, 2, 4]


def test_budgets_of_a_package_are_epochs_or_proxies():
    replay = box().replay(0, 99)
    epochs, ladder = fidelity_of(replay, ()), fidelity_of(replay, PROXIES)
    assert isinstance(epochs, Epochs)
    assert isinstance(ladder, Ladder)
    assert (epochs.top, epochs.budgets) == (4, [1, 2, 3, 4])
    assert (ladder.top, ladder.budgets) == (9, [1, 3, 9])
    assert epochs.value(2, 4 / 3) == pytest.approx(4 / 4)
    assert [ladder.value(2, budget) for budget in (1, 3, 9)] == pytest.approx([2, 3, 4])
    with pytest.raises(ValueError, match="at most 5 proxies, not 6"):
        fidelity_of(replay, PROXIES * 2)


def test_a_box_is_read_as_it_was_written(tmp_path):
    made = box()
    made.save(tmp_path / "made.npz")
    found = Blackbox.load(tmp_path / "made.npz")
    assert found.space == made.space
    assert found.configurations == made.configurations
    assert (found.proxies, found.seeds, found.epochs) == (made.proxies, made.seeds, made.epochs)
    assert found.choice_costs == made.choice_costs
    for proxy in PROXIES:
        np.testing.assert_array_equal(found.values[proxy], made.values[proxy])
        np.testing.assert_array_equal(found.costs[proxy], made.costs[proxy])
    np.testing.assert_array_equal(found.judge, made.judge)
    np.testing.assert_array_equal(found.curves, made.curves)
    box(curves=False).save(tmp_path / "made.npz")
    assert Blackbox.load(tmp_path / "made.npz").curves is None


def test_the_box_of_a_table_has_its_values_and_costs():
    table = load("reductions")
    made = box_of(table)
    assert made.judged_by == "validation"
    assert made.proxies == table.proxies
    assert made.costs["full"].mean() == pytest.approx(1)
    assert 0.1 < made.costs["epochs:1"].mean() < 0.15
    assert made.choice_costs["easiest:0.25"] > 1 > made.choice_costs["random:0.25"]
    replay = made.replay(1, 9)
    assert replay.train(3, "size:16") == table.value(3, "size:16", seed=1)
    assert replay.train_to(3, 2) == table.value(3, epoch=2, seed=1)
    assert [each.kind for each in made.space if each.name in ("learning_rate", "optimizer")] == ["float", "categorical"]
    assert [made.nearest(each) for each in table.configurations] == list(range(len(table)))


@pytest.mark.parametrize("search", [random_search, halving, screen])
@pytest.mark.parametrize("budget", [0.1, 3, 6, 99])
def test_simple_searches_stay_within_the_budget(search, budget):
    replay = box().replay(0, budget)
    search(replay, 0)
    assert replay.cost <= budget + 1e-9
    if budget == 99:
        assert replay.trace[-1][1] == COUNT - 1


@pytest.mark.parametrize("search", [halving, screen])
def test_simple_searches_climb_a_ladder(search):
    replay = box().replay(0, 7)
    search(replay, 0, ("epochs:1", "full"))
    assert 6 < replay.cost <= 7
    assert replay.trained("epochs:1")
    assert replay.trained()


def test_halving_starts_what_the_budget_pays_for():
    replay = box().replay(0, 3)
    halving(replay, 0)
    assert len(replay.trained(epoch=1)) == 7  # (7 + 3 + 2) quarters
    assert len(replay.trained(epoch=2)) == 3


def test_the_command_writes_a_line_for_each_replicate_and_goes_on(tmp_path):
    out = tmp_path / "out.jsonl"
    box().save(tmp_path / "made.npz")
    arguments = ["screen", "--box", str(tmp_path / "made.npz"), "--budget", "5", "--out", str(out)]
    main([*arguments, "--replicates", "0:2"])
    out.write_text(out.read_text() + '{"policy": "scr')  # as a crash leaves it
    main([*arguments, "--replicates", "0:3"])
    lines = [json.loads(line) for line in out.read_text().splitlines() if line.endswith("}")]
    assert [line["replicate"] for line in lines] == [0, 1, 2]
    assert {line["rungs"] for line in lines} == {"own"}
    main([*arguments, "--replicates", "0:1", "--rungs", "ladder", "--ladder", "epochs:1,full"])
    last = json.loads(out.read_text().splitlines()[-1])
    assert (last["rungs"], last["ladder"], last["replicate"]) == ("ladder", ["epochs:1", "full"], 0)
    assert last["cost"] <= 5
    assert last["trace"][-1][1] in range(COUNT)


def test_wrong_ladders_are_refused(tmp_path):
    box().save(tmp_path / "made.npz")
    arguments = ["--box", str(tmp_path / "made.npz"), "--out", str(tmp_path / "out.jsonl"), "--rungs", "ladder"]
    with pytest.raises(SystemExit, match="needs --ladder"):
        main(["screen", *arguments])
    with pytest.raises(SystemExit, match="has no proxy size:8"):
        main(["screen", *arguments, "--ladder", "size:8,full"])
    with pytest.raises(SystemExit, match="has no rungs"):
        main(["random_search", *arguments, "--ladder", "full"])


def test_a_ladder_may_have_proxies_with_settings():
    text = "epochs:1,curriculum:0.25,order=random,full"
    assert _proxies(text) == ["epochs:1", "curriculum:0.25,order=random", "full"]


def test_each_search_has_a_file_and_exact_packages():
    folder = Path(launch.__file__).parent
    for name, specs in launch.PEERS.items():
        assert (folder / f"{name}.py").is_file() or name in ("random_search", "halving", "screen")
        assert specs


def test_what_cannot_be_launched_is_said(monkeypatch):
    with pytest.raises(launch.CannotLaunch, match="no search spearmint: there are random_search"):
        launch.command_of("spearmint")
    monkeypatch.setattr(launch.shutil, "which", lambda name: None)
    with pytest.raises(launch.CannotLaunch, match="install uv"):
        launch.command_of("optuna_tpe")
