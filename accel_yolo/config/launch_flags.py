"""The flags of processes and machines, and of the commands `check` and `profile`."""

from __future__ import annotations

from accel_yolo.config.flag import COMMON, Flag, run_folder, spoken, switch, value

_WHERE, _MACHINES, _WHAT, _HOW, _OUTPUT = "processes", "several machines", "model and data", "measurement", "output"

DEVICE = value(
    "--device", "cpu, mps, the number of a GPU, or several such as 0,1: one process is started for each", _WHERE
)
# Launchers of older PyTorch add it; the environment says the same.
LOCAL_RANK = Flag(("--local_rank", "--local-rank"), "accepted from older launchers and not needed", "", _WHERE)

CACHE = (
    Flag(
        ("--cache",),
        "decode and resize each image once, into a file that all processes of a machine share; ram and disk are "
        "the same, val keeps the validation images only, device keeps the training images in GPU memory",
        "cache",
        _WHERE,
        nargs="?",
        const="disk",
        metavar="KIND",
    ),
    value(
        "--cache-dir|--cache_dir", "folder of that file (default: images in the user's cache folder)", _WHERE, "FOLDER"
    ),
)


def decode_once(group: str) -> Flag:
    """Return the flag of partner groups, under a heading of the help."""
    return Flag(
        ("--decode-once",),
        "decode each image once an epoch: partners in mosaics come from fixed groups of N images (alone: 16)",
        "decode_once",
        group,
        nargs="?",
        const=16,
        metavar="N",
    )


def kernels(group: str) -> tuple[Flag, Flag]:
    """Return the flags of how a GPU is asked to work, under a heading of the help."""
    return (
        switch("--compile", "compile the layers (GPU): some minutes at the start, faster steps", group),
        switch("--cuda-graphs", "record a step once and replay it (GPU, one image size): for small models", group),
    )


LAUNCH = (
    DEVICE,
    value(
        "--processes|--nproc-per-node|--nproc_per_node",
        "processes to start on this machine; 0: as --device says",
        _WHERE,
        "N",
    ),
    value(
        "--config-file|--config_file",
        "Accelerate YAML that says what to start: a path or the name of a shipped one, such as 2cpu.yaml",
        _WHERE,
        "FILE",
    ),
    switch(
        "--no-preflight",
        "skip the comparison of code and settings between processes (not of the data)",
        _WHERE,
    ),
    value("--collective-timeout", "seconds after which a message between processes counts as lost", _WHERE, "S"),
    value(
        "--max-restarts|--max_restarts",
        "after a killed process or a lost machine, start again from the newest checkpoint, at most N times",
        _WHERE,
        "N",
    ),
    LOCAL_RANK,
    value("--machines|--nnodes|--num_machines", "machines of the run", _MACHINES, "N"),
    value("--machine-rank|--machine_rank|--node-rank|--node_rank", "number of this machine, from 0", _MACHINES, "N"),
    value("--main-process-ip|--main_process_ip|--master-addr|--master_addr", "address of machine 0", _MACHINES, "IP"),
    value(
        "--main-process-port|--main_process_port|--master-port|--master_port",
        "port of machine 0; 0 takes a free one (one machine only)",
        _MACHINES,
        "PORT",
    ),
    value("--interface", "network interface between machines (default: the one that leads to machine 0)", _MACHINES),
    value("--connect-timeout", "seconds to wait for the other machines at the start", _MACHINES, "S"),
)

CHECK = (
    value("--data", "data YAML or the name of a shipped one, to be compared between machines", _WHAT, "FILE"),
    value("--weights", "weights to be compared between machines", _WHAT, "FILE"),
    *LAUNCH,
    value("--workers", "threads that verify the data", _WHERE),
    *spoken(),
)

PROFILE = (
    value("--data", "data YAML or the name of a shipped one", _WHAT, "FILE"),
    value("--cfg", "model YAML or the name of a shipped one", _WHAT, "FILE"),
    value("--imgsz|--img|--img-size", "side of the square network input in pixels", _HOW),
    Flag(("--processes",), "world sizes to measure, such as 1,2,4", "processes", _HOW, metavar="N,N"),
    value("--batch-per-process|--batch-per-gpu", "images per step on each process", _HOW, "N"),
    value("--steps", "timed steps of each kind", _HOW, "N"),
    value("--images", "scale the training time of an epoch to this many images (COCO: 118287)", _HOW, "N"),
    value("--val-images", "scale the validation time to this many images (COCO: 5000)", _HOW, "N"),
    switch("--sync-bn", "BatchNorm over the whole batch of all processes", _HOW),
    value("--bn-group", "BatchNorm over fixed groups of this many images", _HOW, "N"),
    decode_once(_HOW),
    *kernels(_HOW),
    DEVICE,
    value("--workers", "data workers per process", _WHERE),
    *CACHE,
    value("--interface", "network interface between machines", _WHERE),
    *run_folder("runs/profile"),
    Flag(("--into",), "used by the command itself", "into", _OUTPUT, metavar="FILE"),
    *COMMON,
)
