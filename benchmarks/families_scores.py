"""How `families.py` scores what was trained: perplexities at the same places as a unigram's, and lines filled in."""

from __future__ import annotations

import ast
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow.parquet
import torch
import torch.nn.functional as F
from torch import Tensor

import bedplate
from bedplate.codecs.text import TextTokenizer
from bedplate.data.masking import MaskedRows
from bedplate.data.packing import EvaluationRows
from bedplate.data.span_corruption import SpanRows, Spans
from bedplate.data.tokens import TokenSet
from bedplate.families.opening import load_any

Figures = dict[str, dict[str, float]]
"""Variant -> what -> its value."""
ROWS = 16
FUNCTIONS, LONGEST, SHORTEST_LINE = 400, 220, 12
"""Functions that a line is hidden in, the most tokens of one, and the fewest characters of the line."""


@torch.no_grad()
def masked(run: bedplate.Artefact, folder: Path, most: int | None) -> dict[str, float]:
    """An encoder's perplexity where 15% of held-out tokens were chosen, whatever share its run chose. most: how many
    tokens are read; None for all."""
    tokens, model = TokenSet.open(folder), load_any(run.path)
    tokenizer, net = tokens.tokenizer(), model.net.eval()
    assert tokenizer.mask_id is not None
    source = EvaluationRows(tokens, "validation", run.config["length"], most_pairs=most)
    rows = MaskedRows(
        source, 0, vocabulary=tokenizer.vocab_size, mask_id=tokenizer.mask_id,
        special=tokenizer.special_tokens.values(),
    )  # fmt: skip
    known = unigram(tokens, tokenizer)
    nats, plain, hidden, tricky = [list[Tensor]() for _ in range(4)]
    for first in range(0, source.count, ROWS):
        batch = {name: torch.from_numpy(value) for name, value in rows.rows(first, ROWS).items()}
        states = net(batch["tokens"], positions=batch["positions"], segments=batch["segments"])[batch["keep"]]
        shown, targets = batch["tokens"][batch["keep"]], batch["targets"][batch["keep"]]
        nats.append(_nats(net, states, targets))
        plain.append(-known[targets])
        hidden.append(shown == tokenizer.mask_id)
        # Half of the places that show a token show the true one.
        tricky.append(
            torch.where(hidden[-1], plain[-1], -(0.5 * (shown == targets) + 0.5 * known[targets].exp()).log())
        )
    where, model_nats = torch.cat(hidden), torch.cat(nats)
    return {
        "perplexity": _perplexity(model_nats[where]),
        "perplexity of a unigram": _perplexity(torch.cat(plain)[where]),
        "over all chosen places": _perplexity(model_nats),
        "over all chosen places, unigram": _perplexity(torch.cat(tricky)),
        "places": int(where.sum()),
    }


@torch.no_grad()
def spans(run: bedplate.Artefact, folder: Path, most: int) -> dict[str, float]:
    """An encoder-decoder's perplexity over held-out tokens that were cut out, sentinels and ends not counted."""
    tokens, model, config = TokenSet.open(folder), load_any(run.path), run.config
    tokenizer, net = tokens.tokenizer(), model.net.eval()
    assert tokenizer.eos_id is not None
    assert tokenizer.pad_id is not None
    shape = Spans(config["objective"]["density"], config["objective"]["mean_span"])
    length = shape.tokens_for(config["length"])
    source = EvaluationRows(tokens, "validation", length, most_pairs=most)
    rows = SpanRows(
        source, 0, length=length, sentinels=tokenizer.sentinel_ids, eos=tokenizer.eos_id,
        start=tokenizer.pad_id, pad=tokenizer.pad_id, spans=shape,
    )  # fmt: skip
    known = unigram(tokens, tokenizer)
    special = torch.tensor(sorted(tokenizer.special_tokens.values()))
    nats, plain = list[Tensor](), list[Tensor]()
    for first in range(0, source.count, ROWS):
        batch = {n: torch.from_numpy(v) for n, v in rows.rows(first, min(ROWS, source.count - first)).items()}
        counted = batch["keep"] & ~torch.isin(batch["targets"], special)
        states = net(batch["tokens"], batch["decoder_tokens"], valid=batch["valid"])[counted]
        nats.append(_nats(net, states, batch["targets"][counted]))
        plain.append(-known[batch["targets"][counted]])
    return {
        "perplexity": _perplexity(torch.cat(nats)),
        "perplexity of a unigram": _perplexity(torch.cat(plain)),
        "places": sum(map(len, nats)),
    }


@torch.no_grad()
def infilling(run: bedplate.Artefact, corpus: Path) -> dict[str, float]:
    """One line hidden in each of several held-out functions: bits a byte of it, and how often the likeliest tokens are
    just it, from what stands before it alone and, where the model knows the sentinels' use, with what follows."""
    model = load_any(run.path)
    tokenizer, net = model.tokenizer, model.net.eval()
    marks = [tokenizer.special_tokens[f"<|fim_{part}|>"] for part in ("prefix", "suffix", "middle")]
    turned = bool((run.config["objective"] or {}).get("fill_in_the_middle"))
    ways = ["before", "before and behind"] if turned else ["before"]
    nats, exact = dict.fromkeys(ways, 0.0), dict.fromkeys(ways, 0)
    size = count = 0
    for before, line, behind in hidden_lines(corpus, tokenizer):
        begin, goal, end = (tokenizer.encode(part) for part in (before, line, behind))
        prompts = {"before": [tokenizer.bos_id, *begin]}
        if turned:
            prompts["before and behind"] = [tokenizer.bos_id, marks[0], *begin, marks[1], *end, marks[2]]
        for way, prompt in prompts.items():
            states = net(torch.tensor([[*prompt, *goal[:-1]]]))[0, len(prompt) - 1 :]
            logits = _logits(net, states)
            targets = torch.tensor(goal)
            nats[way] += float(F.cross_entropy(logits, targets, reduction="sum"))
            exact[way] += bool((logits.argmax(-1) == targets).all())
        size += len(line.encode())
        count += 1
    figures = {f"bits/byte of a line from {way}": nats[way] / math.log(2) / size for way in ways}
    return figures | {f"exact % from {way}": 100 * exact[way] / count for way in ways} | {"lines": count}


def hidden_lines(corpus: Path, tokenizer: TextTokenizer) -> Iterator[tuple[str, str, str]]:
    """(before, line, behind) of functions of validation documents, the line from the middle of the body."""
    found = 0
    for file in sorted(corpus.glob("part-*.parquet")):
        for row in pyarrow.parquet.read_table(file, columns=["text", "split"]).to_pylist():
            if row["split"] != "validation":
                continue
            try:
                tree = ast.parse(row["text"])
            except (SyntaxError, ValueError):
                continue
            lines = row["text"].splitlines(keepends=True)
            for node in ast.walk(tree):
                if not isinstance(node, ast.FunctionDef) or node.end_lineno is None or len(node.body) < 2:
                    continue
                function = lines[node.lineno - 1 : node.end_lineno]
                at = node.body[len(node.body) // 2].lineno - node.lineno
                if not 0 < at < len(function) - 1 or len(function[at].strip()) < SHORTEST_LINE:
                    continue
                if len(tokenizer.encode("".join(function))) > LONGEST:
                    continue
                yield "".join(function[:at]), function[at], "".join(function[at + 1 :])
                found += 1
                if found == FUNCTIONS:
                    return


def unigram(tokens: TokenSet, tokenizer: TextTokenizer) -> Tensor:
    """log frequency of each token in the training documents, one added to each; special ones apart. float64 [V]."""
    counts: npt.NDArray[Any] = np.ones(tokenizer.vocab_size)
    for i in range(len(tokens.documents("train"))):
        counts += np.bincount(tokens.document("train", i), minlength=len(counts))
    counts[list(tokenizer.special_tokens.values())] = 0
    with np.errstate(divide="ignore"):
        return torch.from_numpy(np.log(counts / counts.sum()))


def _logits(net: Any, states: Tensor) -> Tensor:
    """float32 [N, V] of hidden states [N, D]."""
    readout = net.readout
    logits = net.head_states(states).float() @ readout.weight.float().T
    return logits if readout.bias is None else logits + readout.bias.float()


def _nats(net: Any, states: Tensor, targets: Tensor) -> Tensor:
    return F.cross_entropy(_logits(net, states), targets, reduction="none").double()


def _perplexity(nats: Tensor) -> float:
    return math.exp(float(nats.mean()))
