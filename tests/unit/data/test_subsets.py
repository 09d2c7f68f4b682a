"""Parts of an index: some images, some classes, a share of them, several as one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from accel_yolo.config.data_union import chosen_classes, load_data_union
from accel_yolo.data.index import SplitIndex
from accel_yolo.data.splits import SplitOptions, kept_names, open_splits, parted
from accel_yolo.data.subsets import joined, some_classes, some_images, some_share
from accel_yolo.errors import ConfigError, DataError


@pytest.fixture
def index(sparse_data: Path) -> SplitIndex:
    return open_splits(load_data_union([str(sparse_data)]), ["train"], SplitOptions(False, "fail", 1))["train"]


def objects_of(index: SplitIndex, image: int) -> tuple:
    return index.labels_of(image).tolist(), [polygon.tolist() for polygon in index.polygons_of(image)]


def test_some_images_keep_all_that_is_theirs(index: SplitIndex) -> None:
    part = some_images(index, np.array([8, 0, 8, 3]))
    for place, image in enumerate((8, 0, 8, 3)):
        assert objects_of(part, place) == objects_of(index, image)
        assert (part.paths[place], part.content_keys[place]) == (index.paths[image], index.content_keys[image])
    assert (part.counts.images, part.counts.labelled) == (4, 3)
    assert part.digest != index.digest


def test_some_classes_are_numbered_anew_and_images_without_them_stay(index: SplitIndex) -> None:
    part = some_classes(index, [None, 0, None])
    assert len(part) == len(index)
    for image in range(len(index)):
        rows = index.labels_of(image)
        kept = rows[:, 0] == 1
        assert part.labels_of(image)[:, 1:].tolist() == rows[kept][:, 1:].tolist()
        outlines = [outline for outline, keep in zip(index.polygons_of(image), kept, strict=True) if keep]
        assert [each.tolist() for each in part.polygons_of(image)] == [each.tolist() for each in outlines]
    assert set(part.labels[:, 0]) == {0}


def test_a_share_is_drawn_by_the_seed_and_keeps_the_order(index: SplitIndex) -> None:
    part = some_share(index, 0.3, seed=1)
    assert len(part) == 8
    assert list(part.paths) == sorted(part.paths)
    assert part.paths == some_share(index, 0.3, seed=1).paths != some_share(index, 0.3, seed=2).paths
    assert len(some_share(index, 0.001, seed=1)) == 1
    assert some_share(index, 1.0, seed=1) is index


def test_several_indices_follow_each_other(index: SplitIndex) -> None:
    both = joined([index, some_images(index, np.array([4, 5]))])
    assert len(both) == len(index) + 2
    assert objects_of(both, len(index)) == objects_of(index, 4)
    assert objects_of(both, 3) == objects_of(index, 3)


def second_data(sparse_data: Path, tmp_path: Path, names: str) -> Path:
    data = tmp_path / "second.yaml"
    data.write_text(f"path: {sparse_data.parent}\ntrain: images/val\nval: images/val\nnames: {names}\n")
    return data


def test_several_data_sets_are_put_together_by_the_names_of_classes(sparse_data: Path, tmp_path: Path) -> None:
    union = load_data_union([str(sparse_data), str(second_data(sparse_data, tmp_path, "[c, d, a]"))])
    assert union.names == {0: "a", 1: "b", 2: "c", 3: "d"}
    split = open_splits(union, ["train"], SplitOptions(False, "fail", 1))["train"]
    first, second = (open_splits(load_data_union([str(sparse_data)]), [name], SplitOptions(False, "fail", 1))[name]
                     for name in ("train", "val"))  # fmt: skip
    assert len(split) == len(first) + len(second)
    theirs = {0: 2, 1: 3, 2: 0}
    expected = [*first.labels[:, 0].tolist(), *(theirs[int(each)] for each in second.labels[:, 0])]
    assert split.labels[:, 0].tolist() == expected


def test_a_class_name_that_comes_twice_cannot_be_put_together(sparse_data: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="a class name comes twice .*: x"):
        load_data_union([str(sparse_data), str(second_data(sparse_data, tmp_path, "[x, y, x]"))])


def test_classes_are_chosen_by_name_or_number() -> None:
    names = {0: "cat", 1: "dog", 2: "7"}
    assert chosen_classes(names, ["dog", "0"]) == (0, 1)
    assert chosen_classes(names, ["7"]) == (2,)
    assert chosen_classes(names, []) == ()


@pytest.mark.parametrize("wanted", ["3", "dgo", "-1", ""])
def test_an_unknown_class_is_refused(wanted: str) -> None:
    with pytest.raises(ConfigError, match="no such class in --classes"):
        chosen_classes({0: "cat", 1: "dog"}, [wanted])


def test_one_class_of_some_is_one_class(sparse_data: Path) -> None:
    options = SplitOptions(True, "fail", 1, classes=(0, 2))
    union = load_data_union([str(sparse_data)])
    part = open_splits(union, ["train"], options)["train"]
    plain = open_splits(union, ["train"], SplitOptions(False, "fail", 1))["train"]
    assert kept_names(union.names, options) == {0: "item"}
    assert set(part.labels[:, 0]) == {0}
    assert len(part.labels) == int((plain.labels[:, 0] != 1).sum())


def held_out_data(sparse_data: Path, share: str = "0.2") -> Path:
    """A data YAML beside that of the sparse data set: its training images, a share of them held out."""
    file = sparse_data.parent / f"held-out-{share}.yaml"
    file.write_text(f"path: {sparse_data.parent}\ntrain: images/train\nval: {share}\nnames: [a, b, c]\n")
    return file


def test_what_is_held_out_is_not_trained_on_and_together_they_are_all(index: SplitIndex, sparse_data: Path) -> None:
    parts = open_splits(
        load_data_union([str(held_out_data(sparse_data))]), ["train", "val"], SplitOptions(False, "fail", 1)
    )
    assert (len(parts["train"]), len(parts["val"])) == (21, 5)
    assert sorted(parts["train"].paths + parts["val"].paths) == sorted(index.paths)


def test_what_is_held_out_depends_on_the_images_only(sparse_data: Path, tmp_path: Path) -> None:
    def held_out(data: Path, **options: int) -> list[int]:
        union = load_data_union([str(data)], ("val",))
        return sorted(
            open_splits(union, ["val"], SplitOptions(False, "fail", 1, **options))["val"].content_keys.tolist()
        )

    first = held_out(held_out_data(sparse_data))
    renamed = tmp_path / "renamed"
    for kind in ("images", "labels"):
        (renamed / kind).mkdir(parents=True)
        for number, path in enumerate(sorted((sparse_data.parent / kind / "train").iterdir(), reverse=True)):
            (renamed / kind / f"{number:04d}{path.suffix}").write_bytes(path.read_bytes())
    (renamed / "classes.txt").write_text("a\nb\nc\n")
    assert held_out(renamed) == first == held_out(held_out_data(sparse_data), seed=7)


def test_at_least_one_image_is_held_out_and_one_left(sparse_data: Path) -> None:
    union = load_data_union([str(held_out_data(sparse_data, "0.01"))])
    whole = open_splits(union, ["train", "val"], SplitOptions(False, "fail", 1))
    assert (len(whole["train"]), len(whole["val"])) == (25, 1)
    with pytest.raises(DataError, match="too few images to hold some out for validation"):
        parted(some_images(whole["val"], np.array([0])), 0.2)


def test_what_is_left_out_of_a_held_out_set_is_counted_once(sparse_data: Path, tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    (tmp_path / "labels").mkdir()
    (tmp_path / "classes.txt").write_text("a\n")
    for number, path in enumerate(sorted((sparse_data.parent / "images" / "train").iterdir())):
        (tmp_path / "images" / path.name).write_bytes(b"no image" if number == 0 else path.read_bytes())
        (tmp_path / "labels" / f"{path.stem}.txt").write_text("0 0.5 0.5 0.1 0.1\n")
    parts = open_splits(load_data_union([str(tmp_path)]), ["train", "val"], SplitOptions(False, "drop", 1))
    assert [parts[split].counts.dropped for split in ("train", "val")] == [1, 0]
