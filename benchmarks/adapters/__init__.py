"""
Other frameworks, each behind one small module that does the same work with it: ``ADAPTER`` in it says which work.

``python -m benchmarks.adapters NAME SCALE FILE`` runs one and writes a line of JSON for each number. A framework is imported there, in a
process of its own, and nowhere else.
"""
