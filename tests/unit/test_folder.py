"""A user's folder: read as it is meant, or refused with the name of what is wrong in it."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from picture_files import BAD, make_folder, save

from proxyflow.core.errors import InvalidValue, UserError
from proxyflow.data import evaluation
from proxyflow.data.catalog import DataOptions, Dataset, canonical_name, describe, load_dataset
from proxyflow.data.evaluation import EvaluationSettings
from proxyflow.data.images.store import ImageSet


@pytest.fixture
def said() -> list[str]:
    return []


def load(root: Path, said: list[str], skip_bad: bool = False) -> Dataset:
    options = DataOptions(root.parent / "data", skip_bad)
    return load_dataset(f"folder:{root}", options, said.append)


def refusal(root: Path, **options: bool) -> str:
    with pytest.raises(UserError) as caught:
        load(root, [], **options)
    message = str(caught.value)
    assert "\n" not in message
    return message


def contents(images: ImageSet) -> list[tuple[str, int]]:
    return list(zip(images.content_hashes.tolist(), images.labels.tolist(), strict=True))


def test_train_and_val_folders_are_the_two_sets(tmp_path: Path, said: list[str]) -> None:
    dataset = load(make_folder(tmp_path / "pets"), said)
    assert dataset.class_names == ("ant", "bee")
    assert dataset.train.labels.tolist() == [0] * 6 + [1] * 6
    assert np.bincount(dataset.valid.labels).tolist() == [2, 2]
    assert dataset.train.ids.tolist() == list(range(12))
    assert dataset.name == f"folder:{tmp_path / 'pets'}"
    assert any(
        "12 training and 4 validation images of 50 x 40 pixels, RGB, 2 classes: ant, bee" in line for line in said
    )


def test_a_folder_without_val_gives_a_fixed_third_at_most(tmp_path: Path, said: list[str]) -> None:
    make_folder(tmp_path / "pets", train=9, valid=0)
    (tmp_path / "pets" / "train").rename(tmp_path / "plain")
    dataset = load(tmp_path / "plain", said)
    assert (len(dataset.train), len(dataset.valid)) == (12, 6)
    assert not set(contents(dataset.train)) & set(contents(dataset.valid))
    again = load(tmp_path / "plain", said)
    assert contents(again.valid) == contents(dataset.valid)


def test_names_places_and_nesting_do_not_change_the_data_set(tmp_path: Path, said: list[str]) -> None:
    first = load(make_folder(tmp_path / "one"), said)
    shutil.copytree(tmp_path / "one", tmp_path / "two")
    for number, path in enumerate(sorted((tmp_path / "two" / "train" / "ant").iterdir())):
        deeper = path.parent / "more"
        deeper.mkdir(exist_ok=True)
        path.rename(deeper / f"z{9 - number}.JPG")
    second = load(tmp_path / "two", said)
    assert second.fingerprint == first.fingerprint
    # The training order, which ids and so random streams count in, is the same, too.
    assert contents(second.train) == contents(first.train)


def test_another_label_or_pixel_changes_the_fingerprint(tmp_path: Path, said: list[str]) -> None:
    root = make_folder(tmp_path / "one")
    before = load(root, said).fingerprint
    save(root / "train" / "ant" / "0.jpg", seed=77)
    changed = load(root, said).fingerprint
    assert changed != before
    (root / "train" / "ant" / "1.jpg").rename(root / "train" / "bee" / "moved.jpg")
    assert load(root, said).fingerprint not in (before, changed)


def test_images_keep_their_native_sizes_and_their_statistics_are_by_pixel(tmp_path: Path, said: list[str]) -> None:
    root = make_folder(tmp_path / "pets", suffix=".png")
    save(root / "train" / "ant" / "large.png", seed=50, size=(90, 70))
    dataset = load(root, said)
    assert {tuple(size) for size in dataset.train.sizes.tolist()} == {(40, 50), (90, 70)}
    pixels = np.concatenate([dataset.train.image(i).reshape(-1, 3) for i in range(len(dataset.train))]) / 255
    assert dataset.preprocessing.mean == pytest.approx(pixels.mean(axis=0).tolist(), abs=1e-12)
    assert dataset.preprocessing.std == pytest.approx(pixels.std(axis=0).tolist(), abs=1e-12)


def test_all_grey_is_one_channel_and_one_colour_makes_it_three(tmp_path: Path, said: list[str]) -> None:
    for name in ("ant", "bee"):
        for i in range(6):
            save(tmp_path / "grey" / name / f"{i}.png", mode="L", seed=i + 10 * (name == "bee"))
    grey = load(tmp_path / "grey", said)
    assert grey.train.channels == 1
    save(tmp_path / "grey" / "ant" / "colour.png", seed=99)
    assert load(tmp_path / "grey", said).train.channels == 3


@pytest.mark.parametrize(
    ("size", "crop", "image_size"),
    [((28, 28), "padded", 32), ((40, 48), "padded", 40), ((160, 200), "resized", 128), ((70, 90), "resized", 64)],
)
def test_sizes_decide_how_a_folder_is_trained_on(
    tmp_path: Path, said: list[str], size: tuple[int, int], crop: str, image_size: int
) -> None:
    dataset = load(make_folder(tmp_path / "pets", size=size), said)
    assert (dataset.preprocessing.crop, dataset.preprocessing.image_size) == (crop, image_size)


def test_all_bad_files_are_named_together_with_their_reasons(tmp_path: Path) -> None:
    root = make_folder(tmp_path / "pets")
    made = [make(root / "train" / "ant" / f"bad-{kind}{suffix}") for kind, (suffix, make) in BAD.items()]
    message = refusal(root)
    assert f"{len(BAD)} files" in message
    assert all(str(path) in message for path in made)
    assert "skip_bad=true" in message
    assert not list((tmp_path / "data" / "decoded").glob("*pets*/")), "nothing half made is left"


def test_with_skip_bad_they_are_left_out_and_counted(tmp_path: Path, said: list[str]) -> None:
    root = make_folder(tmp_path / "pets")
    clean = load(root, said).fingerprint
    for kind, (suffix, make) in BAD.items():
        make(root / "train" / "ant" / f"bad-{kind}{suffix}")
    for _ in range(2):  # decoded now, then from the cache
        said.clear()
        dataset = load(root, said, skip_bad=True)
        assert dataset.fingerprint == clean
        assert len(dataset.skipped) == len(BAD)
        assert any(f"{len(BAD)} files are left out" in line for line in said)
    assert "cannot be used" in refusal(root), "the cache does not make them good"


def test_very_many_bad_files_are_counted(tmp_path: Path) -> None:
    root = make_folder(tmp_path / "pets")
    for i in range(30):
        (root / "train" / "ant" / f"bad{i}.jpg").write_text("no")
    message = refusal(root)
    assert "30 files" in message
    assert "and 10 more" in message


def test_a_class_of_bad_files_alone_is_an_empty_class(tmp_path: Path) -> None:
    root = make_folder(tmp_path / "pets")
    (root / "train" / "wasp").mkdir()
    (root / "val" / "wasp").mkdir()
    save(root / "val" / "wasp" / "0.jpg")
    (root / "train" / "wasp" / "0.jpg").write_text("no")
    assert "no training image of wasp" in refusal(root, skip_bad=True)


def test_an_empty_class_is_named(tmp_path: Path) -> None:
    root = make_folder(tmp_path / "pets")
    (root / "train" / "wasp").mkdir()
    (root / "train" / "wasp" / "notes.txt").write_text("later")
    message = refusal(root)
    assert str(root / "train" / "wasp") in message
    assert ".jpg" in message


def test_one_class_or_none_is_refused(tmp_path: Path) -> None:
    assert "has one class, ant" in refusal(make_folder(tmp_path / "one", classes=("ant",)))
    (tmp_path / "none").mkdir()
    assert "no class folders" in refusal(tmp_path / "none")
    save(tmp_path / "flat" / "a.jpg")
    assert "no class folders" in refusal(tmp_path / "flat")


def test_classes_that_one_side_lacks_are_named(tmp_path: Path) -> None:
    root = make_folder(tmp_path / "pets")
    save(root / "val" / "wasp" / "0.jpg")
    assert "lacks: wasp" in refusal(root)
    shutil.rmtree(root / "val" / "wasp")
    shutil.rmtree(root / "val" / "bee")
    assert "lacks classes" in refusal(root)
    assert "bee" in refusal(root)


def test_a_missing_folder_is_refused(tmp_path: Path) -> None:
    message = refusal(tmp_path / "nowhere")
    assert f"dataset=folder:{tmp_path / 'nowhere'}" in message
    assert "train/CLASS" in message
    with pytest.raises(UserError, match="it needs a path"):
        canonical_name("folder:")
    with pytest.raises(UserError, match="it needs a path"):
        canonical_name("folder")


def test_a_link_in_a_circle_is_refused_and_other_links_are_followed(tmp_path: Path, said: list[str]) -> None:
    root = make_folder(tmp_path / "pets")
    elsewhere = tmp_path / "elsewhere"
    (root / "train" / "ant").rename(elsewhere)
    (root / "train" / "ant").symlink_to(elsewhere)
    assert len(load(root, said).train) == 12
    (elsewhere / "again").symlink_to(root / "train")
    message = refusal(root)
    assert "is a link to a folder that it lies in" in message
    (elsewhere / "again").unlink()
    (root / "train" / "up").symlink_to(root / "train")
    assert str(root / "train" / "up") in refusal(root)
    (root / "train" / "up").unlink()
    for target in (root / "train" / "itself", tmp_path / "gone"):
        (root / "train" / "itself").symlink_to(target)
        assert f"{root / 'train' / 'itself'} is a link that leads nowhere" in refusal(root)
        (root / "train" / "itself").unlink()


@pytest.mark.parametrize(
    ("train", "valid"),
    [("training", "validation"), ("Train", "Val"), ("trn", "val"), ("train", "validation"), ("train", "Test")],
)
def test_parts_under_other_names_are_no_classes(tmp_path: Path, train: str, valid: str) -> None:
    root = make_folder(tmp_path / "pets")
    (root / "train").rename(root / train)
    (root / "val").rename(root / valid)
    message = refusal(root)
    assert valid in message
    assert "call the parts train and val" in message


def test_a_folder_that_cannot_be_read_is_not_left_out(
    tmp_path: Path, said: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    root = make_folder(tmp_path / "pets")
    closed = root / "train" / "ant" / "closed"
    save(closed / "0.jpg", seed=3)
    real = os.scandir

    def scandir(path: object) -> object:
        if str(path) == str(closed):
            raise PermissionError(13, "Permission denied", str(closed))
        return real(path)  # type: ignore[call-overload]

    monkeypatch.setattr(os, "scandir", scandir)
    message = refusal(root)
    assert "Permission denied" in message
    assert str(closed) in message


def test_a_class_that_was_left_out_wholly_is_told_with_its_reason(tmp_path: Path) -> None:
    root = make_folder(tmp_path / "pets")
    for path in (root / "train" / "ant").iterdir():
        path.write_bytes(b"")
    message = refusal(root, skip_bad=True)
    assert "no training image of ant" in message
    assert "6 files were left out" in message
    assert "0 bytes" in message


def test_a_part_that_is_no_number_is_told_how_to_write_it() -> None:
    for wrong in ("digits@", "digits@1.5", "digits@-3", "digits@all"):
        with pytest.raises(UserError, match="write digits@2000"):
            canonical_name(wrong)


def test_what_was_left_out_does_not_decide_the_colours(tmp_path: Path, said: list[str]) -> None:
    for name in ("ant", "bee"):
        for i in range(6):
            save(tmp_path / "grey" / name / f"{i}.png", mode="L", seed=i + 10 * (name == "bee"))
    clean = load(tmp_path / "grey", said)
    BAD["truncated"][1](tmp_path / "grey" / "ant" / "colour.jpg")
    dataset = load(tmp_path / "grey", said, skip_bad=True)
    assert dataset.train.channels == 1
    assert dataset.fingerprint == clean.fingerprint


def test_copies_of_an_image_are_not_split_over_both_sets(tmp_path: Path, said: list[str]) -> None:
    make_folder(tmp_path / "pets", train=9, valid=0)
    for i in range(4):
        shutil.copy(
            tmp_path / "pets" / "train" / "ant" / f"{i}.jpg", tmp_path / "pets" / "train" / "ant" / f"copy{i}.jpg"
        )
    (tmp_path / "pets" / "train").rename(tmp_path / "plain")
    dataset = load(tmp_path / "plain", said)
    assert not set(dataset.train.content_hashes) & set(dataset.valid.content_hashes)
    assert len(describe(dataset)) == 1


def test_more_classes_than_validation_images_are_no_error(
    tmp_path: Path, said: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(evaluation, "VALIDATION_EXAMPLES", 2)
    dataset = load(make_folder(tmp_path / "pets", ("ant", "bee", "cat"), train=2, valid=1), said)
    assert dataset.valid.labels.tolist() == [0, 1, 2]


def test_a_folder_without_its_word_is_told_how_to_write_it(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=f"it is a folder; write dataset=folder:{tmp_path}"):
        canonical_name(str(tmp_path))


def test_a_home_that_does_not_exist_is_refused() -> None:
    with pytest.raises(UserError, match="dataset=~nobody-of-that-name/x is not accepted"):
        canonical_name("folder:~nobody-of-that-name/x")
    with pytest.raises(UserError, match="data_dir=~nobody-of-that-name is not accepted"):
        load_dataset("cifar10", DataOptions(Path("~nobody-of-that-name")))


def test_a_link_to_nowhere_is_a_bad_file(tmp_path: Path) -> None:
    root = make_folder(tmp_path / "pets")
    (root / "train" / "ant" / "gone.jpg").symlink_to(tmp_path / "gone.jpg")
    (root / "train" / "ant" / "self.jpg").symlink_to(root / "train" / "ant" / "self.jpg")
    message = refusal(root)
    assert "gone.jpg" in message
    assert "self.jpg" in message


def test_names_that_are_not_utf8_are_read_and_told(tmp_path: Path, said: list[str]) -> None:
    root = make_folder(tmp_path / "pets")
    strange = os.fsencode(root / "train" / "ant") + b"/\xff\xfe.jpg"
    os.rename(root / "train" / "ant" / "0.jpg", strange)  # noqa: PTH104 (Path takes no bytes)
    assert len(load(root, said).train) == 12
    Path(os.fsdecode(strange)).write_bytes(b"")
    assert "\ufffd" in refusal(root)
    assert len(load(root, said, skip_bad=True).train) == 11
    assert len(load(root, said, skip_bad=True).train) == 11
    os.rename(os.fsencode(root / "train" / "bee"), os.fsencode(root / "train") + b"/\xff")  # noqa: PTH104
    os.rename(os.fsencode(root / "val" / "bee"), os.fsencode(root / "val") + b"/\xff")  # noqa: PTH104
    assert load(root, said, skip_bad=True).class_names == ("ant", "\ufffd")
    with pytest.raises(UserError, match="must be UTF-8"):
        canonical_name("folder:/a\udcff")


def test_names_that_a_terminal_would_obey_are_not_taken_over(tmp_path: Path, said: list[str]) -> None:
    root = make_folder(tmp_path / "pets", ("ant", "bee\x1b[2J"))
    assert load(root, said).class_names == ("ant", "bee\ufffd[2J")
    assert "\x1b" not in "".join(said)
    with pytest.raises(UserError, match="without control characters"):
        canonical_name("folder:/a\x1b[2J")


def test_hidden_files_and_other_files_are_no_images(tmp_path: Path, said: list[str]) -> None:
    root = make_folder(tmp_path / "pets")
    (root / "train" / ".DS_Store").write_text("x")
    (root / "train" / "ant" / ".hidden.jpg").write_text("x")
    (root / "train" / "ant" / "Thumbs.db").write_text("x")
    (root / "train" / ".ipynb_checkpoints").mkdir()
    assert len(load(root, said).train) == 12


def test_images_of_both_sets_are_warned_of_and_counted(tmp_path: Path, said: list[str]) -> None:
    root = make_folder(tmp_path / "pets")
    for i in range(2):
        shutil.copy(root / "val" / "ant" / f"{i}.jpg", root / "train" / "ant" / f"copy{i}.jpg")
    load(root, said)
    assert any("2 training images" in line and "also in the validation set" in line for line in said)


def test_images_smaller_than_the_crop_are_enlarged_and_named(tmp_path: Path, said: list[str]) -> None:
    root = make_folder(tmp_path / "pets", size=(140, 150))
    save(root / "train" / "bee" / "tiny.jpg", seed=5, size=(20, 30))
    load(root, said)
    warning = next(line for line in said if "enlarged" in line)
    assert "1 training image " in warning
    assert "train/bee/tiny.jpg, 30 x 20" in warning


def test_a_clean_data_set_is_described_in_one_line(tmp_path: Path, said: list[str]) -> None:
    assert len(describe(load(make_folder(tmp_path / "pets"), said))) == 1


def test_a_part_is_a_data_set_of_its_own(tmp_path: Path, said: list[str]) -> None:
    root = make_folder(tmp_path / "pets")
    whole = load(root, said)
    part = load_dataset(f"folder:{root}@6", DataOptions(tmp_path / "data"), said.append)
    assert part.name == f"folder:{root}@6"
    assert part.fingerprint != whole.fingerprint
    assert np.bincount(part.train.labels).tolist() == [3, 3]
    assert part.train.ids.tolist() == list(range(6))
    assert contents(part.valid) == contents(whole.valid)
    assert set(contents(part.train)) < set(contents(whole.train))
    for wrong in (1, 12, 5000):
        with pytest.raises(
            UserError, match=r"a part has at least one example per class \(2\) and fewer than all \(12\)"
        ):
            load_dataset(f"folder:{root}@{wrong}", DataOptions(tmp_path / "data"), said.append)


def test_a_folder_may_be_called_like_a_part(tmp_path: Path, said: list[str]) -> None:
    root = make_folder(tmp_path / "pets@6")
    assert len(load(root, said).train) == 12


def test_relative_paths_and_home_become_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for folder in ("pets", "home/pets", "other"):
        (tmp_path / folder).mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    assert canonical_name("folder:other/../pets/") == f"folder:{tmp_path / 'pets'}"
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert canonical_name("folder:pets") == f"folder:{tmp_path / 'pets'}"
    assert canonical_name("folder:~/pets@30") == f"folder:{tmp_path / 'home' / 'pets'}@30"


def test_the_path_that_a_relative_one_stands_for_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InvalidValue) as caught:
        canonical_name("folder:pets/../cats")
    assert caught.value.value == "folder:pets/../cats"
    assert str(tmp_path / "cats") in caught.value.rule
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    with pytest.raises(InvalidValue) as caught:
        canonical_name("folder:~/cats@30")
    assert str(tmp_path / "home" / "cats") in caught.value.rule


def imbalanced(root: Path, *counts: int) -> Path:
    for label, count in enumerate(counts):
        for i in range(count):
            save(root / f"class {label}" / f"{i}.png", seed=1000 * label + i, size=(8, 10))
    return root


def test_validation_examples_are_counted_by_class(tmp_path: Path, said: list[str]) -> None:
    load(imbalanced(tmp_path / "even", 9, 9, 9), said)
    assert "3 validation images of each" in said[-1]
    said.clear()
    load(imbalanced(tmp_path / "uneven", 9, 6), said)
    assert "from 2 (class 1) to 3 (class 0) validation images" in said[-1]


@pytest.mark.parametrize(
    ("counts", "warned"),
    [((60, 60), ()), ((60, 30), ()), ((150, 9), ("valid", "train")), ((12, 12, 90), ("valid", "train"))],
)
def test_strong_imbalance_is_warned_of(
    tmp_path: Path, said: list[str], counts: tuple[int, ...], warned: tuple[str, ...]
) -> None:
    dataset = load(imbalanced(tmp_path / "pets", *counts), said)
    lines = [line for line in describe(dataset) if line.startswith("warning")]
    assert len(lines) == len(warned)
    if warned:
        valid = np.bincount(dataset.valid.labels)
        assert f"{valid.max() / valid.sum():.2f}" in lines[0], "what a model has that knows one class"
        assert f"valid_examples={valid.min() * len(valid)} " in lines[0], "and what makes them alike"


def evaluated(root: Path, valid: int, test: int, said: list[str]) -> Dataset:
    options = DataOptions(root.parent / "data", evaluation=EvaluationSettings(valid, test))
    return load_dataset(f"folder:{root}", options, said.append)


def test_test_examples_are_counted_by_class(tmp_path: Path, said: list[str]) -> None:
    root = imbalanced(tmp_path / "pets", 30, 9)
    first = describe(evaluated(root, 6, 4, said))[0]
    assert "; from 2 (class 1) to 4 (class 0) validation images of each; " in first
    assert "; from 1 (class 1) to 3 (class 0) test images of each" in first
    even = describe(evaluated(root, 2, 2, said))[0]
    assert "; 1 validation images of each; 1 test images of each" in even


@pytest.mark.parametrize(("counts", "valid", "test"), [((120, 9), 16, 12), ((90, 60, 9), 40, 10), ((150, 30), 30, 30)])
def test_an_uneven_test_set_is_warned_of_with_numbers_that_make_both_sets_even(
    tmp_path: Path, said: list[str], counts: tuple[int, ...], valid: int, test: int
) -> None:
    root = imbalanced(tmp_path / "pets", *counts)
    dataset = evaluated(root, valid, test, said)
    lines = [line for line in said if line.startswith("warning: the ")]
    expected = []
    for what, images in (("validation", dataset.valid), ("test", dataset.test)):
        assert images is not None
        by_class = np.bincount(images.labels)
        if by_class.max() >= 4 * by_class.min():
            expected.append((what, f"{by_class.max() / by_class.sum():.2f}"))
    assert len(lines) == len(expected)
    for line, (what, accuracy) in zip(lines, expected, strict=True):
        assert f"the {what} set " in line
        assert accuracy in line
        found = re.search(r"valid_examples=(\d+) test_examples=(\d+) ", line)
        assert found is not None
        even = evaluated(root, int(found[1]), int(found[2]), said)
        assert even.test is not None
        for images in (even.valid, even.test):
            assert np.ptp(np.bincount(images.labels)) == 0


@pytest.mark.parametrize("parts", [("train", "val"), ("train", "test"), ("test",), ("val",), ("Train", "val")])
def test_parts_that_hold_images_directly_are_refused_with_a_fix(tmp_path: Path, parts: tuple[str, ...]) -> None:
    root = tmp_path / "vehicles"
    for number, name in enumerate(("bus", *parts)):
        save(root / name / "0.jpg", seed=number)
    message = refusal(root)
    assert f"dataset=folder:{root}" in message
    assert "if it is a class" in message
    assert all(part in message for part in parts)


def test_every_fault_of_a_layout_names_the_data_set(tmp_path: Path) -> None:
    roots = [make_folder(tmp_path / "one class", classes=("ant",)), tmp_path / "empty"]
    roots[1].mkdir()
    lacking = make_folder(tmp_path / "lacking")
    shutil.rmtree(lacking / "val" / "bee")
    for root in (*roots, lacking):
        assert refusal(root).startswith(f"dataset=folder:{root} ")


def test_quotes_around_a_single_name_are_told_to_be_left_out(tmp_path: Path) -> None:
    root = make_folder(tmp_path / "cats, dogs")
    with pytest.raises(InvalidValue) as caught:
        canonical_name(f'"folder:{root}"')
    assert (caught.value.name, caught.value.value) == ("dataset", f'"folder:{root}"')
    assert "no quotes" in caught.value.rule
    assert caught.value.rule.endswith(f"dataset=folder:{root}")
