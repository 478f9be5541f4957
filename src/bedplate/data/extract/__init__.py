"""Extraction: fetched pages become text with their titles and what they say of themselves; texts get mended."""
