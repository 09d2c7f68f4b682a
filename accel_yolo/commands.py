"""What each command does with its settings: a plan that is checked at once, and work whose heavy imports wait."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from accel_yolo import console
from accel_yolo.config.export_schema import BenchmarkConfig, ExportConfig, require_effect
from accel_yolo.config.flags import COMMANDS
from accel_yolo.config.launch_schema import CheckConfig, LaunchConfig, ProfileConfig
from accel_yolo.config.machine_schema import CompletionConfig, EnvConfig
from accel_yolo.config.push_schema import PushConfig
from accel_yolo.config.report_schema import ReportConfig
from accel_yolo.config.val_schema import STUDY
from accel_yolo.config.weights_schema import InfoWeightsConfig

if TYPE_CHECKING:
    from accel_yolo.config.search_words import AskedSearch

DATA, INFO = "data", "info"
GROUPS = (DATA, INFO)
"""The commands that have verbs."""

Work = Callable[[], object]


def _train(typed: Mapping[str, Any], launch: LaunchConfig) -> Work:
    from accel_yolo.config.resolve import resolve_train

    config, origins = resolve_train(typed)

    def work() -> object:
        from accel_yolo.engine.train import train

        return train(config, origins, launch)

    return work


def search(asked: AskedSearch, launch: LaunchConfig) -> Work:
    """Return the work of a search of hyper-parameters."""

    def work() -> object:
        from accel_yolo.engine.search import search as search_in_study

        return search_in_study(asked, launch)

    return work


def _val(typed: Mapping[str, Any], launch: LaunchConfig) -> Work:
    from accel_yolo.config.resolve import resolve_val

    config, origins = resolve_val(typed)

    def work() -> object:
        if config.task == STUDY:
            from accel_yolo.engine.study import study

            return study(config, launch, origins)
        from accel_yolo.engine.validate import validate

        return validate(config, launch, origins)

    return work


def _predict(typed: Mapping[str, Any], launch: LaunchConfig) -> Work:
    from accel_yolo.config.resolve import resolve_predict

    config, _ = resolve_predict(typed)

    def work() -> object:
        from accel_yolo.inference.predict import predict

        return predict(config)

    return work


def _report(typed: Mapping[str, Any], launch: LaunchConfig) -> Work:
    config = ReportConfig(**typed)

    def work() -> object:
        from accel_yolo.reports.html.command import report

        return report(config)

    return work


def _check(typed: Mapping[str, Any], launch: LaunchConfig) -> Work:
    config = CheckConfig(**typed)

    def work() -> object:
        from accel_yolo.engine.check import check

        return check(config, launch)

    return work


def _profile(typed: Mapping[str, Any], launch: LaunchConfig) -> Work:
    config = ProfileConfig(**typed)

    def work() -> object:
        from accel_yolo.engine.profile import profile

        return profile(config)

    return work


def _convert(typed: Mapping[str, Any], launch: LaunchConfig) -> Work:
    from accel_yolo.config.resolve import resolve_convert

    config, _ = resolve_convert(typed)

    def work() -> object:
        from accel_yolo.models.convert import convert

        return convert(config.source, config.destination, config.to)

    return work


def _info_weights(typed: Mapping[str, Any], launch: LaunchConfig) -> Work:
    config = InfoWeightsConfig(**typed)

    def work() -> object:
        from accel_yolo.info_commands import weights

        return weights(config)

    return work


def _push(typed: Mapping[str, Any], launch: LaunchConfig) -> Work:
    config = PushConfig(**typed)

    def work() -> object:
        from accel_yolo.inference.interface.push import push

        return push(config)

    return work


def _data(verb: str) -> Callable[[Mapping[str, Any], LaunchConfig], Work]:
    def prepared(typed: Mapping[str, Any], launch: LaunchConfig) -> Work:
        (fills,) = COMMANDS[f"{DATA} {verb}"].fills
        config = fills(**typed)

        def work() -> object:
            from accel_yolo import data_commands

            return getattr(data_commands, verb)(config)

        return work

    return prepared


def _env(typed: Mapping[str, Any], launch: LaunchConfig) -> Work:
    config = EnvConfig(**typed)

    def work() -> object:
        from accel_yolo.env_command import env

        return env(config)

    return work


def _completion(typed: Mapping[str, Any], launch: LaunchConfig) -> Work:
    config = CompletionConfig(**typed)

    def work() -> object:
        from accel_yolo.completion import script

        return console.say(script(config.shell))

    return work


def _export(typed: Mapping[str, Any], launch: LaunchConfig) -> Work:
    config = ExportConfig(**typed)
    require_effect(typed, config)

    def work() -> object:
        from accel_yolo.export.export import export

        return export(config)

    return work


def _benchmark(typed: Mapping[str, Any], launch: LaunchConfig) -> Work:
    config = BenchmarkConfig(**typed)

    def work() -> object:
        from accel_yolo.benchmark import benchmark

        return benchmark(config)

    return work


# Each resolves what was typed and returns the work, whose heavy imports wait until it is called.
PREPARED: Mapping[str, Callable[[Mapping[str, Any], LaunchConfig], Work]] = {
    "train": _train,
    "val": _val,
    "predict": _predict,
    "report": _report,
    "check": _check,
    "profile": _profile,
    "convert": _convert,
    "push": _push,
    **{f"{DATA} {verb}": _data(verb) for verb in ("convert", "check", "split", "stats", "show")},
    f"{INFO} weights": _info_weights,
    "env": _env,
    "completion": _completion,
    "export": _export,
    "benchmark": _benchmark,
}
