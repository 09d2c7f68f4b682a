"""What a data YAML may say about getting its data set, and what is wrong with the rest."""

from __future__ import annotations

import pytest

from accel_yolo.config.download import Archive, read_download
from accel_yolo.config.shipped import folder_of, shipped_names
from accel_yolo.config.yaml_io import load_yaml, parse_yaml
from accel_yolo.errors import DataError

URL = "https://example.org/a.zip"
DIGEST = "0123456789abcdef" * 4


def archives(text: str) -> tuple[Archive, ...]:
    found = read_download(parse_yaml(text, "x.yaml", DataError))
    assert found is not None
    return found.archives


def test_one_url_several_or_mappings_are_all_lists_of_archives() -> None:
    assert archives(f"download: {URL}") == (Archive(URL),)
    assert archives(f"download: {{url: {URL}, size: 5}}") == (Archive(URL, size=5),)
    listed = f"download:\n- {URL}\n- url: {URL}\n  sha256: {DIGEST.upper()}\n  into: images/train/\n"
    assert archives(listed) == (Archive(URL), Archive(URL, DIGEST, None, "images/train"))


def test_a_digest_is_text_even_when_it_looks_like_a_number() -> None:
    for digest in ("1" * 64, "1e" + "2" * 62):
        assert archives(f"download: {{url: {URL}, sha256: {digest}}}")[0].sha256 == digest


def test_a_range_stands_for_several_archives() -> None:
    found = archives("download: {url: 'https://example.org/p{9..11}.zip', into: 'images/p{9..11}'}")
    assert [(archive.name, archive.into) for archive in found] == [(f"p{n}.zip", f"images/p{n}") for n in (9, 10, 11)]


def test_the_name_of_an_archive_is_without_what_follows_the_path() -> None:
    assert Archive("https://example.org/x/a%20b.tar.gz?download=1#top").name == "a%20b.tar.gz"


@pytest.mark.parametrize("script", ["bash get.sh", "|\n  import os\n  os.mkdir('made')", "''"])
def test_a_script_says_nothing(script: str) -> None:
    assert read_download(parse_yaml(f"download: {script}\n", "x.yaml", DataError)) is None


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("download: []", "nothing to download in x.yaml:1, key 'download'"),
        ("download: 5", "not a URL in x.yaml:1, key 'download': 5"),
        (
            "download: [bash get.sh]",
            "not a URL in x.yaml:1, key 'download.0': 'bash get.sh'; only archives are fetched",
        ),
        ("download: [ftp://example.org/a.zip]", "not a URL"),
        ("download: {sha256: x}", "not a URL in x.yaml:1, key 'download': None"),
        (
            f"download:\n- {URL}\n- {{url: {URL}, sha: x}}",
            "unknown key in x.yaml:3, key 'download.1.sha'; did you mean",
        ),
        (f"download: {{url: {URL}, sha256: abc}}", "not a SHA-256 in x.yaml:1, key 'download.sha256': abc"),
        (f"download: {{url: {URL}, sha256: [a]}}", "not a SHA-256"),
        (f"download: {{url: {URL}, size: 1.5}}", "not a size in x.yaml:1, key 'download.size': 1.5"),
        (f"download: {{url: {URL}, into: ../x}}", "not inside the data set in x.yaml:1, key 'download.into': '../x'"),
        (f"download: {{url: {URL}, into: /x}}", "not inside the data set"),
        ("download: https://example.org/", "the URL names no file"),
        ("download: https://example.org/..", "the URL names no file"),
        ("download: 'https://example.org/p{2..1}.zip'", "not one rising range in x.yaml:1, key 'download'"),
        ("download: 'https://example.org/{0..1}/p{0..2}.zip'", "not one rising range"),
        ("download: ['https://[x/a.zip']", "not a URL"),
        ("download: ['https://example.org:x/a.zip']", "not a URL"),
        ("download: ['https://.example.org/a.zip']", "not a URL"),
        ("download: ['https://example.org/\u00e4.zip']", "not a URL"),
        ("download: {url: 'https://example.org/p{1..2}.zip', size: 5}", "one digest or size for several files"),
        ("prepare: visdron", "no such preparation in x.yaml:1, key 'prepare': visdron; did you mean 'visdrone'?"),
        ("prepare: [a]", "not text in x.yaml:1, key 'prepare'"),
    ],
)
def test_what_is_wrong_is_named_with_its_line(text: str, words: str) -> None:
    with pytest.raises(DataError) as raised:
        read_download(parse_yaml(text, "x.yaml", DataError))
    assert words in str(raised.value) and "\n" not in str(raised.value)


@pytest.mark.parametrize("name", shipped_names("data"))
def test_shipped_data_sets_are_fetched_by_https_or_checked(name: str) -> None:
    found = read_download(load_yaml(folder_of("data") / f"{name}.yaml", DataError))
    for archive in found.archives if found else ():
        assert archive.url.startswith("https://") or archive.sha256, archive
        assert archive.name.endswith((".zip", ".tar", ".tar.gz", ".json")), archive


def test_a_range_keeps_its_digits() -> None:
    section = read_download(parse_yaml("download: https://example.org/p{08..11}.zip", "x.yaml", DataError))
    assert section is not None
    assert [archive.name for archive in section.archives] == ["p08.zip", "p09.zip", "p10.zip", "p11.zip"]
