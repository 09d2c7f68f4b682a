"""How a model is given away and taken: as a folder, and through the Hugging Face hub."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from accel_yolo.errors import ConfigError
from accel_yolo.inference.interface.loading import open_detector
from accel_yolo.inference.picture_detector import PictureDetector
from accel_yolo.inference.runtimes.kinds import exported_kind

if TYPE_CHECKING:
    from typing_extensions import Self

    from accel_yolo.inference.interface.publication import Publication


class Shareable:
    """A model whose weights lie in one file.

    Args:
        predictor: what finds objects.
        source: the weights file; None for several.
    """

    def __init__(self, predictor: PictureDetector, source: Path | None = None) -> None:
        self.predictor, self.source = predictor, source

    @classmethod
    def from_pretrained(
        cls,
        place: str | Path,
        revision: str | None = None,
        token: str | bool | None = None,
        cache_dir: str | Path | None = None,
        local_files_only: bool = False,
        device: str = "",
        precision: str = "auto",
    ) -> Self:
        """Return the model in a folder that `save_pretrained` wrote, or in a repository of the Hugging Face hub.

        Args:
            place: the folder, or "org/name"; the network is asked only where there is no such folder.
            revision: a branch, tag or commit of the repository.
            token: for a private repository; None takes that of the environment or of `hf auth login`.
            cache_dir: where the hub's library keeps what it fetched.
            local_files_only: ask no network.
            device: see `accel_yolo.load`.
            precision: see `accel_yolo.load`.

        Raises:
            CheckpointError: no such folder, repository or revision, no access, or damaged weights.
            EnvironmentFault: the hub cannot be reached, and there is no copy here.
        """
        from accel_yolo.models.hub import fetched_weights, is_repository

        path = str(place)
        if not Path(place).expanduser().exists() and is_repository(path):
            path = str(fetched_weights(path, revision, token, cache_dir, local_files_only))
        return cls(*open_detector(path, device, precision))

    def save_pretrained(self, folder: str | Path, metrics: str | Path = "", licence: str = "") -> Path:
        """Return `folder` after `model.safetensors`, `config.json` and a model card were written into it.

        Args:
            folder: created if missing; files of these names are replaced.
            metrics: a `metrics.json`, or the folder of a validation, that the card shows; without it that of the run
                in which the weights lie, if they do.
            licence: of weights that state none ("apache-2.0").

        Raises:
            ConfigError: not weights of one file, or they state another licence.
            DataError: metrics that are missing or no metrics.
            EnvironmentFault: the folder cannot be written.
        """
        return self._publication(metrics, licence).write(Path(folder).expanduser())

    def push_to_hub(
        self,
        repo_id: str,
        private: bool | None = None,
        token: str | None = None,
        commit_message: str | None = None,
        metrics: str | Path = "",
        licence: str = "",
    ) -> str:
        """Return the address of a repository of the Hugging Face hub after the model and its card were uploaded to it.

        Args:
            repo_id: "org/name"; created if it does not exist.
            private: whether a new repository is.
            token: with the right to write; None takes that of the environment or of `hf auth login`.
            commit_message: see there.
            metrics: see `save_pretrained`.
            licence: see `save_pretrained`.

        Raises:
            EnvironmentFault: no token, or the hub cannot be reached.
            CheckpointError: no right to write there.
            ConfigError: not the name of a repository, or as `save_pretrained`.
        """
        import tempfile

        from accel_yolo.models.hub import check_name, require_token, upload

        check_name(repo_id)
        require_token(token)
        with tempfile.TemporaryDirectory() as folder:
            written = self._publication(metrics, licence).write(Path(folder), repo_id=repo_id)
            return upload(written, repo_id, private, token, commit_message)

    def _publication(self, metrics: str | Path, licence: str) -> Publication:
        from accel_yolo.inference.interface.publication import Publication

        if self.source is None or exported_kind(self.source):
            remedy = "load a single .pt or .safetensors file"
            raise ConfigError("only weights of one file can be saved", value=self.source, remedy=remedy)
        return Publication.of(self.source, metrics, licence)
