"""The docstrings of the standard library's public functions, classes and methods, read from its source with `ast`.

Nothing is imported and nothing is run: what is on this machine as text is enough.
"""

from __future__ import annotations

import ast
import re
import sys
import sysconfig
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_LEFT_OUT = {"antigravity", "distutils", "ensurepip", "idlelib", "lib2to3", "pydoc_data", "test", "this"}
_NOT_EVERYWHERE = {"tkinter", "turtle", "turtledemo"}
"""Left out: tests and jokes, what newer Pythons no longer have, and what many systems package apart."""

_PURE = "_py"
"""`_pydecimal` is `decimal` in Python: its documents are those of the module that people import."""

_NAME = re.compile(r"(?<!\w)[A-Za-z0-9_]+(?!\w)")
_PART = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+")


@dataclass(frozen=True)
class Documented:
    """One public function, class or method. name: as it is imported, "shutil.copytree", "email.utils.formataddr".

    function: whether it stands in a module and is no class.
    """

    name: str
    signature: str
    doc: str
    function: bool


def library() -> Path:
    """The folder of the standard library's Python source."""
    return Path(sysconfig.get_paths()["stdlib"])


def source_files(folder: Path) -> dict[str, list[Path]]:
    """Public top-level module -> its files, sorted; a package's are all its own, tests and private ones left out."""
    files: dict[str, list[Path]] = {}
    for entry in sorted(folder.iterdir()):
        name = entry.stem if entry.suffix == ".py" else entry.name
        module = name.removeprefix(_PURE) if name.startswith(_PURE) else name
        public = (
            module in sys.stdlib_module_names
            and not module.startswith("_")
            and module not in _LEFT_OUT | _NOT_EVERYWHERE
        )
        if not public or (entry.is_file() and entry.suffix != ".py"):
            continue
        found = [entry] if entry.is_file() else sorted(path for path in entry.rglob("*.py") if _public(path, entry))
        files.setdefault(module, []).extend(found)
    return {module: paths for module, paths in files.items() if paths}


def documented(module: str, path: Path) -> Iterator[Documented]:
    """What a file of the top-level module documents, in its order. One that this Python can't parse gives nothing."""
    try:
        tree = ast.parse(path.read_bytes())
    except (SyntaxError, ValueError):
        return
    yield from _inside(tree, f"{_dotted(module, path)}.", method=False)


def _dotted(module: str, path: Path) -> str:
    """What a file is imported as: "email.utils" of .../email/utils.py."""
    folders = [parent.name for parent in path.parents]
    if module not in folders:  # a module in one file
        return module
    inside = path.parts[len(path.parts) - 1 - folders.index(module) :]
    names = [module, *inside[:-1], *([] if path.stem == "__init__" else [path.stem])]
    return ".".join(names)


def module_doc(path: Path) -> str:
    """The docstring of a source file; empty where it has none."""
    try:
        return ast.get_docstring(ast.parse(path.read_bytes())) or ""
    except (SyntaxError, ValueError):
        return ""


def prose(doc: str, words: int) -> str:
    """The docstring as running text: its interpreter sessions left out, at most `words` words."""
    blocks = re.split(r"\n\s*\n", doc)
    told = " ".join(block for block in blocks if not block.lstrip().startswith(">>>"))
    return " ".join(told.split()[:words])


def without_name(text: str, module: str) -> str:
    """The text without the module's name: alone, before a dot (`shutil.copytree` becomes `copytree`), and as a part of
    a longer name (`BdbQuit` becomes `Quit`, `http_open` becomes `open`)."""
    bare = re.sub(rf"(?<![\w.]){re.escape(module)}\b\.?", "", text, flags=re.IGNORECASE)
    alone = re.sub(rf"\b{re.escape(module)}\b\.?", "", bare, flags=re.IGNORECASE)
    return " ".join(_NAME.sub(lambda name: _without_part(name[0], module), alone).split())


def name_parts(name: str) -> list[tuple[int, int]]:
    """Where the words of a name in CamelCase or snake_case stand in it: HTTP, Connection of "HTTPConnection"."""
    return [part.span() for part in _PART.finditer(name)]


def _without_part(name: str, module: str) -> str:
    """The name without those of its words that make up the module's ("RawConfigParser" of configparser)."""
    wanted = module.replace("_", "").casefold()
    spans = name_parts(name)
    for at, (start, _) in enumerate(spans):
        for _, end in spans[at:]:
            if name[start:end].replace("_", "").casefold() == wanted:
                before, after = name[:start].rstrip("_"), name[end:].lstrip("_")
                between = "_" if before and after and "_" in name else ""
                return _without_part(before + between + after, module)
    return name


def _public(path: Path, package: Path) -> bool:
    parts = path.relative_to(package).with_suffix("").parts
    return not any(part in ("test", "tests") or (part.startswith("_") and part != "__init__") for part in parts)


def _inside(node: ast.Module | ast.ClassDef, prefix: str, *, method: bool) -> Iterator[Documented]:
    for child in node.body:
        if not isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) or child.name.startswith("_"):
            continue
        is_class = isinstance(child, ast.ClassDef)
        if doc := ast.get_docstring(child):
            yield Documented(
                prefix + child.name, _signature(child, method=method), doc, function=not is_class and not method
            )
        if isinstance(child, ast.ClassDef) and not method:
            yield from _inside(child, f"{prefix}{child.name}.", method=True)


def _signature(node: ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef, *, method: bool) -> str:
    if isinstance(node, ast.ClassDef):
        start = next((n for n in node.body if isinstance(n, ast.FunctionDef) and n.name == "__init__"), None)
        return "()" if start is None else _signature(start, method=True)
    names = ast.unparse(node.args)
    static = any(isinstance(d, ast.Name) and d.id == "staticmethod" for d in node.decorator_list)
    if method and not static:
        names = re.sub(r"^\w+(, /)?(, |$)", "", names)
    return f"({names})"
