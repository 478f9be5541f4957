"""Self-contained HTML pages and SVG plots, made from plain data."""
