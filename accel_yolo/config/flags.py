"""The table of commands and the parser: what the user typed, checked and named, and nothing else."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

from accel_yolo.config.data_flags import DATA_CHECK, DATA_CONVERT, DATA_SHOW, DATA_SPLIT, DATA_STATS
from accel_yolo.config.data_schema import (
    DataCheckConfig,
    DataConvertConfig,
    DataShowConfig,
    DataSplitConfig,
    DataStatsConfig,
)
from accel_yolo.config.examples import EXAMPLES
from accel_yolo.config.exclusions import excluded_lines
from accel_yolo.config.export_flags import BENCHMARK, EXPORT
from accel_yolo.config.export_schema import BenchmarkConfig, ExportConfig
from accel_yolo.config.flag import Flag
from accel_yolo.config.help_pages import HelpPage, flag_help, in_order, usage, value_name
from accel_yolo.config.launch_flags import CHECK, PROFILE
from accel_yolo.config.launch_schema import CheckConfig, LaunchConfig, ProfileConfig
from accel_yolo.config.machine_flags import COMPLETION, ENV
from accel_yolo.config.machine_schema import CompletionConfig, EnvConfig
from accel_yolo.config.predict_flags import PREDICT
from accel_yolo.config.predict_schema import PredictConfig
from accel_yolo.config.push_flags import PUSH
from accel_yolo.config.push_schema import PushConfig
from accel_yolo.config.report_flags import REPORT
from accel_yolo.config.report_schema import ReportConfig
from accel_yolo.config.rules import Choice, Rule, Several
from accel_yolo.config.schema import TrainConfig
from accel_yolo.config.search_schema import EvolveConfig, SearchConfig
from accel_yolo.config.settings import defaults_of, rules_of
from accel_yolo.config.train_flags import TRAIN
from accel_yolo.config.tune_flags import TUNE
from accel_yolo.config.val_flags import VAL
from accel_yolo.config.val_schema import ValConfig
from accel_yolo.config.weights_flags import CONVERT, INFO_WEIGHTS
from accel_yolo.config.weights_schema import ConvertConfig, InfoWeightsConfig
from accel_yolo.errors import ConfigError, did_you_mean


@dataclass(frozen=True)
class Command:
    """A command: what it does, its flags and the configurations they fill."""

    summary: str
    flags: tuple[Flag, ...]
    fills: tuple[type, ...]
    script: str = ""

    @property
    def rules(self) -> dict[str, Rule]:
        """The rule of each of its own settings."""
        return {name: rule for kind in self.fills for name, rule in rules_of(kind).items()}

    @property
    def defaults(self) -> dict[str, Any]:
        """The default of each setting, those of processes and machines included."""
        kinds = (LaunchConfig, *self.fills)
        return {name: default for kind in kinds for name, default in defaults_of(kind).items()}


COMMANDS: Mapping[str, Command] = {
    "train": Command("train a detector on a data set", TRAIN, (TrainConfig, EvolveConfig), "train.py"),
    "tune": Command("search the hyper-parameters of a training", TUNE, (TrainConfig, SearchConfig)),
    "val": Command("measure a detector on a data set", VAL, (ValConfig,), "val.py"),
    "predict": Command("detect objects in images", PREDICT, (PredictConfig,), "detect.py"),
    "report": Command("show a run on one page, or compare several", REPORT, (ReportConfig,)),
    "check": Command("compare machines and try the connections between them", CHECK, (CheckConfig,)),
    "profile": Command("measure training on several numbers of processes", PROFILE, (ProfileConfig,)),
    "convert": Command("convert weights to .safetensors, or to a .pt for YOLOv5", CONVERT, (ConvertConfig,)),
    "push": Command("give a model away: a folder with its card, and a repository", PUSH, (PushConfig,)),
    "data convert": Command("write a data set as yolo, coco or voc", DATA_CONVERT, (DataConvertConfig,)),
    "data check": Command("list everything that is wrong with a data set", DATA_CHECK, (DataCheckConfig,)),
    "data split": Command("split a data set anew, reproducibly", DATA_SPLIT, (DataSplitConfig,)),
    "data stats": Command("count and measure what a data set holds", DATA_STATS, (DataStatsConfig,)),
    "data show": Command("draw images with their boxes on a sheet", DATA_SHOW, (DataShowConfig,)),
    "info weights": Command(
        "say what a weight file is, and what may be done with it", INFO_WEIGHTS, (InfoWeightsConfig,)
    ),
    "env": Command("say what this machine and this installation are, for a bug report", ENV, (EnvConfig,)),
    "completion": Command("print a script that completes commands in a shell", COMPLETION, (CompletionConfig,)),
    "export": Command("write a detector for other runtimes", EXPORT, (ExportConfig,), "export.py"),
    "benchmark": Command("export to every format and compare size, mAP and time", BENCHMARK, (BenchmarkConfig,)),
}
ALIASES = {"detect": "predict"}


@dataclass(frozen=True)
class Parsed:
    """What the user typed: the value of each setting, and the spelling of the flag that set it.

    Attributes:
        command: name of the command.
        values: the settings of the command.
        launch: the settings of `LaunchConfig`, for commands that can run in several processes.
        spelled: setting -> flag.
    """

    command: str
    values: dict[str, Any]
    launch: dict[str, Any]
    spelled: dict[str, str]


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """Raise instead of printing usage and leaving: a user error is one line."""
        remedy = f"see `{self.prog} --help`"
        place, separator, what = message.removeprefix("argument ").partition(": ")
        where = place.partition("/")[0] if separator else ""
        if place == "the following arguments are required":
            raise ConfigError(f"something is missing after {self.prog}", value=what, remedy=remedy)
        if what.startswith("expected "):
            raise ConfigError("a value is missing", where, remedy=f"give one after it: {remedy}")
        if what.startswith("ignored explicit argument "):
            value = what.removeprefix("ignored explicit argument ")
            raise ConfigError("this flag takes no value", where, value, "leave the value out")
        raise ConfigError(f"cannot read the command line: {message}", remedy=remedy)


class _Keep(argparse.Action):
    """Keeps the texts as typed together with the spelling of the flag."""

    def __call__(
        self, parser: argparse.ArgumentParser, namespace: argparse.Namespace, values: Any, option_string: Any = None
    ) -> None:
        setattr(namespace, self.dest, (option_string or self.dest, values))


def build_parser(command: str, prog: str = "") -> argparse.ArgumentParser:
    """Return the parser of a command; flags that are not typed leave no trace in what it returns."""
    entry = COMMANDS[command]
    prog = prog or f"accel-yolo {command}"
    parser = _Parser(
        prog=prog,
        usage=usage(prog, entry.flags),
        add_help=False,
        epilog="\n".join(_last_lines(command)),
        description=entry.summary,
        allow_abbrev=False,
        argument_default=argparse.SUPPRESS,
        formatter_class=HelpPage,
    )
    rules, defaults = {**rules_of(LaunchConfig), **entry.rules}, entry.defaults
    groups: dict[str, Any] = {}
    for flag in in_order(entry.flags):
        group = groups.setdefault(flag.group, None) or parser.add_argument_group(flag.group)
        groups[flag.group] = group
        group.add_argument(*flag.spellings, **_argparse_options(flag, rules, defaults))
    groups.get("output", parser).add_argument("-h", "--help", action="help", help="show this page")
    return parser


def _last_lines(command: str) -> list[str]:
    """Return what a page of help ends with: what does not go together, and examples."""
    excluded = [f"  {line}" for line in excluded_lines()] if TrainConfig in COMMANDS[command].fills else []
    examples = [f"  $ {line}" for line in EXAMPLES.get(command, ())]
    return [*(["do not go together:", *excluded, ""] if excluded else []), "examples:", *examples]


def parse(command: str, argv: Sequence[str], prog: str = "") -> Parsed:
    """Return what the user typed for a command, checked value by value.

    Raises:
        ConfigError: unknown flag, wrong value, or a flag that does not work.
        SystemExit: (status 0) after printing the help.
    """
    entry = COMMANDS[command]
    parser = build_parser(command, prog)
    # Words without a flag may stand on both sides of a flag: `convert a.pt --to yolov5-pt b.pt`.
    mixed = any(flag.positional for flag in entry.flags)
    typed, rest = (parser.parse_known_intermixed_args if mixed else parser.parse_known_args)(list(argv))
    if rest:
        raise _unknown(rest[0], entry.flags)
    own = entry.rules
    rules = {**rules_of(LaunchConfig), **own}
    values: dict[str, Any] = {}
    spelled: dict[str, str] = {}
    for flag in entry.flags:
        if not hasattr(typed, flag.key):
            continue
        spelling, texts = getattr(typed, flag.key)
        _refuse_later(flag, spelling, texts)
        if not flag.fills:
            continue
        value = _value(flag, spelling, texts, rules[flag.fills])
        if values.get(flag.fills, value) != value:
            first = spelled[flag.fills]
            raise ConfigError("two flags disagree", f"{first} and {spelling}", value, "leave out one of them")
        values[flag.fills], spelled[flag.fills] = value, spelling
    launch = {name: values.pop(name) for name in list(values) if name not in own}
    return Parsed(command, values, launch, spelled)


def _argparse_options(flag: Flag, rules: Mapping[str, Rule], defaults: Mapping[str, Any]) -> dict[str, Any]:
    rule = rules.get(flag.fills)
    options: dict[str, Any] = {"action": _Keep, "help": flag_help(flag, rule, defaults)}
    if not flag.positional:
        options["dest"] = flag.key
    if flag.nargs is not None:
        options["nargs"] = flag.nargs
    if flag.nargs != 0:
        options["metavar"] = value_name(flag, rule)
    return options


def _refuse_later(flag: Flag, spelling: str, texts: Any) -> None:
    if flag.later:
        raise ConfigError(f"flag {flag.lack}", spelling, remedy=flag.later)
    for text in texts if isinstance(texts, list) else [texts]:
        if text in flag.refused:
            raise ConfigError("value not supported", spelling, text, flag.refused[text])


def _value(flag: Flag, spelling: str, texts: Any, rule: Rule) -> Any:
    """Return the value of a setting from the texts typed for its flag."""
    if texts is None or texts == []:  # the flag alone
        return rule.checked(flag.const, spelling)
    if isinstance(texts, list):
        if isinstance(rule, Several) and isinstance(rule.each, Choice):  # no choice has a comma in it
            texts = [word for text in texts for word in text.split(",") if word]
        return rule.checked([rule.from_text(text, spelling) for text in texts], spelling)
    if isinstance(rule, Several):  # one word with commas
        return rule.checked([rule.from_text(text, spelling) for text in texts.split(",")], spelling)
    return rule.from_text(texts, spelling)


def _unknown(word: str, flags: Sequence[Flag]) -> ConfigError:
    spelling, _, _ = word.partition("=")
    if not word.startswith("-"):
        return ConfigError("unexpected word", "the command line", word, "every value belongs to a flag: see --help")
    known = [name for flag in flags for name in flag.spellings if not flag.positional]
    hint = did_you_mean(spelling, known) or did_you_mean(spelling.replace("_", "-"), known)
    return ConfigError("unknown flag", "the command line", spelling, hint or "see --help for the list")
