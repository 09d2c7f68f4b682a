"""The shipped Accelerate files: Accelerate reads them as their names say, and every key is explained."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from accelerate.commands.config.config_args import ClusterConfig, load_config_from_file

FOLDER = Path(__file__).resolve().parents[2] / "accelerate_configs"
NAMES = ["cpu", "2cpu", "4cpu", "1gpu", "2gpu", "4gpu", "8gpu", "2x1cpu", "2x2cpu", "2x8gpu", "mps", "fp16", "bf16"]


def test_these_files_are_shipped() -> None:
    assert sorted(path.name for path in FOLDER.iterdir()) == sorted(f"{name}.yaml" for name in NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_accelerate_reads_what_the_name_says(name: str) -> None:
    config = load_config_from_file(str(FOLDER / f"{name}.yaml"))
    assert isinstance(config, ClusterConfig)
    counts = re.fullmatch(r"(?:(\d)x)?(\d)?(?:cpu|gpu|mps|fp16|bf16)", name)
    assert counts is not None
    machines, processes = int(counts[1] or 1), int(counts[2] or 1)
    assert (config.num_machines, config.num_processes, config.machine_rank) == (machines, machines * processes, 0)
    # MULTI_CPU would start one process, whatever num_processes says.
    several = machines * processes > 1
    assert getattr(config.distributed_type, "value", config.distributed_type) == ("MULTI_GPU" if several else "NO")
    assert config.use_cpu is ("cpu" in name)
    assert config.mixed_precision == (name if name in ("fp16", "bf16") else "no")
    assert (config.main_process_port or 0) == (29500 if machines > 1 else 0)
    assert bool(config.main_process_ip) == (machines > 1)


@pytest.mark.parametrize("name", NAMES)
def test_every_key_has_its_comment(name: str) -> None:
    title, *rows = (FOLDER / f"{name}.yaml").read_text().splitlines()
    assert re.fullmatch(r"# .+\.", title)
    for row in rows:
        assert re.fullmatch(r"\w+: \S+ +# \S.*", row), row
        assert len(row) <= 120
