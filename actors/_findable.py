"""
Whether another process can find what the main module defines, and what is said where it cannot.

A program given by ``-c``, typed at a prompt, shown in a notebook or piped in has a main module that no other process can import; a fork has it.
"""

from __future__ import annotations

from actors._zygote import main_module
from actors.errors import SpecError

__all__ = ["check_findable", "finds_main", "not_found"]

_MAIN = "__main__"


def finds_main(method: str) -> bool:
    """
    Return whether the processes that this one starts have its main module.

    Args:
        method: How they are started.
    """
    return method == "fork" or main_module() is not None


def check_findable(what: str, thing: object, method: str) -> None:
    """
    Return if processes of their own can find *thing*, as far as its module is concerned.

    Args:
        what: What it is: ``"class Counter"``.
        thing: A class or a function, or any object.
        method: How the processes are started.

    Raises:
        SpecError: The main module defines it, and no other process can import that; says what to do.
    """
    module = getattr(thing, "__module__", None)
    if module == _MAIN and not finds_main(method):
        raise SpecError(not_found(what, _MAIN))


def not_found(what: str, module: str) -> str:
    """
    What is said of a class or a function that another process does not find.

    Args:
        what: What it is, as a sentence begins with it.
        module: Where it is defined.
    """
    text = (
        f"{what} of module {module} is not to be found in another process: "
        "define it at the top level of a module that can be imported"
    )
    if module != _MAIN:
        return text
    return (
        f'{text}, not below if __name__ == "{_MAIN}", at a prompt, in a notebook, in -c or on stdin; or have processes forked: '
        'start_method="fork" of an ActorSystem, multiprocessing.get_context("fork") for an executor or a Pool'
    )
