"""
A channel between a program and its workers, one of which is killed in the middle: every page is read, whoever reads it.

Run it with ``python examples/channel.py``.
"""

from __future__ import annotations

import os
import signal
from collections import Counter

from actors import Actor, ActorSystem, Channel, handler

PAGES = 300


class Reader(Actor):
    restart = "temporary"

    @handler
    def read(self, pages: Channel[int], words: Channel[tuple[str, int, int]]) -> None:
        for page in pages:
            words.put((self.ref.path, page, len(str(page) * page)))

    @handler
    def process(self) -> int:
        return os.getpid()


def main() -> None:
    with ActorSystem() as system:
        pages: Channel[int] = system.channel(maxsize=20, name="pages")
        words: Channel[tuple[str, int, int]] = system.channel(name="words")
        readers = [system.spawn(Reader(), name=f"reader-{number}") for number in range(3)]
        victim = readers[0].ask(Reader.process).result(timeout=10)
        for reader in readers:
            reader.tell(Reader.read, pages, words)
        for page in range(PAGES):
            if page == PAGES // 2:
                os.kill(victim, signal.SIGKILL)
            pages.put(page)
        pages.close()

        read: Counter[int] = Counter()
        while len(read) < PAGES:
            _reader, page, _count = words.get(timeout=10)
            read[page] += 1
        print("pages read:", len(read))
        print("read twice, at most the one that the dead reader held:", read.total() - PAGES <= 1)


if __name__ == "__main__":
    main()
