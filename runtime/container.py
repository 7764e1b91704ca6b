"""Containers of video: how long a file must be by its own account, and which files are none."""

from __future__ import annotations

import math
import os
import struct
from pathlib import Path
from typing import BinaryIO

_BOXES = set(b"ftyp moov mdat moof mfra free skip wide styp sidx uuid udta meta emsg prft pnot".split())
_EBML, _SEGMENT = b"\x1a\x45\xdf\xa3", b"\x18\x53\x80\x67"
_ASF = bytes.fromhex("3026b2758e66cf11a6d900aa0062ce6c")
_ASF_PROPERTIES = bytes.fromhex("a1dcab8c47a9cf118ee400c00c205365")
_ARCHIVES = (b"PK\x03\x04", b"\x1f\x8b", b"7z\xbc\xaf", b"Rar!", b"BZh", b"\xfd7zXZ")
_TS = 188  # bytes of a packet of a transport stream, each of which begins with a G
_CONTROL = bytes(set(range(32)) - set(b"\t\n\f\r\x1b"))  # bytes that text has none of
_HEAD = 1 << 13  # bytes of a file that tell
_ZEROS = 1 << 10  # bytes that no stream of pictures ends with


def mistaken(path: Path) -> str:
    """ "an empty file", "a text file" or "an archive", of which FFmpeg may make pictures; "" for any other.

    Raises OSError.
    """
    with path.open("rb") as file:
        head = file.read(_HEAD)
    if not head:
        return "an empty file"
    if head.startswith(_ARCHIVES) or head[257:262] == b"ustar":
        return "an archive"
    text = len(head.translate(None, _CONTROL)) == len(head) and not head.startswith(b"YUV4MPEG2")
    return "a text file" if text else ""


def stated_size(path: Path) -> int | None:
    """The bytes of a whole file as its container states them; None where it does not.

    Known are MP4 and its relatives, AVI, Matroska and WebM, ASF, FLV where it has its size, and transport
    streams, which are whole packets. A file that is shorter was cut off. Raises OSError.
    """
    with path.open("rb") as file:
        head = file.read(_HEAD)
        if head[4:8] in _BOXES:
            return _boxes_end(file)
        if head.startswith(b"RIFF"):
            return _riff_end(file)
        if head[:1] == head[_TS : _TS + 1] == head[2 * _TS : 2 * _TS + 1] == b"G":
            return -(-os.fstat(file.fileno()).st_size // _TS) * _TS
    if head.startswith(_EBML):
        at = head.find(_SEGMENT) + len(_SEGMENT)
        return _element_end(head, at) if at >= len(_SEGMENT) else None
    if head.startswith(b"FLV"):
        at = head.lower().find(b"filesize\0") + 9  # a number of 8 bytes, among the metadata
        return int(max(_double(head[at : at + 8]), 0)) or None if at >= 9 else None
    at = head.find(_ASF_PROPERTIES) + 40  # GUID, size, GUID of the file
    if head.startswith(_ASF) and at >= 40:
        return int.from_bytes(head[at : at + 8], "little") or None
    return None


def is_unfilled(path: Path) -> bool:
    """Whether the end of a file is zeros, as where its room was reserved and copying it was interrupted.

    A container may reserve some room itself: it tells only where pictures are missing, too. Raises OSError.
    """
    with path.open("rb") as file:
        file.seek(max(os.fstat(file.fileno()).st_size - _ZEROS, 0))
        return not any(file.read())


def _double(data: bytes) -> float:
    value: float = struct.unpack(">d", data.ljust(8, b"\0"))[0]
    return value if math.isfinite(value) else 0.0


def _boxes_end(file: BinaryIO) -> int:
    """Where the last box of an MP4 file ends; what is no box behind it does not count."""
    length, end = os.fstat(file.fileno()).st_size, 0
    while end < length:
        file.seek(end)
        head = file.read(16)
        size = int.from_bytes(head[:4], "big")
        if size == 1:
            size = int.from_bytes(head[8:16], "big")
        if size == 0 or head[4:8] not in _BOXES:  # 0: to the end of the file
            return length
        end += max(size, 8)
    return end


def _riff_end(file: BinaryIO) -> int | None:
    """Where the last RIFF chunk ends: an AVI file beyond 1 GB has several."""
    length, end = os.fstat(file.fileno()).st_size, 0
    while end < length:
        file.seek(end)
        head = file.read(8)
        size = int.from_bytes(head[4:8], "little")
        if not head.startswith(b"RIFF"):
            return length
        if size in (0, 0xFFFFFFFF):  # written by a program that could not go back
            return None
        end += 8 + size
    return end


def _element_end(head: bytes, at: int) -> int | None:
    """Where the content ends whose size, a number of variable length, is at this place in an EBML file."""
    width = 9 - head[at].bit_length() if at < len(head) and head[at] else 9
    size = int.from_bytes(head[at : at + width], "big") & ((1 << 7 * width) - 1)
    unknown = size == (1 << 7 * width) - 1
    return None if width > 8 or unknown else at + width + size
