"""Filters: which documents are left out for what was measured of them, and what that would cost."""
