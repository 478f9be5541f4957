"""What a pretraining run learns: the objective that its configuration names, with rows made for it."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from bedplate.codecs.text import TextTokenizer
from bedplate.data.best_fit import BestFitRows, training_rows
from bedplate.data.fim import FimRows, FimTokens
from bedplate.data.masking import MaskedRows
from bedplate.data.packing import Around, EvaluationRows, PackedRows
from bedplate.data.prefix import PrefixRows
from bedplate.data.row_sources import FirstRows, RowSource
from bedplate.data.span_corruption import SpanRows, Spans
from bedplate.data.special_tokens import FIM
from bedplate.data.tokens import TokenSet
from bedplate.errors import RecipeError, TokenizerError
from bedplate.families.configs import depths_ahead, expert_layers
from bedplate.families.family_config import FamilyConfig
from bedplate.objectives.load_balance import Balanced
from bedplate.objectives.masked import Masked
from bedplate.objectives.multi_token import MultiToken
from bedplate.objectives.next_token import NextToken
from bedplate.objectives.seq2seq import Seq2Seq
from bedplate.objectives.term import Objective
from bedplate.train import objective_config as told
from bedplate.train.config import PretrainConfig
from bedplate.train.loop import TrainingData
from bedplate.train.validation import BitsPerByte, MeanLoss

FIM_ROOM = 16
"""At least one place in so many is left for what documents that are turned round gain."""
FIM_GAIN = 6
"""What one of them gains: a mark for each part, a boundary, and the pieces of two words that were cut."""


@dataclass(frozen=True)
class Learning:
    """An objective, to be made compiled or not, and its rows, for the trainer; packed: the rows of documents that these
    are made of."""

    objective: Callable[[bool], Objective[Any]]
    data: TrainingData
    packed: PackedRows | BestFitRows


def learning(config: PretrainConfig, tokens: TokenSet, tokenizer: TextTokenizer, model: FamilyConfig) -> Learning:
    """Raises TokenizerError where the tokenizer lacks the special tokens that the objective needs, RecipeError where it
    has too few of them, or documents are too short for it."""
    match config.learns:
        case told.NextToken() as objective:
            return _next_token(objective, config, tokens, tokenizer, model)
        case told.Prefix() as objective:
            return _prefix(objective, config, tokens, model)
        case told.Masked() as objective:
            return _masked(objective, config, tokens, tokenizer)
        case told.SpanCorruption() as objective:
            return _spans(objective, config, tokens, tokenizer, model)


def _next_token(
    said: told.NextToken, config: PretrainConfig, tokens: TokenSet, tokenizer: TextTokenizer, model: FamilyConfig
) -> Learning:
    fim, length = said.fill_in_the_middle, config.length
    packed = _packed(config, tokens, length - (_fim_room(fim, length, tokens) if fim else 0))
    rows: RowSource = packed
    if fim is not None:
        marks = dict(zip(("prefix", "suffix", "middle"), _fim_marks(tokenizer), strict=True))
        rows = FimRows(
            packed, config.seed, length=length, tokens=FimTokens(**marks, boundary=tokens.boundary_id), rate=fim.rate,
            suffix_first=fim.spm_rate, pieces=tokenizer,
        )  # fmt: skip
    validation = EvaluationRows(tokens, "validation", length, most_pairs=config.validation_tokens)
    per_byte = packed.pairs_per_epoch / int(tokens.bytes("train").sum())
    depths = depths_ahead(model)

    def objective(compiled: bool) -> Objective[Any]:
        if depths:
            ahead = MultiToken(depths, said.multi_token, compiled=compiled, z_loss=said.z_loss)
            return _balanced(ahead, model, load=said.load_balance, bias_rate=said.bias_update)
        plain = NextToken(compiled=compiled, z_loss=said.z_loss)
        return _balanced(plain, model, load=said.load_balance, bias_rate=said.bias_update)

    # Other terms beside it would make the loss no measure of bytes.
    alone = not (said.load_balance or said.multi_token or said.z_loss or fim)
    return Learning(objective, TrainingData(rows, BitsPerByte(validation), per_byte if alone else None), packed)


def _prefix(said: told.Prefix, config: PretrainConfig, tokens: TokenSet, model: FamilyConfig) -> Learning:
    packed = _packed(config, tokens, config.length)
    validation = _validation(tokens, config, lambda source: PrefixRows(source, 0), "next_token")
    return Learning(
        lambda compiled: _balanced(NextToken(compiled=compiled, z_loss=said.z_loss), model),
        TrainingData(PrefixRows(packed, config.seed), validation),
        packed,
    )


def _masked(said: told.Masked, config: PretrainConfig, tokens: TokenSet, tokenizer: TextTokenizer) -> Learning:
    mask = tokenizer.mask_id
    if mask is None:
        raise TokenizerError(
            "the tokenizer has no mask token, which masked training needs",
            "Train one with specials: bert (or esm), or name mask_token in tokenizer_config.json.",
        )

    # As the released model will be given texts; what stands around them is told to nobody.
    before, after = tokenizer.around

    def masked(source: RowSource, seed: int) -> MaskedRows:
        return MaskedRows(
            source, seed, vocabulary=tokenizer.vocab_size, mask_id=mask,
            special=(*tokenizer.special_tokens.values(), *before, *after), rate=said.rate,
            word_starts=tokenizer.word_starts if said.whole_words else None,
        )  # fmt: skip

    packed = _packed(config, tokens, config.length, around=tokenizer.around)
    validation = _validation(tokens, config, lambda source: masked(source, 0), "masked", around=tokenizer.around)
    data = TrainingData(masked(packed, config.seed), validation)
    return Learning(lambda compiled: Masked(compiled=compiled), data, packed)


def _spans(
    said: told.SpanCorruption, config: PretrainConfig, tokens: TokenSet, tokenizer: TextTokenizer, model: FamilyConfig
) -> Learning:
    spans = Spans(said.density, said.mean_span)
    length = spans.tokens_for(config.length)
    sentinels, eos, pad = tokenizer.sentinel_ids, tokenizer.eos_id, tokenizer.pad_id
    if not sentinels or eos is None or pad is None:
        raise TokenizerError(
            "the tokenizer lacks sentinels (<extra_id_0> ...), an end or a padding token, which span corruption needs",
            "Train one with specials: t5 (or byt5).",
        )
    wanted = spans.counts(length)[1]
    if wanted > len(sentinels):
        raise RecipeError(
            f"rows of {config.length} tokens have {wanted} spans cut out, and the tokenizer has {len(sentinels)} "
            "sentinels to mark them",
            "Lower length or objective.density, raise objective.mean_span, or train a tokenizer with more sentinels.",
        )

    def corrupted(source: RowSource, seed: int) -> SpanRows:
        return SpanRows(
            source, seed, length=length, sentinels=sentinels, eos=eos,
            start=getattr(model, "start_token", pad), pad=pad, spans=spans,
        )  # fmt: skip

    packed = _packed(config, tokens, length)
    validation = _validation(tokens, config, lambda source: corrupted(source, 0), "seq2seq", length)
    data = TrainingData(corrupted(packed, config.seed), validation)
    return Learning(lambda compiled: Seq2Seq(compiled=compiled), data, packed)


def _packed(
    config: PretrainConfig, tokens: TokenSet, length: int, *, around: Around | None = None
) -> PackedRows | BestFitRows:
    return training_rows(config.packing, tokens, length, config.seed, around=around)


def _balanced(
    objective: NextToken | MultiToken, model: FamilyConfig, *, load: float = 0.0, bias_rate: float = 0.0
) -> Objective[Any]:
    """With figures of what the routers do, and what balances them, where there are any."""
    if not expert_layers(model):
        return objective
    # Of each row by itself: of a whole forward pass it would depend on how a batch is cut into micro-batches and ranks.
    balanced: Balanced[Any] = Balanced(objective, load=load, bias_rate=bias_rate, per="row")
    return balanced


def _validation(
    tokens: TokenSet, config: PretrainConfig, made: Callable[[EvaluationRows], RowSource], term: str,
    length: int | None = None, around: Around | None = None,
) -> MeanLoss:  # fmt: skip
    """The objective's own loss on a fixed sample of validation documents, corrupted alike each time."""
    source = EvaluationRows(
        tokens, "validation", length or config.length, most_pairs=config.validation_tokens, around=around
    )
    return MeanLoss(FirstRows(made(source), source.count), likelihood=term)


def _fim_room(fim: told.FillInTheMiddleConfig, length: int, tokens: TokenSet) -> int:
    """Places of a row for what its documents gain. Raises RecipeError where that would be more than half of it."""
    mean = float(tokens.documents("train").length.mean()) + 1
    gain = math.ceil(fim.rate * (length / mean + 1) * FIM_GAIN)
    room = max(length // FIM_ROOM, 8, gain)
    if room > length // 2:
        raise RecipeError(
            f"documents of {mean - 1:.0f} tokens on average, {fim.rate:.0%} of which are turned round, would need "
            f"{room} of a row's {length} places for the marks of their parts",
            "Lower objective.fill_in_the_middle.rate, raise length, or join short documents.",
        )
    return room


def _fim_marks(tokenizer: TextTokenizer) -> list[int]:
    missing = [name for name in FIM if name not in tokenizer.special_tokens]
    if missing:
        raise TokenizerError(
            f"the tokenizer lacks {', '.join(missing)}, which fill-in-the-middle needs",
            "Train one with specials: fill-in-the-middle.",
        )
    return [tokenizer.special_tokens[name] for name in FIM]
