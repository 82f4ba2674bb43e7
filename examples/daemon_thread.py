"""
A supervised tree inside a program that is not about actors: a daemon whose main thread is busy with something else.

Run it with ``python examples/daemon_thread.py``. The helper thread owns the system: it starts the tree, hands the ref over, and stops
the tree when it is told to. The main thread uses the ref like any other object; refs may be used from every thread.
"""

from __future__ import annotations

import threading
from queue import SimpleQueue

from actors import Actor, ActorRef, ActorSystem, Supervisor, child, handler


class Index(Actor):
    """Remembers where each word was seen."""

    def on_start(self) -> None:
        self.places: dict[str, list[int]] = {}

    @handler
    def add(self, line: int, text: str) -> None:
        for word in text.lower().split():
            self.places.setdefault(word, []).append(line)

    @handler
    def find(self, word: str) -> list[int]:
        return self.places.get(word, [])


TREE = Supervisor("indexer", children=[child(Index(), name="index")])


def supervise(ready: SimpleQueue[ActorRef[Index]], stop: threading.Event) -> None:
    """Run the tree until *stop* is set; the body of the helper thread."""
    with ActorSystem(TREE) as system:
        ready.put(system.whereis("/indexer/index"))
        stop.wait()


def main() -> None:
    ready: SimpleQueue[ActorRef[Index]] = SimpleQueue()
    stop = threading.Event()
    helper = threading.Thread(target=supervise, args=(ready, stop), name="supervision", daemon=True)
    helper.start()

    index = ready.get(timeout=30)
    for number, line in enumerate(["to be or not to be", "that is the question"], start=1):
        index.tell(Index.add, number, line)
    print("'be' is in lines", index.ask(Index.find, "be").result(timeout=10))
    print("'question' is in lines", index.ask(Index.find, "question").result(timeout=10))

    stop.set()
    helper.join()


if __name__ == "__main__":
    main()
