"""
Values that are mostly one run of memory: ``memoryview``, ``array.array``, numpy arrays and scalars.

Owns how such a value is taken apart and put together. Must not import numpy before a value needs it: a process that never touches
an array does not pay 100 ms and 20 MiB for it.

What arrives as a view or a numpy array is read-only: it stands on the bytes of the message itself, uncopied. Copy it to write.

``load_...`` takes a large value apart for lying beside its message: what ``split_...`` gives without the memory, the memory as a view or
as a function that writes it, and its length; an empty list for a small one.
"""

from __future__ import annotations

import array
import functools
import importlib
import re
import sys
from typing import Any

from actors.errors import ProtocolError
from actors.mailbox._cargo import LARGE_BUFFER_BYTES
from actors.mailbox._classes import UnknownTypeError

__all__ = [
    "describe_dtype",
    "is_numpy_array",
    "is_numpy_base",
    "is_numpy_scalar",
    "join_array",
    "join_numpy_array",
    "join_numpy_scalar",
    "join_view",
    "load_array",
    "load_bytearray",
    "load_numpy_array",
    "load_view",
    "read_dtype",
    "split_array",
    "split_buffer",
    "split_numpy_array",
    "split_numpy_scalar",
    "split_view",
]

_TYPECODES = frozenset(array.typecodes)

# What ``dtype.str`` gives for every type but object. Anything else is not handed to numpy, whose parser accepts far more.
_DTYPE = re.compile(r"[<>|=][?biufcmMSUV]\d{1,9}(\[\d{0,9}[a-zA-Z]{1,7}\])?", re.ASCII)
_MAX_DTYPE_DEPTH = 16


def split_view(view: memoryview) -> list[Any]:
    """
    ``[format, bytes]`` for a one-dimensional view, ``[format, bytes, dimensions, *shape]`` for the others.

    Raises:
        ValueError: The view cannot be built again from bytes: a format that ``memoryview.cast`` does not know.
    """
    raw = view.cast("B") if view.c_contiguous and view.nbytes else view.tobytes()
    parts: list[Any] = [view.format, raw] if view.ndim == 1 else [view.format, raw, view.ndim, *(view.shape or ())]
    try:
        join_view(parts)
    except (TypeError, ValueError, ProtocolError) as error:
        raise ValueError(
            f"a memoryview of format {view.format!r} and shape {view.shape} cannot be rebuilt ({error})"
        ) from None
    return parts


def join_view(parts: list[Any]) -> memoryview:
    """A read-only view from what :func:`split_view` gave."""
    layout, raw, *dimensions = parts
    if type(raw) is list and len(dimensions) == 1:
        dimensions, raw = raw, dimensions[0]
    if not isinstance(raw, bytes | memoryview):
        raise ProtocolError(f"a memoryview needs bytes, got {type(raw).__name__}")
    view = memoryview(raw).toreadonly()
    if dimensions:
        return view.cast(layout, dimensions[1:])
    return view if layout == "B" else view.cast(layout)


def split_buffer(value: Any) -> list[Any]:
    """As :func:`split_view`, for any other object with the buffer protocol: its bytes, which arrive as a ``memoryview``."""
    return ["B", memoryview(value).tobytes()]


def load_view(value: Any) -> list[Any]:
    """See the head of this module. Any object with the buffer protocol."""
    view = memoryview(value)
    if view.nbytes < LARGE_BUFFER_BYTES:
        return []
    parts: list[Any] = split_view(view) if type(value) is memoryview else ["B", _flat(view)]
    layout, raw, *dimensions = parts
    # The memory stands second: what follows it is put before it, which join_view() takes as well.
    return [layout, *([dimensions] if dimensions else []), memoryview(raw), view.nbytes]


def _flat(view: memoryview) -> memoryview | bytes:
    return view.cast("B") if view.c_contiguous else view.tobytes()


def load_bytearray(value: bytearray) -> list[Any]:
    """See the head of this module."""
    return [memoryview(value), len(value)] if len(value) >= LARGE_BUFFER_BYTES else []


def load_array(value: array.array[Any]) -> list[Any]:
    """See the head of this module."""
    length = len(value) * value.itemsize
    return [value.typecode, memoryview(value).cast("B"), length] if length >= LARGE_BUFFER_BYTES else []


def split_array(value: array.array[Any]) -> list[Any]:
    """``[typecode, bytes]``."""
    return [value.typecode, value.tobytes()]


def join_array(parts: list[Any]) -> array.array[Any]:
    """An ``array.array`` of its own memory."""
    typecode, raw = parts
    if typecode not in _TYPECODES or not isinstance(raw, bytes | memoryview):
        raise ProtocolError(f"no array: typecode {repr(typecode)[:16]}, data {type(raw).__name__}")
    made: array.array[Any] = array.array(typecode)
    made.frombytes(raw)
    return made


def is_numpy_array(kind: type) -> bool:
    """Whether *kind* is exactly ``numpy.ndarray``."""
    numpy = sys.modules.get("numpy")
    return numpy is not None and kind is numpy.ndarray


def is_numpy_scalar(kind: type) -> bool:
    """Whether *kind* is one of numpy's scalar types."""
    numpy = sys.modules.get("numpy")
    return numpy is not None and issubclass(kind, numpy.generic) and kind.__module__ == "numpy"


def is_numpy_base(kind: type) -> bool:
    """Whether *kind* is numpy's array or the base of its scalars: what subclasses of either derive from."""
    numpy = sys.modules.get("numpy")
    return numpy is not None and kind in {numpy.ndarray, numpy.generic}


def split_numpy_array(value: Any) -> list[Any]:
    """
    ``[dtype description, shape, order, memory]``.

    An array that is contiguous in neither order arrives contiguous in C order.

    Raises:
        ValueError: A dtype that holds Python objects, or that its description does not give again.
    """
    numpy = sys.modules["numpy"]
    order = "F" if value.flags.f_contiguous and not value.flags.c_contiguous else "C"
    description = describe_dtype(value.dtype)
    memory = memoryview(value.reshape(-1, order=order).view(numpy.uint8)) if value.nbytes else memoryview(b"")
    return [description, value.shape, order, memory]


def load_numpy_array(value: Any) -> list[Any]:
    """See the head of this module. What is contiguous in neither order is written in C order, without a copy before."""
    if value.nbytes < LARGE_BUFFER_BYTES:
        return []
    if value.flags.c_contiguous or value.flags.f_contiguous:
        description, shape, order, memory = split_numpy_array(value)
        return [description, shape, order, memory, value.nbytes]
    numpy = sys.modules["numpy"]

    def write(target: memoryview) -> None:
        numpy.copyto(numpy.ndarray(value.shape, value.dtype, buffer=target), value)

    return [describe_dtype(value.dtype), value.shape, "C", write, value.nbytes]


def join_numpy_array(parts: list[Any]) -> object:
    """A read-only array that stands on the memory in *parts*."""
    description, shape, order, memory = parts
    if not isinstance(memory, memoryview) or type(shape) is not tuple or not {int}.issuperset(map(type, shape)):
        raise ProtocolError("no numpy array: its memory or its shape is missing")
    if shape and min(shape) < 0:  # numpy would take it as "whatever fits"
        raise ProtocolError(f"a numpy array of shape {shape}")
    array_ = _numpy().ndarray(shape, dtype=read_dtype(description), buffer=memory, order=order)
    if array_.nbytes != memory.nbytes:
        raise ProtocolError(f"a numpy array of {array_.nbytes} bytes came with {memory.nbytes}")
    return array_


def split_numpy_scalar(value: Any) -> list[Any]:
    """``[dtype description, bytes]``. ``ValueError`` as for arrays."""
    # An empty string has the size 0, and numpy writes one character for it nevertheless.
    return [describe_dtype(value.dtype), value.tobytes() if value.dtype.itemsize else b""]


def join_numpy_scalar(parts: list[Any]) -> object:
    """A numpy scalar."""
    description, raw = parts
    dtype = read_dtype(description)
    if type(raw) is not bytes or len(raw) != dtype.itemsize:
        raise ProtocolError(f"a numpy scalar of {dtype.itemsize} bytes came with {repr(raw)[:32]}")
    if not raw:
        return dtype.type()
    return _numpy().frombuffer(raw, dtype)[0]


def _numpy() -> Any:
    try:
        return sys.modules.get("numpy") or importlib.import_module("numpy")
    except ImportError:
        raise UnknownTypeError("a numpy value came, and numpy is not installed here; pip install numpy") from None


@functools.lru_cache(maxsize=256)  # a program uses few dtypes, and describing one costs more than a small array
def describe_dtype(dtype: Any) -> object:
    """What :func:`read_dtype` makes it of again. ``ValueError`` for a dtype that holds Python objects, or cannot be described."""
    if dtype.hasobject:
        raise ValueError(f"numpy dtype {dtype} holds Python objects")
    description: object = dtype.str if dtype.names is None else dtype.descr
    try:
        rebuilt = read_dtype(description)
    except ProtocolError as error:
        raise ValueError(f"numpy dtype {dtype!r} cannot be described ({error})") from None
    if rebuilt != dtype:
        raise ValueError(f"numpy dtype {dtype!r} would arrive as {rebuilt!r}")
    return description


def read_dtype(description: object) -> Any:
    """The dtype of a description. ``ProtocolError`` for anything else."""
    _check_dtype(description, 0)
    return _numpy().lib.format.descr_to_dtype(description)


def _check_dtype(description: object, depth: int) -> None:
    if type(description) is str:
        if _DTYPE.fullmatch(description):
            return
    elif type(description) is list and description and depth < _MAX_DTYPE_DEPTH:
        for field in description:
            if type(field) is not tuple or len(field) not in {2, 3}:
                raise ProtocolError(f"no field of a numpy dtype: {repr(field)[:80]}")
            _check_dtype(field[1], depth + 1)
        return
    raise ProtocolError(f"no numpy dtype: {repr(description)[:80]}")
