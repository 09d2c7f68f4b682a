"""What the Dockerfiles say fits the checkout and the package; no daemon is needed, and none is here."""

from __future__ import annotations

import fnmatch
import re
import shlex
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from accel_yolo.config.flags import COMMANDS, parse

ROOT = Path(__file__).resolve().parents[2]
FILES = sorted((ROOT / "docker").glob("Dockerfile.*"))
PROJECT = (ROOT / "pyproject.toml").read_text()
IDS = [file.name for file in FILES]


def instructions(file: Path) -> list[tuple[str, str]]:
    """Return the instructions of a Dockerfile: the word and the rest, lines joined."""
    lines = [line for line in file.read_text().splitlines() if line and not line.startswith("#")]
    text = "\n".join(lines).replace("\\\n", " ")
    return [(line.partition(" ")[0], line.partition(" ")[2]) for line in text.splitlines()]


def copied(file: Path) -> list[str]:
    """Return the files and folders of the build context that a Dockerfile copies."""
    copies = [shlex.split(rest) for word, rest in instructions(file) if word == "COPY" and "--from" not in rest]
    return [source for words in copies for source in words[:-1]]


def let_in(name: str) -> bool:
    """Return whether .dockerignore lets a file or folder of the root into the build."""
    lines = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line and line[0] != "#"]
    last = [line for line in lines if fnmatch.fnmatch(name, line.removeprefix("!"))][-1:]
    return not last or last[0].startswith("!")


def argument(file: Path, name: str) -> str:
    (value,) = {rest.partition("=")[2] for word, rest in instructions(file) if rest.startswith(f"{name}=")}
    return value


def version(text: str) -> tuple[int, ...]:
    return tuple(map(int, text.split(".")))


def test_there_is_one_for_gpus_and_one_for_cpus() -> None:
    assert IDS == ["Dockerfile.cpu", "Dockerfile.gpu"]


@pytest.mark.parametrize("file", FILES, ids=IDS)
def test_what_is_copied_is_there_and_not_ignored(file: Path) -> None:
    assert {"pyproject.toml", "accel_yolo", "configs", "accelerate_configs"} <= set(copied(file))
    for name in copied(file):
        assert (ROOT / name).exists() and let_in(name), name
    for name in ("runs", "datasets", ".git", ".venv", "tests", "accel_yolo.egg-info", "my_images"):
        assert not let_in(name), name


@pytest.mark.slow
@pytest.mark.parametrize("file", FILES, ids=IDS)
def test_the_wheel_of_the_copied_files_is_that_of_the_checkout(file: Path, tmp_path: Path) -> None:
    def wheel(source: Path, into: str) -> list[str]:
        words = ["pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(tmp_path / into), str(source)]
        subprocess.run([sys.executable, "-m", *words], check=True)
        (built,) = (tmp_path / into).glob("*.whl")
        return sorted(zipfile.ZipFile(built).namelist())

    context = tmp_path / "source"
    for name in copied(file):
        source = ROOT / name
        ignored = shutil.ignore_patterns("__pycache__", "*.pyc")
        if source.is_dir():
            shutil.copytree(source, context / name, ignore=ignored)
        else:
            context.mkdir(exist_ok=True)
            shutil.copy(source, context)
    whole = tmp_path / "checkout"
    shutil.copytree(ROOT, whole, ignore=shutil.ignore_patterns(".git", ".venv", "runs", "build", "*.egg-info", "tests"))
    assert wheel(context, "a") == wheel(whole, "b")


@pytest.mark.parametrize("file", FILES, ids=IDS)
def test_versions_and_extras_are_those_of_the_project(file: Path) -> None:
    for name, package in (("TORCH", "torch"), ("TORCHVISION", "torchvision")):
        (floor,) = re.findall(rf'"{package}>=([\d.]+)"', PROJECT)
        assert version(argument(file, name)) >= version(floor)
    for extra in argument(file, "EXTRAS").split(","):
        assert f"\n{extra} = [" in PROJECT
    (python,) = {rest.split()[0] for word, rest in instructions(file) if word == "FROM"}
    (least,) = re.findall(r'requires-python = ">=([\d.]+)"', PROJECT)
    assert version(re.findall(r"python:([\d.]+)-slim", python)[0]) >= version(least)


@pytest.mark.parametrize("file", FILES, ids=IDS)
def test_the_container_runs_the_program_as_a_user_without_rights(file: Path) -> None:
    found = instructions(file)
    words = [word for word, _ in found]
    (user,) = [rest for word, rest in found if word == "USER"]
    assert user.isdecimal() and int(user) > 0 and words.index("USER") < words.index("ENTRYPOINT")
    assert ("ENTRYPOINT", '["accel-yolo"]') in found and 'accel-yolo = "' in PROJECT
    assert not re.search(r"(?i)secret|token|password", file.read_text())


@pytest.mark.parametrize("file", FILES, ids=IDS)
def test_the_linter_finds_nothing(file: Path) -> None:
    program = Path(sys.executable).parent / "hadolint"
    done = subprocess.run([program, "--no-color", file], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


PAGE = (ROOT / "docs" / "docker.md").read_text()
SHOWN = [line for block in re.findall(r"```bash\n(.*?)```", PAGE, re.DOTALL) for line in block.strip().splitlines()]


@pytest.mark.parametrize("command", SHOWN)
def test_a_command_of_the_page_builds_a_file_that_is_there_or_runs_a_command_of_ours(command: str) -> None:
    words = shlex.split(command)
    images = {shlex.split(line)[-2] for line in SHOWN if " build " in line}
    assert words[0] == "docker"
    if words[1] == "build":
        assert words[-1] == "." and (ROOT / words[words.index("-f") + 1]).is_file()
        text = (ROOT / words[words.index("-f") + 1]).read_text()
        for setting in (words[place + 1] for place, word in enumerate(words) if word == "--build-arg"):
            assert f"\nARG {setting.partition('=')[0]}=" in text
        return
    (image,) = images & set(words)
    ours = words[words.index(image) + 1 :]
    assert ours[0] in COMMANDS and parse(ours[0], ours[1:]).command == ours[0]
    assert ("--gpus" in words) == image.endswith("gpu")


def test_the_page_says_that_nothing_of_it_has_been_run() -> None:
    assert "no image has been built or run by our tests" in " ".join(PAGE.split())
