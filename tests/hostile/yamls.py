"""YAML files: what YAML 1.1 misread, what is twice there, misspelt, of another kind, endless, or asks for code."""

from __future__ import annotations

from pathlib import Path

from hostile.cases import Case, Command, written

LAUGHS = "a: &a [1, 1, 1, 1, 1, 1, 1, 1, 1]\n" + "".join(
    f"{new}: &{new} [{', '.join([f'*{old}'] * 9)}]\n" for old, new in zip("abcdefgh", "bcdefghi", strict=True)
)
CALL = "!!python/object/apply:os.system ['touch canary']"
NUMBER = "give a number above 0"


def _recipe(name: str, text: str | bytes, *words: str, code: int = 2) -> Case:
    content = text if isinstance(text, bytes) else text.encode()
    return Case(name, "hyp.yaml", written(content), code, words)


def _data(name: str, text: str, *words: str, code: int = 3) -> Case:
    return Case(name, "other.yaml", written(text.encode()), code, words)


def _model(name: str, text: str, *words: str) -> Case:
    return Case(name, "model.yaml", written(text.encode()), 2, words)


RECIPES = [
    _recipe("a misspelt key", "lr0: 0.01\nmomentun: 0.9\n", "{file}:2, key 'momentun'", "did you mean 'momentum'?"),
    _recipe("an unknown key", "zzz: 0.9\n", "unknown key in {file}:1, key 'zzz'", "remove it"),
    _recipe("a key twice", "lr0: 0.01\nlr0: 0.02\n", "duplicate key in {file}:2: lr0; the first is on line 1"),
    _recipe("a text", "lr0: fast\n", "wrong value in {file}:1, key 'lr0': fast", NUMBER),
    _recipe("the word no", "lr0: no\n", "{file}:1, key 'lr0': no", NUMBER),
    _recipe("the word off", "mosaic: off\n", "{file}:1, key 'mosaic': off", "give a number from 0 to 1"),
    _recipe("a truth", "lr0: true\n", "{file}:1, key 'lr0': true", NUMBER),
    _recipe("sixties", "lr0: 1:30\n", "{file}:1, key 'lr0': 1:30", NUMBER),
    _recipe("a date", "lr0: 2020-01-01\n", "{file}:1, key 'lr0': 2020-01-01", NUMBER),
    _recipe("no number", "lr0: .nan\n", "{file}:1, key 'lr0': nan", NUMBER),
    _recipe("infinity", "lr0: .inf\n", "{file}:1, key 'lr0'", NUMBER),
    _recipe("a number of five thousand digits", "lr0: " + "9" * 5000 + "\n", "{file}:1, key 'lr0'"),
    _recipe("a list", "lr0: [1]\n", "{file}:1, key 'lr0': [1]", NUMBER),
    _recipe("nothing as a value", "lr0:\n", "{file}:1, key 'lr0': nothing", NUMBER),
    _recipe("a call", f"lr0: {CALL}\n", "a tag in {file}:1: !!python", "tags are never obeyed"),
    _recipe("a new object", "lr0: !!python/object/new:os.system [x]\n", "a tag in {file}:1: !!python"),
    _recipe("a tag of its own", "lr0: !evil 1\n", "a tag in {file}:1: !evil"),
    _recipe("an anchor that names itself", "lr0: &a [*a]\n", "an alias that contains itself in {file}:1"),
    _recipe("an alias of nothing", "lr0: *nowhere\n", "{file}:1: found undefined alias"),
    _recipe("billions of values by aliases", LAUGHS, "too many values in {file}:", "holds at most 50000"),
    _recipe("a million values", "lr0: [" + "1," * 300_000 + "1]\n", "too many values in {file}:1"),
    _recipe("five thousand levels", "a: " + "[" * 5000 + "]" * 5000, "nested too deep in {file}:1; use at most 32"),
    _recipe("five thousand levels by indents", "".join(" " * n + "a:\n" for n in range(1000)), "nested too deep in"),
    _recipe("ten megabytes", "#" * (10 << 20), "file too large in {file}", "has at most 1048576"),
    _recipe("a tab", "lr0: 1\n\tlrf: 1\n", "not valid YAML in {file}:2"),
    _recipe("an open bracket", "lr0: [1\n", "not valid YAML in {file}:2"),
    _recipe("two documents", "lr0: 0.1\n---\nlr0: 0.2\n", "{file}:2"),
    _recipe("a key that is a list", "? [a]\n: 1\n", "a key that is not a word in {file}:1"),
    _recipe("zero bytes in it", b"lr0: 0.01\nlrf: \0\n", "{file}:2"),
    _recipe("latin-1", b"lr0: 0.01\n# caf\xe9\n", "not UTF-8 text in {file}:2"),
    _recipe("an image", b"\x89PNG\r\n\x1a\n\0\0\0", "not a text file in {file}"),
    _recipe("an escape sequence in a key", '"\\e[31mlr0": 1\n', "{file}:1, key '\\x1b[31mlr0'"),
]

DATA = [
    _data(
        "a script to download",
        "train: x\nval: x\nnames: [a]\ndownload: |\n  import os\n  os.system('touch canary')\n",
        "{file}",
        "is never run",
    ),
    _data("a command to download", "train: x\nval: x\nnames: [a]\ndownload: bash touch canary\n", "is never run"),
    _data("a file of this machine", "train: x\nval: x\nnames: [a]\ndownload: file:///etc/passwd\n", "is never run"),
    _data("names that call", f"train: x\nval: x\nnames: {CALL}\n", "a tag in {file}:3: !!python"),
    _data("a class twice", "train: x\nval: x\nnames: {0: a, 0: b}\n", "duplicate key in {file}:3"),
    _data("a million classes", "train: .\nval: .\nnames: {0: a, 999999: b}\n", "gap in the class numbers in {file}:3"),
    _data("a misspelt key of data", "trian: x\nval: x\nnames: [a]\n", "{file}:1, key 'trian'; did you mean 'train'?"),
    _data("a number for a path", "train: 3\nval: x\nnames: [a]\n", "not a path in {file}:1, key 'train': 3"),
    _data("classes named no and off", "train: .\nval: .\nnames: [no, off, 1e-3, 012, 12:30]\n", code=0),
]

HEAD = "anchors: [[10,13, 16,30], [30,61, 62,45]]\nhead:\n  - [[-1, 0], 1, Detect, [nc, anchors]]\nbackbone:\n"
EVIL = "\"__import__('os').system('touch canary')\""
MODELS = [
    _model("a call for a block", f"{HEAD}  - [-1, 1, {EVIL}, [8, 3, 2]]\n", "unknown module in {file}", "layer 0"),
    _model("a call for a number", f"{HEAD}  - [-1, 1, Conv, [{EVIL}, 3, 2]]\n", "cannot build Conv in {file}"),
    _model(
        "a call for an activation", f"activation: {EVIL}\n{HEAD}  - [-1, 1, Conv, [8, 3, 2]]\n", "unknown activation"
    ),
    _model(
        "a billion repeats",
        f"{HEAD}  - [-1, 1000000000, Conv, [8, 3, 2]]\n",
        "too many blocks in {file}",
        "layer 0",
        "at most 250",
    ),
    _model("a billion channels", f"{HEAD}  - [-1, 1, Conv, [1000000000, 3, 2]]\n", "{file}"),
    _model("a layer from the future", f"{HEAD}  - [7, 1, Conv, [8, 3, 2]]\n", "{file}"),
]


def _never_begun(path: Path, data: Path) -> list[str]:
    return ["--data", str(data), "--weights", "", "--device", "cpu", "--project", str(path.parent / "runs")]


def opened_as_recipe(data: Path) -> Command:
    """Return the command that opens a file as hyper-parameters of a training that never begins."""
    return lambda path: ["train", "--hyp", str(path), *_never_begun(path, data)]


def opened_as_data(path: Path) -> list[str]:
    """Return the command that opens a file as a data set."""
    from hostile.images import PNG

    (path.parent / "good.png").write_bytes(PNG)
    return ["data", "check", "--data", str(path)]


def opened_as_model(data: Path) -> Command:
    """Return the command that opens a file as an architecture."""
    return lambda path: ["train", "--cfg", str(path), *_never_begun(path, data)]
