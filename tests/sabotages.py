"""The sabotages of `tests/sabotage.py`: what is made wrong, and the tests that must notice."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Sabotage:
    """One line made wrong.

    Attributes:
        name: what is wrong with it.
        file: in the repository.
        right: text that is there once.
        wrong: what takes its place.
        tests: of which one must fail.
    """

    name: str
    file: str
    right: str
    wrong: str
    tests: tuple[str, ...]


_TOPOLOGY = "tests/distributed/test_topology_of_training.py::test_gradients_equal_those_of_one_process_tensor_by_tensor"
_SAMPLES = "tests/distributed/test_samples_of_an_epoch.py"

SABOTAGES = (
    Sabotage(
        "the epoch is not in the key of a sample",
        "accel_yolo/data/order.py",
        "np.random.SeedSequence([seed, epoch])",
        "np.random.SeedSequence([seed, 0])",
        ("tests/unit/data/test_order.py::test_each_part_of_the_key_matters",),
    ),
    Sabotage(
        "the rank is in the key of a sample",
        "accel_yolo/data/order.py",
        "np.random.SeedSequence([seed, epoch])",
        'np.random.SeedSequence([seed, epoch, int(__import__("os").environ.get("RANK", 0))])',
        ("tests/distributed/test_bit_exact.py::test_any_number_of_processes_gives_the_same_bits",),
    ),
    Sabotage(
        "the data worker is in the key of a sample",
        "accel_yolo/data/order.py",
        "counter=(0, 0, int(stream), position)",
        'counter=(0, 0, int(stream), position + len(__import__("multiprocessing").current_process().name))',
        (f"{_SAMPLES}::test_workers_render_the_same_samples",),
    ),
    Sabotage(
        "the loss is divided by the objects of its own process",
        "accel_yolo/engine/batches.py",
        "word=self.world.start_sum(word)",
        "word=self.world.start_sum(word * self.world.size)",
        (_TOPOLOGY,),
    ),
    Sabotage(
        "gradients are averaged over processes instead of summed",
        "accel_yolo/engine/gradient.py",
        "self._world.backward(loss * self._world.size)",
        "self._world.backward(loss)",
        (_TOPOLOGY,),
    ),
    Sabotage(
        "an image is counted twice in the metrics",
        "accel_yolo/engine/evaluate.py",
        "    merged = world.gather_rows(np.concatenate(tables))",
        "    merged = world.gather_rows(np.concatenate([*tables, tables[-1]]))",
        ("tests/distributed/test_evaluation.py::test_metrics_are_identical_for_any_number_of_processes",),
    ),
    Sabotage(
        "running statistics are those of the first process",
        "accel_yolo/engine/world.py",
        "        torch._foreach_copy_(buffers, means)",
        "        torch._foreach_copy_(buffers, means) if self.rank else None",
        (
            "tests/distributed/test_topology_of_training.py::test_local_batchnorm_keeps_statistics_and_average_identical_too",
        ),
    ),
    Sabotage(
        "the average moves although the update was skipped",
        "accel_yolo/engine/ema.py",
        "        if applied is False:",
        "        if applied is None:",
        ("tests/unit/engine/test_optim_and_ema.py::test_ema_does_not_move_when_the_update_was_skipped",),
    ),
    Sabotage(
        "the schedule is a step ahead",
        "accel_yolo/engine/schedule.py",
        "hyp, epoch = self.config.hyp, step // self.steps_per_epoch",
        "hyp, epoch, step = self.config.hyp, (step + 1) // self.steps_per_epoch, step + 1",
        ("tests/unit/engine/test_schedule.py",),
    ),
    Sabotage(
        "names of an archive may lead outside",
        "accel_yolo/archives.py",
        'not name.startswith("/") and ".." not in parts and',
        'not name.startswith("/") and',
        ("tests/unit/test_archives.py::test_names_that_lead_outside_are_refused",),
    ),
    Sabotage(
        "links in a tar are unpacked",
        "accel_yolo/archives.py",
        "if not (member.isreg() or member.isdir()) or member.issparse():",
        "if member.issparse():",
        ("tests/unit/test_archives.py::test_links_and_devices_in_a_tar_are_refused",),
    ),
    Sabotage(
        "a pickle may name whatever it likes",
        "accel_yolo/models/inert_pickle.py",
        '        raise CheckpointError("forbidden name in the pickle", self.where, f"{module}.{name}"[:100], _WHY)',
        "        return super().find_class(module, name)",
        ("tests/unit/models/test_hostile_pickles.py::test_a_forbidden_call_is_refused_by_name_and_not_made",),
    ),
    Sabotage(
        "what is missing of an image is filled with grey",
        "accel_yolo/data/images.py",
        "        return Image.open(io.BytesIO(content), formats=_KINDS)",
        '        __import__("PIL.ImageFile").ImageFile.LOAD_TRUNCATED_IMAGES = True\n'
        "        return Image.open(io.BytesIO(content), formats=_KINDS)",
        ("tests/unit/data/test_images.py::test_other_kinds_cut_short_are_refused",),
    ),
    Sabotage(
        "OpenCV opens the file",
        "accel_yolo/data/images.py",
        "cv2.imdecode(np.frombuffer(content, np.uint8), flags)",
        "cv2.imread(path, flags)",
        ("tests/unit/data/test_images.py::test_any_file_name_is_read",),
    ),
    Sabotage(
        "the pixels of a header are not looked at",
        "accel_yolo/data/images.py",
        "    _check_size(header.size_hw, path)\n    _check_ends",
        "    _check_ends",
        ("tests/unit/data/test_images.py",),
    ),
)
