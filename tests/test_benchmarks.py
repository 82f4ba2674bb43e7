"""Each benchmark runs as a program, both sides of it, and says how they compare. How fast they are is no matter for a test."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
BENCHMARKS = sorted(path.stem for path in (ROOT / "benchmarks").glob("[a-z]*.py"))


@pytest.mark.parametrize("name", BENCHMARKS)
def test_a_benchmark_prints_a_ratio_for_each_row(name: str, tmp_path: Path) -> None:
    written = tmp_path / "numbers.json"
    command = [sys.executable, "-m", f"benchmarks.{name}", "--rounds", "1", "--scale", "0.05", "--json", str(written)]

    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    ran = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=50, check=False)

    assert ran.returncode == 0, ran.stderr
    rows = json.loads(written.read_text())
    assert rows
    for row in rows:
        assert row["work"] in ran.stdout
        assert all(isinstance(ratio, float) for ratio in row["ratios"])
        assert row["target"] in ran.stdout
