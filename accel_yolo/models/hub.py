"""Weights on the Hugging Face hub: fetched and uploaded by its own library, which is imported when it is needed.

Its `ModelHubMixin` is not used: it wants to be a base class when the module is imported (half a second), and to build
the model itself from keyword arguments of a configuration, where ours is built from the weights file alone.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from accel_yolo import console
from accel_yolo.errors import CheckpointError, ConfigError, EnvironmentFault, UserError

WEIGHTS, CONFIG, CARD = "model.safetensors", "config.json", "README.md"
"""What a repository of ours holds."""

_REPO = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
_FILE_ENDINGS = (".pt", ".pth", ".safetensors", ".onnx", ".torchscript", ".yaml", ".yml", ".txt", ".json", ".xml")
_LOG_IN = "run `hf auth login`, or set HF_TOKEN"
_TIMEOUT_S = 20.0
_TRANSPORT = ("httpx", "httpx2", "httpcore", "requests", "urllib3")


def is_repository(text: str) -> bool:
    """Return whether a text that is no local path may be a repository ("org/name"): no network is asked."""
    is_file_name = text.lower().endswith(_FILE_ENDINGS)
    # "runs/exp3" beside a folder "runs" is a misspelt path.
    return bool(_REPO.fullmatch(text)) and not is_file_name and not Path(text).parent.exists()


def fetched_weights(
    repo_id: str,
    revision: str | None = None,
    token: str | bool | None = None,
    cache_dir: str | Path | None = None,
    local_files_only: bool = False,
) -> Path:
    """Return the weights file of a repository, fetched once into the cache of the hub's library.

    A repository of this project's holds `model.safetensors` and `config.json`. Of others, the only `.safetensors` or
    `.pt` file is taken (of several, `best.pt`). Nothing in a repository is executed.

    Args:
        repo_id: "org/name".
        revision: a branch, tag or commit; None is the main branch.
        token: for private repositories; None takes that of the environment or of `hf auth login`.
        cache_dir: instead of the library's own.
        local_files_only: ask no network.

    Raises:
        CheckpointError: no such repository or revision, no access, or no weights in it.
        EnvironmentFault: the hub cannot be reached, and there is no copy here.
        ConfigError: not the name of a repository.
    """
    from huggingface_hub import HfApi, constants

    _quiet_as_we_are()
    place = {"cache_dir": cache_dir, "token": token}
    with _explained(repo_id):
        if local_files_only or constants.HF_HUB_OFFLINE:
            return _fetched_before(repo_id, revision, cache_dir)
        try:
            # One question that is not repeated: where no network is, downloads try for half a minute.
            with _explained(repo_id):
                info = HfApi(token=token).model_info(repo_id, revision=revision, timeout=_TIMEOUT_S)
        except EnvironmentFault as unreachable:
            with contextlib.suppress(UserError), _explained(repo_id):
                path = _fetched_before(repo_id, revision, cache_dir)
                console.warn(f"the hub cannot be reached; using the copy of {repo_id} that is here")
                return path
            raise unreachable from unreachable.__cause__
        return _downloaded([file.rfilename for file in info.siblings or []], repo_id, revision, place)


def _downloaded(files: Sequence[str], repo_id: str, revision: str | None, place: dict[str, Any]) -> Path:
    """Return the weights of a repository that holds `files`, with their configuration beside them."""
    from huggingface_hub import hf_hub_download

    name = _weights_among(files, repo_id)
    path = Path(hf_hub_download(repo_id, name, revision=revision, **place))
    if name == WEIGHTS and CONFIG in files:  # of the commit of the weights, whatever was uploaded since
        hf_hub_download(repo_id, CONFIG, revision=path.parent.name, **place)
    return path


def _fetched_before(repo_id: str, revision: str | None, cache_dir: str | Path | None) -> Path:
    """Return the weights of a repository that are in the cache."""
    from huggingface_hub import snapshot_download

    folder = Path(snapshot_download(repo_id, revision=revision, cache_dir=cache_dir, local_files_only=True))
    files = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    return folder / _weights_among(files, repo_id)


def upload(
    folder: Path, repo_id: str, private: bool | None = None, token: str | None = None, message: str | None = None
) -> str:
    """Return the address of a repository after the files of a model folder were uploaded to it, in one commit.

    Args:
        folder: as `model_folder.write_folder` writes it; other files in it stay here.
        repo_id: "org/name"; it is created where it does not exist.
        private: whether a new repository is; None leaves it to the settings of the account.
        token: with the right to write; None takes that of the environment or of `hf auth login`.
        message: of the commit.

    Raises:
        EnvironmentFault: no token, or the hub cannot be reached.
        CheckpointError: no right to write.
        ConfigError: not the name of a repository.
    """
    from huggingface_hub import HfApi

    require_token(token)
    _quiet_as_we_are()
    api = HfApi(token=token)
    with _explained(repo_id):
        made = api.create_repo(repo_id, private=private, exist_ok=True)
        api.upload_folder(
            repo_id=made.repo_id,
            folder_path=folder,
            allow_patterns=[WEIGHTS, CONFIG, CARD],
            commit_message=message or "Upload of a detector by accel_yolo",
        )
        return str(made)


def require_token(token: str | None) -> None:
    """Raise EnvironmentFault where nothing says who uploads."""
    from huggingface_hub import get_token

    if not token and not get_token():
        raise EnvironmentFault("no token for the Hugging Face hub", remedy=f"{_LOG_IN}, with a token that may write")


def check_name(repo_id: str) -> None:
    """Raise ConfigError for what cannot be the name of a repository; no network is asked."""
    from huggingface_hub.utils import validate_repo_id

    with _explained(repo_id):
        validate_repo_id(repo_id)


def _quiet_as_we_are() -> None:
    if console.is_quiet():
        from huggingface_hub.utils import disable_progress_bars

        disable_progress_bars()


def _weights_among(files: Sequence[str], repo_id: str) -> str:
    """Return the weights file among those of a repository. Raises CheckpointError."""
    if WEIGHTS in files:
        return WEIGHTS
    for ending in (".safetensors", ".pt"):
        found = [name for name in files if name.endswith(ending)]
        best = [name for name in found if name in (f"best{ending}", f"weights/best{ending}")]
        if len(best or found) == 1:
            return (best or found)[0]
        if found:
            remedy = "download the one you want and give its path"
            raise CheckpointError("several weight files", repo_id, " ".join(found[:8]), remedy)
    raise CheckpointError("no weights in the repository", repo_id, remedy=f"it needs {WEIGHTS} or a YOLOv5 .pt file")


@contextlib.contextmanager
def _explained(repo_id: str) -> Iterator[None]:
    """Turn what the hub's library raises into one line.

    Raises:
        CheckpointError, ConfigError, EnvironmentFault: see `fetched_weights` and `upload`.
    """
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        told = _told(error, repo_id)
        if told is None:
            raise
        raise told from error


def _told(error: Exception, repo_id: str) -> UserError | None:
    from huggingface_hub import errors

    where = f"the Hugging Face hub, {repo_id}"
    if isinstance(error, errors.HFValidationError):
        return ConfigError("not the name of a repository", value=repo_id, remedy="write it as org/name")
    if isinstance(error, errors.GatedRepoError):
        remedy = f"ask for access on its page, then {_LOG_IN}"
        return CheckpointError("a repository with restricted access", value=repo_id, remedy=remedy)
    if isinstance(error, errors.RepositoryNotFoundError):
        remedy = f"check the name; for a private one {_LOG_IN}"
        return CheckpointError("no such file here, and no such repository on the hub", value=repo_id, remedy=remedy)
    if isinstance(error, errors.RevisionNotFoundError):
        return CheckpointError("no such revision", where, remedy="give a branch, a tag or a commit of the repository")
    if isinstance(error, errors.LocalEntryNotFoundError | errors.OfflineModeIsEnabled):
        return EnvironmentFault("no copy here, and the hub was not asked", value=repo_id, remedy="go online once")
    if isinstance(error, errors.HfHubHTTPError):
        status = getattr(error.response, "status_code", "")
        if status in (401, 403):
            return CheckpointError("the hub refuses", value=repo_id, remedy=f"{_LOG_IN}, with a token that may do this")
        return EnvironmentFault("the hub failed", where, f"HTTP {status}", "try again")
    if type(error).__module__.partition(".")[0] in _TRANSPORT or isinstance(error, OSError):
        reason = str(error).split("\n")[0][:200]
        remedy = "check the connection; a file or folder of that name is not here"
        return EnvironmentFault("cannot reach the Hugging Face hub", f"search of {repo_id}", reason, remedy)
    return None
