"""Members of a group stay on one side of every split, or a model is validated on what it knows."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from array_table import ArrayTable
from hypothesis import assume, given
from hypothesis import strategies as st

from proxyflow.core.errors import InvalidValue
from proxyflow.data.evaluation import DEFAULT, EvaluationSettings, Split, split
from proxyflow.data.protocol import Contents, fingerprint
from proxyflow.data.splits import assign_folds, even_quotas, fixed_part, front_and_back, split_off_room


@st.composite
def grouped(draw: st.DrawFn, one_class: bool = False, largest: int = 12) -> ArrayTable:
    """Examples of two to four classes in groups, each of one class or of any."""
    classes = draw(st.integers(2, 4))
    sizes = draw(st.lists(st.integers(1, largest), min_size=4 * classes, max_size=30))
    groups = np.repeat(np.arange(len(sizes)), sizes)
    rng = np.random.default_rng(draw(st.integers(0, 1000)))
    labels = groups % classes if one_class else rng.integers(0, classes, len(groups))
    table = ArrayTable.made_up(labels, np.array([f"group {number}" for number in groups]))
    copies = np.array(draw(st.lists(st.integers(0, len(groups) - 1), max_size=6)), dtype=np.int64)
    table.values[copies] = table.values[rng.permutation(copies)]  # some are there twice, in one group or in two
    if not one_class:
        table.labels[copies] = table.labels[copies[:1]]
    return table


def groups_of(examples: ArrayTable | None) -> set[str]:
    return set() if examples is None else set(examples.groups)


def chosen(table: ArrayTable, settings: EvaluationSettings, own: bool) -> Split:
    """The split of a table, or of one half of its groups against the other."""
    names = tuple(map(str, range(int(table.labels.max()) + 1)))
    odd = np.array([int(name.split()[1]) % 3 == 0 for name in table.groups])
    for side in (odd, ~odd) if own else (np.ones(len(table), dtype=bool),):
        assume(len(np.unique(table.labels[side])) == len(names))
    contents = Contents(names, table.take(~odd), table.take(odd)) if own else Contents(names, table, None)
    return split("made", contents, settings, None)


SETTINGS = st.builds(
    EvaluationSettings, st.one_of(st.none(), st.integers(4, 30)), st.one_of(st.just(0), st.integers(4, 20))
)


@given(grouped(), SETTINGS, st.booleans())
def test_no_group_is_on_two_sides_and_every_side_has_every_class(
    table: ArrayTable, settings: EvaluationSettings, own: bool
) -> None:
    try:
        found = chosen(table, settings, own)
    except InvalidValue:  # too few groups or examples
        return
    sides = [side for side in (found.train, found.valid, found.test) if side is not None]
    names = list(map(groups_of, sides))
    assert sum(map(len, names)) == len(set().union(*names))
    assert all(set(side.labels) == set(table.labels) for side in sides)
    assert (found.test is not None) == bool(settings.test_examples)
    for side in sides[1:]:
        assert side.ids.tolist() == list(range(len(side)))
    if not own:
        assert sum(map(len, sides)) == len(table)


@given(grouped(one_class=True), st.integers(0, 60), st.integers(0, 60))
def test_sizes_are_as_near_as_whole_groups_allow(table: ArrayTable, n: int, m: int) -> None:
    room = np.bincount(table.labels)
    back = even_quotas(room // 2, m)
    front = even_quotas(room - back, n)
    assume((np.bincount(table.labels[np.unique(table.groups, return_index=True)[1]]) >= 2).all())
    masks = front_and_back(table.labels, table.content_hashes, front, back, table.groups)
    rest = ~(masks[0] | masks[1])
    sizes = dict(zip(*np.unique(table.groups, return_counts=True), strict=True))
    for mask, quotas in zip(masks, (front, back), strict=True):
        for label, quota in enumerate(quotas):
            members = table.labels == label
            taken, largest = int((mask & members).sum()), max(sizes[name] for name in table.groups[members])
            if not quota:
                assert not taken
            elif taken > quota:  # a group more than half of which was wanted, or the one that each set needs
                assert taken - quota <= largest / 2 or len(set(table.groups[mask & members])) == 1
            for name in set(table.groups[rest & members]) if quota > taken else ():
                assert sizes[name] >= 2 * (quota - taken), "another group would come nearer"


@given(grouped(largest=1), SETTINGS)
def test_groups_of_one_split_as_without_groups(table: ArrayTable, settings: EvaluationSettings) -> None:
    alone = dataclasses.replace(table, groups=None)
    names = tuple(map(str, range(int(table.labels.max()) + 1)))
    assume(len(np.unique(table.labels)) == len(names))
    if np.bincount(table.labels).min() >= 3:
        try:
            expected = split("made", Contents(names, alone, None), settings, None)
        except InvalidValue as error:
            with pytest.raises(InvalidValue, match=error.name):
                split("made", Contents(names, table, None), settings, None)
        else:
            found = split("made", Contents(names, table, None), settings, None)
            assert fingerprint(found.train) == fingerprint(expected.train)
            assert fingerprint(found.valid) == fingerprint(expected.valid)
    assert np.array_equal(
        fixed_part(table.labels, table.content_hashes, len(table) // 2, table.groups),
        fixed_part(table.labels, table.content_hashes, len(table) // 2),
    )
    assert np.array_equal(assign_folds(table, 3, 0), assign_folds(alone, 3, 0))


@given(grouped(), st.integers(0, 1000))
def test_neither_order_nor_names_of_groups_matter(table: ArrayTable, seed: int) -> None:
    assume(len(set(table.content_hashes)) == len(table))
    rng = np.random.default_rng(seed)
    mixed = rng.permutation(len(table))
    _, number = np.unique(table.groups, return_inverse=True)
    other = dataclasses.replace(table, groups=rng.permutation(len(table))[number]).take(mixed)
    quotas = even_quotas(np.bincount(table.labels) // 3, 20)
    try:
        ours = front_and_back(table.labels, table.content_hashes, quotas, quotas, table.groups)
    except Exception as error:
        with pytest.raises(type(error)):
            front_and_back(other.labels, other.content_hashes, quotas, quotas, other.groups)
        return
    theirs = front_and_back(other.labels, other.content_hashes, quotas, quotas, other.groups)
    assert all(np.array_equal(mine[mixed], yours) for mine, yours in zip(ours, theirs, strict=True))
    assert np.array_equal(assign_folds(table, 4, 1)[mixed], assign_folds(other, 4, 1))


@given(grouped())
def test_what_may_be_split_off_is_whole_groups_without_copies_elsewhere(table: ArrayTable) -> None:
    eligible, room = split_off_room(table.labels, table.content_hashes, table.groups)
    assert not groups_of(table.take(eligible)) & groups_of(table.take(~eligible))
    assert (room <= np.bincount(table.labels[eligible], minlength=len(room))).all()
    hashes = table.content_hashes
    alone = [
        name for name in groups_of(table) if not set(hashes[table.groups == name]) & set(hashes[table.groups != name])
    ]
    if {*table.labels[np.isin(table.groups, alone)]} == {*table.labels}:
        assert groups_of(table.take(eligible)) == set(alone)


@given(grouped(), st.integers(2, 6), st.integers(0, 5))
def test_groups_and_copies_share_a_fold(table: ArrayTable, folds: int, seed: int) -> None:
    found = assign_folds(table, folds, seed)
    for keys in (table.groups, table.content_hashes):
        for key in set(keys):
            assert len(set(found[keys == key])) == 1


@given(grouped(one_class=True, largest=6), st.integers(2, 4))
def test_folds_have_every_class_as_evenly_as_its_largest_group_allows(table: ArrayTable, folds: int) -> None:
    assume(len(set(table.content_hashes)) == len(table))
    found = assign_folds(table, folds, 0)
    for label in set(table.labels):
        members = table.labels == label
        counts = np.bincount(found[members], minlength=folds)
        assert np.ptp(counts) <= np.unique(table.groups[members], return_counts=True)[1].max()


def test_a_class_in_one_group_is_refused_with_the_group_and_the_class() -> None:
    table = ArrayTable.made_up([0] * 20 + [1] * 20, np.array(["a", "b"] * 10 + ["only"] * 20))
    with pytest.raises(InvalidValue, match="owl") as caught:
        split("pets", Contents(("cat", "owl"), table, None), DEFAULT, None)
    assert (caught.value.name, caught.value.value) == ("group", "only")


def test_a_group_on_both_sides_of_a_given_split_is_refused_by_its_name() -> None:
    train = ArrayTable.made_up([0, 1] * 10, np.array(list("abcdefghij") * 2))
    valid = ArrayTable.made_up([0, 1] * 10, np.array(list("jklmnopqrs") * 2), seed=1)
    with pytest.raises(InvalidValue) as caught:
        split("pets", Contents(("cat", "owl"), train, valid), DEFAULT, None)
    assert (caught.value.name, caught.value.value) == ("group", "j")


def test_a_large_group_is_passed_over_where_smaller_ones_fit() -> None:
    sizes = [100, 10, 10, 10, 100, 10, 10, 10]
    labels, groups = np.repeat(np.arange(8) // 4, sizes), np.repeat(np.arange(8), sizes)
    table = ArrayTable.made_up(labels, groups)
    quotas = np.array([30, 30])
    front, _ = front_and_back(labels, table.content_hashes, quotas, np.zeros_like(quotas), groups)
    assert np.bincount(labels[front]).tolist() == [30, 30]
    part = fixed_part(labels, table.content_hashes, 60, groups)
    assert np.bincount(labels[part]).tolist() == [30, 30]
