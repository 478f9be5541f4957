"""Sets of special tokens to train a tokenizer with: names, roles, and what stands around a text."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from bedplate.data.tokens import BOUNDARY

if TYPE_CHECKING:
    from tokenizers import Tokenizer

PAD = "<|pad|>"
UNKNOWN = "<|unknown|>"
FIM = ("<|fim_prefix|>", "<|fim_suffix|>", "<|fim_middle|>")
"""Sentinels of fill-in-the-middle (Bavarian et al., 2022): what comes before the gap, after it, and in it."""


@dataclass(frozen=True)
class Specials:
    """first: tokens with the ids from 0 on. last: those behind all others. roles: "eos_token" -> token.
    before, after: what stands around a text. pair_type: the token type of a second text."""

    first: tuple[str, ...]
    last: tuple[str, ...] = ()
    roles: Mapping[str, str] = field(default_factory=dict)
    before: tuple[str, ...] = ()
    after: tuple[str, ...] = ()
    pair_type: int = 0

    @property
    def unknown(self) -> str | None:
        return self.roles.get("unk_token")

    @property
    def count(self) -> int:
        return len(self.first) + len(self.last)

    def with_unknown(self) -> Specials:
        """The same with a token for what the vocabulary lacks."""
        if self.unknown is not None:
            return self
        roles = {**self.roles, "unk_token": UNKNOWN}
        return Specials((*self.first, UNKNOWN), self.last, roles, self.before, self.after, self.pair_type)

    def put_around(self, tokenizer: Tokenizer) -> None:
        """Give a tokenizer the post-processor that puts them around a text; one that has nothing to put gets none."""
        from tokenizers import processors

        if not self.before and not self.after:
            return
        between = self.after or self.before
        second = [f"{token}:{self.pair_type}" for token in ("$B", *self.after)]
        tokenizer.post_processor = processors.TemplateProcessing(
            single=" ".join((*self.before, "$A", *self.after)),
            pair=" ".join((*self.before, "$A", *between, *second)),
            special_tokens=[(t, tokenizer.token_to_id(t)) for t in dict.fromkeys((*self.before, *self.after))],
        )


def _sentinels(count: int) -> tuple[str, ...]:
    return tuple(f"<extra_id_{i}>" for i in range(count))


_DOCUMENT = {"bos_token": BOUNDARY, "eos_token": BOUNDARY, "pad_token": PAD}
_T5 = {"pad_token": "<pad>", "eos_token": "</s>", "unk_token": "<unk>"}

SCHEMES: Mapping[str, Specials] = {
    "document": Specials((BOUNDARY, PAD), roles=_DOCUMENT, before=(BOUNDARY,)),
    "fill-in-the-middle": Specials((BOUNDARY, PAD, *FIM), roles=_DOCUMENT, before=(BOUNDARY,)),
    "bert": Specials(
        ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"),
        # Documents are packed with a boundary between them: for an encoder that is its separator.
        roles={"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]",
               "mask_token": "[MASK]", "bos_token": "[CLS]", "eos_token": "[SEP]"},
        before=("[CLS]",), after=("[SEP]",), pair_type=1,
    ),
    "esm": Specials(
        ("<cls>", "<pad>", "<eos>", "<unk>"), ("<mask>",),
        roles={"cls_token": "<cls>", "pad_token": "<pad>", "eos_token": "<eos>", "unk_token": "<unk>",
               "mask_token": "<mask>", "bos_token": "<cls>", "sep_token": "<eos>"},
        before=("<cls>",), after=("<eos>",),
    ),
    # T5's sentinels count backwards from the last row, ByT5's forwards.
    "t5": Specials(("<pad>", "</s>", "<unk>"), _sentinels(100)[::-1], roles=_T5, after=("</s>",)),
    "byt5": Specials(("<pad>", "</s>", "<unk>"), _sentinels(125), roles=_T5, after=("</s>",)),
}  # fmt: skip
"""By the names that the configuration gives: a causal model's; one's that fills gaps; BERT's (Devlin et al., 2019);
ESM-2's; T5's (Raffel et al., 2020); ByT5's (Xue et al., 2022)."""
