"""More tokens for a model that exists: rows that begin as the mean of the pieces they replace.

The mean keeps a new token's probability within what its pieces' were, where a random row may take much of every
prediction (Hewitt, 2021, "Initializing new word embeddings for pretrained language models"); the pieces of the old
tokenizer stand for the similar tokens of FOCUS (Dobler and de Melo, 2023, arXiv 2305.14481). Every old row stays as it
was, and with them the logits of the old tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from bedplate.errors import InputError, InternalError
from bedplate.families.extension_config import ExtensionConfig
from bedplate.families.family_config import FamilyConfig
from bedplate.families.model import fill

if TYPE_CHECKING:
    from bedplate.codecs.text import TextTokenizer
    from bedplate.families.encoder_model import EncoderModel
    from bedplate.families.model import Model
    from bedplate.families.registry import Family
    from bedplate.families.seq2seq_model import Seq2SeqModel


@dataclass(frozen=True)
class NewToken:
    """A token that was added, its row, and the ids and texts of the pieces it was before."""

    token: str
    id: int
    pieces: tuple[int, ...]
    spelling: tuple[str, ...]


@dataclass(frozen=True)
class Extension:
    """What was added. rows: of the embedding, before and after; parameters: those that have a row a token; notes: what
    a reader should know."""

    added: tuple[NewToken, ...]
    rows_before: int
    rows: int
    parameters: tuple[str, ...]
    notes: tuple[str, ...]

    def facts(self) -> dict[str, Any]:
        """For a manifest: plain data."""
        return asdict(self)


def extend_vocabulary(model: Model | Seq2SeqModel | EncoderModel, new: ExtensionConfig | Sequence[str]) -> Extension:
    """Add tokens to a model and its tokenizer, in place: `model.config`, `.net` and `.tokenizer` are new ones.

    Every parameter with a row a token (embedding, untied head, the head's bias) gets rows for them, each the mean of
    the rows of its pieces; rows that only padded the embedding are taken first. Raises InputError for a model without
    a tokenizer, and for tokens that are empty, twice there or in the vocabulary already; nothing is changed then.
    """
    from bedplate.families.encoder_model import EncoderModel

    config = new if isinstance(new, ExtensionConfig) else ExtensionConfig(tokens=tuple(new))
    old = model.tokenizer
    if old is None:
        raise InputError("the model has no tokenizer that tokens could be added to", "Take a folder that holds one.")
    added, tokenizer = _extended(old, config)
    rows = max(model.config.vocab_size, -(-tokenizer.vocab_size // config.multiple) * config.multiple)
    larger = type(model.config).model_validate({**model.config.model_dump(), "vocab_size": rows})
    family: Family[Any, Any] = model.family
    grows = _rows_a_token(family, model.config)
    with torch.no_grad():
        tensors = {
            name: _grown(p.detach(), rows, added) if name in grows else p.detach()
            for name, p in model.net.named_parameters()
        }
        with torch.device("meta"):
            net = family.build(larger)
        fill(net, tensors.items())
    net.train(model.net.training)
    net.compute_dtype = model.net.compute_dtype
    carried: dict[str, Tensor] = getattr(model, "carried", {})
    before = model.config.vocab_size
    for name, tensor in carried.items():
        if _is_a_token_each(name, tensor, before):
            carried[name] = _grown(tensor, rows, added)
    model.config, model.net = larger, net
    if isinstance(model, EncoderModel):
        model._tokenizer = tokenizer
    else:
        model.tokenizer = tokenizer
    notes = []
    if _prefixes(old):
        notes.append("the tokenizer begins every stretch of text with a space, so also the one after a new token")
    return Extension(added, before, rows, tuple(sorted(grows)), tuple(notes))


def _extended(old: TextTokenizer, config: ExtensionConfig) -> tuple[tuple[NewToken, ...], TextTokenizer]:
    from tokenizers import AddedToken, Tokenizer

    from bedplate.codecs.text import TextTokenizer

    known = old.backend.get_vocab(with_added_tokens=True)
    for token in config.tokens:
        if not token.strip():
            raise InputError(f"token {token!r} is empty or only white space", "Give texts.")
        if token in known:
            raise InputError(f"token {token!r} is in the vocabulary, with the id {known[token]}", "Leave it out.")
    if len(set(config.tokens)) < len(config.tokens):
        twice = next(t for t in config.tokens if config.tokens.count(t) > 1)
        raise InputError(f"token {twice!r} is given twice", "Give each once.")
    backend = Tokenizer.from_str(old.backend.to_str())
    for token in config.tokens:
        backend.add_tokens(
            [AddedToken(token, special=config.special, normalized=False, single_word=config.whole_words)]
        )
    settings = old.settings | old.named_tokens
    # Their list of added tokens would no longer be whole.
    settings.pop("added_tokens_decoder", None)
    tokenizer = TextTokenizer(backend.to_str(), settings, chat_template=old.chat_template)
    added = []
    for token in config.tokens:
        pieces = tuple(old.encode(token))
        number = tokenizer.backend.token_to_id(token)
        if number is None or number in known.values() or not pieces:
            raise InputError(f"token {token!r} can't be added: it spells nothing to the tokenizer", "Leave it out.")
        spelling = tuple(old.backend.id_to_token(piece) or "" for piece in pieces)
        added.append(NewToken(token, number, pieces, spelling))
    return tuple(added), tokenizer


def _rows_a_token(family: Family[Any, Any], config: FamilyConfig) -> set[str]:
    """The parameters whose first dimension is the vocabulary's: those that change when it does."""
    more = type(config).model_validate({**config.model_dump(), "vocab_size": config.vocab_size + 1})
    with torch.device("meta"):
        now, then = family.build(config), family.build(more)
    shapes = {name: p.shape for name, p in then.named_parameters()}
    changed = {name: p.shape for name, p in now.named_parameters() if shapes[name] != p.shape}
    for name, shape in changed.items():
        if shapes[name] != (shape[0] + 1, *shape[1:]):
            raise InternalError(f"{name} doesn't have one row a token: {tuple(shape)}, {tuple(shapes[name])}")
    return set(changed)


def _grown(old: Tensor, rows: int, added: Sequence[NewToken]) -> Tensor:
    """old [V, ...] -> [rows, ...]: its rows, the new tokens' the means of their pieces'; padding the mean of all."""
    table = torch.empty(rows, *old.shape[1:], dtype=old.dtype, device=old.device)
    table[: len(old)] = old
    table[len(old) :] = old.float().mean(0).to(old.dtype)
    for token in added:
        table[token.id] = old[list(token.pieces)].float().mean(0).to(old.dtype)
    return table


def _is_a_token_each(name: str, tensor: Tensor, rows: int) -> bool:
    """Whether a tensor that is carried beside the model has a row a token: a masked head's matrix or bias."""
    return tensor.ndim > 0 and tensor.shape[0] == rows and ("predictions" in name or "lm_head" in name)


def _prefixes(tokenizer: TextTokenizer) -> bool:
    """Whether every stretch of text gets a space before it."""
    pieces = [tokenizer.backend.id_to_token(id) for id in tokenizer.encode("a")]
    return bool(pieces) and (pieces[0] or "").startswith("▁")
