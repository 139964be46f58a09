"""The archive that ``torch.save`` writes, looked at before anything is read from it.

It is a zip file with one folder and nothing compressed: ``data.pkl``, one record per storage in
``data/``, and a few bytes that describe it. Everything else is refused. ``torch.load`` itself would
inflate a compressed record, and checks no CRC-32.
"""

from __future__ import annotations

import os
import re
import struct
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import IO
from zipfile import ZIP_STORED, BadZipFile, ZipFile, ZipInfo

# Ten thousand parameters with the state of their optimizer take a fifth of either.
MAX_DIRECTORY = 4 << 20
MAX_PICKLE = 8 << 20

_NAME = re.compile(
    r"[^/]+/(data\.pkl|version|byteorder|\.format_version|\.storage_alignment"
    r"|\.data/serialization_id|data/[0-9]{1,9})"
)
_LOCAL_HEADER = struct.Struct("<4s22x2H")  # of each record; lengths of its name and extra field
# How a zip64 file ends: a record, where that lies, and the record of the older format.
_END = struct.Struct("<4sQ2H2L4Q 4sLQL 4s4H2LH")
_CHUNK = 1 << 20


class DamagedArchiveError(ValueError):
    """Not an archive that ``torch.save`` wrote, or not any more."""


@dataclass(frozen=True)
class Archive:
    """What is in an archive.

    Args:
        pickled: The content of ``data.pkl``.
        storages: The size of each storage in bytes, by the key that ``data.pkl`` gives it.
    """

    pickled: bytes
    storages: Mapping[str, int]


def read_archive(file: IO[bytes]) -> Archive:
    """Look through an archive: its directory, its records' places, their checksums.

    Args:
        file: Open at its start. Memory is bounded whatever it holds.

    Raises:
        DamagedArchiveError: If it is none, or anything in it is not as ``torch.save`` writes it.
    """
    start = file.read(262)
    if not start.startswith(b"PK\x03\x04"):
        raise DamagedArchiveError(_what_else(start))
    directory = _find_directory(file)
    try:
        with ZipFile(file) as archive:
            records = sorted(archive.infolist(), key=lambda record: record.header_offset)
    except (BadZipFile, NotImplementedError, struct.error, UnicodeDecodeError) as error:
        raise DamagedArchiveError(f"its directory is damaged: {error}") from error
    names = [record.orig_filename for record in records]
    folder = names[0].partition("/")[0] if names else ""
    strange = [n for n in names if not _NAME.fullmatch(n) or n.partition("/")[0] != folder]
    if strange or len(set(names)) != len(names) or f"{folder}/data.pkl" not in names:
        found = repr(strange[0][:80]) if strange else "records that repeat or are missing"
        raise DamagedArchiveError(f"it is no archive of torch.save, it holds {found}")
    pickled, storages = b"", {}
    ends = [record.header_offset for record in records[1:]] + [directory]
    for record, end in zip(records, ends, strict=True):
        _check_record(file, record, end)
        name = record.orig_filename.removeprefix(folder + "/")
        if name == "data.pkl":
            pickled = file.read(record.file_size)
            file.seek(-record.file_size, os.SEEK_CUR)
        elif name.startswith("data/"):
            storages[name.removeprefix("data/")] = record.file_size
        _check_sum(file, record)
    file.seek(0)
    return Archive(pickled, storages)


def _what_else(start: bytes) -> str:
    if start[:1] == b"\x80":
        return "it is a bare pickle, which could run code"
    if start[257:262] == b"ustar":
        return "it is a tar archive, as torch wrote them before version 0.1.10"
    return "it is no archive of torch.save" if start else "it is empty"


def _find_directory(file: IO[bytes]) -> int:
    """Where the directory starts; it ends the file, and all that says so agrees."""
    size = file.seek(0, os.SEEK_END)
    if size < _END.size:
        raise DamagedArchiveError("it is cut off")
    at = file.seek(size - _END.size)
    end = _END.unpack(file.read(_END.size))
    record, _, _, _, _, _, here, count, length, offset = end[:10]
    locator, _, where, _ = end[10:14]
    old, _, _, _, old_count, old_length, old_offset, comment = end[14:]
    if (record, locator, old) != (b"PK\x06\x06", b"PK\x06\x07", b"PK\x05\x06"):
        raise DamagedArchiveError("it is cut off, or something follows its end")
    agrees = (
        (where, offset + length, comment) == (at, at, 0)
        and here == count
        and old_count in (count, 0xFFFF)
        and old_length in (length, 0xFFFFFFFF)
        and old_offset in (offset, 0xFFFFFFFF)
    )
    if not agrees:
        raise DamagedArchiveError("its directory is not where it should be")
    if length > MAX_DIRECTORY:
        raise DamagedArchiveError(f"its directory takes {length:,} bytes, up to {MAX_DIRECTORY:,}")
    file.seek(0)
    return int(offset)


def _check_record(file: IO[bytes], record: ZipInfo, end: int) -> None:
    """Refuse a record that is compressed or goes beyond its place; leave the file at its data."""
    name = record.orig_filename
    if record.compress_type != ZIP_STORED or record.file_size != record.compress_size:
        raise DamagedArchiveError(f"its record {name} is compressed, torch.save compresses nothing")
    if record.flag_bits & ~0x0808:  # a data descriptor follows, the name is in UTF-8
        raise DamagedArchiveError(f"its record {name} is encrypted or patched")
    if name.endswith("data.pkl") and record.file_size > MAX_PICKLE:
        raise DamagedArchiveError(f"{name} takes {record.file_size:,} bytes, up to {MAX_PICKLE:,}")
    file.seek(record.header_offset)
    header = file.read(_LOCAL_HEADER.size)
    if len(header) < _LOCAL_HEADER.size:
        raise DamagedArchiveError(f"its record {name} lies beyond its end")
    signature, name_length, extra_length = _LOCAL_HEADER.unpack(header)
    if signature != b"PK\x03\x04" or file.read(name_length) != name.encode():
        raise DamagedArchiveError(f"its record {name} is not where the directory says")
    if file.seek(extra_length, os.SEEK_CUR) + record.file_size > end:
        raise DamagedArchiveError(f"its record {name} is larger than its place in the file")


def _check_sum(file: IO[bytes], record: ZipInfo) -> None:
    left, crc = record.file_size, 0
    while left and (chunk := file.read(min(left, _CHUNK))):
        crc = zlib.crc32(chunk, crc)
        left -= len(chunk)
    if left or crc != record.CRC:
        raise DamagedArchiveError(f"its record {record.orig_filename} is damaged (CRC-32)")
