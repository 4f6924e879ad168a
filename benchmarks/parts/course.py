"""The course of a process's memory under load, and whether it is flat."""

from __future__ import annotations

import statistics
import time
from dataclasses import dataclass, field

import psutil

BLOCKS = 12
T_95 = 2.23
"""Student's t for 95 % and BLOCKS - 2 degrees of freedom."""


@dataclass
class Course:
    """Samples of the resident memory of ``process``; the clock starts with the first of them."""

    process: psutil.Process
    points: list[tuple[float, float]] = field(default_factory=list)
    _began: float = field(default_factory=time.monotonic)

    def sample(self) -> float:
        """Take one; returns MiB."""
        mib = self.process.memory_info().rss / 2**20
        self.points.append((time.monotonic() - self._began, mib))
        return mib

    def line(self) -> str:
        """The latest sample, and what else a leak would show in."""
        seconds, mib = self.points[-1]
        held = f"{self.process.num_fds():4} descriptors  {len(self.process.children())} children"
        return f"{seconds:5.0f} s  {mib:6.1f} MiB  {held}"

    def verdict(self) -> str:
        """The slope of the second half with its 95 % interval.

        Samples that follow each other are not independent, so the line goes through the means of twelve blocks: their
        scatter about it is the error. Flat is what can't be told from no slope at all; how much could hide in that, the
        interval says.
        """
        end = self.points[-1][0]
        half = [point for point in self.points if point[0] > end / 2]
        size = len(half) // BLOCKS
        if size < 3:
            return "too few samples to judge by"
        blocks = [half[start : start + size] for start in range(len(half) % BLOCKS, len(half), size)]
        means = [tuple(statistics.fmean(axis) for axis in zip(*block, strict=True)) for block in blocks]
        times, sizes = [mean[0] for mean in means], [mean[1] for mean in means]
        slope, start = statistics.linear_regression(times, sizes)
        scatter = sum((y - start - slope * x) ** 2 for x, y in means) / (BLOCKS - 2)
        error = T_95 * (scatter / sum((x - statistics.fmean(times)) ** 2 for x in times)) ** 0.5
        flat = "flat" if abs(slope) <= error else "growing" if slope > 0 else "shrinking"
        low, high = min(y for _, y in half), max(y for _, y in half)
        return f"second half: {low:.1f} to {high:.1f} MiB, {slope * 60:+.2f} ± {error * 60:.2f} MiB a minute (95 %): {flat}"
