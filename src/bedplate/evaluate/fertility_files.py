"""`bedplate fertility TOKENIZER... --text LANGUAGE=FILE`: tokenizers in folders, texts in files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from bedplate.errors import InputError
from bedplate.evaluate.fertility import Fertility, measure_fertility

if TYPE_CHECKING:
    from bedplate.codecs.text import TextTokenizer


def fertility_of_files(tokenizers: Sequence[str | Path], texts: Mapping[str, str | Path]) -> list[Fertility]:
    """One measurement for each tokenizer and language, languages first.

    tokenizers: folders of a tokenizer or a model, artefacts or not; each is called by its path. texts: by language, a
    file of UTF-8 whose lines are a text each. Raises InputError for a folder or file that isn't there, is given twice
    or holds no text, and TokenizerError for a folder whose tokenizer can't be read.
    """
    if not tokenizers or not texts:
        raise InputError(
            f"no {'text' if tokenizers else 'tokenizer'} to measure",
            "Give tokenizers, and texts as LANGUAGE=FILE: bedplate fertility FOLDER --text en=english.txt",
        )
    names = [str(path) for path in tokenizers]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise InputError(f"{twice} is given twice", "Give each tokenizer once.")
    read = {language: read_texts(Path(file)) for language, file in texts.items()}
    return measure_fertility({name: open_tokenizer(Path(name)) for name in names}, read)


def open_tokenizer(path: Path) -> TextTokenizer:
    """The tokenizer of a folder, or of the `model/` inside a run, from whichever files it has. Raises InputError where
    there is no such folder, TokenizerError where it holds no tokenizer that can be read."""
    from bedplate.codecs.text import TextTokenizer
    from bedplate.families.model import nearest_sibling

    if not path.is_dir():
        what = "a file, not a folder" if path.exists() else f"no such folder{nearest_sibling(path)}"
        raise InputError(f"{path}: {what}", "Give the folder of a tokenizer or a model.")
    return TextTokenizer.load(path / "model" if (path / "model" / "tokenizer.json").is_file() else path)


def read_texts(file: Path) -> list[str]:
    """The lines of a file, without those of only white space. Raises InputError for a file that can't be read, isn't
    UTF-8 or has no text in it."""
    try:
        # Not splitlines, which also ends a line at characters that stand inside texts (U+2028, form feeds).
        lines = file.read_bytes().decode("utf-8-sig").replace("\r\n", "\n").split("\n")
    except OSError as error:
        raise InputError(f"{file}: can't be read: {error.strerror}", "Give a text file.") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{file}: not UTF-8 at byte {error.start}", "Give a text file in UTF-8.") from error
    texts = [line for line in lines if line.strip()]
    if not texts:
        raise InputError(f"{file}: no text in it", "Give a file with some lines of text.")
    return texts
