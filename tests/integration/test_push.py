"""A model through the Hugging Face hub: its own library against a server of this machine, in processes of users."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from commands import Commands, write_data_yaml
from hub_server import TOKEN, HubServer, Repository

from accel_yolo.models.weights import save_weights
from accel_yolo.models.weights_meta import WeightsMeta
from accel_yolo.models.zoo import build_detector, model_spec
from accel_yolo.reports.model_card import NO_REPOSITORY


@pytest.fixture
def server() -> Iterator[HubServer]:
    with HubServer().running() as running:
        yield running


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    detector = build_detector(model_spec("yolov5n"), {0: "cat", 1: "dog"})
    path = tmp_path / "pets.safetensors"
    save_weights(path, detector, WeightsMeta.of(detector, 96, "trained on pets.yaml"))
    return path


def run(server: HubServer, place: Path, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run Python as a user of that server does."""
    own = {"HF_ENDPOINT": server.base, "HF_TOKEN": TOKEN, "HF_HUB_DISABLE_XET": "1", "HF_HOME": str(place / "hf")}
    return subprocess.run(
        [sys.executable, *words], env={**os.environ, **own, **environment}, capture_output=True, text=True, check=False
    )


READ = """
import json, sys
import accel_yolo
from huggingface_hub import ModelCard, snapshot_download

said = {"names": accel_yolo.load("me/pets", device="cpu").names}
said["card"] = ModelCard.load("me/pets").data.to_dict()
said["files"] = sorted(p.name for p in __import__("pathlib").Path(snapshot_download("me/pets")).iterdir())
for name, arguments in json.loads(sys.argv[1]).items():
    try:
        said[name] = str(accel_yolo.Model.from_pretrained(device="cpu", **arguments))
    except accel_yolo.UserError as error:
        said[name] = f"{error.exit_code} {error}"
print(json.dumps(said))
"""


REFUSALS = {
    "no token": "4 no such file here, and no such repository on the hub: me/pets",
    "missing": "4 no such file here, and no such repository on the hub: me/nothing",
    "revision": "4 no such revision",
    "not cached": "7 no copy here, and the hub was not asked",
    "none": "4 no weights in the repository",
    "two": "4 several weight files",
    "gated": "4 a repository with restricted access",
    "bad": "4 empty or truncated safetensors file",
}


@pytest.mark.slow
def test_a_model_is_pushed_fetched_and_what_goes_wrong_is_one_line(
    server: HubServer, weights: Path, tmp_path: Path, published_weights: Path
) -> None:
    push = (
        "-m",
        "accel_yolo",
        "push",
        str(weights),
        "--to",
        "me/pets",
        "--private",
        "--license",
        "mit",
        "--message",
        "one",
    )
    done = run(server, tmp_path, *push)
    assert (done.returncode, done.stdout) == (0, f"Uploaded to {server.base}/me/pets\n")
    made = server.repositories["me/pets"]
    assert (sorted(made.files), made.private, made.messages) == (
        ["README.md", "config.json", "model.safetensors"],
        True,
        ["one"],
    )

    server.repositories["other/pt"] = Repository(
        {"best.pt": published_weights.read_bytes(), "x.py": b"raise SystemExit"}
    )
    server.repositories["other/none"] = Repository({"README.md": b""})
    server.repositories["other/two"] = Repository({"a.pt": b"", "b.pt": b""})
    server.repositories["other/gated"] = Repository({"model.safetensors": b""}, gated=True)
    server.repositories["other/bad"] = Repository({"model.safetensors": b"not weights"})
    cases = {
        "branch": {"place": "me/pets", "revision": made.commit},
        "cached": {"place": "me/pets", "local_files_only": True},
        "pt": {"place": "other/pt"},
        "no token": {"place": "me/pets", "token": "hf_wrong"},
        "missing": {"place": "me/nothing"},
        "revision": {"place": "me/pets", "revision": "v9"},
        "not cached": {"place": "other/none", "local_files_only": True},
        **{name: {"place": f"other/{name}"} for name in ("none", "two", "gated", "bad")},
    }
    done = run(server, tmp_path, "-c", READ, json.dumps(cases))
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert said["names"] == {"0": "cat", "1": "dog"}
    assert said["files"] == ["README.md", "config.json", "model.safetensors"]
    assert (said["card"]["library_name"], said["card"]["license"]) == ("accel_yolo", "mit")
    for name in ("branch", "cached"):
        assert said[name].startswith("Model(2 classes")
    assert said["pt"].startswith("Model(80 classes")
    for name, start in REFUSALS.items():
        assert said[name].startswith(start), (name, said[name])


@pytest.mark.slow
def test_an_unreachable_hub_leaves_the_copy_that_is_here(server: HubServer, weights: Path, tmp_path: Path) -> None:
    server.repositories["me/pets"] = Repository({"model.safetensors": weights.read_bytes()})
    load = ("-c", "import accel_yolo; print(accel_yolo.load('me/pets', device='cpu'))")
    assert run(server, tmp_path, *load).returncode == 0
    nobody = "http://127.0.0.1:9"
    again = run(server, tmp_path, *load, HF_ENDPOINT=nobody)
    assert again.stdout.startswith("Model(2 classes")
    assert again.stderr == "warning: the hub cannot be reached; using the copy of me/pets that is here\n"
    push = ("-m", "accel_yolo", "push", "me/others", "--into", str(tmp_path / "out"))
    refused = run(server, tmp_path, *push, HF_ENDPOINT=nobody)
    assert (refused.returncode, refused.stderr.count("\n")) == (7, 1)
    assert refused.stderr.startswith("error: cannot reach the Hugging Face hub in search of me/others: ")
    denied = run(server, tmp_path, "-m", "accel_yolo", "push", str(weights), "--to", "me/pets", HF_TOKEN="hf_wrong")
    assert (denied.returncode, denied.stderr.count("\n")) == (4, 1)
    assert denied.stderr.startswith("error: the hub refuses: me/pets; run `hf auth login`")


def test_looking_before_uploading_and_mistakes(commands: Commands, weights: Path, tmp_path: Path) -> None:
    folder, other = tmp_path / "out", tmp_path / "other"
    said = commands("push", weights, "--into", folder).succeeded()
    assert f"accel-yolo push {folder} --to YOU/pets" in said.out
    assert str(tmp_path) not in (folder / "README.md").read_text()
    (folder / "README.md").write_text("mine")
    commands("push", weights, "--into", folder).error(2, "not an empty folder in --into")
    assert (folder / "README.md").read_text() == "mine"
    commands("push", weights).error(2, "nowhere to put it", "--to", "--into")
    commands("push", weights, "--into", other, "--private").error(2, "--private", "give --to org/name")
    commands("push", tmp_path / "none.pt", "--into", other).error(4, "no such weights file")
    commands("push", weights, "--into", other, "--license", "a b").error(2, "--license: a b", "short name")
    commands("push", weights, "--into", other, "--metrics", tmp_path).error(3, "cannot read metrics")
    assert not other.exists()


@pytest.mark.slow
def test_a_card_that_was_written_before_its_repository_was_known_names_it_after_the_upload(
    server: HubServer, weights: Path, tmp_path: Path
) -> None:
    """`push --into` and `save_pretrained`, then what they suggest: the folder stays as it is."""
    folder = tmp_path / "out"
    load = f"import accel_yolo; accel_yolo.load({str(weights)!r}, device='cpu')"
    assert run(server, tmp_path, "-c", f"{load}.save_pretrained({str(folder)!r})").returncode == 0
    card = (folder / "README.md").read_text()
    assert str(tmp_path) not in card and f'load("{NO_REPOSITORY}")' in card
    assert run(server, tmp_path, "-m", "accel_yolo", "push", str(folder), "--to", "me/pets").returncode == 0
    uploaded = server.repositories["me/pets"].files
    assert uploaded["README.md"].decode() == card.replace(NO_REPOSITORY, "me/pets")
    assert uploaded["model.safetensors"] == (folder / "model.safetensors").read_bytes()
    assert (folder / "README.md").read_text() == card


@pytest.mark.parametrize(("words", "split"), [((), "validation"), (("--task", "train"), "training")])
def test_a_card_names_the_data_and_the_split_of_a_validation(
    commands: Commands, data: Path, tmp_path: Path, words: tuple[str, ...], split: str
) -> None:
    commands.train(data).succeeded()
    other = write_data_yaml(data.parent).rename(data.parent / "birds.yaml")
    write_data_yaml(data.parent)
    commands.val(other, commands.project / "exp" / "weights" / "best.safetensors", *words).succeeded()
    measured, run_folder = commands.project / "exp2", commands.project / "exp"
    commands("push", run_folder, "--metrics", measured, "--into", tmp_path / "birds").succeeded()
    assert f"On birds, {split} split, 4 images" in (tmp_path / "birds" / "README.md").read_text()
    commands("push", run_folder, "--into", tmp_path / "own").succeeded()
    assert "On data, validation split, 4 images" in (tmp_path / "own" / "README.md").read_text()
    (measured / "config.yaml").unlink()
    commands("push", run_folder, "--metrics", measured, "--into", tmp_path / "unknown").succeeded()
    assert "Data set not stated, 4 images" in (tmp_path / "unknown" / "README.md").read_text()


@pytest.mark.slow
def test_a_model_folder_is_uploaded_with_the_card_as_it_was_edited(
    server: HubServer, weights: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "out"
    both = ("-m", "accel_yolo", "push", str(weights), "--into", str(folder), "--to", "me/pets")
    assert run(server, tmp_path, *both).returncode == 0
    card = folder / "README.md"
    assert 'accel_yolo.load("me/pets")' in card.read_text()
    card.write_text(card.read_text() + "\nMine.\n")
    (folder / "secret.txt").write_text("stays here")
    assert run(server, tmp_path, "-m", "accel_yolo", "push", str(folder), "--to", "me/pets").returncode == 0
    files = server.repositories["me/pets"].files
    assert files["README.md"].endswith(b"\nMine.\n")
    assert "secret.txt" not in files
    (folder / "config.json").write_text(json.dumps({**json.loads(files["config.json"]), "imgsz": 1}))
    refused = run(server, tmp_path, "-m", "accel_yolo", "push", str(folder), "--to", "me/pets")
    assert (refused.returncode, refused.stderr.count("\n")) == (4, 1)
    assert "config.json and model.safetensors differ" in refused.stderr
