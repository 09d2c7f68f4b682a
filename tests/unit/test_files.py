"""Files that are written at once, or not at all."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from accel_yolo.files import atomic_path, write_text_atomic


@pytest.mark.parametrize("mask", [0o022, 0o077])
def test_the_mode_follows_the_umask_which_is_never_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mask: int
) -> None:
    before = os.umask(mask)
    try:
        with monkeypatch.context() as patch:
            patch.delattr(os, "umask")  # for a moment the files of all other threads would be open to everybody
            write_text_atomic(tmp_path / "a", "x")
            with atomic_path(tmp_path / "b") as temporary:
                temporary.touch(0o600)
    finally:
        os.umask(before)
    assert [(tmp_path / name).stat().st_mode & 0o777 for name in "ab"] == [0o666 & ~mask] * 2
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b"]
