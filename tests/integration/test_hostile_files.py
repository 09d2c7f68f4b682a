"""Files from strangers, as the command line meets them: a table of what each is, and what becomes of it.

Refused in one line that names the file and the place in it, or left out with a word, or harmless: nothing else. No file
makes a process crash, wait for ever, or take much memory, and nothing in a file is executed.
"""

from __future__ import annotations

from collections.abc import Sequence
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest
from file_server import LocalServer
from hostile.archives import ARCHIVES, fetched_by_a_data_yaml
from hostile.cases import Answer, Case, Command, answers, check, path_of
from hostile.images import IMAGES, data_set_with
from hostile.labels import LABELS
from hostile.labels import data_set_with as with_labels
from hostile.safetensors_files import SAFETENSORS_FILES
from hostile.torch_files import TORCH_FILES, converted
from hostile.yamls import DATA, MODELS, RECIPES, opened_as_data, opened_as_model, opened_as_recipe

SECONDS, MEBIBYTES = 10.0, 200
"""What a command may take for a hostile file; its work takes a fraction of a second, but machines are loaded."""


def ids(cases: list[Case]) -> list[str]:
    return [case.name for case in cases]


Found = tuple[Path, dict[str, Answer]]


def found_in(folder: Path, cases: Sequence[Case], command: Command) -> Found:
    return folder, answers(cases, command, folder)


def hold(case: Case, found: Found) -> None:
    folder, answer = found[0], found[1][case.name]
    check(case, answer, folder)
    assert answer.seconds < SECONDS and answer.extra_mib < MEBIBYTES


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Found:
    return found_in(
        tmp_path_factory.mktemp("images"), IMAGES, lambda path: ["data", "check", "--data", str(data_set_with(path))]
    )


@pytest.mark.parametrize("case", IMAGES, ids=ids(IMAGES))
def test_images(case: Case, images: Found) -> None:
    hold(case, images)


@pytest.fixture(scope="module")
def labels(tmp_path_factory: pytest.TempPathFactory) -> Found:
    return found_in(
        tmp_path_factory.mktemp("labels"), LABELS, lambda path: ["data", "check", "--data", str(with_labels(path))]
    )


@pytest.mark.parametrize("case", LABELS, ids=ids(LABELS))
def test_labels(case: Case, labels: Found) -> None:
    hold(case, labels)


@pytest.fixture(scope="module")
def yamls(tmp_path_factory: pytest.TempPathFactory, sparse_data: Path) -> Found:
    folder = tmp_path_factory.mktemp("yamls")
    found = answers(RECIPES, opened_as_recipe(sparse_data), folder)
    found |= answers(DATA, opened_as_data, folder)
    return folder, found | answers(MODELS, opened_as_model(sparse_data), folder)


@pytest.mark.parametrize("case", RECIPES + DATA + MODELS, ids=ids(RECIPES + DATA + MODELS))
def test_yaml(case: Case, yamls: Found) -> None:
    hold(case, yamls)


class Served(LocalServer):
    """A server of the files in a folder."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.folder = folder

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        content = (self.folder / handler.path.lstrip("/")).read_bytes()
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(content)))
        handler.end_headers()
        if handler.command == "GET":
            handler.wfile.write(content)


@pytest.fixture(scope="module")
def archives(tmp_path_factory: pytest.TempPathFactory) -> Found:
    folder = tmp_path_factory.mktemp("archives")
    with Served(folder).running() as server:
        return found_in(folder, ARCHIVES, fetched_by_a_data_yaml(server.base))


@pytest.mark.parametrize("case", ARCHIVES, ids=ids(ARCHIVES))
def test_archives(case: Case, archives: Found) -> None:
    hold(case, archives)
    folder = path_of(case, archives[0]).parent
    # The lock and the folder of what has been fetched are kept for the next try; what was in the archive is nowhere.
    assert {path.name for path in folder.iterdir()} <= {case.file, "fetched.yaml", "set", ".set.lock", ".set.partial"}
    assert not [path for path in folder.rglob("*") if path.name.startswith(("outside", "zeros", ".unpack", "x"))]


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Found:
    return found_in(tmp_path_factory.mktemp("weights"), TORCH_FILES, converted)


@pytest.mark.parametrize("case", TORCH_FILES, ids=ids(TORCH_FILES))
def test_pt(case: Case, weights: Found) -> None:
    hold(case, weights)


@pytest.fixture(scope="module")
def safetensors(tmp_path_factory: pytest.TempPathFactory) -> Found:
    return found_in(tmp_path_factory.mktemp("safetensors"), SAFETENSORS_FILES, converted)


@pytest.mark.parametrize("case", SAFETENSORS_FILES, ids=ids(SAFETENSORS_FILES))
def test_safetensors(case: Case, safetensors: Found) -> None:
    hold(case, safetensors)
