"""The command line: `accel-yolo train ...`, and the same commands as train.py, val.py, detect.py and export.py."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from accel_yolo import console
from accel_yolo.config.flags import ALIASES, COMMANDS, parse
from accel_yolo.errors import ConfigError, UserError, did_you_mean
from accel_yolo.version import __version__

INTERRUPTED, BROKEN_PIPE = 130, 141


def main(argv: Sequence[str] | None = None) -> int:
    """Return the exit status of `accel-yolo <command> ...`."""
    words = list(sys.argv[1:] if argv is None else argv)
    if not words or words[0] in ("-h", "--help", "help"):
        _print_commands()
        return 0
    if words[0] in ("-V", "--version", "version"):
        print(f"accel-yolo {__version__}")
        return 0
    command = ALIASES.get(words[0], words[0])
    if command not in COMMANDS:
        known = [*COMMANDS, *ALIASES]
        remedy = did_you_mean(words[0], known) or f"give one of {', '.join(COMMANDS)}"
        error = ConfigError("unknown command", "the command line", words[0], remedy)
        console.error_line(str(error))
        return error.exit_code
    return run(command, words[1:], prog=f"accel-yolo {words[0]}")


def run(command: str, argv: Sequence[str] | None = None, prog: str = "") -> int:
    """Return the exit status of one command: 0, or that of the error, which is printed as one line.

    Args:
        command: train, val, predict, convert or export.
        argv: the words after the command; those of this process when None.
        prog: how the user calls the command, for --help and messages.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    debug = "--debug" in words
    console.quiet(console.is_follower())
    console.log_to(None)
    try:
        work = _PREPARED[command](parse(command, words, prog or COMMANDS[command].script).values)
    except UserError as error:
        # Every process of this machine has read the same flags and files: one of them reports.
        return _reported(error, debug) if console.is_first_here() else error.exit_code
    except SystemExit as leaving:  # argparse has printed the help
        return leaving.code if isinstance(leaving.code, int) else 0
    try:
        work()
        sys.stdout.flush()
    except UserError as error:
        return _reported(error, debug)
    except KeyboardInterrupt:
        console.error_line("interrupted")
        return INTERRUPTED
    except BrokenPipeError:
        # The reader of a pipe has gone (`| head`): what is left in the buffer must not raise again at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return BROKEN_PIPE
    return 0


Work = Callable[[], object]


def _train(typed: Mapping[str, Any]) -> Work:
    from accel_yolo.config.resolve import resolve_train

    config, origins = resolve_train(typed)
    _speak_as(config)

    def work() -> object:
        from accel_yolo.engine.train import train

        return train(config, origins)

    return work


def _val(typed: Mapping[str, Any]) -> Work:
    from accel_yolo.config.resolve import resolve_val

    config, _ = resolve_val(typed)
    _speak_as(config)

    def work() -> object:
        from accel_yolo.engine.validate import validate

        return validate(config)

    return work


def _predict(typed: Mapping[str, Any]) -> Work:
    from accel_yolo.config.resolve import resolve_predict

    config, _ = resolve_predict(typed)
    _speak_as(config)

    def work() -> object:
        from accel_yolo.inference.predict import predict

        return predict(config)

    return work


def _convert(typed: Mapping[str, Any]) -> Work:
    from accel_yolo.config.resolve import resolve_convert

    config, _ = resolve_convert(typed)

    def work() -> object:
        from accel_yolo.models.convert import convert

        return convert(Path(config.source), Path(config.destination))

    return work


def _export(typed: Mapping[str, Any]) -> Work:
    raise ConfigError("not available yet", "export", remedy=COMMANDS["export"].later)


# Each resolves what was typed and returns the work, whose heavy imports wait until it is called.
_PREPARED: Mapping[str, Callable[[Mapping[str, Any]], Work]] = {
    "train": _train,
    "val": _val,
    "predict": _predict,
    "convert": _convert,
    "export": _export,
}


def _speak_as(config: Any) -> None:
    if config.quiet:
        console.quiet()


def _reported(error: UserError, with_traceback: bool) -> int:
    """Return the exit status of an error after printing it, unless a process that failed first has done so."""
    if with_traceback:
        import traceback

        traceback.print_exception(error)
    if not error.already_reported:
        console.error_line(str(error))
    return error.exit_code


def _print_commands() -> None:
    print("usage: accel-yolo <command> [flags]; `accel-yolo <command> --help` lists the flags\n")
    rows = [
        [f"  {name}", entry.summary + (" (not available yet)" if entry.later else "")]
        for name, entry in COMMANDS.items()
    ]
    for line in console.aligned(rows):
        print(line)
    print("\n`detect` is another name of `predict`. train.py, val.py, detect.py and export.py are the same commands.")
