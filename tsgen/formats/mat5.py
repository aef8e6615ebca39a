"""MATLAB 5 files (v6, v7) down to plain numbers, text and structs, with every declared size checked before use: on one
in a hundred damaged files scipy.io.loadmat ends the process. Layout: MathWorks, "MAT-File Format" (2024), level 5."""

import math
import struct
import zlib

import numpy as np

from tsgen.formats.recording import Damaged

LARGEST_IN_BYTES = 256 * 2**20  # after decompression
MOST_ELEMENTS = 200_000  # tags in one file: a struct of structs of fields, not a data base
DEEPEST = 8
_NUMBERS = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8"}
_TEXTS = {16: "utf-8", 17: "utf-16", 18: "utf-32"}
_MATRIX, _COMPRESSED = 14, 15
_STRUCT, _CHAR, _NUMERIC = 2, 4, range(6, 16)  # classes of arrays


def load(content):
    """{name: value} of the variables: arrays in MATLAB's shape, text as str, structs as dicts, None for all else."""
    if content[:8] == b"\x89HDF\r\n\x1a\n" or b"MATLAB 7.3" in content[:116]:
        raise Damaged("it is a MATLAB 7.3 file, which is not supported", "save it in MATLAB with -v7")
    order = {b"IM": "<", b"MI": ">"}.get(content[126:128])
    if order is None:
        told = "no MATLAB 5 file" if len(content) >= 128 else "too short for a MATLAB file"
        raise Damaged(f"it is {told}", "save it in MATLAB with -v7")
    reader, variables = _Reader(order), {}
    for kind, body in reader.elements(memoryview(content)[128:]):
        if kind == _COMPRESSED:
            kind, body = next(reader.elements(memoryview(reader.inflate(body))), (0, b""))
        if kind == _MATRIX:
            variables.update([reader.matrix(body, 0)])
    return variables


class _Reader:
    def __init__(self, order):
        self.order, self.left, self.tags = order, LARGEST_IN_BYTES, MOST_ELEMENTS

    def inflate(self, body):
        inflater = zlib.decompressobj()
        try:
            out = inflater.decompress(body, self.left)
        except zlib.error as error:
            raise Damaged(f"its compressed part is damaged ({error})") from None
        self.left -= len(out)
        if self.left <= 0 or inflater.unconsumed_tail:
            raise Damaged(f"it expands beyond {LARGEST_IN_BYTES / 2**20:.0f} MB", "do not trust this file")
        if not inflater.eof:
            raise Damaged("its compressed part is cut short")
        return out

    def elements(self, data):
        """(type, bytes) of each data element; raises Damaged where one reaches beyond its container."""
        at = 0
        while at + 8 <= len(data):
            self.tags -= 1
            if self.tags < 0:
                raise Damaged(f"it holds more than {MOST_ELEMENTS} elements", "do not trust this file")
            kind, size = struct.unpack_from(self.order + "II", data, at)
            if kind >> 16:  # small element: size and up to four bytes inside the tag
                kind, size, start, end, room = kind & 0xFFFF, kind >> 16, at + 4, at + 8, 4
            else:
                start, room = at + 8, len(data) - at - 8  # compressed elements are the only ones without padding
                end = start + (size if kind == _COMPRESSED else -(-size // 8) * 8)
            if size > room:
                raise Damaged(f"an element declares {size} bytes where {room} are left")
            yield kind, data[start : start + size]
            at = end

    def matrix(self, body, depth):
        """(name, value) of one array element; None for a kind that holds no plain value."""
        if depth > DEEPEST:
            raise Damaged("its fields are nested too deeply", "do not trust this file")
        parts = self.elements(body)
        flags = next(parts, (0, b""))[1]
        kind = struct.unpack(self.order + "I", flags[:4])[0] & 0xFF if len(flags) == 8 else None
        if kind not in (_STRUCT, _CHAR, *_NUMERIC):  # an empty field, a cell, an object, a sparse array
            return "", None
        shape = [int(size) for size in self.numbers(*next(parts, (0, b"")))]
        name = bytes(next(parts, (0, b""))[1]).decode("latin-1")
        count = math.prod(shape)
        if any(size < 0 for size in shape) or count > len(body):
            raise Damaged(f"the array {name!r} declares {' x '.join(map(str, shape))} values, more than it holds")
        if kind == _STRUCT:
            width, names = self.numbers(*next(parts, (0, b""))), bytes(next(parts, (0, b""))[1])
            width = int(width[0]) if len(width) else 0
            if not 1 <= width <= 64:
                raise Damaged("a struct declares field names of impossible length")
            fields = [names[i : i + width].split(b"\0")[0].decode("latin-1") for i in range(0, len(names), width)]
            values = [self.matrix(part, depth + 1)[1] for _, part in parts]
            if len(values) != count * len(fields):
                raise Damaged(f"a struct declares {count * len(fields)} values and holds {len(values)}")
            return name, dict(zip(fields, values, strict=True)) if count == 1 else None
        kind_of_data, data = next(parts, (2, b""))
        if kind == _CHAR and kind_of_data in _TEXTS:
            byte_order = "" if kind_of_data == 16 else "-le" if self.order == "<" else "-be"
            return name, bytes(data).decode(_TEXTS[kind_of_data] + byte_order, "replace")
        values = self.numbers(kind_of_data, data)
        if kind == _CHAR:
            return name, "".join(chr(code) if 0 <= code < 0x110000 else "?" for code in values)
        if len(values) != count:
            raise Damaged(f"the array {name!r} declares {count} values and holds {len(values)}")
        return name, values.reshape(shape, order="F")

    def numbers(self, kind, data):
        if kind not in _NUMBERS:
            raise Damaged(f"an array holds data of type {kind}, which is no number")
        dtype = np.dtype(self.order + _NUMBERS[kind])
        return np.frombuffer(data[: len(data) // dtype.itemsize * dtype.itemsize], dtype)
