"""Which documents are source code: their licence stands in their header, and their odd characters are meant."""

from __future__ import annotations

from bedplate.data.documents import Document

_SUFFIXES = (
    "ada adb ads asm awk bash bat bzl c cc cfg cjs clj cljs cmake cpp cs css cu cuh cxx d dart el elm erl ex exs f f03 "
    "f90 f95 fs fsx go gradle groovy h hh hpp hs hxx inl ini ipp java jl js jsx kt kts less lisp lua m mjs mk ml "
    "mli mm nim nix pas php pl pm proto ps1 pxd pxi py pyi pyx r rb rs s sass scala scm scss sh sol sql svelte sv "
    "swift tcl tf toml ts tsx v vb vhd vhdl vim vue yaml yml zig zsh"
)
SUFFIXES = frozenset(_SUFFIXES.split())
_NAMES = frozenset({"makefile", "dockerfile", "cmakelists.txt", "rakefile", "gemfile", "justfile", "meson.build"})
_LANGUAGE_NAMES = (
    "c c++ cpp c# csharp css cuda dart elixir erlang fortran go haskell java javascript julia kotlin lua matlab ocaml "
    "perl php powershell python r ruby rust scala shell sql swift typescript"
)
_LANGUAGES = frozenset(_LANGUAGE_NAMES.split())


def is_source_code(document: Document) -> bool:
    """By its declared language or the end of its name in the corpus."""
    if document.language and document.language.lower() in _LANGUAGES:
        return True
    name = document.source.rpartition("/")[2].partition("#")[0].lower()
    return name in _NAMES or ("." in name and name.rpartition(".")[2] in SUFFIXES)
