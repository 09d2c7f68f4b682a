"""Addresses as sources: what is behind them, how they are shown, and the files they are fetched into."""

from __future__ import annotations

import contextlib
import http.client
import re
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Literal

from accel_yolo.data.listing import IMAGE_ENDINGS
from accel_yolo.errors import ConfigError, DataError, EnvironmentFault
from accel_yolo.fetch import download, remote_size
from accel_yolo.files import cache_dir, sha256_bytes

Kind = Literal["image", "video", "stream"]
VIDEO_ENDINGS = frozenset(["asf", "avi", "gif", "m4v", "mkv", "mov", "mp4", "mpeg", "mpg", "ts", "webm", "wmv"])
_WEB = ("http", "https")
_YOUTUBE = re.compile(r"(^|\.)(youtube\.com|youtu\.be|youtube-nocookie\.com)$")
_TIMEOUT_S = 10.0
_LONGEST_NAME = 100


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
    return re.sub(r"[^\w.-]+|:", "_", text).strip("_.")[:_LONGEST_NAME] or "stream"


def refuse_youtube(url: str) -> None:
    """Raise ConfigError for an address of YouTube: its pages hold no video file."""
    if _YOUTUBE.search(_split(url).hostname or ""):
        raise ConfigError("YouTube is not supported", value=url, remedy="save the video with yt-dlp and give the file")


def kind_of_url(url: str) -> Kind:
    """Return "image", "video" (both are files that can be fetched) or "stream", as the ending or else the server says.

    Raises:
        ConfigError: YouTube, or no address at all.
        DataError: a web page.
        EnvironmentFault: the server refuses or does not answer.
    """
    refuse_youtube(url)
    parts = _split(url)
    if parts.scheme.lower() not in _WEB:
        return "stream"
    ending = parts.path.rpartition(".")[2].lower()
    if ending in IMAGE_ENDINGS:
        return "image"
    if ending in VIDEO_ENDINGS:
        return "video"
    content, has_end = _content(url)
    if content in ("text/html", "application/xhtml+xml"):
        raise DataError("a web page, not an image or video", value=without_password(url), remedy="give its own address")
    if content.startswith("image/"):
        return "image"
    return "video" if content.startswith("video/") and has_end else "stream"


def fetched(url: str) -> Path:
    """Return the local copy of an image or video; fetched again where the server does not say that it is the same size.

    Raises:
        ConfigError: a password in the address.
        EnvironmentFault: naming the address and what came instead of a file.
    """
    parts = _split(url)
    if "@" in parts.netloc:
        remedy = "download the file yourself and give its path"
        raise ConfigError("a file behind a password", value=without_password(url), remedy=remedy)
    name = urllib.parse.unquote(parts.path).rpartition("/")[2][-_LONGEST_NAME:] or "file"
    place = cache_dir() / "sources" / sha256_bytes(url.encode())[:16] / name
    # The user typed the address: what comes is decoded, never executed.
    plain = parts.scheme.lower() == "http"
    size = remote_size(url, allow_http=plain)
    if size is None:
        place.unlink(missing_ok=True)
    return download(url, place, size=size, allow_http=plain)


def _split(url: str) -> urllib.parse.SplitResult:
    try:
        return urllib.parse.urlsplit(url)
    except ValueError as error:
        raise ConfigError("not an address", value=without_password(url), remedy=str(error)) from error


def _content(url: str) -> tuple[str, bool]:
    """Return the type of what a web server serves, "" where it does not tell us but may tell a player; and whether it
    has an end."""
    parts = _split(url)
    if "@" in parts.netloc:
        return "", False
    try:
        with contextlib.closing(urllib.request.urlopen(url, timeout=_TIMEOUT_S)) as response:
            return response.headers.get_content_type().lower(), "Content-Length" in response.headers
    except urllib.error.HTTPError as error:
        if error.code == 401:
            return "", False
        reason = f"HTTP {error.code} {error.reason}"
    except (OSError, http.client.HTTPException, ValueError) as error:
        reason = str(getattr(error, "reason", None) or error)
    raise EnvironmentFault("cannot open", value=without_password(url), remedy=f"{reason}: check the address")
