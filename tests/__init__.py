"""Tests of the package; the folder is a package so that children of a test can import what it defines."""
