"""`extend` and `fertility`: more tokens for a model, and how finely tokenizers cut."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bedplate.cli.answer import answer, artefact_facts
from bedplate.cli.recipes import Replace
from bedplate.console import Console
from bedplate.errors import InputError


def extend(
    context: typer.Context,
    model: Annotated[
        Path, typer.Argument(help="The model: an artefact, a Hugging Face folder or a .gguf file.", show_default=False)
    ],
    out: Annotated[Path, typer.Argument(help="The model folder to make.", show_default=False)],
    token: Annotated[
        list[str] | None, typer.Option("--token", metavar="TEXT", help="A text that shall be one token; repeatable.")
    ] = None,
    tokens: Annotated[
        Path | None, typer.Option("--tokens", metavar="FILE", help="A text file of such texts, one a line.")
    ] = None,
    special: Annotated[
        bool, typer.Option("--special", help="Parsed in rendered prompts alone, and left out of decoded text.")
    ] = False,
    whole_words: Annotated[bool, typer.Option("--whole-words", help="Not inside longer words.")] = False,
    multiple: Annotated[
        int, typer.Option(min=1, max=1 << 16, help="The embedding's rows are rounded up to a multiple of this.")
    ] = 1,
    replace: Replace = False,
) -> None:
    """Add tokens to a model: each new row begins as the mean of the pieces that it replaces.

    Examples: bedplate extend models/smollm2 models/smollm2-chem --token "<|smiles|>" --special

    bedplate extend models/smollm2 models/smollm2-bio --tokens words.txt --multiple 64
    """
    from bedplate.families.extension_stage import extend_model, read_tokens

    console: Console = context.obj
    asked = [*(token or []), *(read_tokens(tokens) if tokens is not None else [])]
    artefact = extend_model(
        model, out, asked, special=special, whole_words=whole_words, multiple=multiple, console=console, replace=replace
    )
    console.say(f"{'found' if artefact.cached else 'made'} {artefact.path}")
    answer(artefact_facts(artefact), console)


def fertility(
    context: typer.Context,
    tokenizers: Annotated[
        list[Path],
        typer.Argument(metavar="TOKENIZER...", help="Folders of a tokenizer or a model.", show_default=False),
    ],
    text: Annotated[
        list[str] | None,
        typer.Option(
            "--text", metavar="LANGUAGE=FILE", help="A text file of a language, a text a line; one --text for each."
        ),
    ] = None,
) -> None:
    """Measure how finely tokenizers cut each language: tokens a word, words split, tokens a character, bytes a token.

    The table is Markdown, on stdout.

    Example: bedplate fertility models/smollm2 runs/mine/tokenizer --text en=english.txt --text de=german.txt
    """
    from bedplate.evaluate.fertility import fertility_table
    from bedplate.evaluate.fertility_files import fertility_of_files

    console: Console = context.obj
    measured = fertility_of_files(tokenizers, _by_language(text or []))
    if console.mode != "json":
        typer.echo(fertility_table(measured), nl=False)
    answer([one.facts() for one in measured], console)


def _by_language(given: list[str]) -> dict[str, Path]:
    """LANGUAGE=FILE each. Raises InputError for one that isn't, or a language that is there twice."""
    found: dict[str, Path] = {}
    for one in given:
        language, equals, file = one.partition("=")
        if not language or not equals or not file:
            raise InputError(f"--text {one}: not of the form LANGUAGE=FILE", f"For example --text en={file or one}.")
        if language in found:
            raise InputError(f"--text {language} is given twice", "Give each language once, in one file.")
        found[language] = Path(file)
    return found
