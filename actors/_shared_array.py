"""
A numpy array in memory that processes share: sent at no cost, whatever its size.

Owns the public object and how it travels. Knows the memory as an object with a buffer and a number.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NoReturn, Self

from actors import _seams
from actors.errors import ProtocolError, SpecError
from actors.mailbox import _buffers
from actors.mailbox._classes import UnknownTypeError
from actors.mailbox._codec import register_type

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

__all__ = ["SharedArray", "make_shared_array"]

_MOST_BYTES = 1 << 46
_CODE = 65  # of the codec's type codes; part of the wire format


class SharedArray:
    """
    A numpy array that several processes see, and may write into, at once.

    Made by :meth:`ActorSystem.shared_array` or, in an actor, by :meth:`Actor.shared_array`. Send it in any message: what travels is a name of
    some bytes, and who receives it has the same memory. Nothing orders what two processes do to it at the same time; a message between
    them does.

    The memory belongs to the supervisor. It is free when the last process that uses it has dropped it or has ended, also by SIGKILL. A process
    uses it as long as it refers to a ``SharedArray`` of it, or to an array that stands on it.

    ::

        with system.shared_array((1000, 1000), "float32") as picture:
            picture.array[:] = 0.5
            blurred = worker.ask(Worker.blur, picture).result()

    Attributes:
        shape: Of the array.
        dtype: Of the array; a ``numpy.dtype``.
    """

    __slots__ = ("__weakref__", "_memory", "_number", "_system", "dtype", "shape")

    def __init__(self, system: str, number: int, memory: Any, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
        self._system = system
        self._number = number
        self._memory = memory
        self.shape = shape
        self.dtype = dtype

    @property
    def array(self) -> npt.NDArray[Any]:
        """
        The array itself, writable. It stays valid as long as it is referred to, also after :meth:`close`.

        Raises:
            ValueError: This object was closed.
        """
        if self._memory is None:
            raise ValueError(f"{self!r} was closed; an array that was taken from it before is still valid")
        made: npt.NDArray[Any] = _numpy().ndarray(self.shape, self.dtype, buffer=self._memory)
        return made

    @property
    def nbytes(self) -> int:
        """How many bytes the array takes."""
        return math.prod(self.shape) * int(self.dtype.itemsize)

    def close(self) -> None:
        """Let go of the memory. It goes when nothing in any process stands on it any more. May be repeated."""
        self._memory = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __reduce__(self) -> NoReturn:
        raise TypeError("a SharedArray is no copy of its memory, and cannot be pickled: send it in a message")

    def __repr__(self) -> str:
        state = " closed" if self._memory is None else ""
        return f"<SharedArray {self._number} of {self._system}: {self.shape} {self.dtype}{state}>"


def make_shared_array(system: str, shape: int | tuple[int, ...], dtype: Any) -> SharedArray:
    """
    A new one, all zero.

    Args:
        system: Name of the system.
        shape: As for ``numpy.zeros``.
        dtype: As for ``numpy.zeros``; no dtype that holds Python objects.

    Raises:
        SpecError: numpy is not installed, or the shape or the dtype cannot be.
        StartError: The machine has no memory for it.
    """
    numpy = _numpy()
    sizes = shape if isinstance(shape, tuple) else (shape,)
    try:
        chosen = numpy.dtype(dtype)
        _buffers.describe_dtype(chosen)
    except (TypeError, ValueError) as error:
        raise SpecError(f"shared_array: dtype={dtype!r}: {error}") from error
    if not all(type(size) is int and size >= 0 for size in sizes):
        raise SpecError(f"shared_array: shape={shape!r}: must be a number, or a tuple of numbers, of at least 0")
    nbytes = math.prod(sizes) * chosen.itemsize
    if nbytes > _MOST_BYTES:
        raise SpecError(f"shared_array: shape={shape!r}: {nbytes} bytes are out of range")
    number, memory = _seams.find_node(system, "a shared array").shares.make(max(1, nbytes))
    return SharedArray(system, number, memory, sizes, chosen)


def _numpy() -> Any:
    try:
        import numpy as found  # noqa: ICN001, PLC0415 - an optional package, which costs 100 ms
    except ImportError:
        raise SpecError("a shared array needs numpy: pip install numpy (the extra 'numpy')") from None
    return found


def _to_plain(shared: SharedArray) -> object:
    if shared._memory is None:
        raise ValueError("it was closed")
    return (shared._system, shared._number, shared.shape, _buffers.describe_dtype(shared.dtype))


def _from_plain(data: object) -> SharedArray:
    match data:
        case (str(system), int(number), tuple(shape), description) if all(
            type(size) is int and size >= 0 for size in shape
        ):
            dtype = _buffers.read_dtype(description)
            node = _seams.nodes.get(system)
            memory = None if node is None else node.shares.find(number)
            if memory is None:
                raise UnknownTypeError(f"shared array {number} of {system[:80]!r} is not there any more")
            if math.prod(shape) * dtype.itemsize <= len(memory):
                return SharedArray(system, number, memory, shape, dtype)
            del memory  # the traceback of the error would keep it
    raise ProtocolError(f"no shared array: {data!r:.80}")


register_type(SharedArray, _CODE, _to_plain, _from_plain)
