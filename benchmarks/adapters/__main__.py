"""
Runs one adapter: see the package.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import json
import sys
from pathlib import Path

from benchmarks.adapters._adapter import Adapter


def main() -> None:
    name, scale, into = sys.argv[1:]
    adapter: Adapter = importlib.import_module(f"benchmarks.adapters.{name}").ADAPTER
    with Path(into).open("w", buffering=1) as file:  # a line at a time: a hang takes nothing back
        print(json.dumps({"about": adapter.about, "version": _version(name)}), file=file)
        for work, value in adapter.measures(float(scale)):
            print(json.dumps({"work": work, "value": value}), file=file)
    adapter.close()


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return ""  # ours, and what is written by hand


if __name__ == "__main__":
    main()
