"""What the environment of each launcher says about a process."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

from accel_yolo.engine.launched import DEFAULT_PORT, Launched, adopt_launch, first_of_nodes
from accel_yolo.errors import ConfigError

TORCH_NAMES = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")


def elastic(rank: int, size: int, local_rank: int, local_size: int, group: int, groups: int) -> dict[str, str]:
    return {
        "RANK": str(rank), "WORLD_SIZE": str(size), "LOCAL_RANK": str(local_rank),
        "LOCAL_WORLD_SIZE": str(local_size), "GROUP_RANK": str(group), "GROUP_WORLD_SIZE": str(groups),
        "MASTER_ADDR": "10.0.0.1", "MASTER_PORT": "29511", "TORCHELASTIC_RUN_ID": "none",
    }  # fmt: skip


def slurm(rank: int, machine: int, local_rank: int, **more: str) -> dict[str, str]:
    """Task `rank` of `srun` on two machines with three and two tasks."""
    return {
        "SLURM_JOB_ID": "4711", "SLURM_STEP_ID": "0", "SLURM_STEP_NUM_TASKS": "5", "SLURM_STEP_NUM_NODES": "2",
        "SLURM_STEP_TASKS_PER_NODE": "3,2", "SLURM_STEP_NODELIST": "node[07-08]", "SLURM_PROCID": str(rank),
        "SLURM_LOCALID": str(local_rank), "SLURM_NODEID": str(machine), "SLURM_NTASKS": "5", **more,
    }  # fmt: skip


def test_without_a_launcher_a_process_is_alone_and_nothing_is_changed() -> None:
    env = {"PATH": "/bin"}
    assert adopt_launch(env) == Launched(0, 1, 0, 1, 0, 1, "")
    assert env == {"PATH": "/bin"}


def test_torchrun_on_one_machine() -> None:
    assert adopt_launch(elastic(1, 2, 1, 2, 0, 1)) == Launched(1, 2, 1, 2, 0, 1, "torchrun")


def test_torchrun_on_two_machines() -> None:
    assert adopt_launch(elastic(3, 4, 1, 2, 1, 2)) == Launched(3, 4, 1, 2, 1, 2, "torchrun")


def test_torchrun_on_machines_of_different_size() -> None:
    assert adopt_launch(elastic(4, 5, 0, 1, 1, 2)) == Launched(4, 5, 0, 1, 1, 2, "torchrun")


def test_accelerate_and_our_own_launcher_are_told_from_the_torchrun_inside_them() -> None:
    env = elastic(0, 2, 0, 2, 0, 1)
    assert adopt_launch({**env, "ACCELERATE_MIXED_PRECISION": "no"}).launcher == "accelerate"
    assert adopt_launch({**env, "ACCEL_YOLO_LAUNCH_DIR": "/run/x"}).launcher == "accel-yolo"


def test_torchrun_inside_of_srun_counts_more_than_srun() -> None:
    env = {**slurm(1, 1, 0), **elastic(2, 4, 0, 2, 1, 2)}
    assert adopt_launch(env) == Launched(2, 4, 0, 2, 1, 2, "torchrun")


def test_accelerate_with_one_process() -> None:
    env = {"ACCELERATE_MIXED_PRECISION": "no", "ACCELERATE_USE_CPU": "True"}
    assert adopt_launch(env) == Launched(launcher="accelerate")
    assert not set(TORCH_NAMES) & set(env), "LOCAL_RANK would make Accelerate look for other processes"


def test_an_accelerate_config_that_meant_several_processes_but_starts_one_is_refused() -> None:
    env = {"ACCELERATE_USE_CPU": "True", "ACCELERATE_MIXED_PRECISION": "no", "MASTER_ADDR": "127.0.0.1"}
    with pytest.raises(ConfigError, match=r"MULTI_CPU; use accelerate_configs/2cpu\.yaml"):
        adopt_launch(env)


def test_each_task_of_srun_finds_its_place_and_the_first_machine() -> None:
    places = [(0, 0, 0), (1, 0, 1), (2, 0, 2), (3, 1, 0), (4, 1, 1)]
    environments = [slurm(*place) for place in places]
    found = [adopt_launch(env) for env in environments]
    assert found == [
        Launched(rank, 5, local_rank, (3, 2)[machine], machine, 2, "slurm") for rank, machine, local_rank in places
    ]
    assert {env["MASTER_ADDR"] for env in environments} == {"node07"}
    assert len({env["MASTER_PORT"] for env in environments}) == 1
    last = environments[-1]
    assert [last[name] for name in TORCH_NAMES[:4]] == ["4", "5", "1", "2"]


def test_steps_of_srun_and_jobs_take_different_ports() -> None:
    variants = [("4711", "0"), ("4711", "1"), ("4712", "0")]
    environments = [slurm(0, 0, 0, SLURM_JOB_ID=job, SLURM_STEP_ID=step) for job, step in variants]
    for env in environments:
        adopt_launch(env)
    assert len({env["MASTER_PORT"] for env in environments}) == 3


def test_what_the_user_exported_is_kept() -> None:
    env = slurm(3, 1, 0, MASTER_ADDR="10.1.1.1", MASTER_PORT="1234", WORLD_SIZE="5")
    assert adopt_launch(env) == Launched(3, 5, 0, 2, 1, 2, "slurm")
    assert (env["MASTER_ADDR"], env["MASTER_PORT"]) == ("10.1.1.1", "1234")


def test_variables_of_a_batch_script_start_nothing() -> None:
    env = {"SLURM_JOB_ID": "4711", "SLURM_NTASKS": "8", "SLURM_PROCID": "0", "SLURM_LOCALID": "0", "SLURM_NNODES": "2"}
    assert adopt_launch(env) == Launched()
    assert adopt_launch({**env, "SLURM_STEP_NUM_TASKS": "1"}) == Launched()


@pytest.mark.parametrize(
    ("nodes", "first"),
    [
        ("node[01-03,7]", "node01"),
        ("node[7,01-03]", "node7"),
        ("alpha,beta", "alpha"),
        ("alpha", "alpha"),
        ("gpu-[003-004]-ib,login1", "gpu-003-ib"),
        ("rack[1-2]node[5-6]", "rack1node5"),
    ],
)
def test_the_first_host_of_a_node_list(nodes: str, first: str) -> None:
    assert first_of_nodes(nodes) == first


def test_repeated_task_counts_of_slurm() -> None:
    counts = {"SLURM_STEP_TASKS_PER_NODE": "2(x2),1", "SLURM_STEP_NUM_NODES": "3"}
    assert adopt_launch(slurm(3, 1, 1, **counts)).local_size == 2
    assert adopt_launch(slurm(4, 2, 0, **counts)).local_size == 1


def ompi(rank: int, local_rank: int, size: int = 4, local_size: int = 2) -> dict[str, str]:
    return {
        "OMPI_COMM_WORLD_RANK": str(rank), "OMPI_COMM_WORLD_SIZE": str(size),
        "OMPI_COMM_WORLD_LOCAL_RANK": str(local_rank), "OMPI_COMM_WORLD_LOCAL_SIZE": str(local_size),
    }  # fmt: skip


def test_open_mpi_on_one_machine_needs_nothing_else() -> None:
    env = ompi(1, 1, size=2)
    assert adopt_launch(env) == Launched(1, 2, 1, 2, 0, 1, "mpi")
    assert (env["MASTER_ADDR"], env["MASTER_PORT"]) == ("127.0.0.1", str(DEFAULT_PORT))


def test_two_mpi_jobs_on_one_machine_take_different_ports() -> None:
    ports = set()
    for job in ("12345", "12346"):
        env = {**ompi(0, 0, size=2), "PMIX_NAMESPACE": job}
        adopt_launch(env)
        ports.add(env["MASTER_PORT"])
    assert len(ports) == 2


def test_mpi_numbers_processes_machine_by_machine_or_in_turns() -> None:
    address = {"MASTER_ADDR": "alpha"}
    assert [adopt_launch({**ompi(r, r % 2), **address}).machine for r in range(4)] == [0, 0, 1, 1]
    assert [adopt_launch({**ompi(r, r // 2), **address}).machine for r in range(4)] == [0, 1, 0, 1]


def test_mpi_on_several_machines_without_an_address_says_what_to_export() -> None:
    with pytest.raises(ConfigError, match="nothing says where process 0 runs in what mpi set; export MASTER_ADDR"):
        adopt_launch(ompi(1, 1))


def test_pmi_of_mpich_and_intel_mpi() -> None:
    env = {"PMI_RANK": "1", "PMI_SIZE": "2", "MPI_LOCALRANKID": "1", "MPI_LOCALNRANKS": "2"}
    assert adopt_launch(env) == Launched(1, 2, 1, 2, 0, 1, "mpi")


def test_plain_variables_on_this_machine() -> None:
    env = {"RANK": "1", "WORLD_SIZE": "3"}
    assert adopt_launch(env) == Launched(1, 3, 1, 3, 0, 1, "environment")
    assert [env[name] for name in TORCH_NAMES] == ["1", "3", "1", "3", "127.0.0.1", str(DEFAULT_PORT)]


def test_plain_variables_of_pods_mean_one_process_a_machine() -> None:
    env = {"RANK": "1", "WORLD_SIZE": "3", "MASTER_ADDR": "job-master-0", "MASTER_PORT": "23456"}
    assert adopt_launch(env) == Launched(1, 3, 0, 1, 1, 3, "environment")
    assert (env["LOCAL_RANK"], env["LOCAL_WORLD_SIZE"], env["MASTER_PORT"]) == ("0", "1", "23456")


def test_plain_variables_with_local_ones() -> None:
    env = {"RANK": "3", "WORLD_SIZE": "4", "LOCAL_RANK": "1", "LOCAL_WORLD_SIZE": "2", "MASTER_ADDR": "10.0.0.1"}
    assert adopt_launch(env) == Launched(3, 4, 1, 2, 1, 2, "environment")


def test_all_numbers_spelled_out_count_more_than_srun() -> None:
    plain = {"RANK": "2", "WORLD_SIZE": "10", "LOCAL_RANK": "2", "LOCAL_WORLD_SIZE": "6", "MASTER_ADDR": "node07"}
    assert adopt_launch({**slurm(1, 0, 1), **plain}) == Launched(2, 10, 2, 6, 0, 2, "environment")


@pytest.mark.parametrize(
    "env",
    [
        slurm(4, 1, 1),
        ompi(1, 1, size=2),
        {"RANK": "1", "WORLD_SIZE": "3"},
        {"RANK": "1", "WORLD_SIZE": "3", "MASTER_ADDR": "job-master-0"},
        elastic(3, 4, 1, 2, 1, 2),
    ],
    ids=["slurm", "mpi", "plain", "pods", "torchrun"],
)
def test_asking_again_gives_the_same_answer(env: dict[str, str]) -> None:
    env = dict(env)
    first = adopt_launch(env)
    completed = dict(env)
    assert adopt_launch(env) == first
    assert env == completed


@pytest.mark.parametrize(
    ("env", "says"),
    [
        ({"WORLD_SIZE": "2"}, "RANK is missing beside WORLD_SIZE in the environment: 2; set RANK too"),
        ({"RANK": "2", "WORLD_SIZE": "2"}, "the rank of this process cannot be in what environment says: 2 of 2"),
        ({"RANK": "x", "WORLD_SIZE": "2"}, "not a number in the environment, RANK: x"),
        ({**slurm(0, 0, 0), "WORLD_SIZE": "4"}, "process counts disagree in slurm and WORLD_SIZE: 5 and 4"),
        ({"SLURM_STEP_NUM_TASKS": "2", "SLURM_LOCALID": "0"}, "missing in the environment, SLURM_PROCID"),
    ],
)
def test_contradictions_are_one_line(env: dict[str, str], says: str) -> None:
    with pytest.raises(ConfigError) as caught:
        adopt_launch(env)
    assert says in str(caught.value)


LAUNCHER_THAT_IS_KILLED = """
import os, subprocess, sys
child = (
    "from accel_yolo.engine.launched import die_with_launcher; die_with_launcher();"
    "import time; print('up', flush=True); time.sleep(60)"
)
process = subprocess.Popen([sys.executable, "-c", child], stdout=subprocess.PIPE)
process.stdout.readline()
print(process.pid, flush=True)
os.kill(os.getpid(), 9)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a process that its parent has ended")
@pytest.mark.parametrize("variable", ["TORCHELASTIC_RUN_ID", "ACCELERATE_MIXED_PRECISION"])
def test_a_process_ends_with_its_killed_launcher(variable: str) -> None:
    env = {**os.environ, variable: "no"}
    command = [sys.executable, "-c", LAUNCHER_THAT_IS_KILLED]
    # The child has inherited stderr, so `run` returns when both have ended.
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=30)
    assert done.returncode == -signal.SIGKILL
    assert int(done.stdout) > 0 and done.stderr == ""
