"""What a pretraining run learns: the objective that its configuration names, with rows made for it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from bedplate.codecs.text import TextTokenizer
from bedplate.data.fim import FimRows, FimTokens
from bedplate.data.masking import MaskedRows
from bedplate.data.packing import EvaluationRows, PackedRows
from bedplate.data.prefix import PrefixRows
from bedplate.data.row_sources import FirstRows, RowSource
from bedplate.data.span_corruption import SpanRows, Spans
from bedplate.data.special_tokens import FIM
from bedplate.data.tokens import TokenSet
from bedplate.errors import TokenizerError
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
"""One place in so many is left for the sentinels of documents that are turned round."""


@dataclass(frozen=True)
class Learning:
    """An objective and its rows, for the trainer."""

    objective: Objective[Any]
    data: TrainingData


def learning(config: PretrainConfig, tokens: TokenSet, tokenizer: TextTokenizer, model: FamilyConfig, compiled: bool) -> Learning:
    """Raises TokenizerError where the tokenizer lacks the special tokens that the objective needs."""
    match config.learns:
        case told.NextToken() as objective:
            return _next_token(objective, config, tokens, tokenizer, model, compiled)
        case told.Prefix() as objective:
            rows = PrefixRows(PackedRows(tokens, "train", config.length, config.seed), config.seed)
            validation = _validation(tokens, config, lambda source: PrefixRows(source, 0), "next_token")
            return Learning(NextToken(compiled=compiled, z_loss=objective.z_loss), TrainingData(rows, validation))
        case told.Masked() as objective:
            return _masked(objective, config, tokens, tokenizer, compiled)
        case told.SpanCorruption() as objective:
            return _spans(objective, config, tokens, tokenizer, model, compiled)


def _next_token(
    said: told.NextToken, config: PretrainConfig, tokens: TokenSet, tokenizer: TextTokenizer, model: FamilyConfig,
    compiled: bool,
) -> Learning:  # fmt: skip
    fim, length = said.fill_in_the_middle, config.length
    packed = PackedRows(tokens, "train", length if fim is None else length - max(length // FIM_ROOM, 8), config.seed)
    rows: RowSource = packed
    if fim is not None:
        marks = dict(zip(("prefix", "suffix", "middle"), _named(tokenizer, FIM, "fill-in-the-middle"), strict=True))
        rows = FimRows(
            packed, config.seed, length=length, tokens=FimTokens(**marks, boundary=tokens.boundary_id), rate=fim.rate,
            suffix_first=fim.spm_rate, pieces=tokenizer,
        )  # fmt: skip
    validation = EvaluationRows(tokens, "validation", length, most_pairs=config.validation_tokens)
    per_byte = packed.pairs_per_epoch / int(tokens.bytes("train").sum())
    depths = getattr(model, "num_nextn_predict_layers", 0)
    objective: Any = NextToken(compiled=compiled, z_loss=said.z_loss)
    if said.multi_token and depths:
        objective = MultiToken(depths, said.multi_token, compiled=compiled, z_loss=said.z_loss)
    if has_experts(model):
        objective = Balanced(objective, load=said.load_balance, bias_rate=said.bias_update)
    # Other terms beside it would make the loss no measure of bytes.
    alone = not (said.load_balance or said.multi_token or said.z_loss or fim)
    return Learning(objective, TrainingData(rows, BitsPerByte(validation), per_byte if alone else None))


def _masked(
    said: told.Masked, config: PretrainConfig, tokens: TokenSet, tokenizer: TextTokenizer, compiled: bool
) -> Learning:
    if tokenizer.mask_id is None:
        raise TokenizerError(
            "the tokenizer has no mask token, which masked training needs",
            "Train one with specials: bert (or esm), or name mask_token in tokenizer_config.json.",
        )

    def masked(source: RowSource, seed: int) -> MaskedRows:
        assert tokenizer.mask_id is not None
        return MaskedRows(
            source, seed, vocabulary=tokenizer.vocab_size, mask_id=tokenizer.mask_id,
            special=tokenizer.special_tokens.values(), rate=said.rate,
            word_starts=tokenizer.word_starts if said.whole_words else None,
        )  # fmt: skip

    rows = masked(PackedRows(tokens, "train", config.length, config.seed), config.seed)
    validation = _validation(tokens, config, lambda source: masked(source, 0), "masked")
    return Learning(Masked(compiled=compiled), TrainingData(rows, validation))


def _spans(
    said: told.SpanCorruption, config: PretrainConfig, tokens: TokenSet, tokenizer: TextTokenizer, model: FamilyConfig,
    compiled: bool,
) -> Learning:  # fmt: skip
    spans = Spans(said.density, said.mean_span)
    length = spans.tokens_for(config.length)
    if not tokenizer.sentinel_ids or tokenizer.eos_id is None or tokenizer.pad_id is None:
        raise TokenizerError(
            "the tokenizer lacks sentinels (<extra_id_0> ...), an end or a padding token, which span corruption needs",
            "Train one with specials: t5 (or byt5).",
        )

    def corrupted(source: RowSource, seed: int) -> SpanRows:
        assert tokenizer.eos_id is not None
        assert tokenizer.pad_id is not None
        return SpanRows(
            source, seed, length=length, sentinels=tokenizer.sentinel_ids, eos=tokenizer.eos_id,
            start=getattr(model, "start_token", tokenizer.pad_id), pad=tokenizer.pad_id, spans=spans,
        )  # fmt: skip

    rows = corrupted(PackedRows(tokens, "train", length, config.seed), config.seed)
    validation = _validation(tokens, config, lambda source: corrupted(source, 0), "seq2seq", length)
    return Learning(Seq2Seq(compiled=compiled), TrainingData(rows, validation))


def _validation(
    tokens: TokenSet, config: PretrainConfig, made: Any, term: str, length: int | None = None
) -> MeanLoss:
    """The objective's own loss on a fixed sample of validation documents, corrupted alike each time."""
    source = EvaluationRows(tokens, "validation", length or config.length, most_pairs=config.validation_tokens)
    return MeanLoss(FirstRows(made(source), source.count), likelihood=term)


def has_experts(model: FamilyConfig) -> bool:
    """Whether its layers have routers."""
    return any(getattr(model, name, None) for name in ("num_local_experts", "num_experts", "n_routed_experts"))


def _named(tokenizer: TextTokenizer, names: tuple[str, ...], what: str) -> list[int]:
    missing = [name for name in names if name not in tokenizer.special_tokens]
    if missing:
        raise TokenizerError(
            f"the tokenizer lacks {', '.join(missing)}, which {what} needs", f"Train one with specials: {what}."
        )
    return [tokenizer.special_tokens[name] for name in names]
