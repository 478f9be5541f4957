"""`bedplate VERB --help` ends with the fields that the stage has in a recipe."""

from __future__ import annotations

import shutil
import textwrap
from typing import Any

from typer.core import TyperCommand


class VerbCommand(TyperCommand):
    """A command whose help lists the inputs and configuration fields of its stage."""

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """The usual help, and then the stage's fields."""
        super().format_help(ctx, formatter)
        formatter.write(fields_help(self.name or ""))


def fields_help(verb: str) -> str:
    """The inputs and fields of a verb's stage, with defaults and descriptions."""
    from bedplate.pipeline.describe import describe_verb

    description = describe_verb(verb)
    width = min(shutil.get_terminal_size().columns, 110)
    lines = [f"\nIn a recipe: do: {verb}, which makes a {description.kind} artefact."]
    if description.inputs:
        lines += ["", "Its inputs: another stage's name, or the folder of an artefact", ""]
        lines += [f"  {role:<12}{kind}" for role, kind in description.inputs.items()]
    lines += ["", "Its fields, with what they are if not given", ""]
    for field in description.fields:
        lines.append(f"  {field.name} ({field.default})")
        lines += textwrap.wrap(field.text, width, initial_indent="      ", subsequent_indent="      ")
    return "\n".join(lines) + "\n"
