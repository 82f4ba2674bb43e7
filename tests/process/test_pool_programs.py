"""Programs in the manner of the standard library's documentation, in which nothing but the class was replaced, run to their end."""

from __future__ import annotations

import textwrap
from pathlib import Path

import attrs
import pytest

from tests import scripts


@attrs.frozen
class Program:
    """
    A program of its own.

    Attributes:
        text: What it says; the method that it is to start processes by is its argument.
        prints: What it prints.
        known: Whether the standard library does it, too: under 3.11 its ``max_tasks_per_child`` may wait for ever.
    """

    text: str
    prints: str
    known: bool = True


PROGRAMS = {
    "the primes of concurrent.futures": Program(
        """
        import math, multiprocessing, sys
        from actors import ActorExecutor as ProcessPoolExecutor

        PRIMES = [1122725350, 1125827059, 1152800951, 1157978480, 1099726899]

        def is_prime(n):
            if n < 2:
                return False
            if n == 2:
                return True
            if n % 2 == 0:
                return False
            return all(n % i for i in range(3, int(math.floor(math.sqrt(n))) + 1, 2))

        def main():
            with ProcessPoolExecutor() as executor:
                for number, prime in zip(PRIMES, executor.map(is_prime, PRIMES)):
                    print(number, prime)

        if __name__ == "__main__":
            multiprocessing.set_start_method(sys.argv[1])
            main()
        """,
        "1122725350 False\n1125827059 False\n1152800951 True\n1157978480 False\n1099726899 False\n",
    ),
    "futures as they are completed": Program(
        """
        import concurrent.futures, multiprocessing, sys
        from actors import ActorExecutor as ProcessPoolExecutor

        def compute(x):
            if x == 7:
                raise LookupError(x)
            return x * x

        if __name__ == "__main__":
            multiprocessing.set_start_method(sys.argv[1])
            with ProcessPoolExecutor(max_workers=4) as executor:
                print(executor.submit(pow, 323, 2).result(), list(executor.map(compute, range(5))))
                of = {executor.submit(compute, x): x for x in range(10)}
                good, bad = set(), []
                for future in concurrent.futures.as_completed(of, timeout=30):
                    try:
                        good.add((of[future], future.result()))
                    except Exception as error:
                        bad.append((of[future], error))
                print(sorted(good), bad)
                print(sorted(len(part) for part in concurrent.futures.wait(of)))
            try:
                executor.submit(compute, 1)
            except RuntimeError as error:
                print(error)
        """,
        "104329 [0, 1, 4, 9, 16]\n"
        "[(0, 0), (1, 1), (2, 4), (3, 9), (4, 16), (5, 25), (6, 36), (8, 64), (9, 81)] [(7, LookupError(7))]\n"
        "[0, 10]\ncannot schedule new futures after shutdown\n",
    ),
    "an executor with an initializer and workers that are replaced": Program(
        """
        import multiprocessing, os, sys
        from actors import ActorExecutor as ProcessPoolExecutor

        connection = None

        def init_worker(url):
            global connection
            connection = f"connected to {url}"

        def work(number):
            return connection, os.getpid()

        if __name__ == "__main__":
            context = multiprocessing.get_context(sys.argv[1])
            with ProcessPoolExecutor(2, context, init_worker, ("db://here",)) as executor:
                print({text for text, pid in executor.map(work, range(20), chunksize=3)})
            with ProcessPoolExecutor(1, initializer=init_worker, initargs=("x",), max_tasks_per_child=2) as executor:
                print(len({pid for text, pid in executor.map(work, range(6))}))
        """,
        "{'connected to db://here'}\n3\n",
        known=False,
    ),
    "the first pool of multiprocessing": Program(
        """
        import multiprocessing, sys
        from actors import Pool

        def f(x):
            return x*x

        if __name__ == '__main__':
            multiprocessing.set_start_method(sys.argv[1])
            with Pool(5) as p:
                print(p.map(f, [1, 2, 3]))
        """,
        "[1, 4, 9]\n",
    ),
    "the pool of workers of multiprocessing": Program(
        """
        import multiprocessing, os, sys, time
        from multiprocessing import TimeoutError
        from actors import Pool

        def f(x):
            return x*x

        if __name__ == '__main__':
            multiprocessing.set_start_method(sys.argv[1])
            with Pool(processes=4) as pool:
                print(pool.map(f, range(10)))
                print(sorted(pool.imap_unordered(f, range(10))))
                print(pool.apply_async(f, (20,)).get(timeout=30))
                print(pool.apply_async(os.getpid, ()).get(timeout=30) != os.getpid())
                several = [pool.apply_async(os.getpid, ()) for i in range(4)]
                print(len([each.get(timeout=30) for each in several]))
                it = pool.imap(f, range(10))
                print(next(it), next(it), it.next(timeout=30))
                slow = pool.apply_async(time.sleep, (600,))
                try:
                    print(slow.get(timeout=0.1))
                except TimeoutError:
                    print("not patient enough")
            try:
                pool.map(f, [1])
            except ValueError as error:
                print(error)
        """,
        "[0, 1, 4, 9, 16, 25, 36, 49, 64, 81]\n[0, 1, 4, 9, 16, 25, 36, 49, 64, 81]\n400\nTrue\n4\n0 1 4\nnot patient enough\n"
        "Pool not running\n",
    ),
    "the errors and the end of a pool": Program(
        """
        import multiprocessing, sys
        from actors import Pool

        def mul(a, b):
            return a * b

        def star(args):
            return mul(*args)

        def f(x):
            return 1.0 / (x - 5.0)

        def noop(x):
            pass

        def attempt(call, *args):
            try:
                print(call(*args))
            except ZeroDivisionError:
                print("division")

        if __name__ == '__main__':
            multiprocessing.set_start_method(sys.argv[1])
            with Pool(4) as pool:
                attempt(pool.apply, f, (5,))
                attempt(pool.map, f, list(range(10)))
                attempt(list, pool.imap(f, list(range(10))))
                it = pool.imap(f, list(range(10)))
                found = 0
                for i in range(10):
                    try:
                        next(it)
                        found += 1
                    except ZeroDivisionError:
                        print("in its turn:", i == 5)
                    except StopIteration:
                        break
                print(found)
                print(pool.starmap(mul, [(i, 7) for i in range(4)]), pool.map(star, [(2, 3)]))
                arguments = list(range(100))
                called = []
                done = [pool.apply_async(mul, (i, 2), callback=called.append) for i in arguments]
                pool.map_async(star, [(1, 2), (3, 4)], callback=called.extend, error_callback=print).wait()
                pool.apply_async(f, (5,), error_callback=lambda error: called.append(type(error).__name__)).wait()
                pool.close()
                pool.join()
                print(sum(each.get() for each in done), len(called), {2, 12, 'ZeroDivisionError'} <= set(called))
            for each in done:
                assert each.ready() and each.successful()
            pool = Pool(2)
            results = [pool.apply_async(noop, (i,)) for i in range(100)]
            pool.terminate()
            pool.join()
            print("terminated")
        """,
        "division\ndivision\ndivision\nin its turn: True\n9\n[0, 7, 14, 21] [6]\n9900 103 True\nterminated\n",
    ),
    "things that are shared with the workers of a pool": Program(
        """
        import ctypes, multiprocessing, sys
        from multiprocessing import shared_memory
        from actors import Pool

        def share(lock_, counter_, names_, all_are_there):
            global lock, counter, names
            lock, counter, names = lock_, counter_, names_
            all_are_there.wait()

        def count(number):
            with lock:
                counter.value += number
            names[number] += 1
            return number

        def fill(name, at):
            memory = shared_memory.SharedMemory(name=name)
            memory.buf[at] = at
            memory.close()

        def note(books, queue, gate, number):
            with gate:
                books[number] = number * number
            queue.put(number)

        if __name__ == "__main__":
            context = multiprocessing.get_context(sys.argv[1])
            things = context.Lock(), context.Value("i", 0), context.Array(ctypes.c_int, 10), context.Barrier(2)
            with Pool(2, share, things, context=context) as pool:
                print(sum(pool.imap_unordered(count, range(10))), things[1].value, list(things[2]))
            memory = shared_memory.SharedMemory(create=True, size=4)
            with Pool(2, context=context) as pool, context.Manager() as manager:
                pool.starmap(fill, [(memory.name, at) for at in range(4)])
                print(list(memory.buf[:4]))
                books, queue, gate = manager.dict(), manager.Queue(), manager.Lock()
                pool.starmap(note, [(books, queue, gate, number) for number in range(3)])
                print(sorted(books.items()), sorted(queue.get() for _ in range(3)))
            memory.close()
            memory.unlink()
        """,
        "45 45 [1, 1, 1, 1, 1, 1, 1, 1, 1, 1]\n[0, 1, 2, 3]\n[(0, 0), (1, 1), (2, 4)] [0, 1, 2]\n",
    ),
    "an executor behind asyncio": Program(
        """
        import asyncio, multiprocessing, sys
        from actors import ActorExecutor as ProcessPoolExecutor

        def compute(x):
            if x == 3:
                raise ValueError(x)
            return x + 1

        async def main():
            loop = asyncio.get_running_loop()
            with ProcessPoolExecutor(2) as pool:
                calls = [loop.run_in_executor(pool, compute, x) for x in range(5)]
                print(await asyncio.gather(*calls, return_exceptions=True))

        if __name__ == "__main__":
            multiprocessing.set_start_method(sys.argv[1])
            asyncio.run(main())
        """,
        "[1, 2, 3, ValueError(3), 5]\n",
    ),
}


@pytest.mark.conformance
@pytest.mark.parametrize("name", PROGRAMS)
def test_a_program_runs_with_nothing_but_the_class_replaced(tmp_path: Path, start_method: str, name: str) -> None:
    program = PROGRAMS[name]

    ended = scripts.run(scripts.write(tmp_path, textwrap.dedent(program.text)), start_method, timeout=60.0)

    assert (ended.code, ended.out) == (0, program.prints), ended
    assert "Traceback" not in ended.err, ended


@pytest.mark.conformance
@pytest.mark.parametrize("name", [name for name, program in PROGRAMS.items() if program.known])
def test_the_standard_library_prints_the_same(tmp_path: Path, name: str) -> None:
    program = PROGRAMS[name]
    text = textwrap.dedent(program.text)
    text = text.replace("from actors import Pool", "from multiprocessing.pool import Pool")
    text = text.replace("from actors import ActorExecutor as", "from concurrent.futures import")

    ended = scripts.run(scripts.write(tmp_path, text), "fork", timeout=60.0)

    assert (ended.code, ended.out) == (0, program.prints), ended
