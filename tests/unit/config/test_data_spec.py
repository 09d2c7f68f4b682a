"""The data YAML in all the forms that YOLOv5 users have, and what is wrong with the others."""

from __future__ import annotations

from pathlib import Path

import pytest

from accel_yolo.config.dataset import load_data_spec, suggested_hyp
from accel_yolo.config.shipped import shipped_names
from accel_yolo.errors import DataError

NAMES = "names: [cat, dog]\n"
SPLITS = "train: images/train\nval: images/val\n"


@pytest.fixture(autouse=True)
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working folder without datasets."""
    folder = tmp_path / "work"
    folder.mkdir()
    monkeypatch.chdir(folder)
    for variable in ("ACCEL_YOLO_DATASETS_DIR", "YOLOv5_DATASETS_DIR"):
        monkeypatch.delenv(variable, raising=False)
    return folder


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A data set beside its YAML, away from the working folder."""
    home = tmp_path / "home"
    for folder in ("images/train", "images/val", "more"):
        (home / folder).mkdir(parents=True)
    (home / "train.txt").write_text("./images/train/a.jpg\n")
    return home


def made(home: Path, content: str) -> str:
    path = home / "data.yaml"
    path.write_text(content)
    return str(path)


def refused(home: Path, content: str) -> str:
    with pytest.raises(DataError) as error:
        load_data_spec(made(home, content))
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.mark.parametrize("path", ["", "path: .\n", "path: ./\n", "path: ../home\n", "path: null\n"])
def test_the_root_may_be_absent_or_relative_to_the_yaml(home: Path, path: str) -> None:
    spec = load_data_spec(made(home, path + SPLITS + NAMES))
    assert spec.root == home
    assert spec.train == (home / "images/train",)
    assert spec.val == (home / "images/val",)
    assert spec.test == ()
    assert spec.names == {0: "cat", 1: "dog"}
    assert spec.nc == 2


def test_the_root_may_be_absolute(home: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    spec = load_data_spec(made(elsewhere, f"path: {home}\ntrain: images/train\nval: images/val\n{NAMES}"))
    assert spec.val == (home / "images/val",)


def test_the_root_may_be_relative_to_the_working_folder(home: Path, work: Path) -> None:
    (work / "mine/images").mkdir(parents=True)
    spec = load_data_spec(made(home, "path: mine\ntrain: images\nval: images\n" + NAMES))
    assert spec.root == work / "mine"


@pytest.mark.parametrize("variable", ["ACCEL_YOLO_DATASETS_DIR", "YOLOv5_DATASETS_DIR"])
@pytest.mark.parametrize("written", ["mine", "../datasets/mine"])
def test_the_root_may_lie_in_the_folder_of_data_sets(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variable: str, written: str
) -> None:
    (tmp_path / "sets/mine/images").mkdir(parents=True)
    monkeypatch.setenv(variable, str(tmp_path / "sets"))
    spec = load_data_spec(made(home, f"path: {written}\ntrain: images\nval: images\n{NAMES}"))
    assert spec.root == tmp_path / "sets/mine"


def test_the_folder_of_data_sets_is_datasets_in_the_working_folder_by_default(home: Path, work: Path) -> None:
    (work / "datasets/mine/images").mkdir(parents=True)
    assert load_data_spec(made(home, "path: mine\ntrain: images\nval: images\n" + NAMES)).root == work / "datasets/mine"


def test_a_root_that_has_all_the_images_is_preferred(home: Path, work: Path) -> None:
    (home / "mine/images/train").mkdir(parents=True)
    (work / "mine/images/train").mkdir(parents=True)
    (work / "mine/images/val").mkdir(parents=True)
    spec = load_data_spec(made(home, "path: mine\ntrain: images/train\nval: images/val\n" + NAMES))
    assert spec.root == work / "mine"


def test_a_split_may_be_a_list_file_or_several_of_either(home: Path) -> None:
    spec = load_data_spec(made(home, f"train: [images/train, train.txt, {home}/more]\nval:\n - images/val\n{NAMES}"))
    assert spec.train == (home / "images/train", home / "train.txt", home / "more")
    assert spec.split("val") == (home / "images/val",)


def test_a_leading_dot_dot_that_leads_nowhere_is_left_out(home: Path) -> None:
    spec = load_data_spec(made(home, "train: ../images/train\nval: [../images/val]\n" + NAMES))
    assert spec.train == (home / "images/train",)
    assert spec.val == (home / "images/val",)


def test_a_symbolic_link_keeps_its_name(home: Path, work: Path) -> None:
    (work / "images").symlink_to(home / "images")
    spec = load_data_spec(made(work, SPLITS + NAMES))
    assert spec.train == (work / "images/train",)


@pytest.mark.parametrize("names", ["names:\n  0: cat\n  1: dog\n", "names: {1: dog, 0: cat}\n", "nc: 2\n" + NAMES])
def test_names_may_be_a_list_or_a_map_in_any_order(home: Path, names: str) -> None:
    spec = load_data_spec(made(home, SPLITS + names))
    assert list(spec.names.items()) == [(0, "cat"), (1, "dog")]


def test_names_are_taken_as_written(home: Path) -> None:
    spec = load_data_spec(made(home, "train: images/train\nval: images/val\nnames: [no, 007, 1e-3, ü, 'a b']\n"))
    assert list(spec.names.values()) == ["no", "007", "1e-3", "ü", "a b"]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("", "empty data YAML"),
        ("- a\n", "not a data YAML"),
        ("val: images/val\n" + NAMES, "no train split"),
        ("train: images/train\n" + NAMES, "no val split"),
        ("train: images/train\nval:\n" + NAMES, "no val split"),
        ("train: 3\nval: images/val\n" + NAMES, "not a path in {}:1, key 'train': 3"),
        ("train: [images/train, {{}}]\nval: images/val\n" + NAMES, "not a path in {}:1, key 'train.1'"),
        (SPLITS, "no class names in {}, key 'names'"),
        (SPLITS + "names: []\n", "no class names in {}:3"),
        (SPLITS + "names: cat\n", "no class names in {}:3, key 'names': 'cat'"),
        (SPLITS + "names: [cat, ]\nnc: 2\n", "nc does not match the names in {}:4, key 'nc': 2"),
        (SPLITS + "names: [cat, [dog]]\n", "class without a name in {}:3, key 'names.1'"),
        (SPLITS + "names:\n  0: cat\n  2: dog\n", "classes are numbered 0 to 1 without gaps: 1 is missing"),
        (SPLITS + "names:\n  1: cat\n  2: dog\n", "gap in the class numbers in {}:4"),
        (SPLITS + "names:\n  cat: 0\n", "class number is not an integer in {}:4, key 'names.cat': 'cat'"),
        (SPLITS + "names:\n  '0': cat\n", "class number is not an integer"),
        (SPLITS + "names: {{0: a, 0: b}}\n", "duplicate key in {}:3: 0"),
        ("trian: images/train\nval: images/val\n" + NAMES, "misspelt key in {}:1, key 'trian'; did you mean 'train'?"),
        ("train: images/train\nvalid: images/val\n" + NAMES, "did you mean 'val'?"),
        (SPLITS + "nams: [a]\n", "did you mean 'names'?"),
        (SPLITS + "Names: [a]\n", "did you mean 'names'?"),
        ("path: 3\ntrain: images/train\nval: images/val\n" + NAMES, "not text in {}:1, key 'path': 3"),
        ("train: images/gone\nval: images/val\n" + NAMES, "missing images in {}:1, key 'train': images/gone"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named_with_its_line(home: Path, content: str, words: str) -> None:
    assert words.format(home / "data.yaml") in refused(home, content.replace("{{", "{").replace("}}", "}"))


def test_extra_keys_are_one_warning(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    extra = "roboflow: {project: p}\nlicense: MIT\nname: pets\nvalid: x\n"
    load_data_spec(made(home, SPLITS + NAMES + extra))
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    assert lines[0].startswith("warning: keys without a meaning here are ignored in")
    assert lines[0].endswith("roboflow, license, name, valid")


def test_missing_images_name_every_place_that_was_tried(home: Path, work: Path) -> None:
    message = refused(home, "path: mine\ntrain: images/train\nval: images/val\n" + NAMES)
    for place in (home / "mine", work / "mine", work / "datasets/mine"):
        assert str(place / "images/train") in message


def test_a_data_set_that_can_be_fetched_has_the_paths_it_will_have(home: Path, work: Path) -> None:
    spec = load_data_spec(made(home, "path: mine\ntrain: a\nval: b\ndownload: https://example.org/mine.zip\n" + NAMES))
    assert spec.root == work / "datasets/mine"
    assert (spec.train, spec.val) == ((spec.root / "a",), (spec.root / "b",))
    assert spec.download is not None
    assert [archive.url for archive in spec.download.archives] == ["https://example.org/mine.zip"]


def test_a_data_set_without_a_path_is_fetched_into_a_folder_named_like_its_yaml(home: Path, work: Path) -> None:
    spec = load_data_spec(made(home, "train: a\nval: b\ndownload: https://example.org/mine.zip\n" + NAMES))
    assert spec.root == work / "datasets/data"


def test_missing_images_that_nobody_may_fetch_say_how_to_get_them(home: Path) -> None:
    message = refused(home, "path: mine\ntrain: a\nval: b\nby_hand: >\n  ask\n  Ann\n" + NAMES)
    assert message.endswith("; ask Ann")


def test_a_download_script_is_never_run_and_never_a_url(home: Path) -> None:
    script = "download: |\n  import os\n  os.mkdir('made')\n"
    assert "is never run" in refused(home, "path: mine\ntrain: a\nval: b\n" + script + NAMES)
    assert not Path("made").exists()
    assert load_data_spec(made(home, SPLITS + script + NAMES)).download is None


def test_only_the_splits_that_are_used_must_exist(home: Path) -> None:
    path = made(home, "train: gone\nval: images/val\ntest: gone\n" + NAMES)
    assert load_data_spec(path, splits=("val",)).val == (home / "images/val",)
    with pytest.raises(DataError, match="key 'test': gone"):
        load_data_spec(path, splits=("test",))
    with pytest.raises(DataError, match="no test split"):
        load_data_spec(made(home, SPLITS + NAMES), splits=("test",))


def test_the_yaml_itself_may_be_missing_empty_or_a_folder(home: Path) -> None:
    with pytest.raises(DataError, match="no such data file"):
        load_data_spec(home / "gone.yaml")
    with pytest.raises(DataError, match="no data set is recognised"):
        load_data_spec(home)
    assert "empty data YAML" in refused(home, "# nothing\n")


def test_a_suggested_recipe_lies_beside_the_yaml_or_is_a_name(home: Path) -> None:
    (home / "mine.yaml").write_text("lr0: 0.1\n")
    base = SPLITS + NAMES
    assert load_data_spec(made(home, base + "hyp: mine.yaml\n")).hyp == str(home / "mine.yaml")
    assert load_data_spec(made(home, base + "hyp: VOC\n")).hyp == "VOC"
    assert suggested_hyp(Path(made(home, base))) is None


def test_coco_is_recognised_by_its_validation_split(home: Path) -> None:
    (home / "val2017.txt").write_text("")
    coco = "train: images/train\nval: val2017.txt\nnames:\n" + "".join(f"  {n}: c{n}\n" for n in range(80))
    assert load_data_spec(made(home, coco)).is_coco
    assert not load_data_spec(made(home, coco.replace("val2017.txt", "images/val"))).is_coco


def test_the_demo_data_set_need_not_exist_yet(work: Path) -> None:
    spec = load_data_spec("demo")
    assert spec.generator == "demo"
    assert spec.root == work / "datasets/demo"
    assert spec.val[0].is_relative_to(spec.root)
    assert spec.nc >= 5


def test_a_shipped_data_set_that_is_not_here_is_fetched_into_the_folder_of_data_sets(work: Path) -> None:
    spec = load_data_spec("coco128")
    assert spec.root == work / "datasets/coco128"
    assert spec.download is not None
    assert [archive.name for archive in spec.download.archives] == ["coco128.zip"]


@pytest.mark.parametrize(
    ("name", "published", "prepared"),
    [
        ("coco", "annotations/instances_val2017.json", "val2017.txt"),
        ("VOC", "VOCdevkit/VOC2007/ImageSets/Main/test.txt", "images/test2007/000001.jpg"),
    ],
)
def test_what_yolov5_prepared_is_used_where_it_is_and_else_what_is_published(
    work: Path, name: str, published: str, prepared: str
) -> None:
    root = work / "datasets" / name
    assert load_data_spec(name, ("val",)).val == (root / published,)
    (root / prepared).parent.mkdir(parents=True)
    (root / prepared).write_text("")
    assert load_data_spec(name, ("val",)).val[0] in (root / prepared, (root / prepared).parent)
    if name == "coco":
        assert load_data_spec(name, ("val",)).is_coco


@pytest.mark.parametrize(
    ("name", "word"), [("xView", "xviewdataset.org"), ("Argoverse", "argoverse.org"), ("GlobalWheat2020", "zenodo")]
)
def test_a_shipped_data_set_that_nobody_may_fetch_says_how_to_get_it(name: str, word: str) -> None:
    with pytest.raises(DataError, match=rf"data/{name}\.yaml:\d+, key 'train'.*{word}"):
        load_data_spec(name)


@pytest.mark.parametrize("name", shipped_names("data"))
def test_every_shipped_data_yaml_is_well_formed(name: str) -> None:
    spec = load_data_spec(name, splits=())
    assert spec.train
    assert spec.val
    assert spec.names


def test_real_images_are_found(coco128: Path) -> None:
    spec = load_data_spec(coco128)
    assert spec.nc == 80
    assert spec.val[0].is_dir()


@pytest.mark.parametrize(
    ("folder", "beside", "expected"),
    [
        ("JPEGImages", {"a.jpg": "", "a.txt": ""}, "yolo"),
        ("JPEGImages", {"a.jpg": "", "../Annotations/a.xml": ""}, "voc"),
        ("t", {"a.jpg": "", "a.xml": ""}, "voc"),
        ("t", {"a.jpg": "", "a.xml": "", "a.txt": ""}, "yolo"),
        ("images/t", {"a.jpg": "", "../../annotations/t/a.xml": ""}, "voc"),
        ("images/t", {"a.jpg": "", "../../labels/t/a.txt": ""}, "yolo"),
        ("t", {"a.jpg": "", "_annotations.coco.json": '{"categories": [{"id": 1, "name": "x"}]}'}, "coco"),
    ],
)
def test_the_format_shows_in_the_files(tmp_path: Path, folder: str, beside: dict[str, str], expected: str) -> None:
    for name, content in beside.items():
        path = tmp_path / folder / name
        (tmp_path / folder).mkdir(parents=True, exist_ok=True)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    data = tmp_path / "d.yaml"
    data.write_text(f"train: {folder}\nval: {folder}\nnames: [x]\n")
    assert load_data_spec(data).format == expected
    data.write_text(data.read_text() + "format: yolo\n")
    assert load_data_spec(data).format == "yolo"


def test_a_list_below_imagesets_is_a_plain_list_where_there_are_no_images_of_voc(tmp_path: Path) -> None:
    (tmp_path / "ImageSets").mkdir()
    (tmp_path / "ImageSets" / "train.txt").write_text("a.jpg\n")
    data = tmp_path / "d.yaml"
    data.write_text("train: ImageSets/train.txt\nval: ImageSets/train.txt\nnames: [x]\n")
    assert load_data_spec(data).format == "yolo"
    (tmp_path / "JPEGImages").mkdir()
    assert load_data_spec(data).format == "voc"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("format: cocoo\n", "unknown format .*: cocoo; did you mean 'coco'"),
        ("format: [yolo]\n", "unknown format"),
        ("val: j.json\n", "more than one label format"),
    ],
)
def test_a_format_that_cannot_be_is_refused(tmp_path: Path, text: str, told: str) -> None:
    (tmp_path / "t").mkdir()
    (tmp_path / "j.json").write_text("{}")
    data = tmp_path / "d.yaml"
    data.write_text("train: t\nnames: [x]\n" + ("" if "val" in text else "val: t\n") + text)
    with pytest.raises(DataError, match=told):
        load_data_spec(data)


@pytest.mark.parametrize(
    ("categories", "names"),
    [
        ('[{"id": 9, "name": "b"}, {"id": 2, "name": "categories"}]', {0: "categories", 1: "b"}),
        ('[{"id": 1, "name": "a"}, {"id": 2, "name": "a"}]', None),
        ('[{"id": 1}]', None),
        ("[]", None),
        ("7", None),
    ],
)
def test_names_may_come_from_the_categories(tmp_path: Path, categories: str, names: dict[int, str] | None) -> None:
    content = f'{{"categories": {categories}, "info": {{"categories": [{{"id": 1, "name": "no"}}]}}, "area": NaN}}'
    (tmp_path / "j.json").write_text(content)
    data = tmp_path / "d.yaml"
    data.write_text("train: j.json\nval: j.json\n")
    if names is None:
        with pytest.raises(DataError, match="no categories with id and name|two categories have one name"):
            load_data_spec(data)
    else:
        assert load_data_spec(data).names == names


def test_names_from_a_json_are_kept_until_it_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file, data = tmp_path / "j.json", tmp_path / "d.yaml"
    file.write_text('{"categories": [{"id": 1, "name": "a"}]}')
    data.write_text("train: j.json\nval: j.json\n")
    assert load_data_spec(data).names == {0: "a"}
    with monkeypatch.context() as patch:
        patch.setattr("accel_yolo.config.data_format._read_names", lambda _: pytest.fail("the json was read again"))
        assert load_data_spec(data).names == {0: "a"}
    file.write_text('{"categories": [{"id": 1, "name": "another"}]}')
    assert load_data_spec(data).names == {0: "another"}
