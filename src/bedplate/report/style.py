"""The style sheet of every page: light, dark and paper, without a font, picture or script from anywhere else."""

from __future__ import annotations

STYLE = """
:root {
  color-scheme: light dark;
  --ground: #ffffff; --raised: #f5f7f9; --text: #1c2024; --muted: #5b6470; --grid: #dfe3e8; --accent: #0b62c4;
  --bar: #9db4cc; --warn: #8a4b00; --warn-ground: #fff4e0;
  --series-1: #0b62c4; --series-2: #c4500b; --series-3: #1a7f5a;
  --series-4: #a0338f; --series-5: #8a6d00; --series-6: #5b6470;
}
@media (prefers-color-scheme: dark) {
  :root {
    --ground: #14171a; --raised: #1d2125; --text: #e6e8ea; --muted: #9aa4af; --grid: #31373d; --accent: #6cb0ff;
    --bar: #4b5f75; --warn: #ffc56b; --warn-ground: #33270f;
    --series-1: #6cb0ff; --series-2: #ff9d5c; --series-3: #5fd0a5;
    --series-4: #e08fd4; --series-5: #d9bd4f; --series-6: #aab4c0;
  }
}
* { box-sizing: border-box; }
body {
  margin: 0; background: var(--ground); color: var(--text);
  font: 16px/1.55 system-ui, -apple-system, "Segoe UI", "Noto Sans", "DejaVu Sans", sans-serif;
}
main { max-width: 54rem; margin: 0 auto; padding: 2rem 1.25rem 4rem; }
h1 { font-size: 1.75rem; line-height: 1.2; margin: 0 0 .25rem; overflow-wrap: anywhere; }
h2 { font-size: 1.25rem; line-height: 1.3; margin: 2.5rem 0 .75rem; padding-top: .75rem; }
h2, footer { border-top: 1px solid var(--grid); }
h3 { font-size: 1.05rem; margin: 1.5rem 0 .5rem; }
p { margin: .5rem 0; max-width: 44rem; overflow-wrap: anywhere; }
.subtitle, figcaption, caption { color: var(--muted); }
.subtitle { margin-bottom: 1.25rem; }
a { color: var(--accent); }
nav ul { margin: 0; padding: 0; list-style: none; display: flex; flex-wrap: wrap; gap: .15rem 1.1rem; }
.scroll { overflow-x: auto; margin: .75rem 0; }
table { border-collapse: collapse; font-size: .925rem; font-variant-numeric: tabular-nums; }
caption { text-align: left; padding-bottom: .4rem; font-size: .925rem; }
th, td { padding: .3rem .9rem .3rem 0; text-align: left; vertical-align: top; border-bottom: 1px solid var(--grid); }
thead th { border-bottom: 2px solid var(--grid); white-space: nowrap; }
tbody th { font-weight: 600; }
td { overflow-wrap: anywhere; }
.facts td { overflow-wrap: break-word; }
.number { text-align: right; white-space: nowrap; }
.facts th { font-weight: 400; color: var(--muted); white-space: nowrap; padding-right: 1.5rem; }
.note { color: var(--muted); font-size: .85em; }
code, pre { font-family: ui-monospace, "DejaVu Sans Mono", Menlo, Consolas, monospace; font-size: .875em; }
pre {
  background: var(--raised); padding: .75rem 1rem; border-radius: 6px; margin: .75rem 0;
  white-space: pre-wrap; overflow-wrap: anywhere; max-height: 32rem; overflow-y: auto;
}
figure { margin: 1rem 0 1.5rem; }
figure svg { display: block; width: 100%; height: auto; }
@media (max-width: 40rem) { figure { overflow-x: auto; } figure svg { min-width: 36rem; } }
figcaption { font-size: .875rem; margin-top: .25rem; max-width: 44rem; }
.warning { background: var(--warn-ground); border-left: 4px solid var(--warn); padding: .6rem .9rem; }
details { margin: .75rem 0; }
summary { cursor: pointer; color: var(--accent); }
.tree, .tree ul { list-style: none; margin: 0; padding-left: 1.1rem; }
.tree { padding-left: 0; font-size: .925rem; }
.tree ul { border-left: 1px solid var(--grid); margin-left: .3rem; }
.tree li { padding: .2rem 0; overflow-wrap: anywhere; }
footer { margin-top: 3rem; color: var(--muted); font-size: .85rem; padding-top: .75rem; }
@media print {
  :root { --ground: #fff; --raised: #f5f7f9; --text: #000; --muted: #444; --grid: #ccc; }
  body { font-size: 10.5pt; }
  main { max-width: none; padding: 0; }
  nav { display: none; }
  figure, table { break-inside: avoid; }
  h2, h3 { break-after: avoid; }
  pre { max-height: none; overflow: visible; }
}
"""
