"""What every part of the comparison needs: who is compared, on what data, on which cores; and how arms are started."""

from __future__ import annotations

import argparse
import atexit
import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from arms import HERE, REFERENCE_ENVIRONMENT, Arm, Place, timed_command

from accel_yolo.config.dataset import DataSpec, load_data_spec
from accel_yolo.data.room import usable_cores

VERSIONS = "import torch, cv2, sys; print(f'torch {torch.__version__}, cv2 {cv2.__version__}')"


@dataclass(frozen=True)
class Setup:
    """A comparison.

    Attributes:
        arguments: what was typed.
        reference: its checkout; None measures our arms only.
        data: the data YAML.
        linked: the same for the reference, through links: it writes a file of its own beside the labels.
        weights: weights that both start from where a part needs them; None leaves such parts out.
        cores: the cores of this machine.
        scratch: a folder for what commands and caches write.
    """

    arguments: argparse.Namespace
    reference: Path | None
    data: Path
    linked: Path
    weights: Path | None
    cores: tuple[int, ...]
    scratch: Path

    @classmethod
    def of(cls, arguments: argparse.Namespace) -> Setup:
        """Return the comparison that was asked for."""
        spec = load_data_spec(arguments.data)
        if spec.generator:
            from accel_yolo.data.demo import ensure_demo

            ensure_demo(spec.root)
        reference = arguments.reference.resolve() if arguments.reference else None
        weights = Path(arguments.weights).resolve() if arguments.weights else None
        scratch = Path(tempfile.mkdtemp(prefix="side-by-side-"))
        atexit.register(shutil.rmtree, scratch, ignore_errors=True)
        cores = tuple(range(usable_cores()))
        linked = _linked(spec, scratch / "linked")
        return cls(arguments, reference, spec.file.resolve(), linked, weights, cores, scratch)

    @property
    def one_core(self) -> Place:
        """The last core, one thread."""
        return Place(self.cores[-1:], 1)

    @property
    def on_gpu(self) -> bool:
        """Whether parts work on a GPU."""
        return self.arguments.device != "cpu"

    def versions(self) -> dict[str, str]:
        """Return the libraries of both sides."""
        pythons = {"ours": sys.executable}
        if self.reference:
            pythons["reference"] = self.arguments.reference_python
        return {
            who: subprocess.run([python, "-c", VERSIONS], capture_output=True, text=True, check=True).stdout.strip()
            for who, python in pythons.items()
        }

    def ours(self, name: str, words: str, place: Place, processes: int = 1) -> Arm:
        """Return an arm of ours: `words` as our_driver.py takes them."""
        given = [*words.split(), "--data", str(self.data), "--device", self._our_device()]
        given += ["--cache-dir", str(self.scratch / "cache")]
        return Arm(name, [sys.executable, str(HERE / "our_driver.py"), *given], place, processes=processes)

    def theirs(self, name: str, words: str, place: Place) -> list[Arm]:
        """Return an arm of the reference in a list, which is empty without a reference."""
        if self.reference is None:
            return []
        driver = [self.arguments.reference_python, str(HERE / "reference_driver.py"), *words.split()]
        driver += ["--checkout", str(self.reference), "--device", self.arguments.device]
        driver += ["--images", str(self.linked.parent / "images" / "train")]
        return [Arm(name, driver, place, REFERENCE_ENVIRONMENT)]

    def command(self, side: str, script: str, words: Sequence[str], place: Place) -> dict:
        """Run a command of a side ("ours" or "reference") to its end; its run folder is below the scratch folder."""
        folder = tempfile.mkdtemp(prefix=f"{side}-", dir=self.scratch)
        data = self.data if side == "ours" else self.linked
        common = ["--data", str(data), "--project", folder, "--name", "run"]
        if side == "ours":
            call = [sys.executable, str(HERE.parent / script), *words, *common, "--device", self._our_device()]
            taken = timed_command(call, Path(folder), place, {})
            metrics = Path(folder) / "run" / "metrics.json"
            return {**taken, "metrics": json.loads(metrics.read_text()) if metrics.exists() else {}}
        assert self.reference is not None
        device = "0" if self.on_gpu else "cpu"
        call = [self.arguments.reference_python, script, *words, *common, "--device", device]
        return timed_command(call, self.reference, place, REFERENCE_ENVIRONMENT)

    def _our_device(self) -> str:
        return "0" if self.on_gpu else "cpu"


def _linked(spec: DataSpec, folder: Path) -> Path:
    """Return a data YAML for the reference: real folders that hold links to the images and labels of a data set."""
    for split in ("train", "val"):
        (source,) = spec.split(split)  # one folder each
        labels = Path(*("labels" if part == "images" else part for part in source.parts))
        for kind, files in (("images", source), ("labels", labels)):
            links = folder / kind / split
            links.mkdir(parents=True)
            for file in files.iterdir():
                (links / file.name).symlink_to(file)
    file = folder / "data.yaml"
    splits = {split: f"images/{split}" for split in ("train", "val")}
    file.write_text(json.dumps({"path": str(folder), **splits, "names": list(spec.names.values())}))
    return file
