"""What may be done with weights: their licence, where they come from, and what follows. Needs no torch."""

from __future__ import annotations

from collections.abc import Sequence

from accel_yolo import console

KEY = "accel_yolo"
"""The one metadata entry: a JSON object. (safetensors writes several entries in no fixed order; one keeps equal
weights equal byte for byte.)"""

UNSTATED = "not stated"
"""Licence of weights trained from scratch: their owner's to choose."""

AGPL = "AGPL-3.0"
"""Licence under which YOLOv5 publishes its checkpoints, and of what its code trains from them."""

IMPORTED = "imported from the YOLOv5 checkpoint"
"""How the step of provenance begins that says so."""


def checked_licence(licence: str, provenance: Sequence[str], where: str) -> str:
    """Return the licence that a file states, or AGPL-3.0 where its own provenance contradicts that, with a warning."""
    if AGPL in licence or not any(step.startswith(IMPORTED) for step in provenance):
        return licence
    console.warn(f"{where} states the licence '{licence}' but comes from a YOLOv5 checkpoint; taken as {AGPL}")
    return AGPL


def may_i_ship(licence: str, provenance: tuple[str, ...]) -> str:
    """Return in plain words what may be done with weights of this licence and provenance; no legal advice."""
    if AGPL in licence:
        begun = next((step for step in provenance if step.startswith(IMPORTED)), "")
        origin = " They come from a YOLOv5 checkpoint." if begun else ""
        return (
            f"These weights are under {licence}.{origin} You may use, change and share them. Whoever gets them from "
            "you, or uses a service that runs them, must be offered the complete source of what you built with them "
            "under the same licence. Training further does not lift that; training from scratch avoids it."
        )
    if licence != UNSTATED:
        return f"These weights are stated to be under {licence}: what that licence allows."
    if not provenance:
        return "Nothing says where these weights come from: ask whoever gave them to you."
    return (
        "As far as this file says, these weights were trained from scratch. They are then their owner's: if that is "
        "you, ship them under any terms. "
        "accel_yolo's licence (Apache-2.0) does not extend to them; what you owe for the training images is between "
        "you and whoever owns those."
    )
