"""The training loop. Every line runs on every process; none asks for its rank."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import replace

from accel_yolo import waypoints
from accel_yolo.config.launch_schema import LaunchConfig
from accel_yolo.config.rules import AUTO_BATCH
from accel_yolo.config.schema import TrainConfig
from accel_yolo.data.eval_loader import EvalLoader
from accel_yolo.engine import standstill
from accel_yolo.engine.autobatch import with_chosen_batch
from accel_yolo.engine.batches import Batches, batch_loss
from accel_yolo.engine.build import Data, build_training, open_data
from accel_yolo.engine.dealing import dealt_out
from accel_yolo.engine.evaluate import Evaluation, evaluate
from accel_yolo.engine.faults import named_faults
from accel_yolo.engine.finish import conclude, evaluate_best, introduce
from accel_yolo.engine.gallery import Gallery
from accel_yolo.engine.interruption import Interruption
from accel_yolo.engine.loaders import build_loaders, require_augmentation
from accel_yolo.engine.preflight import preflight
from accel_yolo.engine.progress import EpochMeter
from accel_yolo.engine.reporting import print_classes
from accel_yolo.engine.resuming import described_weights, find_resumed, open_newest
from accel_yolo.engine.run_clock import RunClock
from accel_yolo.engine.run_folder import RunFolder
from accel_yolo.engine.saving import Checkpoints
from accel_yolo.engine.schedule import Schedule
from accel_yolo.engine.sessions import checkpoint_facts
from accel_yolo.engine.sharing import share_numbers
from accel_yolo.engine.state import TrainState
from accel_yolo.engine.tracking import require_trackers, tracked
from accel_yolo.engine.world import World
from accel_yolo.errors import Preempted


def train(config: TrainConfig, origins: dict[str, str], launch: LaunchConfig | None = None) -> TrainState:
    """Train one detector and return where the run ended.

    Args:
        config: the resolved configuration.
        origins: where each of its values came from.
        launch: how the processes find each other.

    Raises:
        UserError: bad data, weights, or settings; one line.
    """
    world = World.connect(config.device, launch, "train --resume" if config.resume else "train")
    try:
        with _faults_of(config, world):
            state = _train(config, origins, launch, world)
    except Preempted:  # by all processes at once
        world.end()
        raise
    waypoints.reach("leaving")
    world.end()
    return state


def _train(config: TrainConfig, origins: dict[str, str], launch: LaunchConfig | None, world: World) -> TrainState:
    """Settle the configuration on all processes, open the run folder and train."""
    resumed, config, origins = find_resumed(config, origins, world)
    world.compute_in(config.precision, config.gradient_compression)
    config = replace(config, precision=world.precision)  # a resumed run keeps it, whatever the device would suggest
    if config.bit_exact:
        world.require_bit_exactness()
    preflight(world, config, launch)
    with world.together():
        require_augmentation(config)
        require_trackers(config, world)
    data = None
    if config.batch == AUTO_BATCH:
        data = open_data(config, world)
        config, origins = with_chosen_batch(config, origins, data, world)
    with world.together():
        dealt_out(config, world)  # a batch that cannot be shared is found before the run has a folder
    run = RunFolder.open(config, origins, world, resumed)
    watched = standstill.noticed(run.path, world, (launch or LaunchConfig()).collective_timeout)
    with _faults_of(config, world), run.held(), tracked(run, config, world), run.free_if_it_fails(), watched:
        return train_in(run, config, world, data)


def _faults_of(config: TrainConfig, world: World) -> AbstractContextManager[None]:
    return named_faults(f"--batch {config.batch} at --imgsz {config.imgsz}", config.batch, world)


def train_in(run: RunFolder, config: TrainConfig, world: World, data: Data | None = None) -> TrainState:
    """Run the loop in an open run folder, with data that may be open, and return where it ended."""
    opened = open_newest(run, config, world)
    if opened is not None and opened.is_all():
        return opened.state
    data = data or open_data(config, world)
    training = build_training(config, data, described_weights(opened, run), world)
    config = training.config
    if opened is not None:
        opened.require_fitting(training, data, run, world)
    train_loader, val_loader = build_loaders(config, data, training, world)
    interruption = Interruption(world)
    checkpoints = Checkpoints(run, training, world, checkpoint_facts(training, data, world), interruption)
    state = checkpoints.begin(opened).placed(train_loader.steps_per_epoch, config.batch)
    del opened
    schedule = Schedule(config, train_loader.steps_per_epoch, state.shift)
    batches = Batches(train_loader, training.detector, schedule, world, checkpoints)
    introduce(run, training, batches, state, world)
    gallery = Gallery.of_training(run.path, config, data, training.detector, world)
    with interruption, checkpoints:  # what comes before and after can be repeated: there a signal ends the program
        state, best = _epochs(state, batches, val_loader, checkpoints, gallery)
        checkpoints.complete(state)
    result = best or evaluate_best(run, training, val_loader, world)
    return conclude(state, run, training, data.val, result, gallery, world)


def _epochs(
    state: TrainState, batches: Batches, val_loader: EvalLoader, checkpoints: Checkpoints, gallery: Gallery
) -> tuple[TrainState, Evaluation | None]:
    """Run the loop and return where it ended, with the evaluation of the best weights if this process made it."""
    run, training, world = checkpoints.run, checkpoints.training, batches.world
    config, detector, model = training.config, training.detector, training.model
    optimizer, ema, gradient = training.optimizer, training.ema, training.gradient
    schedule, clock, best = batches.schedule, RunClock(batches.schedule), None

    while state.epoch < config.epochs and not state.stopped:
        meter = EpochMeter(run, clock, state, training, world)
        for batch in meter.watch(batches.steps(state)):
            knobs = schedule.at(state.step).apply_to(optimizer)
            for part in gradient.micro_batches(batch, exchange=knobs.is_update):  # one, unless --micro-batch
                sums = model(part.images, part.entries, batch.size_hw, part.gains)
                gradient.backward(batch_loss(sums, batch, training.loss), sums)
            applied = False
            if knobs.is_update:
                norm = world.clip(model, config.max_grad_norm)
                applied = world.apply(optimizer, norm)  # optimizer.step(), unless the gradient is not finite
                optimizer.zero_grad()
                gradient.settle_statistics(batch.local_images)
                ema.update(detector, applied=applied)
            state = state.after_step(batch.samples, knobs.is_update, applied)
            state = meter.add(batch, gradient.sums, state)  # reads the device on the log interval only
            if knobs.is_update:
                checkpoints.after_update(state, meter)  # saves where it is due, and stops where all have agreed to
        state = checkpoints.save(meter.completed(state))
        result = None
        if not config.noval or state.epoch + 1 == config.epochs:
            with checkpoints.stopping(state):
                result = evaluate(ema.detector, val_loader, training.evaluation, world, checkpoints.interruption)
        state = state.after_epoch(result.ap.fitness if result else None, config.patience)
        if result and config.image_weights:
            state = state.weighing(share_numbers(result.ap.of_classes(detector.nc), world))
        best = result if state.is_best or config.nosave else best
        run.add_epoch(meter.row(state, result, checkpoints.seconds()), state)
        if result and config.verbose:
            print_classes(result, detector.names)
        checkpoints.finish_epoch(state)
        gallery.add_epoch(state, result)  # asks for pictures and does not wait for them
        run.record.show(gallery.finished())
    return state, best
