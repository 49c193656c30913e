"""What a pickle would import and which storages of torch it refers to, learnt from its opcodes: it is never loaded."""

import os
import re
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from typing import IO, TYPE_CHECKING

if TYPE_CHECKING:
    import pickletools

RUNS_CODE = "is a pickle: loading it runs code"
LISTED = "is a pickle of tensors and plain values alone: torch.load(..., weights_only=True) runs no code"
HOSTILE = "would run foreign code"

_OPCODES = 1_000_000  # about a second
_STORAGES = (  # dtype and bytes of one element
    {"Double": ("F64", 8), "Float": ("F32", 4), "Half": ("F16", 2), "BFloat16": ("BF16", 2), "Bool": ("BOOL", 1)}
    | {"Long": ("I64", 8), "Int": ("I32", 4), "Short": ("I16", 2), "Char": ("I8", 1), "Byte": ("U8", 1)}
    | {"ComplexFloat": ("C64", 8), "ComplexDouble": ("C128", 16)}
)
_LEGACY_TORCH = 0x1950A86A20F9469CFC6C  # the first of five pickles that begin such a file
# What torch.load(..., weights_only=True) reads, and no more: torch/_weights_only_unpickler.py
_LISTED = re.compile(
    r"collections\.(OrderedDict|Counter)|_codecs\.encode|(builtins|__builtin__)\.(set|complex|bytearray)"
    r"|torch\._utils\._rebuild_(tensor|tensor_v2|tensor_v3|sparse_tensor|parameter|parameter_with_state|qtensor)"
    r"|torch\.nn\.parameter\.Parameter|torch\.serialization\._get_layout|torch\.(Size|device)"
    r"|torch\.(\w+Storage|storage\.(Untyped|Typed)Storage)"
    r"|torch\.(float|bfloat|complex|u?int|q?u?int)\d+(_\w+)?|torch\.bool"
)
_LISTED_OPCODES = re.compile(
    r"PROTO|STOP|GLOBAL|NEWOBJ|REDUCE|BUILD|APPENDS?|SETITEMS?|MARK|TUPLE[123]?|NONE|NEWFALSE|NEWTRUE"
    r"|EMPTY_(TUPLE|LIST|DICT|SET)|BININT[12]?|BINFLOAT|BINUNICODE|SHORT_BINSTRING|BINPERSID|(LONG_)?BIN(GET|PUT)|LONG1"
)
# What rebuilding arrays takes besides.
_HARMLESS = re.compile(
    rf"{_LISTED.pattern}|collections\.deque|joblib\.numpy_pickle\.NumpyArrayWrapper"
    r"|(builtins|__builtin__)\.(frozenset|slice|range)"
    r"|numpy\.(ndarray|dtype)|numpy\._?core\.(multiarray\.(_reconstruct|scalar)|numeric\._frombuffer)"
)
# Names that no model needs: whoever imports one of them wants to run something, or hides what.
_HOSTILE = re.compile(
    r"a hidden name|the extension \d+"
    r"|(__builtin__|builtins)\.(eval|exec|execfile|compile|open|file|getattr|setattr|delattr|globals|locals|vars|type"
    r"|breakpoint|input|apply|__import__)"
    r"|(os|nt|posix|subprocess|commands|sys|shutil|socket|runpy|pty|platform|importlib|imp|code|codeop|ctypes|_ctypes"
    r"|cffi|webbrowser|urllib|urllib2|http|httplib|requests|aiohttp|ftplib|smtplib|telnetlib|ssl|asyncio"
    r"|multiprocessing|threading|_thread|signal|bdb|pdb|cProfile|profile|timeit|trace|pip|ensurepip|venv|pydoc|doctest"
    r"|marshal|types|inspect|gc|_pickle|pickle|cloudpickle|dill|tempfile|zipimport|pkgutil|idlelib|distutils|setuptools"
    r"|site|nturl2path|linecache)(\..*)?"
    r"|(operator\.(attrgetter|methodcaller)|functools\.reduce)(\..*)?",
    re.DOTALL,
)


class Imports:
    """What a pickle would import.

    Attributes:
        names: what it imports, such as ``posix.system``. A name that is not spelled out where it is used counts as
            hidden, so that tricks with the stack raise the alarm.
        storages: by key, dtype, bytes of one element and number of elements; dtype ``""`` where torch has no such.
        legacy_torch: whether these are the pickles that begin a file of torch before its zips.
    """

    def __init__(self) -> None:
        self.names: set[str] = set()
        self.storages: dict[object, tuple[str, int, int]] = {}
        self.legacy_torch = False
        self._opcodes: set[str] = set()
        self._recent: deque[object] = deque(maxlen=5)  # top of the stack: strings, small integers, None for the rest
        self._tuple: tuple[object, ...] = ()
        self._memo: dict[object, object] = {}

    def read(self, file: IO[bytes]) -> bool:
        """Read one pickle, or the five of an old torch file; False where it is too long to read to its end.

        Raises:
            EOFError: it breaks off.
            ValueError: a byte is no opcode, or its argument is none.
        """
        left = _OPCODES
        for number in range(5):
            for name, argument in _opcodes(file):
                left -= 1
                if not left:
                    return False
                self._opcodes.add(name)
                self._take(name, argument)
            self.legacy_torch = self.legacy_torch or (number == 0 and self._top == _LEGACY_TORCH)
            if not self.legacy_torch:
                break
        return True

    @property
    def _top(self) -> object:
        return self._recent[-1] if self._recent else None

    def _take(self, name: str, argument: object) -> None:
        if name in {"MEMOIZE", "PUT", "BINPUT", "LONG_BINPUT"}:
            self._memo[len(self._memo) if name == "MEMOIZE" else argument] = self._top
        elif name not in {"PROTO", "FRAME", "STOP"}:
            self._recent.append(self._pushed(name, argument))

    def _pushed(self, name: str, argument: object) -> object:
        if name in {"GLOBAL", "INST"}:
            return self._import(str(argument).replace(" ", ".", 1))
        if name == "STACK_GLOBAL":
            words = [*self._recent][-2:]
            spelled = len(words) == 2 and all(isinstance(word, str) for word in words)  # noqa: PLR2004 - module, name
            return self._import(".".join(map(str, words)) if spelled else "a hidden name")
        if name in {"EXT1", "EXT2", "EXT4"}:
            return self._import(f"the extension {argument}")
        if name in {"GET", "BINGET", "LONG_BINGET"}:
            return self._memo.get(argument)
        if name == "TUPLE":
            self._tuple = tuple(self._recent)
        elif name == "BINPERSID":
            self._store()
        return argument if isinstance(argument, str | int) and name != "PERSID" else None

    def _import(self, name: str) -> str:
        self.names.add(name)
        return name

    def _store(self) -> None:
        """Note a storage, that torch refers to by ``("storage", type, key, device, number of elements)``."""
        match self._tuple:
            case ("storage", str(kind), key, _, int(count)):
                name = kind.removeprefix("torch.").removesuffix("Storage")
                self.storages[key] = (*_STORAGES.get(name, ("", 0)), count)
            case _:
                self.storages[None] = ("", 0, 0)

    def dangers(self, *, whole: bool, zipped: bool = False) -> tuple[str, ...]:
        """The dangers of loading it, as ends of a sentence.

        Args:
            whole: it was read to its end.
            zipped: it is the only pickle in a zip of torch's.
        """
        listed = all(map(_LISTED.fullmatch, self.names)) and all(map(_LISTED_OPCODES.fullmatch, self._opcodes))
        if zipped and whole and listed:
            return (LISTED,)
        out = [RUNS_CODE]
        hostile = {name for name in self.names if _HOSTILE.fullmatch(name)}
        foreign = {name for name in self.names - hostile if not _HARMLESS.fullmatch(name)}
        for words, names in ((HOSTILE, hostile), ("imports more than arrays need", foreign)):
            if names:
                out.append(f"{words}: {_listed(names)}")
        if not whole:
            out.append("could not be read to its end, so that it may import more")
        return tuple(out)


def _listed(names: Iterable[str], most: int = 10) -> str:
    shown = sorted(ascii(name)[1:-1][:100] for name in names)
    more = f" and {len(shown) - most} more" if len(shown) > most else ""
    return ", ".join(shown[:most]) + more


@cache
def _table() -> "Mapping[str, pickletools.OpcodeInfo]":
    import pickletools

    return {opcode.code: opcode for opcode in pickletools.opcodes}


def _opcodes(file: IO[bytes]) -> Iterator[tuple[str, object]]:
    """Name and argument of each opcode up to STOP; long arguments are passed over."""
    import pickletools

    widths = {
        pickletools.TAKEN_FROM_ARGUMENT1: 1,
        pickletools.TAKEN_FROM_ARGUMENT4: 4,
        pickletools.TAKEN_FROM_ARGUMENT4U: 4,
        pickletools.TAKEN_FROM_ARGUMENT8U: 8,
    }
    name = ""
    while name != "STOP":
        code = file.read(1)
        if not code:
            raise EOFError("it breaks off")
        opcode = _table().get(code.decode("latin-1"))
        if opcode is None:
            raise ValueError(f"there is no opcode {code!r}")
        name = opcode.name
        if opcode.arg is None:
            yield name, None
        elif opcode.arg.n in widths:
            yield name, _argument(file, widths[opcode.arg.n], name)
        else:
            yield name, opcode.arg.reader(file)


def _argument(file: IO[bytes], width: int, name: str) -> str | int | None:
    length = int.from_bytes(file.read(width), "little")
    if length > 4096:  # noqa: PLR2004 - longer than any name
        file.seek(length, os.SEEK_CUR)
        return None
    data = file.read(length)
    if name == "LONG1":
        return int.from_bytes(data, "little", signed=True)
    return data.decode("utf-8", "backslashreplace") if name.endswith(("UNICODE", "UNICODE8", "STRING")) else None


def inflate(data: bytes, most: int) -> bytes:
    """At most ``most`` bytes of what ``data`` is the beginning of, compressed as bz2, xz, gzip or zlib.

    Raises:
        Exception: of the module's own class, where it is not compressed after all.
    """
    if data.startswith(b"BZh"):
        import bz2

        return bz2.BZ2Decompressor().decompress(data, most)
    if data.startswith(b"\xfd7zXZ"):
        import lzma

        return lzma.LZMADecompressor(memlimit=128 << 20).decompress(data, most)
    import zlib

    return zlib.decompressobj(zlib.MAX_WBITS | 32).decompress(data, most)  # 32: gzip or zlib, by its header
