"""How many lines each family of models costs: `python tools/family_lines.py [--markdown]`.

Counted are the configuration and the builder: every line of `families/NAME.py` and `families/NAME_*.py` but docstrings,
imports, blank lines and the table of weights. Comments count. The table is what neither `build`, `tied`, `held` nor a
class needs. `--markdown` prints what stands in ARCHITECTURE.md under "Families".
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

FAMILIES = Path(__file__).resolve().parents[1] / "src/bedplate/families"
ROOTS = frozenset({"build", "tied", "held"})
"""What a registry's record names beside the table and the configuration."""


@dataclass(frozen=True)
class FamilyLines:
    """A family's files, the model types that its configurations name, and its lines: `code` of configuration and
    builder, `table` of weights."""

    name: str
    files: tuple[str, ...]
    model_types: tuple[str, ...]
    code: int
    table: int


def family_lines(folder: Path = FAMILIES) -> list[FamilyLines]:
    """Every family whose builder and configuration are NAME.py and NAME_config.py in the folder, by name."""
    names = sorted(p.stem.removesuffix("_config") for p in folder.glob("*_config.py"))
    return [_counted(name, folder) for name in names if _builds(folder / f"{name}.py")]


def markdown(families: list[FamilyLines]) -> str:
    """The table of ARCHITECTURE.md."""
    rows = [
        (f"`{f.name}`", ", ".join(f"`{t}`" for t in f.model_types), ", ".join(f.files), str(f.code), str(f.table))
        for f in families
    ]
    head = ("family", "model types", "files in `families/`", "configuration, builder", "weights")
    rules = ("---", "---", "---", "---:", "---:")
    return "\n".join(f"| {' | '.join(row)} |" for row in (head, rules, *rows)) + "\n"


def _builds(file: Path) -> bool:
    """Whether a family's builder is in this file, its own or another's that it takes over."""
    if not file.is_file():
        return False
    body = _parse(file).body
    taken = {alias.asname or alias.name for node in body if isinstance(node, ast.ImportFrom) for alias in node.names}
    return "build" in taken.union(*map(_defined, body))


def _counted(name: str, folder: Path) -> FamilyLines:
    files = [folder / f"{name}.py", *sorted(folder.glob(f"{name}_*.py"))]
    code = table = 0
    model_types: list[str] = []
    for file in files:
        tree = _parse(file)
        counted = _lines(file, tree)
        needless = {line for node in _table(tree) for line in _span(node)} if file == files[0] else set()
        code += len(counted - needless)
        table += len(counted & needless)
        model_types += _model_types(tree)
    return FamilyLines(name, tuple(f.name for f in files), tuple(dict.fromkeys(model_types)), code, table)


def _parse(file: Path) -> ast.Module:
    return ast.parse(file.read_text(encoding="utf-8"))


def _lines(file: Path, tree: ast.Module) -> set[int]:
    """The numbers of the lines that count, from 1."""
    written = {i for i, line in enumerate(file.read_text(encoding="utf-8").splitlines(), 1) if line.strip()}
    return written - {line for node in _uncounted(tree) for line in _span(node)}


def _uncounted(tree: ast.Module) -> Iterator[ast.stmt]:
    """Imports, and strings that stand alone."""
    for node in ast.walk(tree):
        match node:
            case ast.Import() | ast.ImportFrom() | ast.Expr(value=ast.Constant(value=str())):
                yield node


def _span(node: ast.stmt) -> range:
    first = min((d.lineno for d in getattr(node, "decorator_list", ())), default=node.lineno)
    return range(first, (node.end_lineno or node.lineno) + 1)


def _table(tree: ast.Module) -> list[ast.stmt]:
    """The statements of a module that define what neither a root nor a class needs, directly or through others."""
    defining = {name: node for node in tree.body for name in _defined(node)}
    wanted = [n for n, node in defining.items() if n in ROOTS or isinstance(node, ast.ClassDef)]
    needed: set[str] = set()
    while wanted:
        name = wanted.pop()
        if name not in needed:
            needed.add(name)
            wanted += [n.id for n in ast.walk(defining[name]) if isinstance(n, ast.Name) and n.id in defining]
    return [node for node in tree.body if (names := _defined(node)) and not needed.intersection(names)]


def _defined(node: ast.stmt) -> list[str]:
    """The names that a statement at the top of a module gives a meaning."""
    if isinstance(node, ast.FunctionDef | ast.ClassDef):
        return [node.name]
    targets = node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
    return [n.id for target in targets for n in ast.walk(target) if isinstance(n, ast.Name)]


def _model_types(tree: ast.Module) -> list[str]:
    """What the classes' `model_type` may be: its Literal, said there or by a name of the module."""
    named = {name: node.value for node in tree.body if isinstance(node, ast.Assign) for name in _defined(node)}
    fields = [n for n in ast.walk(tree) if isinstance(n, ast.AnnAssign) and ast.unparse(n.target) == "model_type"]
    literals = [named.get(ast.unparse(field.annotation), field.annotation) for field in fields]
    constants = [c.value for literal in literals for c in ast.walk(literal) if isinstance(c, ast.Constant)]
    return [value for value in constants if isinstance(value, str)]


if __name__ == "__main__":
    found = family_lines()
    if "--markdown" in sys.argv[1:]:
        print(markdown(found), end="")
    else:
        for family in found:
            print(f"{family.code:5} + {family.table:3}  {family.name}")
