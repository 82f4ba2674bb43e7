from __future__ import annotations

import functools
import io

import pytest

from actors import EncodeError
from actors.mailbox._codec import encode
from tests.troupe import Worker


class Holder:
    def method(self) -> None: ...


ADVICE: list[tuple[object, bool, str]] = [
    (lambda: 1, False, "function .* no code; send what the code is to work on, and have a handler do it.*tasks.run"),
    (functools.partial(print, 1), False, "functools.partial .* no code; send what the code is to work on"),
    (Holder().method, False, "method .* no code; send what the code is to work on"),
    (len, False, "builtin_function_or_method .* no code; send what the code"),
    (lambda: 1, True, "no name at the top of a module, but .*<lambda>'; define it there, with def or class"),
    (functools.partial(print, 1), True, "keep the function, which goes by its name, and its arguments apart"),
    (Holder().method, True, "it would take its object along; give a function at the top level"),
    (functools.partialmethod(print), True, "no code; send what the code is to work on"),
    (Holder, False, "no classes; send its name, or a member of an Enum"),
    ((number for number in range(1)), False, "its items are not there yet; send a list of them, or stream them"),
    (ValueError("x"), False, "send its text; what a handler raises reaches whoever asked as a HandlerError"),
    (Worker(), False, "an actor is reached by its ref: send that"),
    (io.StringIO(), False, "the codec does not know this type; send plain values"),
    (Holder(), False, "the codec does not know this type; send plain values, or mark"),
]


@pytest.mark.parametrize(("value", "references", "said"), ADVICE)
def test_a_value_that_cannot_travel_is_refused_with_advice(value: object, references: bool, said: str) -> None:
    with pytest.raises(EncodeError, match=said):
        encode(value, references=references)
