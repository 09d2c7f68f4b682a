"""Where files go that are made of weights."""

from __future__ import annotations

from pathlib import Path


def beside_weights(text: str, found: Path, ending: str) -> Path:
    """Return where a file that is made of weights goes.

    Beside weights that lie where they were named, with their stem: `runs/best.onnx` of `runs/best.pt`, and
    `folder/model.onnx` of the model folder `folder`. What was fetched lies in a cache that is not the user's to look
    into: of it, files go into the working folder, named after the release or the repository.

    Args:
        text: how the weights were named.
        found: where `find_weights` found them.
        ending: of the new name, after the stem.
    """
    named = Path(text).expanduser()
    if found.parent in (named, named.parent):
        return found.with_name(found.stem + ending)
    return Path(named.name.removesuffix(".pt") + ending)
