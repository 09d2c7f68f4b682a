"""What a training says in a pipe, with and without --verbose."""

from __future__ import annotations

from pathlib import Path

from commands import Commands


def test_verbose_tells_details_and_classes_and_the_log_has_the_details_in_any_case(
    commands: Commands, data: Path
) -> None:
    plain = commands.train(data).succeeded()
    told = commands.train(data, "--verbose").succeeded()
    assert not plain.starting("detail")
    details = told.starting("detail")
    for part in (
        "index of train read from the cache",
        "data workers of",
        "opening the data took",
        "building the model",
    ):
        assert any(part in line for line in details), part
    assert details[-1].startswith("detail: train took ")
    assert told.out.count("mAP50-95") == plain.out.count("mAP50-95") + 1, "a table of classes after the validation"
    for run in ("exp", "exp2"):
        assert "detail: building the model took" in (commands.project / run / "log.txt").read_text()
    for outcome in (plain, told):
        assert "\r" not in outcome.err + outcome.out
        assert "\x1b" not in outcome.err + outcome.out
