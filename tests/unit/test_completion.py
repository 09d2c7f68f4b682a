"""Completion as a shell does it: each script is loaded by its shell and asked."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from accel_yolo import completion
from accel_yolo.config.flags import COMMANDS
from accel_yolo.config.help_pages import shown_spellings
from accel_yolo.config.machine_schema import SHELLS
from accel_yolo.config.shipped import shipped_names

ASKED: tuple[tuple[str, set[str], set[str]], ...] = (
    ("accel-yolo ", {"train", "data", "info", "predict", "detect"}, {"check.py"}),
    ("accel-yolo trai", {"train"}, {"val"}),
    ("accel-yolo data ", {"check", "stats"}, {"train"}),
    ("accel-yolo data check --da", {"--data"}, {"--repair"}),
    ("accel-yolo train --optimizer ", {"SGD", "Adam", "AdamW"}, {"my.yaml"}),
    ("accel-yolo train --epochs 3 --precision ", {"bf16", "fp32"}, {"my.yaml"}),
    ("accel-yolo train --data c", {"coco128", "coco"}, {"demo"}),
    ("accel-yolo train --data m", {"my.yaml"}, {"photo.jpg"}),
    ("accel-yolo train --weights yolov5s", {"yolov5s.pt"}, set()),
    ("accel-yolo predict --track ", {"bytetrack"}, {"my.yaml"}),
    ("accel-yolo export --include ", {"onnx", "torchscript"}, {"my.yaml"}),
    ("accel-yolo info weights y", {"yolov5n.pt"}, {"photo.jpg"}),
    ("accel-yolo completion ", set(SHELLS), {"my.yaml"}),
)
"""What stands before Tab, what is offered among others, and what is not."""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "my.yaml").touch()
    (tmp_path / "photo.jpg").touch()
    return tmp_path


def answers(shell: str, program: str, folder: Path) -> str:
    words = [shell, "--norc", "--noprofile"] if shell == "bash" else [shell, "--no-config"]
    done = subprocess.run([*words, "-c", program], capture_output=True, text=True, timeout=60, cwd=folder)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def in_bash(line: str, script: Path) -> str:
    words = " ".join(f"'{word}'" for word in line.split(" "))
    return (
        f"source {script}; COMP_WORDS=({words}); COMP_CWORD=$(( ${{#COMP_WORDS[@]}} - 1 )); "
        "compopt() { :; }; "  # works inside a completion only, which bash starts at a terminal
        '$(complete -p accel-yolo | sed "s/.*-F \\([^ ]*\\).*/\\1/"); printf "%s\\n" "${COMPREPLY[@]}"'
    )


def in_fish(line: str, script: Path) -> str:
    return f"source {script}; complete -C '{line}'"


PROGRAMS = {name: ask for name, ask in (("bash", in_bash), ("fish", in_fish)) if shutil.which(name)}


@pytest.mark.parametrize("shell", PROGRAMS)
def test_a_shell_offers_commands_flags_values_and_files(shell: str, folder: Path) -> None:
    script = folder.parent / f"{folder.name}.{shell}"
    script.write_text(completion.script(shell))
    for line, offered, not_offered in ASKED:
        found = {row.split("\t")[0] for row in answers(shell, PROGRAMS[shell](line, script), folder).splitlines()}
        assert offered <= found, (line, found)
        assert not not_offered & found, (line, found)


@pytest.mark.parametrize("shell", [name for name in ("bash", "zsh", "fish") if shutil.which(name)])
def test_a_shell_reads_its_script_without_complaint(shell: str, tmp_path: Path) -> None:
    (tmp_path / "script").write_text(completion.script(shell))
    done = subprocess.run([shell, "-n", str(tmp_path / "script")], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("shell", SHELLS)
def test_each_script_knows_every_flag_that_works(shell: str) -> None:
    text = completion.script(shell)
    for name, command in COMMANDS.items():
        for flag in command.flags:
            if not (flag.positional or flag.later):
                assert shown_spellings(flag.spellings)[0].lstrip("-") in text, f"{name} {flag.name}"
    assert all(name in text for name in shipped_names("data"))
    assert "--bucket" not in text


def test_a_script_is_printed_without_waiting_for_torch() -> None:
    program = (
        "import sys; from accel_yolo import cli; code = cli.main(['completion', 'bash'])\n"
        "sys.exit(code or any(name in sys.modules for name in ('torch', 'numpy', 'cv2', 'accelerate')))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0
    assert done.stdout.count("\n") > 100
