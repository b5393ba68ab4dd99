"""What a judge says when something is not as it must be."""

from __future__ import annotations


class Escape(AssertionError):
    """Something got in, or was refused without a reason that helps."""
