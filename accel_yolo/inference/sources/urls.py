"""Addresses as sources: what is behind them, how they are shown, and the files they are fetched into."""

from __future__ import annotations

import contextlib
import http.client
import os
import re
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Literal

from accel_yolo.data.listing import IMAGE_ENDINGS
from accel_yolo.errors import ConfigError, DataError, EnvironmentFault
from accel_yolo.fetch import download, download_again, remote_size
from accel_yolo.files import cache_dir, sha256_bytes

Kind = Literal["image", "video", "stream", "file"]
"""A file is an image or a video: which of them, its server says when it is read."""
VIDEO_ENDINGS = frozenset(["asf", "avi", "gif", "m4v", "mkv", "mov", "mp4", "mpeg", "mpg", "ts", "webm", "wmv"])
_WEB = ("http", "https")
_YOUTUBE = re.compile(r"(^|\.)(youtube\.com|youtu\.be|youtube-nocookie\.com)$")
_TIMEOUT_S = 10.0
_LONGEST_NAME = 100
"""Bytes of a file name that is made of an address."""
_IN_ADDRESSES = "%/:?#[]@!$&'()*+,;=~"


def is_url(word: str) -> bool:
    """Return whether a word is an address ("https://...", "rtsp://...")."""
    return re.match(r"[a-z][a-z0-9+.-]+://", word, flags=re.IGNORECASE) is not None


def without_password(word: str) -> str:
    """Return an address without user and password; any other word as it is."""
    return re.sub(r"^([a-z][a-z0-9+.-]+://)[^/?#]*@", r"\1", word, flags=re.IGNORECASE)


def stem_of_url(word: str, *, whole: bool = False) -> str:
    """Return a file name without suffix for what comes from an address; "" for a word that is none.

    Args:
        word: see above.
        whole: name it by machine and path (a stream) instead of by the last part of the path (a file).
    """
    if not is_url(word):
        return ""
    parts = _split(word)
    path = urllib.parse.unquote(parts.path)
    last = Path(path).stem
    text = f"{parts.netloc.rpartition('@')[2]}{path}" if whole or not last else last
    name = re.sub(r"[^\w.-]+|:", "_", text).strip("_.")
    # Names are limited in bytes, and a letter may have four.
    return name.encode()[:_LONGEST_NAME].decode(errors="ignore") or "stream"


def refuse_youtube(url: str) -> None:
    """Raise ConfigError for an address of YouTube: its pages hold no video file."""
    if _YOUTUBE.search(_split(url).hostname or ""):
        raise ConfigError("YouTube is not supported", value=url, remedy="save the video with yt-dlp and give the file")


def kind_by_ending(url: str) -> Kind | None:
    """Return what an address is by its protocol and its ending; None where only its server knows.

    Raises:
        ConfigError: YouTube, or no address at all.
    """
    refuse_youtube(url)
    parts = _split(url)
    if parts.scheme.lower() not in _WEB:
        return "stream"
    ending = parts.path.rpartition(".")[2].lower()
    if ending in IMAGE_ENDINGS:
        return "image"
    return "video" if ending in VIDEO_ENDINGS else None


def kind_of_url(url: str) -> Kind:
    """Return "image", "video" (both are files that can be fetched) or "stream", as the ending or else the server says.

    Raises:
        ConfigError: YouTube, or no address at all.
        DataError: a web page.
        EnvironmentFault: the server refuses or does not answer.
    """
    kind = kind_by_ending(url)
    if kind is not None:
        return kind
    content, has_end = _content(url)
    if content in ("text/html", "application/xhtml+xml"):
        raise DataError("a web page, not an image or video", value=without_password(url), remedy="give its own address")
    if content.startswith("image/"):
        return "image"
    return "video" if content.startswith("video/") and has_end else "stream"


def not_a_file(word: str) -> ConfigError:
    """Return the error of a list that holds what has no end."""
    remedy = "list cameras and streams in a .streams file"
    return ConfigError("not a file", "a list of files", without_password(word), remedy)


def fetched(url: str) -> Path:
    """Return the local copy of an image or video; fetched again where the server does not say that it is the same size.

    Raises:
        ConfigError: a password in the address.
        DataError: no address that can be asked for.
        EnvironmentFault: naming the address and what came instead of a file; or it cannot be kept here.
    """
    parts = _split(url)
    if "@" in parts.netloc:
        remedy = "download the file yourself and give its path"
        raise ConfigError("a file behind a password", value=without_password(url), remedy=remedy)
    last = urllib.parse.unquote(parts.path).rpartition("/")[2]
    name = re.sub(r"[^A-Za-z0-9._-]+", "_", last)[-_LONGEST_NAME:].lstrip(".") or "file"
    place = cache_dir() / "sources" / sha256_bytes(os.fsencode(url))[:16] / name
    # The user typed the address: what comes is decoded, never executed.
    plain = parts.scheme.lower() == "http"
    address = _encoded(url)
    try:
        size = remote_size(address, allow_http=plain)
        if size is None:
            return download_again(address, place, allow_http=plain)
        return download(address, place, size=size, allow_http=plain)
    except OSError as error:
        remedy = "check space and rights, or set ACCEL_YOLO_CACHE to another folder"
        raise EnvironmentFault(
            "cannot keep what an address holds", str(place), error.strerror or error, remedy
        ) from error
    except ValueError as error:
        raise DataError("not an address", value=url, remedy=str(error)) from error


def _encoded(url: str) -> str:
    """Return an address as servers are asked for it: letters outside ASCII and blanks as `%` and digits."""
    return urllib.parse.quote(os.fsencode(url), safe=_IN_ADDRESSES)


def _split(url: str) -> urllib.parse.SplitResult:
    try:
        parts = urllib.parse.urlsplit(url)
        _ = parts.port  # a ValueError where it can be none
    except ValueError as error:
        raise ConfigError("not an address", value=without_password(url), remedy=str(error)) from error
    return parts


def _content(url: str) -> tuple[str, bool]:
    """Return the type of what a web server serves, "" where it does not tell us but may tell a player; and whether it
    has an end."""
    parts = _split(url)
    if "@" in parts.netloc:
        return "", False
    try:
        with contextlib.closing(urllib.request.urlopen(_encoded(url), timeout=_TIMEOUT_S)) as response:
            return response.headers.get_content_type().lower(), "Content-Length" in response.headers
    except urllib.error.HTTPError as error:
        if error.code == 401:
            return "", False
        reason = f"HTTP {error.code} {error.reason}"
    except (OSError, http.client.HTTPException, ValueError) as error:
        reason = str(getattr(error, "reason", None) or error)
    raise EnvironmentFault("cannot open", value=without_password(url), remedy=f"{reason}: check the address")
