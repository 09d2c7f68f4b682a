"""The command line: `accel-yolo train ...`, and the same commands as train.py, val.py, detect.py and export.py."""

from __future__ import annotations

import os
import sys
import textwrap
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from accel_yolo import console, waypoints
from accel_yolo.commands import GROUPS, PREPARED, Work, search
from accel_yolo.config.flags import ALIASES, COMMANDS, parse
from accel_yolo.config.help_pages import help_width, listed
from accel_yolo.config.launch_schema import LaunchConfig
from accel_yolo.errors import ConfigError, UserError, did_you_mean
from accel_yolo.version import __version__

if TYPE_CHECKING:
    from accel_yolo.config.launching import LaunchPlan

INTERRUPTED, BROKEN_PIPE = 130, 141


def main(argv: Sequence[str] | None = None) -> int:
    """Return the exit status of `accel-yolo <command> ...`."""
    words = list(sys.argv[1:] if argv is None else argv)
    if words[:1] == ["help"] and len(words) > 1:  # `help train` is `train --help`
        words = [*words[1:], "--help"]
    if not words or words[0] in ("-h", "--help", "help"):
        _print_commands()
        return 0
    if words[0] in ("-V", "--version", "version"):
        print(f"accel-yolo {__version__}")
        return 0
    if words[0] in GROUPS and len(words) > 1 and not words[1].startswith("-"):
        words[:2] = [f"{words[0]} {words[1]}"]
    command = ALIASES.get(words[0], words[0])
    if command in GROUPS:
        _print_commands(only=command)
        return 0
    if command not in COMMANDS:
        error = _unknown_command(words[0])
        console.error_line(str(error))
        return error.exit_code
    return run(command, words[1:], prog=f"accel-yolo {words[0]}")


def run(command: str, argv: Sequence[str] | None = None, prog: str = "") -> int:
    """Return the exit status of one command: 0, or that of the error, which is printed as one line.

    Args:
        command: a name in `COMMANDS`.
        argv: the words after the command; those of this process when None.
        prog: how the user calls the command, for --help and messages.
    """
    # Before torch is imported: what its C++ code remarks on would come between the user and our messages.
    os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")
    words = list(sys.argv[1:] if argv is None else argv)
    debug = "--debug" in words
    console.quiet(False)
    console.verbose(False)
    console.log_to(None)
    try:
        work = _prepared(command, words, prog or COMMANDS[command].script)
    except UserError as error:
        # Every process of this machine has read the same flags and files: one of them reports.
        console.leave_to_first(error)
        return _reported(error, debug)
    except SystemExit as leaving:  # argparse has printed the help
        _finish()
        return leaving.code if isinstance(leaving.code, int) else 0
    try:
        with console.timed(command):
            code = work()
        sys.stdout.flush()
        _finish()
    except UserError as error:
        return _reported(error, debug)
    except KeyboardInterrupt:
        return _interrupted()
    except BrokenPipeError:
        # The reader of a pipe has gone (`| head`): what is left in the buffer must not raise again at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return BROKEN_PIPE
    except Exception as error:
        _recorded(error)
        raise
    return code


def _prepared(command: str, words: list[str], prog: str) -> Callable[[], int]:
    """Return the work that the user asks for, in this process or in others, after reading all flags and files."""
    from accel_yolo.engine import failures
    from accel_yolo.engine.launched import adopt_launch, die_with_launcher

    waypoints.leave()  # of an earlier run of this process, and so is its folder
    failures.write_to(None)
    die_with_launcher()
    launched = adopt_launch()
    console.quiet(console.is_follower())
    parsed = parse(command, words, prog)
    console.verbose(parsed.values.get("verbose", False))
    if parsed.values.get("quiet"):
        console.quiet()
    launch = LaunchConfig(**parsed.launch)
    from accel_yolo.config.search_words import asked_search  # not before the help has been printed: it reads YAML

    if (asked := asked_search(parsed)) is not None:
        return _finished(search(asked, launch))
    plan = None
    if command in _LAUNCHABLE:
        device = parsed.values.get("device", "")
        if launched.launcher:
            from accel_yolo.engine.agreement import require_agreement

            require_agreement(launched, launch, device, parsed.launch)
        else:
            from accel_yolo.config.launching import plan_launch

            plan = plan_launch(launch, device, parsed.launch)
    if plan is None:
        return _finished(PREPARED[command](parsed.values, launch))
    if plan.is_alone:
        return _alone(plan, command, parsed.values, launch)
    console.quiet()  # the processes read everything again, and speak of it
    PREPARED[command](parsed.values, launch)
    console.quiet(parsed.values.get("quiet", False))

    def start() -> int:
        from accel_yolo.engine.launch import launch as launch_processes

        return launch_processes(plan, command, words)

    return start


def _alone(plan: LaunchPlan, command: str, typed: dict[str, Any], launch: LaunchConfig) -> Callable[[], int]:
    """Return the work of a launch of one process: this one."""
    if plan.use_cpu:
        typed = {**typed, "device": "cpu"}
    work = _finished(PREPARED[command](typed, launch))

    def start() -> int:
        from accel_yolo.engine.launch import environment_of, settled

        os.environ.update(environment_of(settled(plan)))
        return work()

    return start


def _finished(work: Work) -> Callable[[], int]:
    """Return work that ends with exit status 0."""

    def run_to_end() -> int:
        work()
        return 0

    return run_to_end


_LAUNCHABLE = ("train", "val", "check")


def _reported(error: UserError, with_traceback: bool) -> int:
    """Return the exit status of an error after it was printed once, by this process or by its launcher."""
    if with_traceback:
        import traceback

        traceback.print_exception(error)
    if _recorded(error):
        console.log(f"error: {error}")
    elif not error.already_reported:
        console.error_line(str(error))
        _explain(error)
    return error.exit_code


def _explain(error: BaseException) -> None:
    """Say where in the program an error has happened, and how the run goes on."""
    from accel_yolo.engine.failures import details_of

    for line in details_of(error):
        console.error_detail(line)


def _recorded(error: BaseException) -> bool:
    """Leave word for our own launcher, and return whether there is one, which then speaks of the error."""
    from accel_yolo.engine.failures import record

    return record(error)


def _finish() -> None:
    """Tell our own launcher that exit status 0 is meant."""
    from accel_yolo.engine.failures import finished

    finished()


def _interrupted() -> int:
    """Return the exit status of Ctrl-C, after one line about it from whoever speaks for this machine."""
    from accel_yolo.engine.failures import launcher_speaks

    if console.is_first_here() and not launcher_speaks():
        console.error_line("interrupted")
    return INTERRUPTED


def _unknown_command(word: str) -> ConfigError:
    group = word.split()[0]
    of_group = [name for name in COMMANDS if name.startswith(f"{group} ")]
    known = of_group if group in GROUPS else [*COMMANDS, *ALIASES, *GROUPS]
    remedy = did_you_mean(word, known) or f"give one of {', '.join(of_group or COMMANDS)}"
    return ConfigError("unknown command", "the command line", word, remedy)


def _print_commands(only: str = "") -> None:
    command = f"{only} <command>".strip()
    print(f"usage: accel-yolo {command} [flags]; `accel-yolo {command} --help` lists the flags")
    width = max(map(len, COMMANDS))
    for heading, names in listed(COMMANDS, only):
        print("" if only else f"\n{heading}:")
        for name in names:
            print(f"  {name:<{width}}  {COMMANDS[name].summary}")
    if not only:
        same = "`detect` is another name of `predict`. train.py, val.py, detect.py and export.py are the same commands."
        print("\n" + textwrap.fill(same, help_width()))
        print("`accel-yolo help train` tells more, with examples.")
