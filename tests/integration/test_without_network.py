"""Nothing phones home: without a network all that has its files works, and no connection beyond loopback is tried.

Every program runs where there is no interface but loopback, and strace writes down each address that any of its
processes connects or sends to, whoever asks: Python, a library, another program. Names would be looked up on loopback,
where nobody answers: the watch sees what is asked. PyTorch asks for one thing, the name of loopback itself.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
TINY = ["--imgsz", "64", "--batch", "8", "--workers", "1", "--device", "cpu"]
CALLS = "connect,sendto,sendmsg,sendmmsg"
LOCAL = re.compile(r'sin_addr=inet_addr\("127\.|inet_pton\(AF_INET6, "(::1|::ffff:127\.)')
QUESTION = re.compile(r'"[^"]*\\1\\0\\0\\1\\0\\0\\0\\0\\0[^"]*"')
"""How strace shows a question to a name server: it is one, and wants to be passed on."""
NAME_OF_LOOPBACK = re.compile(r"\\(00)?127\\7in-addr\\4arpa|\\003127\\7in-addr\\4arpa|ip6\\4arpa")
DRIVER = """
import json, sys
asked = []
def hear(event, arguments):
    if event in ("socket.connect", "socket.sendto", "socket.getaddrinfo", "socket.gethostbyname"):
        asked.append(f"{event} {arguments[-1] if event.startswith('socket.c') else arguments[:2]}")
sys.addaudithook(hear)
from accel_yolo.cli import main
for words in json.loads(sys.argv[1]):
    code = main(words)
    assert code == 0, (words, code)
import accel_yolo.engine.trackers, accelerate, huggingface_hub, matplotlib, torch.hub
print("ASKED", json.dumps(asked), file=sys.stderr)
"""

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="needs network namespaces and strace, which only Linux has"),
]


@pytest.fixture(autouse=True)
def _tools() -> None:
    missing = [tool for tool in ("strace", "unshare", "ip") if shutil.which(tool) is None]
    if missing or subprocess.run(["unshare", "-n", "true"], check=False, stderr=subprocess.DEVNULL).returncode:
        pytest.skip(f"needs {' and '.join(missing) or 'the right to make a network'}")


def without_network(words: list[str], folder: Path) -> tuple[subprocess.CompletedProcess[str], list[str]]:
    """Return how a program ended where there is only loopback, and the calls with addresses beyond it."""
    record = folder / "calls.txt"
    home = folder / "home"
    home.mkdir(exist_ok=True)
    kept = ("PATH", "OMP_NUM_THREADS", "LANG")
    environment = {name: os.environ[name] for name in kept if name in os.environ}
    environment |= {"HOME": str(home), "PYTHONPATH": str(ROOT), "ACCEL_YOLO_CACHE": str(folder / "cache")}
    (folder / "resolv.conf").write_text("nameserver 127.0.0.1\noptions timeout:1 attempts:1\n")
    inside = "ip link set lo up; [ ! -e /etc/resolv.conf ] || mount --bind resolv.conf /etc/resolv.conf; "
    inside += f'exec strace -f --seccomp-bpf -qq -s 300 -e trace={CALLS} -e signal=none -o {record} "$@"'
    done = subprocess.run(
        ["unshare", "-n", "-m", "sh", "-c", inside, "sh", *words],
        cwd=folder, env=environment, capture_output=True, text=True, timeout=500, check=False,
    )  # fmt: skip
    calls = record.read_text(errors="replace").splitlines()
    beyond = [line for line in calls if "sa_family=AF_INET" in line and not LOCAL.search(line)]
    asked = [question for line in calls for question in QUESTION.findall(line)]
    return done, beyond + [question for question in asked if not NAME_OF_LOOPBACK.search(question)]


def test_the_watch_sees_the_names_that_a_program_looks_up(tmp_path: Path) -> None:
    program = (
        "import socket\ntry:\n    socket.gethostbyname('phone.home.example')\nexcept OSError:\n    print('nobody')"
    )
    done, beyond = without_network([sys.executable, "-c", program], tmp_path)
    assert done.stdout == "nobody\n"
    assert any("phone" in question for question in beyond)


@pytest.mark.parametrize("call", ["connect(('192.0.2.1', 443))", "sendto(b'x', ('192.0.2.1', 53))"])
def test_the_watch_sees_what_a_program_tries(tmp_path: Path, call: str) -> None:
    kind = "SOCK_DGRAM" if "sendto" in call else "SOCK_STREAM"
    program = (
        f"import socket\ntry:\n    socket.socket(type=socket.{kind}).{call}\nexcept OSError:\n    print('no network')"
    )
    done, beyond = without_network([sys.executable, "-c", program], tmp_path)
    assert done.stdout == "no network\n"
    assert len(beyond) == 1 and "192.0.2.1" in beyond[0]


def test_all_that_has_its_files_works_and_asks_nobody(
    tmp_path: Path, sparse_data: Path, published_weights: Path
) -> None:
    weights, data, run = str(published_weights), str(sparse_data), "runs/exp"
    train = ["train", *TINY, "--data", data, "--epochs", "1", "--project", "runs", "--weights"]
    commands = [
        ["env"],
        ["help", "train"],
        ["data", "check", "--data", data],
        [*train, weights],
        ["val", *TINY, "--data", data, "--weights", f"{run}/weights/best.safetensors", "--project", "vals"],
        ["predict", "--imgsz", "64", "--device", "cpu", "--weights", weights, "--source",
         str(sparse_data.parent / "images" / "val")],
        ["export", "--weights", f"{run}/weights/best.safetensors", "--include", "onnx", "openvino", "--device", "cpu"],
        ["info", "weights", weights],
        ["convert", weights, "converted.safetensors"],
        ["report", run],
    ]  # fmt: skip
    done, beyond = without_network([sys.executable, "-c", DRIVER, json.dumps(commands)], tmp_path)
    assert done.returncode == 0, done.stderr[-3000:]
    assert beyond == []
    (asked,) = [line for line in done.stderr.splitlines() if line.startswith("ASKED ")]
    beyond = [each for each in json.loads(asked.removeprefix("ASKED ")) if "127.0.0.1" not in each]
    assert beyond == [], "names are asked for, or addresses, beyond this machine"
    # ONNX Runtime and OpenVINO number the machine for their makers, unless they are told not to.
    left = {path.parts[len(tmp_path.parts) + 1] for path in (tmp_path / "home").rglob("*") if path.is_file()}
    assert left <= {".config", ".cache"} and not list((tmp_path / "home").rglob("*icrosoft*"))
    assert (tmp_path / run / "report.html").is_file() and (tmp_path / run / "weights" / "best.onnx").is_file()


def test_two_processes_train_over_loopback_and_ask_nobody(tmp_path: Path, sparse_data: Path) -> None:
    train = [*TINY, "--data", str(sparse_data), "--epochs", "1", "--project", "runs", "--noplots", "--weights", ""]
    words = [sys.executable, "-m", "accel_yolo", "train", *train, "--cfg", "yolov5n", "--processes", "2"]
    done, beyond = without_network(words, tmp_path)
    assert done.returncode == 0, done.stderr[-3000:]
    assert beyond == []
    assert (tmp_path / "runs" / "exp" / "metrics.json").is_file()
