"""
What a spec may say and this release does not do yet. Saying nothing and doing nothing would be a lie; so it is refused. Pure.
"""

from __future__ import annotations

from collections.abc import Iterable

import attrs

from actors.supervisor._spec import Options

__all__ = ["NOT_BUILT", "not_built"]

NOT_BUILT = ("mailbox_messages",)
"""Options whose only possible value is their default."""


def not_built(path: str, options: Options) -> Iterable[str]:
    """
    Give a sentence for each option that asks for something this release does not do.

    Args:
        path: The actor, for the text.
        options: Its options, checked.
    """
    defaults = attrs.asdict(Options(), recurse=False)
    for name in NOT_BUILT:
        value = getattr(options, name)
        if value != defaults[name]:
            yield f"{path}: {name}={value!r}: is not part of this release; leave it out"
    if options.on_full == "drop_oldest":
        yield f"{path}: on_full='drop_oldest': is not part of this release; use 'block', 'reject' or 'drop_newest'"
