"""The sabotages of `tests/sabotage.py`: what is made wrong, and the tests that must notice."""
# ruff: noqa: E501 - lines of the program as they are

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


_TOPOLOGY = "tests/distributed/test_topology_of_training.py::test_gradients_equal_those_of_one_process_tensor_by_tensor[2-synchronised]"
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
        "self._world.backward(_spoilt(loss) * self._world.size)",
        "self._world.backward(_spoilt(loss))",
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
        '        raise CheckpointError("forbidden name in the pickle", self.where, f"{module}.{name}"[:100], WHY)',
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
    Sabotage(
        "files of a checkpoint are not synchronised with the disk",
        "accel_yolo/engine/checkpoint_files.py",
        "        os.fsync(descriptor)\n    finally:",
        "        pass\n    finally:",
        (
            "tests/integration/test_every_system_call.py::test_everything_is_durable_before_it_has_its_name_and_before_an_older_one_goes",
        ),
    ),
    Sabotage(
        "the folder of a checkpoint is not synchronised",
        "accel_yolo/engine/checkpoint.py",
        "            fsync_dir(temporary)\n",
        "",
        (
            "tests/integration/test_every_system_call.py::test_everything_is_durable_before_it_has_its_name_and_before_an_older_one_goes",
        ),
    ),
    Sabotage(
        "the name of a checkpoint is not synchronised",
        "accel_yolo/engine/checkpoint.py",
        "        fsync_dir(self.folder)\n",
        "",
        (
            "tests/integration/test_every_system_call.py::test_everything_is_durable_before_it_has_its_name_and_before_an_older_one_goes",
        ),
    ),
    Sabotage(
        "a checkpoint has its name before its manifest",
        "accel_yolo/engine/checkpoint.py",
        '            write_manifest(temporary, {"format": FORMAT, "torch": torch.__version__, "files": files})\n            waypoints.fail_at("save folder")\n            fsync_dir(temporary)\n            waypoints.fail_at("save rename")\n            self._replace(temporary, final)\n',
        '            fsync_dir(temporary)\n            self._replace(temporary, final)\n            write_manifest(final, {"format": FORMAT, "torch": torch.__version__, "files": files})\n',
        (
            "tests/integration/test_every_system_call.py::test_everything_is_durable_before_it_has_its_name_and_before_an_older_one_goes",
        ),
    ),
    Sabotage(
        "old checkpoints go before the new one is there",
        "accel_yolo/engine/checkpoint.py",
        '        final, temporary = self.folder / name, self.folder / f".tmp-{name}{_mark()}"\n',
        '        final, temporary = self.folder / name, self.folder / f".tmp-{name}{_mark()}"\n        [self._discard(old) for old in self.names()[:-1]]\n',
        ("tests/unit/engine/test_checkpoint.py::test_two_whole_checkpoints_are_there_at_every_instant",),
    ),
    Sabotage(
        "one checkpoint is kept",
        "accel_yolo/engine/checkpoint.py",
        "KEEP = 2\n",
        "KEEP = 1\n",
        ("tests/unit/engine/test_checkpoint.py",),
    ),
    Sabotage(
        "digests are not compared",
        "accel_yolo/engine/checkpoint_reading.py",
        ' and sha256_file(path) == entry["sha256"]\n',
        "\n",
        ("tests/unit/engine/test_checkpoint.py::test_any_flipped_bit_and_any_truncation_is_noticed",),
    ),
    Sabotage(
        "a damaged checkpoint ends the search",
        "accel_yolo/engine/checkpoint.py",
        '                console.warn(f"{error}; trying the one before")\n',
        "                raise\n",
        ("tests/integration/test_resume.py::test_a_damaged_newest_checkpoint_is_passed_over_for_the_one_before",),
    ),
    Sabotage(
        "a newer format is read",
        "accel_yolo/engine/checkpoint_reading.py",
        "    if version > FORMAT:",
        "    if version > FORMAT + 1:",
        ("tests/unit/engine/test_checkpoint.py::test_a_newer_format_is_refused",),
    ),
    Sabotage(
        "the average is not restored",
        "accel_yolo/engine/resuming.py",
        '        training.ema.detector.load_state_dict(self.groups["ema"])\n',
        "",
        ("tests/distributed/test_exact_resume.py::test_stopped_at_every_step_a_run_ends_as_if_it_had_not_been",),
    ),
    Sabotage(
        "the state of the optimizer is not restored",
        "accel_yolo/engine/resuming.py",
        '        restore_optimizer(training.detector, training.optimizer, self.groups["optimizer"])\n',
        "",
        ("tests/distributed/test_exact_resume.py::test_stopped_at_every_step_a_run_ends_as_if_it_had_not_been",),
    ),
    Sabotage(
        "running statistics are not saved",
        "accel_yolo/engine/saving.py",
        '"model": training.detector.state_dict(),',
        '"model": dict(training.detector.named_parameters()),',
        ("tests/distributed/test_exact_resume.py::test_stopped_at_every_step_a_run_ends_as_if_it_had_not_been",),
    ),
    Sabotage(
        "the loss scale is not restored",
        "accel_yolo/engine/resuming.py",
        '        world.restore_scaler(self.plain["scaler"])\n',
        "",
        ("tests/distributed/test_loss_scaler.py",),
    ),
    Sabotage(
        "a run goes on a step too early in the data",
        "accel_yolo/engine/batches.py",
        "state.class_ap, done))",
        "state.class_ap, max(done - 1, 0)))",
        ("tests/distributed/test_exact_resume.py::test_stopped_at_every_step_a_run_ends_as_if_it_had_not_been",),
    ),
    Sabotage(
        "the losses of an interrupted epoch are forgotten",
        "accel_yolo/engine/progress.py",
        "    if not rows:\n        return [0.0, 0.0, 0.0]",
        "    if len(rows) < 2:\n        return [0.0, 0.0, 0.0]",
        ("tests/distributed/test_exact_resume.py::test_stopped_at_every_step_a_run_ends_as_if_it_had_not_been",),
    ),
    Sabotage(
        "the wish to stop is not agreed",
        "accel_yolo/engine/interruption.py",
        "zip(ASKING, total, strict=True) if count]",
        "zip(ASKING, total, strict=True) if count and number in self._asked]",
        ("tests/distributed/test_preemption.py::test_all_processes_stop_together_with_a_checkpoint",),
    ),
    Sabotage(
        "SIGTERM is swallowed",
        "accel_yolo/engine/interruption.py",
        "        self._asked.add(number)\n",
        "        pass\n",
        (
            "tests/distributed/test_preemption.py::test_before_the_loop_a_signal_ends_a_process_as_any_other",
            "tests/distributed/test_preemption.py::test_the_exit_status_says_whether_a_person_asked",
        ),
    ),
    Sabotage(
        "a second signal is not heard",
        "accel_yolo/engine/interruption.py",
        "                if now_s - first_s >= SAME_WITHIN_S:",
        "                if False:",
        ("tests/distributed/test_preemption.py::test_a_second_signal_ends_a_process_at_once_even_when_it_hangs",),
    ),
    Sabotage(
        "processes do not end with their launcher",
        "accel_yolo/engine/launched.py",
        "        end_with_parent(signal.SIGTERM, within_s=ORPHAN_S)\n",
        "",
        ("tests/integration/test_killed.py::test_what_a_killed_launcher_leaves_saves_and_ends[ours]",),
    ),
    Sabotage(
        "the heart stops while a process saves",
        "accel_yolo/engine/heartbeat.py",
        "        place, now = waypoints.place(), time.monotonic()\n",
        '        place, now = waypoints.place(), time.monotonic()\n        if place.name == "saving":\n            return\n',
        ("tests/distributed/test_hangs.py::test_a_hang_while_others_are_done_is_named_too[saving]",),
    ),
    Sabotage(
        "nobody looks at the lock of a run folder",
        "accel_yolo/engine/run_lock.py",
        "                if is_held:  # one without",
        "                if False:  # one without",
        ("tests/unit/engine/test_run_lock.py",),
    ),
    Sabotage(
        "a gradient that is not finite is applied",
        "accel_yolo/engine/world.py",
        "        if not bool(finite):\n            return False\n",
        "",
        ("tests/distributed/test_nonfinite.py::test_what_is_not_finite_on_one_process_changes_no_weight_and_is_named",),
    ),
    Sabotage(
        "weights that differ are not noticed",
        "accel_yolo/engine/divergence.py",
        "    if len(set(told)) == 1:",
        "    if told:",
        ("tests/distributed/test_divergence.py::test_a_changed_bit_of_a_weight_is_found_and_its_process_named",),
    ),
)
