"""The flags of training: YOLOv5's, and the few that only exist here."""

from __future__ import annotations

from accel_yolo.config.flag import PRECISION, Flag, data_files, later, run_folder, spoken, switch, value
from accel_yolo.config.launch_flags import CACHE, LAUNCH, decode_once, kernels
from accel_yolo.config.sample_flags import sampling

_WHAT, _HOW, _WHERE, _OUTPUT, _SEARCH = "model and data", "recipe", "processes", "output", "search"
_SHOWN, _BATCHES, _SPEED = "images of a batch", "batches and BatchNorm", "speed"

TRAIN = (
    value("--weights", "weights to start from, a file or a release name; '' starts from scratch", _WHAT, "FILE"),
    value("--cfg", "model YAML or the name of a shipped one (default: that of the weights)", _WHAT, "FILE"),
    *data_files(_WHAT, "train on these classes only, by name or number; they are numbered anew"),
    value("--fraction", "share of the training images that is used, drawn by the seed", _WHAT),
    Flag(
        ("--hyp",),
        "hyper-parameter YAML or the name of a shipped one (default: the one the data YAML names, else scratch-low)",
        "hyp_file",
        _WHAT,
        metavar="FILE",
    ),
    Flag(
        ("--resume",),
        "continue a run: its folder or its weights/last; the newest run when nothing is named",
        "resume",
        _WHAT,
        nargs="?",
        const="auto",
        metavar="RUN",
    ),
    value("--epochs", "passes over the training images", _HOW),
    Flag(
        ("--batch", "--batch-size"),
        "images per step over all processes together; -1 or auto: as many as memory allows",
        "batch",
        _HOW,
    ),
    value("--imgsz|--img|--img-size", "side of the square network input in pixels", _HOW),
    value("--optimizer", "what updates the weights", _HOW),
    value("--seed", "start of every random choice", _HOW),
    switch("--rect", "batches of images of like shape instead of mosaics", _SHOWN),
    switch("--multi-scale", "vary the image size by half from step to step", _SHOWN),
    *sampling(_SHOWN),
    decode_once(_SPEED),
    switch("--single-cls", "treat all classes as one", _HOW),
    switch("--cos-lr", "let the learning rate fall along a cosine instead of a line", _HOW),
    value("--label-smoothing", "move class targets this far from 0 and 1", _HOW),
    value("--patience", "epochs without improvement before stopping; 0 never stops", _HOW),
    Flag(
        ("--freeze",),
        "leave parameters unchanged: 10 for the first ten layers, 0 1 2 for exactly these; backbone, neck, head, or "
        "names such as model.24 or '*.bn'",
        "freeze",
        _HOW,
        nargs="+",
        metavar="WHAT",
    ),
    switch("--noautoanchor", "keep the anchors as they are", _HOW),
    switch("--sync-bn", "BatchNorm over the whole batch of all processes", _BATCHES),
    value("--bn-group", "BatchNorm over fixed groups of this many images; 0: over what a process has", _BATCHES, "N"),
    value("--micro-batch", "images per forward pass of a process, to save memory; 0: its whole share", _BATCHES, "N"),
    switch("--bit-exact", "the same bits on any number of processes (CPU, slower)", _BATCHES),
    value("--gradient-compression", "type in which processes exchange gradients", _BATCHES),
    *kernels(_SPEED),
    value("--nominal-batch", "images per update: smaller batches are accumulated", _BATCHES, "N"),
    value("--ema-decay", "decay of the averaged weights", _HOW),
    value("--ema-tau", "updates over which that decay ramps up", _HOW),
    value("--max-grad-norm", "gradients are clipped to this norm", _HOW, "NORM"),
    value("--warmup-min-steps", "least number of warm-up steps", _HOW, "N"),
    value("--bad-data", "limit: stop above 5 %% bad images; drop: leave all out; fail: stop at the first", _HOW),
    *LAUNCH,
    value("--workers", "data workers per process", _WHERE),
    *CACHE,
    *run_folder("runs/train"),
    switch("--nosave", "write weights only at the end", _OUTPUT),
    switch("--noval", "validate only after the last epoch", _OUTPUT),
    switch("--noplots", "no pictures, only tables", _OUTPUT),
    value("--save-period", "also keep the weights of every n-th epoch; -1 keeps none", _OUTPUT, "N"),
    PRECISION,
    *spoken("a line for each class after each validation"),
    Flag(
        ("--evolve",),
        "search hyper-parameters in N trainings (alone: 300), as `accel-yolo tune` does, in runs/evolve",
        "evolve",
        _SEARCH,
        nargs="?",
        const=300,
        metavar="N",
    ),
    value("--evolve_population", "folder of hyper-parameter files that --evolve tries first", _SEARCH, "FOLDER"),
    value("--resume_evolve", "folder of the study that --evolve continues", _SEARCH, "FOLDER"),
    later("--bucket", "uploading to a bucket is a later capability: copy the run folder", None),
    later("--entity", "trackers are a later capability: read results.csv in the run folder", None),
    later("--upload_dataset", "trackers are a later capability: leave it out", "?"),
    later("--bbox_interval", "trackers are a later capability: leave it out", None),
    later("--artifact_alias", "trackers are a later capability: leave it out", None),
)
