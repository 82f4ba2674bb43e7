"""
What the package costs, each thing beside the same thing written by hand with the standard library.

``python -m benchmarks`` (``make bench``) runs every workload of ``_registry`` in a process of its own, ``python -m benchmarks.ask`` one
alone. A number of one machine says little, so each workload measures both sides in one run, in turns, and what it prints to be read
is the ratio. ``docs/explanation/performance.md`` says how to read it.

A new workload is a file with a ``main()`` that makes rows (``_rounds``, ``_rows``), and one line in ``_registry``; another framework is a
file in ``adapters`` and one line there.
"""
