"""Log-likelihoods of whole answers: how likely a chat model finds each of a few given texts as its answer.

Three things are computed once: what all prompts have in common at the beginning (the instruction), each prompt's own
rest, and what labels have in common at their beginnings. The labels are a tree of tokens that follows the prompt in the
same row: a node sees the prompt and its own ancestors, and stands at the position that it would have in the text.
The end of the answer is scored with it, so that a label which is the beginning of another isn't favoured. Models with
recurrent layers read each label by itself: `label_reading`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from bedplate.adapt.label_reading import HEAD_ROWS, LabelReader, is_recurrent
from bedplate.errors import InputError, InternalError, TokenizerError
from bedplate.families.model import Model
from bedplate.generate.request import end_tokens
from bedplate.nn.attend import attend
from bedplate.nn.mask import FORBIDDEN, Lowered, Mask

BATCH_TOKENS = 4096
"""Most tokens, padding included, in one forward pass."""


@dataclass(frozen=True)
class LabelScores:
    """sums [N, K] float64: log-likelihood, in nats, of label k as the whole answer to prompt n, its end included.
    tokens [K]: of each label, its end included. read [N]: tokens of each prompt. computed: positions that were really
    put through the model's blocks, and predicted through its head."""

    sums: npt.NDArray[np.float64]
    tokens: npt.NDArray[np.int64]
    read: tuple[int, ...]
    computed: int
    predicted: int


@dataclass(frozen=True)
class Trie:
    """The labels' tokens as a tree. A node is one token after one beginning.

    tokens, depth [M]: of each node, parents before children; depth 0 follows the prompt. above [M, M] bool: whether a
    node has another among its ancestors, itself included. steps: for each label (node before, token): the node whose
    state predicts the token, -1 for the prompt's last.
    """

    tokens: npt.NDArray[np.int64]
    depth: npt.NDArray[np.int64]
    above: npt.NDArray[np.bool_]
    steps: tuple[tuple[tuple[int, int], ...], ...]


def build_trie(labels: Sequence[Sequence[int]]) -> Trie:
    """labels: their tokens, the end among them. The last token of each is predicted and never read."""
    children: dict[tuple[int, int], int] = {}
    tokens: list[int] = []
    parents: list[int] = []
    steps = []
    for label in labels:
        at, walked = -1, []
        for place, token in enumerate(label):
            walked.append((at, token))
            if place == len(label) - 1:
                break
            if (at, token) not in children:
                children[at, token] = len(tokens)
                tokens.append(token)
                parents.append(at)
            at = children[at, token]
        steps.append(tuple(walked))
    above = np.eye(len(tokens), dtype=np.bool_)
    depth = np.zeros(len(tokens), dtype=np.int64)
    for node, parent in enumerate(parents):
        if parent >= 0:
            above[node] |= above[parent]
            depth[node] = depth[parent] + 1
    return Trie(np.array(tokens, dtype=np.int64), depth, above, tuple(steps))


def answer_tokens(model: Model, answers: Sequence[str]) -> list[list[int]]:
    """Tokens of each answer with its end, as the model would write it. Raises InputError for an empty answer,
    TokenizerError where the model has no tokenizer or no end token."""
    if model.tokenizer is None:
        raise TokenizerError("the model has no tokenizer, so texts can't be scored", "Add its tokenizer.json.")
    ends = sorted(end_tokens(model))
    if not ends:
        raise TokenizerError("the model has no end token", "Set eos_token_id in its generation_config.json.")
    if empty := [i for i, answer in enumerate(answers) if not answer]:
        raise InputError(f"label {empty[0]} is an empty text", "Say how prompts write it: task.label_texts.")
    return [[*tokens, ends[0]] for tokens in model.tokenizer.encode_batch(list(answers))]


@torch.inference_mode()
def score_answers(
    model: Model,
    prompts: Sequence[Sequence[int]],
    answers: Sequence[str],
    *,
    batch_tokens: int = BATCH_TOKENS,
    done: Callable[[int], None] = lambda scored: None,
) -> LabelScores:
    """The log-likelihood of each answer after each prompt; see the module. `done` is told how many prompts are scored.

    Raises InputError naming the prompt that leaves no room for the longest answer in the model's context.
    """
    labels = answer_tokens(model, answers)
    longest = max((len(label) for label in labels), default=0)
    context = model.config.max_position_embeddings
    for i, prompt in enumerate(prompts):
        if len(prompt) + longest > context:
            raise InputError(
                f"prompts[{i}] has {len(prompt)} tokens, its longest answer {longest}, and the model's context is "
                f"{context}",
                "Shorten the prompt.",
            )
    lengths, sums = [len(prompt) for prompt in prompts], np.zeros((len(prompts), len(answers)))
    trie, shared = build_trie(labels), _common(prompts)
    scorer: _Scorer | LabelReader
    scorer = LabelReader(model, labels, shared) if is_recurrent(model) else _Scorer(model, trie, shared)
    nodes, scored = len(trie.tokens), 0
    for rows in _batches(lengths, len(scorer.shared), nodes, batch_tokens):
        sums[rows] = scorer.score([prompts[row] for row in rows])
        scored += len(rows)
        done(scored)
    tokens = np.array([len(label) for label in labels])
    return LabelScores(sums, tokens, tuple(lengths), scorer.computed, scorer.predicted)


def _common(prompts: Sequence[Sequence[int]]) -> list[int]:
    """What all prompts begin with, less the last token of the shortest: each must have a token left to read."""
    if len(prompts) < 2:
        return []
    # Of sorted sequences, all others begin as the first and the last do.
    first, last = min(map(list, prompts)), max(map(list, prompts))
    most = min(len(prompt) for prompt in prompts) - 1
    same = next((i for i in range(most) if first[i] != last[i]), most)
    return first[:same]


def _batches(lengths: Sequence[int], shared: int, nodes: int, batch_tokens: int) -> Iterator[list[int]]:
    """Rows for one forward pass, the longest first, so that neighbours are alike and little is padded."""
    waiting = sorted(range(len(lengths)), key=lambda row: -lengths[row])
    while waiting:
        rows = max(1, batch_tokens // (lengths[waiting[0]] - shared + nodes))
        yield waiting[:rows]
        waiting = waiting[rows:]


class _Scorer:
    """One tree of labels after many prompts that begin with `shared`."""

    def __init__(self, model: Model, trie: Trie, shared: Sequence[int]) -> None:
        self.model, self.trie, self.shared = model, trie, list(shared)
        self.computed, self.predicted = len(self.shared), 0
        edges = sorted({step for steps in trie.steps for step in steps})
        at = {edge: i for i, edge in enumerate(edges)}
        device = model.device
        self._before = torch.tensor([node + 1 for node, _ in edges], device=device)  # 0: the prompt's last token
        self._readout, told = model.net.readout, torch.tensor([token for _, token in edges], device=device)
        self._head = self._readout.weight[told].float()
        self._bias = 0.0 if self._readout.bias is None else self._readout.bias[told].float()
        self._member = np.zeros((len(edges), len(trie.steps)))
        for label, steps in enumerate(trie.steps):
            self._member[[at[step] for step in steps], label] = 1
        self._tokens = torch.from_numpy(trie.tokens).to(device)
        self._depth = torch.from_numpy(trie.depth).to(device)
        self._above = torch.from_numpy(trie.above).to(device)
        self._past = SharedPast()
        if self.shared:
            model.hidden(torch.tensor([self.shared], device=device), cache=self._past)

    def score(self, prompts: Sequence[Sequence[int]]) -> npt.NDArray[np.float64]:
        """[n, K]: the sums of each label."""
        P, M, B = len(self.shared), len(self._tokens), len(prompts)
        rest = torch.tensor([len(prompt) - P for prompt in prompts], device=self.model.device)
        R = int(rest.max())
        tokens = torch.zeros(B, R + M, dtype=torch.int64, device=self.model.device)
        for row, prompt in enumerate(prompts):
            tokens[row, : len(prompt) - P] = torch.tensor(prompt[P:], device=self.model.device)
        tokens[:, R:] = self._tokens
        hidden = self.model.hidden(
            tokens,
            positions=self._positions(rest, R),
            mask=self._mask(rest, R),
            cache=self._past if P else None,
        )
        self.computed, self.predicted = self.computed + B * (R + M), self.predicted + B * (1 + M)
        last = hidden[torch.arange(B, device=rest.device), rest - 1]
        states = torch.cat((last[:, None], hidden[:, R:]), dim=1)  # [B, 1 + M, D]
        # In fp32, as logits rounded to bf16 would be 0.06 apart: only the normaliser, a sum of many, can bear that.
        chosen = torch.einsum("bed,ed->be", states[:, self._before].float(), self._head) + self._bias
        logp = self._readout.capped(chosen) - self._normalisers(states)[:, self._before]
        return logp.double().cpu().numpy() @ self._member

    def _positions(self, rest: Tensor, R: int) -> Tensor:
        """[B, R + M]."""
        P, B = len(self.shared), len(rest)
        own = torch.arange(P, P + R, device=rest.device).expand(B, R)
        return torch.cat((own, P + rest[:, None] + self._depth), dim=1)

    def _mask(self, rest: Tensor, R: int) -> TreeMask:
        P, M, B = len(self.shared), len(self._tokens), len(rest)
        slots = torch.arange(R, device=rest.device)
        allowed = torch.zeros(B, R + M, P + R + M, dtype=torch.bool, device=rest.device)
        allowed[:, :, :P] = True
        allowed[:, :R, P : P + R] = slots <= slots[:, None]
        allowed[:, R:, P : P + R] = (slots < rest[:, None])[:, None]
        allowed[:, R:, P + R :] = self._above
        past = torch.arange(P, device=rest.device).expand(B, P)
        queries = self._positions(rest, R)
        return TreeMask(causal=False, allowed=allowed, positions=torch.cat((past, queries), dim=1))

    def _normalisers(self, states: Tensor) -> Tensor:
        """[B, 1 + M, D] -> log of the sum of all tokens' powers, [B, 1 + M] fp32."""
        flat = states.flatten(0, 1)
        parts = [self.model.logits(rows).logsumexp(-1) for rows in flat.split(HEAD_ROWS)]
        return torch.cat(parts).view(states.shape[:2])


@dataclass(frozen=True)
class TreeMask(Mask):
    """Queries see the keys that `allowed` [B, T, S] says, and in layers with a window those that are near enough by
    `positions` [B, S] of all keys, the queries' own last."""

    allowed: Tensor | None = None
    positions: Tensor | None = None

    def dense(self, queries: int, keys: int, device: torch.device) -> Tensor:
        assert self.allowed is not None
        assert self.positions is not None
        allowed = self.allowed
        if self.window is not None:
            apart = self.positions[:, -queries:, None] - self.positions[:, None, :]
            allowed = allowed & (apart < self.window)
        return allowed[:, None]

    def lower(self, queries: int, keys: int, device: torch.device, dtype: torch.dtype) -> Lowered:
        least = -6e4 if dtype == torch.float16 else FORBIDDEN
        allowed = self.dense(queries, keys, device)
        bias = torch.zeros(allowed.shape, dtype=dtype, device=device).masked_fill_(~allowed, least)
        return Lowered(bias=bias, causal=False)


class SharedPast:
    """A cache of the tokens that all rows begin with: filled by its first forward pass, only read by those after."""

    def __init__(self) -> None:
        self.length = 0
        self._blocks: list[tuple[Tensor, ...]] = []

    def attend(
        self,
        layer: int,
        q: Tensor,
        k: Tensor,
        v: Tensor,
        mask: Lowered,
        scale: float,
        *,
        softcap: float | None = None,
        bias: Tensor | None = None,
    ) -> Tensor:
        keys, values = self.extend(layer, k, v)
        return attend(q, keys, values, mask, scale, softcap=softcap, bias=bias)

    def extend(self, layer: int, *new: Tensor) -> tuple[Tensor, ...]:
        if self.length == 0:
            self._blocks.append(new)
            return new
        rows = new[0].shape[0]
        return tuple(
            torch.cat((held.expand(rows, -1, -1, -1), more), dim=2)
            for held, more in zip(self._blocks[layer], new, strict=True)
        )

    def state(self, layer: int) -> tuple[Tensor, ...] | None:
        raise InternalError("a tree of labels has no one past, which a recurrent layer would need")

    def keep_state(self, layer: int, state: tuple[Tensor, ...]) -> None:
        raise InternalError("a tree of labels has no one past, which a recurrent layer would need")

    def advance(self, count: int) -> None:
        if self.length == 0:
            self.length = count
