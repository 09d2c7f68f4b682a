"""The weight files of a run: what could not be written is kept, and written with the next."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from torch import Tensor

from accel_yolo import waypoints
from accel_yolo.errors import EnvironmentFault, UserError
from accel_yolo.models.weights import save_state
from accel_yolo.models.weights_meta import WeightsMeta


class WeightFiles:
    """Writes weight files, and owes those that could not be written: the best epoch of a run comes only once.

    Args:
        folder: where they lie.
        meta: what they say of the model.
    """

    def __init__(self, folder: Path, meta: WeightsMeta) -> None:
        self._folder, self._meta = folder, meta
        self._owed: dict[str, dict[str, Tensor]] = {}

    def write(self, names: Sequence[str] = (), entries: Mapping[str, Tensor] | None = None) -> None:
        """Write files, and those that are owed.

        Args:
            names: of the files, without their suffix.
            entries: what goes into them, on the host; it may be overwritten after this returns.

        Raises:
            EnvironmentFault: one of them cannot be written; it is owed, with its tensors.
        """
        entries = dict(entries or {})
        waiting = {**self._owed, **dict.fromkeys(names, entries)}
        failure: UserError | None = None
        self._owed = {}
        for name, tensors in waiting.items():
            try:
                self._write(name, tensors)
            except UserError as error:
                failure = failure or error
                self._owed[name] = tensors
        if failure is None:
            return
        if any(tensors is entries for tensors in self._owed.values()):
            kept = {key: value.clone() for key, value in entries.items()}
            self._owed = {name: kept if each is entries else each for name, each in self._owed.items()}
        raise failure

    def _write(self, name: str, entries: Mapping[str, Tensor]) -> None:
        path = self._folder / f"{name}.safetensors"
        try:
            waypoints.fail_at(f"save weights {name}")
            save_state(path, entries, self._meta)
        except OSError as error:
            raise EnvironmentFault("cannot write", str(path), error.strerror or error, "check the disk") from error
