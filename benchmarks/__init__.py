"""Measures against raw limits, as ratios taken in one run."""
