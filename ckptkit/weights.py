"""What the headers of saved files say: format, dtypes, counts, dangers. Never unpickles, never reads the numbers."""

import io
import math
import os
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, TypeGuard

from ckptkit import disk, documents, pickles
from ckptkit.errors import FormatError

if TYPE_CHECKING:
    import zipfile


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """What a file says of itself.

    ``parameters`` counts the elements of all tensors or arrays in a file that holds nothing but those of a model,
    ``dtypes`` those of any file by dtype, in the names of safetensors (``F32``, ``BF16``, ``I64``); None where that
    cannot be told without loading.
    ``dangers`` are ends of a sentence that begins with the file's name: ``is a pickle: loading it runs code``.
    """

    format: str
    parameters: int | None = None
    dtypes: Mapping[str, int] | None = None
    dangers: tuple[str, ...] = ()


def read_header(path: Path) -> Header:
    """Read the header of a saved file; what its bytes are counts for more than what it is called.

    Raises:
        FormatError: it is not a regular file, or it claims a format, by name or by its first bytes, and is broken.
    """
    packed = path.suffix.lower() in {".gz", ".z", ".bz2", ".xz", ".lz4"}
    suffix = Path(path.stem if packed else path.name).suffix.lower()
    descriptor = disk.open_regular(path)
    try:
        with _Bounded(descriptor) as raw:
            file: io.BufferedReader = io.BufferedReader(raw, 512)
            try:
                return _read(raw, file, os.fstat(descriptor).st_size, suffix)
            finally:
                file.detach()
    except FormatError:
        raise
    except Exception as error:  # whatever a decoder throws at bytes that lie
        raise FormatError(f"is broken: {disk.reason(error)}") from error


_HEADER_LIMIT = 100_000_000  # bytes; the limit of the safetensors library
_DIRECTORY_LIMIT = 16 << 20  # bytes of a zip's directory, some 200,000 entries


class _TooMuchError(FormatError):
    """More had to be read than a header takes."""


class _Bounded(io.FileIO):
    """A file of which a ``BufferedReader`` reads at most ``left`` more bytes."""

    left = _HEADER_LIMIT

    def readinto(self, buffer: Any, /) -> int | None:  # noqa: ANN401 - a buffer, as the base says
        count = super().readinto(buffer)
        self.left -= count or 0
        if self.left < 0:
            raise _TooMuchError("has a larger header than is read")
        return count


_LFS = b"version https://git-lfs.github.com/spec/"
_HDF5 = b"\x89HDF\r\n\x1a\n"
_PICKLE = re.compile(rb"\x80[\x00-\x05]")
_COMPRESSED = (b"\x1f\x8b", b"x\x01", b"x\x5e", b"x\x9c", b"x\xda", b"BZh", b"\xfd7zXZ\x00")
_LZ4 = b"\x04\x22\x4d\x18"
_PICKLES = frozenset([".pkl", ".pickle", ".joblib"])
_CONTENT = 16 << 20  # bytes of a pickle inside a zip or a compressed file
_CLAIMS = (
    {".npy": "npy", ".npz": "npz", ".gguf": "gguf", ".h5": "hdf5", ".hdf5": "hdf5"}  # by extension
    | {".pt": "torch", ".pth": "torch"}
)


def _read(raw: _Bounded, file: io.BufferedReader, size: int, suffix: str) -> Header:
    head = raw.read(4096)
    raw.seek(0)
    if head.startswith(_LFS):
        return Header(format="git-lfs pointer")
    if suffix == ".safetensors" or _is_safetensors(head, size):
        return _safetensors(raw, size)
    if head.startswith(b"\x93NUMPY"):
        return _arrays("npy", [("", *_array(file, size))])
    if head.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        return _zip(raw, file, suffix)
    if head.startswith(b"GGUF"):
        version = int.from_bytes(head[4:8], "little")
        if version not in {1, 2, 3} or size < 24:  # noqa: PLR2004 - magic, version and two counts
            raise FormatError(f"is broken or of an unknown version of GGUF: {version}")
        return Header(format="gguf")
    if any(head.startswith(_HDF5, start) for start in (0, 512, 1024, 2048)):
        return Header(format="hdf5")
    return _pickle_like(file, head, suffix)


def _pickle_like(file: IO[bytes], head: bytes, suffix: str) -> Header:
    if head.startswith(_COMPRESSED) and (suffix in _PICKLES or _begins_pickle(head)):
        return _compressed(file, suffix)
    if head.startswith(_LZ4) and suffix in _PICKLES:
        unknown = "is compressed with lz4, so that what it imports is unknown"
        return Header(format="joblib" if suffix == ".joblib" else "pickle", dangers=(pickles.RUNS_CODE, unknown))
    if _PICKLE.match(head) or suffix in _PICKLES:
        return _pickle(file, suffix)
    if suffix in _CLAIMS:
        raise FormatError(f"is not {_CLAIMS[suffix]}, whatever its name says")
    return Header(format="onnx" if suffix == ".onnx" else "other")


# Bits of one element. https://github.com/huggingface/safetensors, safetensors/src/tensor.rs
_BITS = (
    {"F4": 4, "F6_E2M3": 6, "F6_E3M2": 6, "BOOL": 8, "U8": 8, "I8": 8, "F8_E5M2": 8, "F8_E4M3": 8, "F8_E8M0": 8}
    | {"F8_E4M3FNUZ": 8, "F8_E5M2FNUZ": 8, "I16": 16, "U16": 16, "F16": 16, "BF16": 16}
    | {"I32": 32, "U32": 32, "F32": 32, "C64": 64, "F64": 64, "I64": 64, "U64": 64}
)
_LENGTH = 8  # bytes before a safetensors header, that say how long it is


def _is_safetensors(head: bytes, size: int) -> bool:
    length = int.from_bytes(head[:_LENGTH], "little")
    return head[_LENGTH:].startswith(b'{"') and length <= min(size - _LENGTH, _HEADER_LIMIT)


def _safetensors(raw: _Bounded, size: int) -> Header:
    """A safetensors header, as strict as the library: no hole, no overlap, no byte left over."""
    length = int.from_bytes(raw.read(_LENGTH), "little")
    if size < _LENGTH:
        raise FormatError(f"is not safetensors: {size} bytes are too few")
    if length > min(size - _LENGTH, _HEADER_LIMIT):
        raise FormatError(f"is not safetensors: a header of {length:,} bytes in a file of {size:,}")
    text = raw.read(length)
    if not text.startswith(b"{"):
        raise FormatError("is not safetensors: its header does not begin with '{'")
    try:
        header = documents.load_json(text)
    except FormatError as error:
        raise FormatError(f"is not safetensors: its header {error.message}", error.hint) from error
    metadata = header.pop("__metadata__", {})
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        raise FormatError("is not safetensors: __metadata__ does not map strings to strings")
    spans = [_tensor(name, tensor) for name, tensor in header.items()]
    end = 0
    for begin, until, name, _, _ in sorted(spans):
        if begin != end:
            raise FormatError(f"is broken: the bytes of {name} begin at {begin:,}, not at {end:,}")
        end = until
    if end != size - _LENGTH - length:
        raise FormatError(f"is broken: {end:,} bytes of tensors are declared, {size - _LENGTH - length:,} are there")
    return _counted("safetensors", [(dtype, count) for _, _, _, dtype, count in spans])


def _tensor(name: str, tensor: Any) -> tuple[int, int, str, str, int]:  # noqa: ANN401 - parsed JSON
    """Begin and end of a tensor's bytes, its name for messages, dtype, number of elements."""
    name = _shown(name)
    if not isinstance(tensor, dict):
        raise FormatError(f"is broken: the entry of {name} is not an object")
    dtype, shape, offsets = (tensor.get(key) for key in ("dtype", "shape", "data_offsets"))
    if not isinstance(dtype, str) or dtype not in _BITS:
        raise FormatError(f"is broken: {name} has the unknown dtype {_shown(dtype)}")
    if not _sizes(shape) or not _sizes(offsets) or len(offsets) != 2:  # noqa: PLR2004 - begin and end
        raise FormatError(f"is broken: shape or data_offsets of {name} are not lists of sizes")
    count = 1
    for length in shape:
        count *= length
        if count >= 1 << 64:
            raise FormatError(f"is broken: the shape of {name} overflows")
    begin, end = offsets
    if count * _BITS[dtype] != (end - begin) * 8:
        raise FormatError(f"is broken: {name} has {count:,} elements of {dtype}, but {end - begin:,} bytes")
    return begin, end, name, dtype, count


def _sizes(value: object) -> TypeGuard[list[int]]:
    return isinstance(value, list) and all(type(each) is int and 0 <= each < 1 << 64 for each in value)


def _shown(value: object) -> str:
    text = ascii(value)
    return text if len(text) <= 80 else f"{text[:77]}..."  # noqa: PLR2004 - the width of a terminal


def _counted(kind: str, tensors: list[tuple[str, int]]) -> Header:
    dtypes: Counter[str] = Counter()
    for dtype, count in tensors:
        dtypes[dtype] += count
    return Header(format=kind, parameters=dtypes.total(), dtypes=dict(sorted(dtypes.items())))


# https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html
_DESCR = re.compile(r"[<>|=]?([?biufcSUVOMm])(\d*)(\[\w+\])?")
_ARRAY_HEADER_LIMIT = 64 << 10  # bytes; numpy's own limit is 10,000
_NUMBERS = {"b": "BOOL", "?": "BOOL", "i": "I", "u": "U", "f": "F", "c": "C"}
_OBJECTS = re.compile(r"'\|?O\d*'")


def _array(file: IO[bytes], size: int) -> tuple[object, int]:
    """The ``descr`` and the number of elements of the array that a file of ``size`` bytes begins with."""
    magic = file.read(8)
    width = 2 if magic[6:7] == b"\x01" else 4
    length = int.from_bytes(file.read(width), "little")
    if not magic.startswith(b"\x93NUMPY") or magic[6] not in {1, 2, 3} or length > _ARRAY_HEADER_LIMIT:
        raise FormatError("is broken: an array's header is not numpy's")
    import ast

    header = ast.literal_eval(file.read(length).decode("utf-8" if magic[6] == 3 else "latin-1").strip())  # noqa: PLR2004
    if not isinstance(header, dict) or not {"descr", "shape"} <= set(header) or not _sizes(list(header["shape"])):
        raise FormatError("is broken: an array's header lacks its shape or dtype")
    descr, count = header["descr"], math.prod(header["shape"])
    found = _DESCR.fullmatch(descr) if isinstance(descr, str) else None
    if isinstance(descr, str) and found is None:
        raise FormatError(f"is broken: unknown dtype {_shown(descr)}")
    if found and found[1] != "O":
        needed = len(magic) + width + length + count * int(found[2] or 1) * (4 if found[1] == "U" else 1)
        if needed > size:
            raise FormatError(f"is broken: an array of {needed:,} bytes in {size:,}")
    return descr, count


def _arrays(kind: str, arrays: list[tuple[str, object, int]]) -> Header:
    """The header of numpy arrays, given by name, ``descr`` and number of elements. Text and times are no parameters."""
    dangers: list[str] = []
    counts: list[tuple[str, int]] | None = []
    for name, descr, count in arrays:
        found = _DESCR.fullmatch(descr) if isinstance(descr, str) else None
        if _OBJECTS.search(repr(descr)):
            dangers.append(f"holds a pickle{f' in {_shown(name)}' if name else ''}: loading it runs code")
        if found is None or found[1] in "OV":
            counts = None
        elif counts is not None and found[1] in _NUMBERS:
            letter = _NUMBERS[found[1]]
            counts.append((letter if letter == "BOOL" else f"{letter}{int(found[2]) * 8}", count))
    if counts is None:
        return Header(format=kind, dangers=tuple(dangers))
    return replace(_counted(kind, counts), dangers=tuple(dangers))


def _zip(raw: _Bounded, file: io.BufferedReader, suffix: str) -> Header:
    import zipfile

    raw.left = _DIRECTORY_LIMIT
    with zipfile.ZipFile(file) as archive:
        raw.left = _HEADER_LIMIT
        files = [info for info in archive.infolist() if not info.is_dir()]
        arrays = [info for info in files if info.filename.endswith(".npy")]
        if suffix == ".npz" or (files and len(arrays) == len(files)):
            found = []
            for info in arrays:
                with archive.open(info) as array:
                    found.append((info.filename.removesuffix(".npy"), *_array(array, info.file_size)))
            return _arrays("npz", found)
        pickled = [info for info in files if re.fullmatch(r"([^/]+/)?data\.pkl", info.filename)]
        return _torch(archive, pickled[0]) if pickled else Header(format="other")


def _pickle(file: IO[bytes], suffix: str, *, cut: bool = False) -> Header:
    """The header of a pickle; with ``cut``, ``file`` holds its beginning only."""
    found, fault, kind = pickles.Imports(), "", "joblib" if suffix == ".joblib" else "pickle"
    try:
        whole = found.read(file)
    except _TooMuchError:
        whole = False
    except (EOFError, ValueError, OverflowError, OSError) as error:
        whole, fault = False, "" if cut else disk.reason(error)
    if any(name.startswith("joblib.") for name in found.names):
        kind, fault = "joblib", ""  # raw arrays lie between its opcodes
    if fault and not found.names and suffix not in {*_PICKLES, *_CLAIMS}:
        return Header(format="other")
    if fault:
        raise FormatError(f"is a broken pickle: {fault}")
    return Header(format="torch" if found.legacy_torch else kind, dangers=found.dangers(whole=whole))


def _begins_pickle(packed: bytes) -> bool:
    try:
        return bool(_PICKLE.match(pickles.inflate(packed, 2)))
    except Exception:  # noqa: BLE001 - each module has its own for what is not compressed after all
        return False


def _compressed(file: IO[bytes], suffix: str) -> Header:
    packed = file.read(_CONTENT)
    content = pickles.inflate(packed, _CONTENT)
    cut = len(packed) == _CONTENT or len(content) == _CONTENT
    return _pickle(io.BytesIO(content), suffix, cut=cut)


def _torch(archive: "zipfile.ZipFile", pickled: "zipfile.ZipInfo") -> Header:
    with archive.open(pickled) as file:
        content = file.read(_CONTENT)
    found = pickles.Imports()
    whole = found.read(io.BytesIO(content)) if len(content) == pickled.file_size else False
    sizes = {info.filename: info.file_size for info in archive.infolist()}
    folder = pickled.filename.removesuffix("data.pkl")
    counts = []
    for key, (dtype, width, count) in found.storages.items():
        if not dtype or sizes.get(f"{folder}data/{key}") != count * width:
            whole = False
        counts.append((dtype, count))
    alone = sum(info.filename.lower().endswith(".pkl") for info in archive.infolist()) == 1  # TorchScript holds two
    dangers = found.dangers(whole=whole, zipped=alone)
    # Most such files hold the optimizer's state too: which of the tensors are parameters cannot be told.
    return replace(_counted("torch", counts) if whole else Header(format="torch"), parameters=None, dangers=dangers)
