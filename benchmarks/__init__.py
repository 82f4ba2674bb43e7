"""
What the package costs, each thing beside the same thing written by hand with the standard library.

``python -m benchmarks.ask`` from the root of the project runs one script, ``make bench`` runs all. A number of one machine says
little, so each script measures both sides in one run, in turns, and what it prints to be read is the ratio.
"""
