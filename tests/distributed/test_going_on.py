"""What a resumed run may have otherwise, what it may not, and runs that ended before their last word."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file
from stops import Ended, grain_config, resumed, trained

from accel_yolo.config.schema import TrainConfig
from accel_yolo.engine import run_lock, tracking
from accel_yolo.engine.state import TrainState
from accel_yolo.reports.events import ENVIRONMENT, read_sessions

Run = Callable[..., list[Any]]
GROWING = ("log.txt", "environment.json")
"""What every start adds to."""

FORMAT_1 = Path(__file__).parents[1] / "reference" / "run_of_format_1.zip"


@pytest.fixture
def stopped(run_processes: Run, sparse_data: Path, tmp_path: Path) -> Path:
    """The folder of a run that was stopped after eight of its fifteen steps."""
    (ended,) = run_processes(1, trained, grain_config(sparse_data, tmp_path), "update:0:5:term")
    assert ended.saved[-1] == "step-00000008"
    return tmp_path / "exp"


@pytest.mark.parametrize("fault", ["concluding:0:*:raise", pytest.param("results:0:15:raise", marks=pytest.mark.slow)])
def test_a_run_that_ended_before_its_last_word_is_concluded(
    run_processes: Run, sparse_data: Path, tmp_path: Path, whole: Ended, fault: str
) -> None:
    (answer,) = run_processes(1, crashed, grain_config(sparse_data, tmp_path), fault)
    assert answer == f"asked for at {fault.partition(':')[0]}"
    run = tmp_path / "exp"
    assert not (run / "metrics.json").exists()
    assert run_processes(1, trained, resumed(run))[0].seen == whole.seen
    assert (run / "report.html").exists() and (run / "metrics.json").exists()


@pytest.mark.parametrize("processes", [1, 2])
def test_a_finished_run_that_is_taken_up_again_ends_at_once_and_stays_as_it_is(
    run_processes: Run, sparse_data: Path, tmp_path: Path, whole: Ended, processes: int
) -> None:
    """It was killed when all was done, or a script starts it until it ends well."""
    data = Path(shutil.copytree(sparse_data.parent, tmp_path / "own")) / "data.yaml"
    data.write_text(sparse_data.read_text().replace(str(sparse_data.parent), str(data.parent)))
    run_processes(1, trained, grain_config(data, tmp_path))
    before = {path: path.read_bytes() for path in (tmp_path / "exp").glob("*.*") if path.name not in GROWING}
    shutil.rmtree(data.parent)  # nobody needs them any more
    assert {ended.code for ended in run_processes(processes, trained, resumed(tmp_path / "exp"))} == {0}
    assert {path: path.read_bytes() for path in before} == before
    (ended,) = run_processes(1, trained, resumed(tmp_path / "exp"))
    assert ended.seen == whole.seen
    assert (
        "exp is finished after 3 epochs; nothing is left to do; more --epochs"
        in (tmp_path / "exp" / "log.txt").read_text()
    )


def test_a_mistake_in_the_thread_that_saves_ends_the_run_within_a_few_steps(
    run_processes: Run, sparse_data: Path, tmp_path: Path
) -> None:
    faults = "save write ema:0:*:raise,update:0:9:raise"  # without the first the second would come
    (answer,) = run_processes(1, crashed, grain_config(sparse_data, tmp_path, noval=True), faults)
    assert answer == "asked for at save write ema"
    # It does not stand before the error that ended the run either.
    faults = "save write model:0:*:0.5,save write ema:0:*:raise,validation:0:5:raise"
    (answer,) = run_processes(1, crashed, grain_config(sparse_data, tmp_path), faults)
    assert answer == "asked for at validation"
    assert "not saved: RuntimeError: asked for at save write ema" in (tmp_path / "exp" / "log.txt").read_text()


def crashed(config: Any, fail: str) -> str:
    with pytest.raises(RuntimeError) as caught:
        trained(config, fail)
    return str(caught.value)


def test_the_folder_is_free_before_trackers_have_taken_their_last_words(
    run_processes: Run, sparse_data: Path, tmp_path: Path
) -> None:
    """After a failure a launcher waits two seconds for this process, and trackers may take five."""
    config = grain_config(sparse_data, tmp_path, report_to=("tensorboard",))
    assert run_processes(1, locked_at_the_end_of_tracking, config) == [[False]]


def locked_at_the_end_of_tracking(config: Any) -> list[bool]:
    locked, end = [], tracking.Tracking.end

    def watched(self: Any, *words: Any, **more: Any) -> None:
        locked.append((Path(config.project) / config.name / run_lock.NAME).exists())
        end(self, *words, **more)

    tracking.Tracking.end = watched
    crashed(config, "forward:0:3:raise")
    return locked


def test_a_checkpoint_of_the_first_format_goes_on(
    run_processes: Run, sparse_data: Path, tmp_path: Path, whole: Ended
) -> None:
    shutil.unpack_archive(FORMAT_1, tmp_path)
    run = tmp_path / "run"
    before = load_file(run / "checkpoints" / "step-00000010-validated" / "model.safetensors")
    (ended,) = run_processes(1, trained, resumed(run, data=(str(sparse_data),)), "", ("data",))
    assert (ended.code, ended.saved) == (0, ("step-00000010-validated", "step-00000015-validated"))
    # Written by another build of torch the numbers may differ in their last bits; the rows say that it went on.
    rows, theirs = ended.seen["rows"], whole.seen["rows"]
    assert len(rows) == len(theirs)
    assert [float(cell) for cell in rows[-1][:4]] == pytest.approx([float(cell) for cell in theirs[-1][:4]], rel=1e-2)
    after = load_file(run / "checkpoints" / "step-00000015-validated" / "model.safetensors")
    assert before.keys() == after.keys()
    manifest = json.loads((run / "checkpoints" / "step-00000015-validated" / "manifest.json").read_text())
    assert manifest["format"] == 2


def test_epochs_and_data_may_change_and_the_change_is_recorded(
    run_processes: Run, sparse_data: Path, stopped: Path, tmp_path: Path
) -> None:
    moved = Path(shutil.copytree(sparse_data.parent, tmp_path / "moved")) / "data.yaml"
    moved.write_text(sparse_data.read_text().replace(str(sparse_data.parent), str(moved.parent)))
    config = resumed(stopped, data=(str(moved),), epochs=4)
    (ended,) = run_processes(1, trained, config, "", ("data", "epochs"))
    assert (ended.code, ended.saved[-1]) == (0, "step-00000020-validated")
    changed = read_sessions(stopped / ENVIRONMENT)[-1]["changed"]
    assert changed == {"epochs": [3, 4], "data": [[str(sparse_data)], [str(moved)]]}
    log = (stopped / "log.txt").read_text()
    assert f"changed with this start: --data from {sparse_data} to {moved}, --epochs from 3 to 4" in log


@pytest.mark.parametrize("processes", [1, 2])
def test_other_images_are_refused_unless_the_data_have_another_name(
    run_processes: Run, sparse_data: Path, tmp_path: Path, processes: int
) -> None:
    """As after a disk came back without some of its files: what went on would be another run."""
    own = Path(shutil.copytree(sparse_data.parent, tmp_path / "own")) / "data.yaml"
    own.write_text(sparse_data.read_text().replace(str(sparse_data.parent), str(own.parent)))
    run_processes(1, trained, grain_config(own, tmp_path), "update:0:5:term")
    lost, kept = own.parent / "images" / "train" / "001.png", tmp_path / "001.png"
    lost.rename(kept)
    # The first command once more, with --resume: that names the data as well.
    again, typed = resumed(tmp_path / "exp", data=(str(own),)), ("data",)
    first, *others = run_processes(processes, trained, again, "", typed)
    assert first.code == 3 and first.line == (
        f"the training data are not those that the run has had so far in {own.parent}: 25 images instead of 26; "
        "restore images and labels, or give what is there a data YAML of another name: --data"
    )
    assert all(other.code for other in others)
    kept.rename(lost)
    (own.parent / "labels" / "val" / "000.txt").write_text("0 0.5 0.5 0.1 0.1\n")
    (refused, *_) = run_processes(processes, trained, resumed(tmp_path / "exp"))
    assert "the validation data are not those" in refused.line
    assert ": 9 images, other images or labels among them;" in refused.line
    other = own.with_name("other.yaml")
    shutil.copy(own, other)
    named = resumed(tmp_path / "exp", data=(str(other),))
    assert {each.code for each in run_processes(processes, trained, named, "", typed)} == {0}
    log = (tmp_path / "exp" / "log.txt").read_text()
    assert "note: the validation data are not those that the run has had so far: 9 images, other images or" in log


def test_what_patience_has_stopped_goes_on_with_more_of_it(
    run_processes: Run, sparse_data: Path, tmp_path: Path
) -> None:
    def runs(config: TrainConfig, typed: tuple[str, ...] = ()) -> Ended:
        return run_processes(1, trained_without_getting_better, config, typed)[0]

    ended = runs(grain_config(sparse_data, tmp_path, patience=1, epochs=4))
    assert (ended.code, ended.saved[-1]) == (0, "step-00000010-validated")
    ended = runs(resumed(tmp_path / "exp"))
    assert (ended.code, ended.saved[-1]) == (0, "step-00000010-validated")
    log = (tmp_path / "exp" / "log.txt").read_text()
    assert "2 epochs; nothing is left to do; a larger --patience would go on, or" in log
    ended = runs(resumed(tmp_path / "exp", patience=2), ("patience",))
    assert (ended.code, ended.saved[-1]) == (0, "step-00000015-validated")
    ended = runs(resumed(tmp_path / "exp", patience=9), ("patience",))
    assert (ended.code, ended.saved[-1]) == (0, "step-00000020-validated")


def trained_without_getting_better(config: TrainConfig, typed: tuple[str, ...]) -> Ended:
    original = TrainState.after_epoch
    TrainState.after_epoch = lambda state, _fitness, patience: original(state, 0.5, patience)  # pyright: ignore
    return trained(config, "", typed)


def test_with_another_batch_a_run_keeps_its_place_in_the_images(
    run_processes: Run, sparse_data: Path, stopped: Path
) -> None:
    # Eighteen of thirty images of the second epoch are done: with batches of four, four steps and a half.
    config = resumed(stopped, batch=4)
    (ended,) = run_processes(1, trained, config, "", ("batch",))
    assert ended.code == 0
    state = json.loads((stopped / "checkpoints" / ended.saved[-1] / "state.json").read_text())["train"]
    assert (state["epoch"], state["step"], state["shift"]) == (3, 8 + (7 - 4) + 7, 8 - (7 + 4))
    assert [int(float(row[0])) for row in ended.seen["rows"][1:]] == [0, 1, 2]


@pytest.mark.slow
def test_another_batch_may_change_again(run_processes: Run, stopped: Path) -> None:
    (halfway,) = run_processes(1, trained, resumed(stopped, batch=4), "data:0:8:term", ("batch",))
    assert (halfway.code, halfway.saved[-1]) == (75, "step-00000011")
    (ended,) = run_processes(1, trained, resumed(stopped, batch=6), "", ("batch",))
    state = json.loads((stopped / "checkpoints" / ended.saved[-1] / "state.json").read_text())["train"]
    assert (ended.code, state["epoch"]) == (0, 3)


@pytest.mark.slow
def test_other_classes_are_named_and_cost_the_run_nothing(
    run_processes: Run, sparse_data: Path, stopped: Path, tmp_path: Path, whole: Ended
) -> None:
    other = tmp_path / "other.yaml"
    other.write_text(sparse_data.read_text().replace("names: [a, b, c]", "names: [a, x, c, d]"))
    settings = (stopped / "config.yaml").read_bytes()
    (ended,) = run_processes(1, trained, resumed(stopped, data=(str(other),), batch=4), "", ("data", "batch"))
    assert ended.code == 4
    what = "the classes of the run and of the data differ"
    assert f"{what} in {stopped}: 1 'b' is 'x' in the data, 3 'nothing' is 'd' in the data; use the data" in ended.line
    assert (stopped / "config.yaml").read_bytes() == settings
    assert run_processes(1, trained, resumed(stopped))[0].seen == whole.seen


@pytest.mark.slow
def test_another_model_is_named(run_processes: Run, sparse_data: Path, stopped: Path, tmp_path: Path) -> None:
    # As if the files of two runs had been mixed: the state of one names another model than the tensors are of.
    (ended,) = run_processes(1, trained, grain_config(sparse_data, tmp_path, name="n", cfg="yolov5n.yaml", epochs=1))
    assert ended.code == 0
    (ended,) = run_processes(1, mixed, stopped, tmp_path / "n")
    assert ended.code == 4
    assert (
        "weights do not fit their architecture in " in ended.line
        or "the checkpoint is that of another model" in ended.line
    )
    assert sum(map(ended.line.count, (" missing", " unexpected", " instead of "))) == 10 and " more; " in ended.line


def mixed(run: Path, other: Path) -> Ended:
    from accel_yolo.engine.checkpoint import CheckpointFolder
    from accel_yolo.engine.checkpoint_reading import read

    folders = [CheckpointFolder(path / "checkpoints") for path in (run, other)]
    newest = [folder.newest_valid() for folder in folders]
    assert newest[0] is not None and newest[1] is not None
    state = read(newest[0])[1]
    folders[0].write("step-00000099", read(newest[1])[0], state)
    return trained(resumed(run))


@pytest.mark.slow
def test_a_damaged_checkpoint_in_mid_epoch_is_passed_over(run_processes: Run, stopped: Path, whole: Ended) -> None:
    newest = stopped / "checkpoints" / "step-00000008" / "ema.safetensors"
    content = bytearray(newest.read_bytes())
    content[-3] ^= 4
    newest.write_bytes(content)
    (ended,) = run_processes(1, trained, resumed(stopped))
    assert ended.seen == whole.seen


@pytest.mark.slow
def test_saves_that_fail_three_times_in_a_row_stop_all_processes(
    run_processes: Run, sparse_data: Path, tmp_path: Path
) -> None:
    config = grain_config(sparse_data, tmp_path, save_every="1step")
    faults = ",".join(["save write ema:0:*:enospc"] * 20)
    for ended in run_processes(2, trained, config, faults):
        assert ended.code == 7
        assert "cannot save the checkpoint in " in ended.line and "No space left on device" in ended.line


def test_a_row_of_results_that_cannot_be_written_is_written_with_the_next(
    run_processes: Run, sparse_data: Path, tmp_path: Path, whole: Ended
) -> None:
    faults = "save results:0:*:enospc,save results:0:*:eio"
    for ended in run_processes(2, trained, grain_config(sparse_data, tmp_path), faults):
        assert ended.seen == whole.seen
    log = (tmp_path / "exp" / "log.txt").read_text()
    assert log.count("results.csv: No space left on device; check space and rights; training goes on") == 1


@pytest.mark.slow
def test_a_row_of_results_that_can_never_be_written_ends_all_processes(
    run_processes: Run, sparse_data: Path, tmp_path: Path
) -> None:
    faults = ",".join(["save results:0:*:enospc"] * 20)
    for ended in run_processes(2, trained, grain_config(sparse_data, tmp_path), faults):
        assert ended.code == 7
        assert f"cannot write in {tmp_path}/exp/results.csv: No space left on device" in ended.line


@pytest.mark.slow
def test_a_save_that_fails_costs_a_warning(run_processes: Run, sparse_data: Path, tmp_path: Path, whole: Ended) -> None:
    (ended,) = run_processes(
        1,
        trained,
        grain_config(sparse_data, tmp_path, save_every="2steps"),
        "save write ema:0:*:eio,save folder:0:*:eio",
    )
    assert ended.seen == whole.seen
    log = (tmp_path / "exp" / "log.txt").read_text()
    assert log.count("Input/output error") == 2 and "training goes on and saves again later" in log
