"""What the documentation shows: its blocks and commands, how each is run by a test, and why a few are not."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "SECURITY.md", *sorted((ROOT / "docs").rglob("*.md"))]
SHELL, PROCESSES, LIVE, DESK, NOT_RUN_HERE = "shell", "processes", "live", "desk", "not run"
"""How a command is run: by bash, in several processes, with a camera, in this process; or not at all."""

KINDS = ("bash", "python", "yaml", "json", "diff", "text", "dockerfile")
"""What a block may be; `text` is what a program prints, and nobody types."""

_HOURS = "it measures for minutes or hours, some of it next to a checkout of YOLOv5"
_REGISTRY = "it installs from a registry; the suite runs in what `pip install -e '.[dev]'` makes"
NOT_RUN = {
    "make demo": "it takes minutes; its command is in the guide to several processes",
    "make test": "it is the suite itself",
    "make slow": "it is the suite itself",
    "make lint": "continuous integration runs it beside the suite",
    "make docs": "tests/integration/test_site.py builds the site, tests/unit/test_generated_pages.py the pages",
    "pip install -e .": _REGISTRY,
    "pip install 'accel-yolo[export]'": _REGISTRY,
    "pip install 'accel-yolo[track]'": _REGISTRY,
    "pip install 'accel-yolo[tune]'": _REGISTRY,
    "python train.py --data demo --report-to tensorboard,wandb,mlflow": "test_trackers.py reports to each, read back",
    "sbatch docs/slurm/train.sbatch": "it needs SLURM; test_slurm_job.py runs the file",
    "accel-yolo push shared --to org/name --private": "it uploads; test_push.py does so to a hub of its own",
    "python benchmarks/side_by_side.py --data coco128.yaml --weights yolov5n.pt --parts loader,step,validation,epoch "
    "--reference CHECKOUT --reference-python PYTHON": _HOURS,
    "python benchmarks/side_by_side.py --data coco128.yaml --weights yolov5n.pt --reference yolov5 --reference-python "
    "python --parts memory --rounds 3": _HOURS,
    "python benchmarks/side_by_side.py --data coco128.yaml --weights yolov5n.pt --reference yolov5 --reference-python "
    "python --parts epoch --rounds 3": _HOURS,
    "python benchmarks/step_ratio.py --data demo": _HOURS,
    "python benchmarks/start_up.py --source coco128/images": _HOURS,
    "python benchmarks/evaluation.py --weights yolov5n.pt --data coco128.yaml": _HOURS,
    "python benchmarks/prediction.py --weights yolov5n.pt --images coco128/images": _HOURS,
}
"""Commands that no test types, and why."""

PYTHON_NOT_RUN = {
    'model.push_to_hub("org/name", private=True)': "it uploads; test_push.py does so to a hub of its own",
}
"""First lines of blocks of Python that no test runs, and why."""

FOREIGN_FLAGS = {
    "--help": "of argparse",
    "--delete": "of rsync",
    "--gpus-per-node": "of SLURM",
    "--signal": "of SLURM",
    "--gpus-per-task": "of SLURM",
    "--logdir": "of TensorBoard",
    "--no-deps": "of pip",
    "--onnx": "of trtexec",
    "--rdzv_backend": "of torchrun",
    "--gpus": "of docker",
    "--index-url": "of pip",
    "--init": "of docker",
    "--ipc": "of docker",
    "--shm-size": "of docker",
    "--time": "of docker",
    "--user": "of docker",
}
"""Flags that pages mention and that are not ours."""

SCRIPTS = {"train.py": "train", "val.py": "val", "detect.py": "predict", "export.py": "export"}


@dataclass(frozen=True)
class Block:
    """A fenced block: its page relative to the repository, the line on which it begins, its language and text."""

    page: str
    line: int
    kind: str
    text: str

    @property
    def place(self) -> str:
        """Where it is, for messages."""
        return f"{self.page}:{self.line}"

    @property
    def commands(self) -> list[str]:
        """The commands of a block of the shell, one a line; comments and a last & are not part of them."""
        if self.kind != "bash":
            return []
        lines = re.sub(r" *\\\n *", " ", self.text).strip().splitlines()
        return [line for line in (re.sub(r"(\s+#.*|\s*&)$|^#.*", "", line).strip() for line in lines) if line]


def blocks_of(page: Path) -> list[Block]:
    """Return the fenced blocks of a page."""
    text = page.read_text(encoding="utf-8")
    name = page.relative_to(ROOT).as_posix()
    return [
        Block(name, text.count("\n", 0, found.start()) + 1, found[1], found[2])
        for found in re.finditer(r"^```(.*)\n((?:.*\n)*?)```$", text, re.MULTILINE)
    ]


IN_A_COPY = "docs/extending.md"
"""The page whose blocks change the project: test_extending.py runs them in a copy."""

ELSEWHERE = {
    IN_A_COPY: "test_extending.py runs it in a copy of the project",
    "docs/start.md": "test_first_hour.py walks it in one folder, step by step",
    "docs/docker.md": "it needs Docker; test_dockerfiles.py holds the files and what runs inside",
}
"""Pages whose blocks have a test of their own."""

BLOCKS = [block for page in PAGES if page.relative_to(ROOT).as_posix() not in ELSEWHERE for block in blocks_of(page)]


def commands_of(*pages: str) -> list[str]:
    """Return the commands of pages, in order; of all pages when none is named."""
    return [command for block in BLOCKS if not pages or block.page in pages for command in block.commands]


def prose_of(page: Path) -> str:
    """Return the text of a page without its blocks."""
    return re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)


def way_of(command: str) -> str:
    """Return how a command is run."""
    if command in NOT_RUN:
        return NOT_RUN_HERE
    if "rtsp://" in command or ".streams" in command:
        return LIVE
    starts = r"accelerate launch|torchrun|torch\.distributed\.run|^srun|--device [0-9]+,|--config_file|--processes|"
    if re.search(rf"{starts}--data coco\.yaml|--machines", command):
        return PROCESSES
    return SHELL if re.search(r"[|><;]|&&|^[A-Z_]+=", command) else DESK


def ours_in(command: str) -> list[tuple[str, list[str]]]:
    """Return each command of ours within a command: its name and its words."""
    found = []
    for part in re.split(r"\s(?:\|\|?|&&|;)\s", command):
        words = shlex.split(part, comments=True)
        if "bash" in words and "-c" in words:
            found += ours_in(words[-1])
            continue
        for place, word in enumerate(words):
            if Path(word).name in SCRIPTS:
                found.append((SCRIPTS[Path(word).name], words[place + 1 :]))
            elif word in ("accel-yolo", "accel_yolo") and words[place - 1] != "install":
                found.append(_named(words[place + 1 :]))
            else:
                continue
            break
    return found


def _named(words: list[str]) -> tuple[str, list[str]]:
    """Return the command that words begin with, and the others."""
    if words[0] in ("data", "info") and len(words) > 1:
        return " ".join(words[:2]), words[2:]
    return {"detect": "predict"}.get(words[0], words[0]), words[1:]


def key_of(words: Iterable[str]) -> frozenset[tuple[str, ...]]:
    """Return what is equal for two command lines that say the same in another order of their flags."""
    groups: list[list[str]] = [[]]
    for word in words:
        if word.startswith("--"):
            groups.append([])
        groups[-1].append(word)
    return frozenset(map(tuple, groups))
