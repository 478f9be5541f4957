"""`import`, `export`, `merge`, `chat` and `serve`: models from elsewhere, to elsewhere, at the terminal, over HTTP."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated, Literal

import typer

from bedplate.cli.answer import answer, artefact_facts
from bedplate.cli.recipes import Replace
from bedplate.console import Console

Base = Annotated[
    Path | None, typer.Option(help="The base's folder, where the artefact doesn't say it or it has moved.")
]


def import_(
    context: typer.Context,
    src: Annotated[
        str, typer.Argument(help="A hub id (owner/name), a Hugging Face folder, or a .gguf file.", show_default=False)
    ],
    out: Annotated[Path, typer.Argument(help="The model folder to make.", show_default=False)],
    revision: Annotated[str | None, typer.Option(help="With a hub id: the commit to pin.")] = None,
    dtype: Annotated[
        Literal["float32", "bfloat16", "float16"] | None,
        typer.Option(help="How to store the weights; as they are if not given."),
    ] = None,
    replace: Replace = False,
) -> None:
    """Bring in a model from the Hugging Face hub, a folder or a GGUF file.

    Examples: bedplate import SmolLM2-135M-Instruct.Q4_1.gguf models/smollm2

    bedplate import owner/name models/name --revision 1a2b3c4
    """
    from bedplate.families.imports import import_model

    console: Console = context.obj
    artefact = import_model(src, out, revision=revision, dtype=dtype, console=console, replace=replace)
    console.say(f"{'found' if artefact.cached else 'made'} {artefact.path}")
    if artefact.measures.get("architecture") == "encoder":
        console.say(f"next: {shlex.join(['bedplate', 'index', 'DOCUMENTS', '--encoder', str(artefact.path)])}")
    else:
        console.say(f"next: {shlex.join(['bedplate', 'chat', str(artefact.path)])}")
    answer(artefact_facts(artefact), console)


def export(
    context: typer.Context,
    model: Annotated[Path, typer.Argument(help="The model's folder.", show_default=False)],
    out: Annotated[Path, typer.Argument(help="The folder to make.", show_default=False)],
    format: Annotated[
        Literal["hf", "gguf"], typer.Option("--format", help="A Hugging Face folder, or a folder with a GGUF file.")
    ] = "hf",
    dtype: Annotated[
        str | None, typer.Option(help="float32, bfloat16, float16; for gguf also q8_0. As it is stored if not given.")
    ] = None,
    replace: Replace = False,
) -> None:
    """Write a model for other tools: a Hugging Face folder or a GGUF file.

    Example: bedplate export runs/quickstart/release exported --format gguf --dtype float16
    """
    from bedplate.families.exports import export_model

    console: Console = context.obj
    artefact = export_model(model, out, format=format, dtype=dtype, console=console, replace=replace)
    console.say(f"{'found' if artefact.cached else 'made'} {artefact.path}")
    answer(artefact_facts(artefact), console)


def merge(
    context: typer.Context,
    adapter: Annotated[Path, typer.Argument(help="The adapter's folder.", show_default=False)],
    out: Annotated[Path, typer.Argument(help="The model folder to make.", show_default=False)],
    base: Base = None,
    dtype: Annotated[
        Literal["float32", "bfloat16", "float16"] | None,
        typer.Option(help="How to store the weights; as the base stores them if not given."),
    ] = None,
    replace: Replace = False,
) -> None:
    """Make one model of a base and an adapter, with a certificate that it answers as the two do.

    Example: bedplate merge runs/mine/adapter models/merged
    """
    from bedplate.deltas.merge import merge_adapter

    console: Console = context.obj
    artefact = merge_adapter(adapter, out, base=base, dtype=dtype, console=console, replace=replace)
    console.say(f"{'found' if artefact.cached else 'made'} {artefact.path}")
    answer(artefact_facts(artefact), console)


def serve(
    context: typer.Context,
    models: Annotated[
        list[str],
        typer.Argument(
            metavar="[NAME=]PATH...",
            help="Models, adapters, prompts, retrieval, classifiers, encoders; NAME is what requests call it.",
            show_default=False,
        ),
    ],
    host: Annotated[str, typer.Option(help="The address to listen on; others can't reach the default.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes a free one.")] = 8000,
    key_env: Annotated[
        str | None, typer.Option(help="The environment variable with the key that clients must give.")
    ] = None,
    max_queue: Annotated[int, typer.Option(min=1, help="Requests that may wait; more are told to come back.")] = 128,
    dtype: Annotated[
        Literal["float32", "bfloat16", "float16"] | None,
        typer.Option(help="What to compute in; what is fastest here if not given."),
    ] = None,
    base: Base = None,
) -> None:
    """Serve models over HTTP as the OpenAI API has it, with a page to chat on.

    Examples: bedplate serve models/smollm2

    bedplate serve models/smollm2 docs=runs/ask/answers --port 9000
    """
    from bedplate.serve.server import serve as run_server

    code = run_server(
        models,
        host=host,
        port=port,
        key_env=key_env,
        max_queue=max_queue,
        dtype=dtype,
        base=base,
        console=context.obj,
    )
    raise typer.Exit(code)


def chat(
    context: typer.Context,
    model: Annotated[Path, typer.Argument(help="The model's folder.", show_default=False)],
    system: Annotated[str | None, typer.Option(help="The system message.")] = None,
    temperature: Annotated[float | None, typer.Option(min=0.0, help="0: greedy. The model's own if not given.")] = None,
    top_p: Annotated[
        float | None, typer.Option(min=0.0, max=1.0, help="Nucleus sampling; the model's own if not given.")
    ] = None,
    max_tokens: Annotated[int, typer.Option(min=1, help="The longest reply, in tokens.")] = 512,
    seed: Annotated[int | None, typer.Option(help="For a reply that can be had again.")] = None,
    raw: Annotated[bool, typer.Option("--raw", help="No chat template: the model continues the text.")] = False,
    prompt: Annotated[str | None, typer.Option(help="One question, one reply on stdout, and done.")] = None,
    base: Base = None,
) -> None:
    """Talk to a model, or to anything made by adapting one, at the terminal; the reply streams.

    Examples: bedplate chat models/smollm2

    bedplate chat models/smollm2 --prompt "What is the capital of France?" --temperature 0

    bedplate chat runs/quickstart/release --raw --prompt "def main():"
    """
    from bedplate.serve.terminal import chat as talk

    code = talk(
        model,
        base=base,
        system=system,
        temperature=temperature,
        top_p=top_p,
        max_tokens=max_tokens,
        seed=seed,
        raw=raw,
        prompt=prompt,
        console=context.obj,
    )
    raise typer.Exit(code)
