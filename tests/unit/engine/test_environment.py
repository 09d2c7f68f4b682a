"""Facts for a bug report: complete where things are broken, and without what is nobody's business."""

from __future__ import annotations

import errno
import json
import os
import pwd
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from accel_yolo import cli
from accel_yolo.engine import environment as module
from accel_yolo.engine.environment import PACKAGES, environment, installed
from accel_yolo.engine.surroundings import VARIABLES, variables
from accel_yolo.errors import EnvironmentFault
from accel_yolo.files import cache_dir, home_folder

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(autouse=True)
def _own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "alice"))
    for variable in ("HF_HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(variable, raising=False)


def test_facts_are_flat_and_name_versions_machine_and_room() -> None:
    facts = environment()
    assert all(type(value) in (str, int, float) for value in facts.values())
    assert {"accel_yolo", "python", *PACKAGES, "platform", "cpu", "cores", "memory_gib"} <= facts.keys()
    assert {"memory_free_gib", "disk_free_gib", "torch_built_for", "distributed"} <= facts.keys()
    assert facts["cores"] == len(os.sched_getaffinity(0))
    assert "gloo" in str(facts["distributed"])
    assert json.loads(json.dumps(facts)) == facts


def test_only_listed_variables_are_told_and_the_home_folder_has_no_name(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    monkeypatch.setenv("HF_HOME", str(tmp_path / "alice" / "hub"))
    for secret in ("HF_TOKEN", "WANDB_API_KEY", "AWS_SECRET_ACCESS_KEY", "MLFLOW_TRACKING_URI", "HTTPS_PROXY"):
        monkeypatch.setenv(secret, "hunter2")
    facts = environment()
    assert facts["env OMP_NUM_THREADS"] == "3"
    assert facts["env HF_HOME"] == "~/hub"
    assert "hunter2" not in json.dumps(facts)
    assert "alice" not in json.dumps(facts)
    assert not any(word in name for name in VARIABLES for word in ("KEY", "TOKEN", "SECRET", "PASS", "URI", "URL"))


def test_what_accelerate_config_wrote_is_told_in_a_line(tmp_path: Path) -> None:
    folder = tmp_path / "alice" / ".cache" / "huggingface" / "accelerate"
    folder.mkdir(parents=True)
    file = folder / "default_config.yaml"
    file.write_text("distributed_type: MULTI_GPU\nnum_processes: 4\nmixed_precision: bf16\nmain_process_ip: 10.1.2.3\n")
    told = "~/.cache/huggingface/accelerate/default_config.yaml"
    assert environment()["accelerate_config"] == (
        f"{told}: distributed_type MULTI_GPU, num_processes 4, mixed_precision bf16"
    )
    file.write_text("{")
    assert str(environment()["accelerate_config"]).startswith(f"{told} cannot be read: ")


def test_the_home_folder_is_a_whole_name_in_a_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/al")
    paths = ["/home/al", "/home/al/x", "/home/alice/x", "/home/al.old", "/mnt/home/al"]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(paths))
    assert variables()["env PYTHONPATH"] == os.pathsep.join(["~", "~/x", *paths[2:]])


def test_a_user_without_a_home_has_facts_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HOME")
    monkeypatch.setattr(pwd, "getpwuid", no_entry)  # as in a container that runs as any number
    assert home_folder() is None
    assert "accelerate_config" not in environment()
    monkeypatch.setenv("HF_HOME", "~/hub")
    assert environment()["env HF_HOME"] == "~/hub"
    monkeypatch.delenv("ACCEL_YOLO_CACHE")
    with pytest.raises(EnvironmentFault, match="^no home folder for the cache; name a folder in ACCEL_YOLO_CACHE$"):
        cache_dir()


def no_entry(number: int) -> Any:
    raise KeyError(number)


@pytest.mark.parametrize("variable", ["HF_HOME", "XDG_CACHE_HOME"])
def test_a_folder_that_may_not_be_read_costs_one_fact(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    locked = tmp_path / "locked"
    locked.mkdir()
    monkeypatch.setenv(variable, str(locked))
    original = os.stat

    # Nothing is locked for root, as whom tests may run.
    def stat(path: Any, *arguments: Any, **more: Any) -> os.stat_result:
        if str(path).startswith(f"{locked}{os.sep}"):
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return original(path, *arguments, **more)

    monkeypatch.setattr(os, "stat", stat)
    facts = environment()
    assert "accelerate_config" not in facts and facts["cpu"]


def test_a_package_that_was_removed_halfway_is_damaged_and_stops_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "wreck-1.0.dist-info").mkdir()
    monkeypatch.syspath_prepend(str(tmp_path))
    assert installed("wreck") == "damaged"
    assert installed("there-is-no-such-package") == ""
    monkeypatch.setattr(module, "EXTRAS", ("wreck", "there-is-no-such-package"))
    facts = environment()
    assert facts["wreck"] == "damaged"
    assert "there-is-no-such-package" not in facts


def test_a_torch_that_cannot_be_imported_is_what_the_report_says(tmp_path: Path) -> None:
    for name, fault in (("torch", "OSError('libcudart.so.13: cannot open')"), ("torchvision", "ValueError('no ops')")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text(f"raise {fault}\n")
    environment_of_it = {**os.environ, "PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}"}
    words = [sys.executable, "-m", "accel_yolo", "env", "--json"]
    done = subprocess.run(words, capture_output=True, text=True, timeout=120, env=environment_of_it, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    facts = json.loads(done.stdout)
    assert facts["torch_fault"] == "OSError: libcudart.so.13: cannot open"
    assert "torch fails (OSError" in facts["imports"]
    assert "torchvision fails (ValueError: no ops)" in facts["imports"]
    assert facts["cpu"]


def test_the_report_can_be_pasted_and_read_by_programs(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["env"]) == 0
    shown = capsys.readouterr().out.splitlines()
    assert (shown[0], shown[-1]) == ("```text", "```")
    assert shown[1].split() == ["accel_yolo", str(environment()["accel_yolo"])]
    assert shown[-2].split(None, 1) == ["imports", "all work"]
    assert cli.main(["env", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert [line.split("  ")[0] for line in shown[1:-1]] == list(told)
