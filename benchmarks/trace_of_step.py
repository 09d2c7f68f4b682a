"""Prints what one training step consists of: its largest costs, kernel launches, waits for the device.

python benchmarks/trace_of_step.py --data coco128.yaml --sizes s --batch 64 --device cuda --precision bf16
"""

from __future__ import annotations

import argparse
import sys

from arms import markdown
from our_driver import parser
from our_parts import Ours, step

from accel_yolo.engine.step_trace import Trace, traced


def table(size: str, arguments: argparse.Namespace, trace: Trace) -> str:
    """Return one size's table."""
    rows: list[list[object]] = [
        [f"`{name[:90]}`", seconds * 1e3, 100 * seconds / trace.step_s, calls] for name, seconds, calls in trace.costs
    ]
    kind = "kernels" if arguments.device != "cpu" else "operators"
    title = f"One step of yolov5{size}, {arguments.imgsz} px, batch {arguments.batch}, {arguments.precision}"
    text = f"{trace.step_s * 1e3:.1f} ms a step; {kind} take {trace.busy_s * 1e3:.1f} ms ({trace.kernel_share:.0%})"
    if arguments.device != "cpu":
        text += f"; {trace.launches:.0f} launches, {trace.waits:.0f} waits of the host for the device"
    return markdown(title, [f"largest {kind}", "ms", "% of the step", "calls"], rows) + f"\n{text}.\n"


def main() -> None:
    """Trace every size."""
    words = parser()
    words.add_argument("--sizes", default="n")
    arguments = words.parse_args(["step", *sys.argv[1:]])
    for size in arguments.sizes.split(","):
        arguments.size, arguments.steps = size, 1
        ours = Ours(arguments)
        turn = step(ours)
        for _ in range(3):
            turn()
        print(table(size, arguments, traced(turn, ours.world.device)))


if __name__ == "__main__":
    main()
