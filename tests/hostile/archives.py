"""Archives: names that lead outside, links, devices, bombs, what is twice there, secret, cut short or no archive."""

from __future__ import annotations

import gzip
import io
import lzma
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

from hostile.cases import Case

LONG = "a header of more than 65536 bytes"
FILES = {"images/a.txt": b"a" * 100, "labels/a.txt": b"0 .5 .5 .1 .1\n"}
OUTSIDE, LINK, DAMAGED = "an entry would land outside the folder in ", "a link or device in the archive", "damaged"


def zipped(files: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def tarred(*members: tarfile.TarInfo, content: bytes = b"") -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for member in members:
            member.size = len(content) if member.isreg() else 0
            archive.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


def member(name: str, kind: bytes = tarfile.REGTYPE, target: str = "") -> tarfile.TarInfo:
    made = tarfile.TarInfo(name)
    made.type, made.linkname = kind, target
    return made


def zip_with_mode(mode: int, content: str) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        info = zipfile.ZipInfo("thing")
        info.external_attr = mode << 16
        archive.writestr(info, content)
    return buffer.getvalue()


def encrypted() -> bytes:
    content = bytearray(zipped({"a.txt": b"secret"}))
    content[6] |= 1
    content[content.index(b"PK\x01\x02") + 8] |= 1
    return bytes(content)


def twice() -> bytes:
    import warnings

    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for content in (b"1", b"2"):
            archive.writestr("a.txt", content)
    return buffer.getvalue()


def many_names() -> bytes:
    """Return a zip of 200 kB whose folder says that it has four billion entries."""
    content = bytearray(zipped(FILES))
    place = content.rindex(b"PK\x05\x06")
    content[place + 8 : place + 12] = b"\xff\xff\xff\xff"
    return bytes(content)


def described(kind: bytes, said: bytes, pack: Callable[[bytes], bytes] = gzip.compress) -> bytes:
    """Return a tar whose first header is of a kind that `said` describes at length."""
    header = tarfile.TarInfo("x")
    header.type, header.size = kind, len(said)
    blocks = header.tobuf(tarfile.USTAR_FORMAT) + said + bytes(-len(said) % 512)
    return pack(blocks + tarfile.TarInfo("a.txt").tobuf() + bytes(1024))


def sparse_map() -> bytes:
    """Return a tar whose entry begins with a list of its holes that has no end."""
    said = b"".join(b"%d %s\n" % (len(text) + 4, text) for text in (b"GNU.sparse.major=1", b"GNU.sparse.minor=0"))
    header = tarfile.TarInfo("x")
    header.type, header.size = tarfile.XHDTYPE, len(said)
    entry = tarfile.TarInfo("a.txt")
    entry.size = 10 << 20
    blocks = header.tobuf() + said + bytes(-len(said) % 512) + entry.tobuf()
    return gzip.compress(blocks + b"99999999\n" + b"1\n" * (entry.size // 2), 1)


def backwards() -> bytes:
    """Return a tar whose entry has a size that leads back to its header."""
    block = bytearray(tarfile.TarInfo("a.txt").tobuf(tarfile.GNU_FORMAT))
    block[124:136] = (-512 + (256**12)).to_bytes(12, "big")
    block[148:156] = b"        "
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block) + bytes(2048)


def greedy_xz() -> bytes:
    """Return an xz file that asks for a gigabyte before it says anything."""
    filters = [{"id": lzma.FILTER_LZMA2, "preset": 0, "dict_size": 1 << 30, "mf": lzma.MF_HC3, "nice_len": 3}]
    small = lzma.compress(bytes(10_240), check=lzma.CHECK_NONE, filters=[filters[0] | {"dict_size": 1 << 20}])
    return _with_dictionary(small, 36)


def _with_dictionary(content: bytes, code: int) -> bytes:
    """Return an xz file whose first block says another size of its dictionary (the .xz format, 5.3.1)."""
    changed = bytearray(content)
    length = (changed[12] + 1) * 4
    changed[12 + 4] = code
    changed[12 + length - 4 : 12 + length] = zlib.crc32(changed[12 : 12 + length - 4]).to_bytes(4, "little")
    return bytes(changed)


BOMB = zipped({"zeros": bytes(300 << 20)})
TAR_BOMB = tarred(member("zeros"), content=bytes(300 << 20))
WHOLE = zipped(FILES)
WHOLE_TAR = tarred(member("a.txt"), content=b"a" * 5000)


def _of(name: str, content: bytes, *words: str, kind: str = "zip", code: int = 3) -> Case:
    def make(path: Path, _: Path) -> None:
        path.write_bytes(content)

    return Case(name, f"data.{kind}", make, code, words)


ARCHIVES = [
    _of("a zip that climbs", zipped({"ok.txt": b"", "../outside.txt": b"x"}), OUTSIDE, "'../outside.txt'"),
    _of("a zip with a root", zipped({"/tmp/outside.txt": b"x"}), OUTSIDE, "'/tmp/outside.txt'"),
    _of("a zip with a drive", zipped({"C:/outside.txt": b"x"}), OUTSIDE),
    _of("a zip with backslashes", zipped({"a\\..\\..\\outside.txt": b"x"}), OUTSIDE),
    _of("a zip with a link", zip_with_mode(stat.S_IFLNK | 0o777, "/etc/passwd"), LINK),
    _of("a zip with a device", zip_with_mode(stat.S_IFCHR | 0o666, ""), LINK),
    _of("a zip with a name twice", twice(), "a name appears twice", "a.txt"),
    _of("names that differ in case", zipped({"A.txt": b"", "a.TXT": b""}), "a name appears twice"),
    _of("a secret zip", encrypted(), DAMAGED + " or encrypted"),
    _of("a zip cut in the middle", WHOLE[: len(WHOLE) // 2], DAMAGED),
    _of("a zip with a flipped byte", WHOLE[:45] + bytes([WHOLE[45] ^ 4]) + WHOLE[46:], DAMAGED),
    _of("a zip of four billion entries", many_names(), "no images in"),
    _of("a zip bomb", BOMB, "the archive inflates without bounds", "zeros"),
    _of("a web page", b"<html>sign in</html>" * 30, "got a web page instead of a file", code=7),
    _of("no archive", b"hello " * 100, DAMAGED),
    _of("a tar that climbs", tarred(member("../outside.txt")), OUTSIDE, kind="tar.gz"),
    _of("a tar with a root", tarred(member("/tmp/outside.txt")), OUTSIDE, kind="tar.gz"),
    _of("a link in a tar", tarred(member("x", tarfile.SYMTYPE, "/etc")), LINK, kind="tar.gz"),
    _of("a way out through a link", tarred(member("x", tarfile.SYMTYPE, ".."), member("x/y")), LINK, kind="tar.gz"),
    _of("a hard link in a tar", tarred(member("x", tarfile.LNKTYPE, "/etc/passwd")), LINK, kind="tar.gz"),
    _of("a device in a tar", tarred(member("x", tarfile.CHRTYPE)), LINK, kind="tar.gz"),
    _of("a pipe in a tar", tarred(member("x", tarfile.FIFOTYPE)), LINK, kind="tar.gz"),
    _of("a name twice in a tar", tarred(member("x"), member("x")), "a name appears twice", kind="tar.gz"),
    _of("a tar cut in the middle", WHOLE_TAR[: len(WHOLE_TAR) // 2], DAMAGED, kind="tar.gz"),
    *(
        _of(f"a tar header of 100 MiB ({kind.decode()})", described(kind, bytes(100 << 20)), LONG, kind="tar.gz")
        for kind in (tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK)
    ),
    _of("a tar header of digits", described(tarfile.XHDTYPE, b"1" * 60_000), "hundreds of digits", kind="tar.gz"),
    _of("a list of holes without end", sparse_map(), LONG, kind="tar.gz"),
    _of("a tar that leads back", backwards(), "an entry of a negative size", kind="tar"),
    _of("an xz that wants a gigabyte", greedy_xz(), DAMAGED, "Memory usage limit", kind="tar.xz"),
    _of("an xz cut in the middle", lzma.compress(gzip.decompress(WHOLE_TAR))[:-40], DAMAGED, kind="tar.xz"),
    _of("a tar bomb", TAR_BOMB, "the archive inflates without bounds", "zeros", kind="tar.gz"),
]


def fetched_by_a_data_yaml(base: str) -> Callable[[Path], list[str]]:
    """Return the command that fetches an archive from a server of this machine for a data set that is not there."""

    def command(path: Path) -> list[str]:
        data = path.parent / "fetched.yaml"
        url = f"{base}/{path.parent.name}/{path.name}"
        text = f"path: {path.parent / 'set'}\ntrain: images\nval: images\nnames: [a]\ndownload: {url}\n"
        data.write_text(text)
        return ["data", "check", "--data", str(data)]

    return command
