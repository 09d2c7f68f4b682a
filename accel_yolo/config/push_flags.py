"""The flags of the push command."""

from __future__ import annotations

from accel_yolo.config.flag import Flag, spoken, switch, value

PUSH = (
    Flag(
        ("source",), "a run folder (its best weights), a weights file, or a folder that --into wrote", "source", "model"
    ),
    value("--to", "the repository on the Hugging Face hub, org/name; created if it does not exist", "model", "REPO"),
    value(
        "--into", "write weights, config.json and model card into this folder, to look at them first", "model", "FOLDER"
    ),
    switch("--private", "a new repository is private", "model"),
    value("--message", "message of the commit", "model", "TEXT"),
    value(
        "--metrics", "metrics.json (or the folder of a validation) to show, instead of the run's own", "model", "FILE"
    ),
    value("--license|--licence", "licence of weights that state none yet, such as apache-2.0", "model", "NAME"),
    *spoken(),
)
