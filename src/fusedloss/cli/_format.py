"""Figures as text: two or three significant digits and a unit, never an exponent."""

from __future__ import annotations


def format_ratio(value: float) -> str:
    """Format a plain number."""
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def format_seconds(seconds: float) -> str:
    """Format a duration."""
    for unit, scale in (("s", 1.0), ("ms", 1e-3), ("us", 1e-6)):
        if seconds >= scale:
            return f"{format_ratio(seconds / scale)} {unit}"
    return f"{format_ratio(seconds * 1e9)} ns"


def format_bytes(size: int) -> str:
    """Format a size, in powers of 1000."""
    for unit, scale in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if size >= scale:
            return f"{format_ratio(size / scale)} {unit}"
    return f"{size} B"
