"""What surrounds a run and steers the programs it uses: variables, limits, a container, Accelerate's own file."""

from __future__ import annotations

import os
import re
from pathlib import Path

from accel_yolo.config.shipped import is_file
from accel_yolo.config.yaml_io import load_yaml
from accel_yolo.data.room import UNKNOWN
from accel_yolo.errors import UserError, printable
from accel_yolo.files import home_folder

VARIABLES = (
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "OPENBLAS_CORETYPE",
    "CUDA_VISIBLE_DEVICES",
    "CUDA_LAUNCH_BLOCKING",
    "CUBLAS_WORKSPACE_CONFIG",
    "NVIDIA_VISIBLE_DEVICES",
    "PYTORCH_ALLOC_CONF",
    "PYTORCH_CUDA_ALLOC_CONF",
    "TORCH_NCCL_ASYNC_ERROR_HANDLING",
    "RANK",
    "LOCAL_RANK",
    "WORLD_SIZE",
    "LOCAL_WORLD_SIZE",
    "MASTER_PORT",
    "NCCL_DEBUG",
    "NCCL_SOCKET_IFNAME",
    "NCCL_P2P_DISABLE",
    "NCCL_IB_DISABLE",
    "NCCL_SHM_DISABLE",
    "GLOO_SOCKET_IFNAME",
    "ACCELERATE_USE_CPU",
    "ACCELERATE_MIXED_PRECISION",
    "ACCELERATE_DYNAMO_BACKEND",
    "ACCEL_YOLO_CACHE",
    "HF_HOME",
    "HF_HUB_OFFLINE",
    "XDG_CACHE_HOME",
    "PYTHONPATH",
    "CONDA_DEFAULT_ENV",
    "LANG",
    "LC_ALL",
    "TERM",
    "NO_COLOR",
    "COLUMNS",
)
"""The variables that are told, since none of them holds a secret: neither an address nor a token."""

_CHOICES = (
    "compute_environment",
    "distributed_type",
    "num_machines",
    "num_processes",
    "machine_rank",
    "mixed_precision",
    "use_cpu",
    "dynamo_backend",
)
"""What matters of Accelerate's own file."""


def variables() -> dict[str, str]:
    """Return the variables of the environment that steer what is computed, and where."""
    return {f"env {name}": printable(_without_home(os.environ[name])) for name in VARIABLES if name in os.environ}


def accelerate_choices() -> dict[str, str]:
    """Return what `accelerate config` has written for this user, if anything, which `accelerate launch` obeys."""
    cache = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    try:
        folder = Path(os.environ.get("HF_HOME") or Path(cache) / "huggingface").expanduser() / "accelerate"
    except RuntimeError:  # nobody's home
        return {}
    # A folder that may not be read is as good as none: no fact is worth a run.
    found = [path for suffix in ("yaml", "json") if is_file(path := folder / f"default_config.{suffix}")]
    if not found:
        return {}
    try:
        content = load_yaml(found[0]).data  # JSON is YAML
    except UserError as error:
        return {"accelerate_config": f"{path_shown(found[0])} cannot be read: {error.what}"}
    chosen = [f"{name} {content[name]}" for name in _CHOICES if isinstance(content, dict) and name in content]
    return {"accelerate_config": printable(f"{path_shown(found[0])}: {', '.join(chosen) or 'nothing in it'}")}


def container() -> str:
    """Return what this system runs in, as far as it tells: "kubernetes", "docker", "podman", "WSL" or ""."""
    if "KUBERNETES_SERVICE_HOST" in os.environ:
        return "kubernetes"
    if is_file(Path("/run/.containerenv")):
        return "podman"
    if is_file(Path("/.dockerenv")):
        return "docker"
    return "WSL" if "WSL_DISTRO_NAME" in os.environ else ""


def open_files() -> int:
    """Return how many files a process may hold open; UNKNOWN where there is no limit or none is told."""
    try:
        import resource
    except ImportError:  # Windows
        return UNKNOWN
    soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return UNKNOWN if soft == resource.RLIM_INFINITY else soft


def path_shown(path: Path | str) -> str:
    """Return a path for others to read: the home folder, which has a name in it, is ~."""
    return printable(_without_home(str(path)))


def _without_home(text: str) -> str:
    home = str(home_folder() or "")
    if len(home) < 2:  # none, or that of a container's root: /
        return text
    # Whole names only: /home/al does not begin /home/alice. A variable may hold several paths.
    return re.sub(rf"(?<![\w.-]){re.escape(home)}(?![\w.-])", "~", text)
