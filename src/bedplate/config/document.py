"""Reading YAML strictly: `yaml.safe_load`'s meaning, plus the line of every key, and an error for a repeated key."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import yaml
from yaml.reader import ReaderError

from bedplate.errors import RecipeError

KeyPath = tuple[str | int, ...]

# Aliases share nodes, so a few lines can unfold to billions of values. No recipe comes near this.
MAX_NODES = 100_000


class Place(NamedTuple):
    """Where a value was written: a file and line, or the override that gave it (line None)."""

    file: str
    line: int | None

    def __str__(self) -> str:
        return self.file if self.line is None else f"{self.file} line {self.line}"


def read_document(path: Path) -> tuple[Any, dict[KeyPath, Place]]:
    """The YAML document in a file, and the place of every key path in it.

    Raises RecipeError if the file is missing, isn't UTF-8 or YAML, or repeats a key in one mapping.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise RecipeError(f"{path}: no such recipe", "Check the path.") from None
    except IsADirectoryError:
        raise RecipeError(f"{path}: a folder, not a recipe", "Give a YAML file.") from None
    except OSError as error:
        raise RecipeError(f"{path}: can't be read: {error.strerror}", "Check the file's permissions.") from error
    except UnicodeDecodeError as error:
        raise RecipeError(f"{path}: not UTF-8 at byte {error.start}", "Save the recipe as UTF-8.") from error
    return parse(text, str(path))


def parse(text: str, source: str) -> tuple[Any, dict[KeyPath, Place]]:
    """Like `read_document`, from a string; `source` names it in errors."""
    loader: yaml.SafeLoader | None = None
    try:
        loader = yaml.SafeLoader(text)  # looks at every character
        node = loader.get_single_node()
        if node is None:
            return None, {}
        _check(node, source)
        value = loader.construct_document(node)  # flattens merge keys ("<<") in the nodes
        return value, {path: Place(source, line) for path, line in _lines(node, loader)}
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = Place(source, mark.line + 1 if mark else None)
        raise RecipeError(f"{place}: not valid YAML: {error.problem}", "Correct the line.") from error
    except ReaderError as error:
        place = Place(source, text.count("\n", 0, error.position) + 1)
        raise RecipeError(
            f"{place}: not valid YAML: a character that no text has (U+{error.character:04X})", "Take it out."
        ) from error
    except RecursionError as error:
        raise RecipeError(f"{source}: lists or mappings nested too deeply", "Correct the file.") from error
    except yaml.YAMLError as error:
        raise RecipeError(f"{source}: not valid YAML: {error}", "Correct the file.") from error
    except ValueError as error:
        raise RecipeError(f"{source}: not valid YAML: {error}", "Correct the file.") from error
    finally:
        if loader is not None:
            loader.dispose()


def _check(root: yaml.Node, source: str) -> None:
    """Refuse repeated keys and documents that unfold without bound."""
    stack, seen = [root], 0
    while stack:
        node = stack.pop()
        seen += 1
        if seen > MAX_NODES:
            raise RecipeError(f"{source}: more than {MAX_NODES:,} values, aliases unfolded", "Take out the aliases.")
        if isinstance(node, yaml.SequenceNode):
            stack += node.value
        elif isinstance(node, yaml.MappingNode):
            lines: dict[str, int] = {}
            for key, value in node.value:
                stack.append(value)
                if not isinstance(key, yaml.ScalarNode):
                    place = Place(source, key.start_mark.line + 1)
                    raise RecipeError(f"{place}: a key that isn't a single value", "Use plain words as keys.")
                line = key.start_mark.line + 1
                if key.value in lines and key.value != "<<":
                    raise RecipeError(
                        f"{Place(source, line)}: the key {key.value!r} repeats that of line {lines[key.value]}",
                        "Remove one of the two.",
                    )
                lines[key.value] = line


def _lines(root: yaml.Node, loader: yaml.SafeLoader) -> Iterator[tuple[KeyPath, int]]:
    stack: list[tuple[KeyPath, yaml.Node]] = [((), root)]
    while stack:
        path, node = stack.pop()
        if isinstance(node, yaml.SequenceNode):
            for index, item in enumerate(node.value):
                yield (*path, index), item.start_mark.line + 1
                stack.append(((*path, index), item))
        elif isinstance(node, yaml.MappingNode):
            for key, value in node.value:
                name = loader.construct_object(key)
                yield (*path, name), key.start_mark.line + 1
                stack.append(((*path, name), value))
