"""Conversations and plain texts -> encoded examples, with what is to be learned marked."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import groupby
from typing import Any

from bedplate.codecs.chat_tokens import Chat, ChatTokens, Supervise, encode_chats
from bedplate.codecs.text import TextTokenizer
from bedplate.data.conversations import PlainText
from bedplate.data.tokens import boundary_id


def encode_examples(
    tokenizer: TextTokenizer,
    rows: Iterable[Chat | PlainText],
    *,
    supervise: Supervise = "all",
    parse_content_specials: bool = False,
    **variables: Any,
) -> Iterator[ChatTokens]:
    """Each row encoded, in order: a conversation by `bedplate.codecs.chat_tokens.encode_chats`; a plain text between
    two boundary tokens, as in pretraining, all of it to be learned but the first."""
    for kind, some in groupby(rows, key=type):
        if kind is Chat:
            chats = (row for row in some if isinstance(row, Chat))
            yield from encode_chats(
                tokenizer, chats, supervise=supervise, parse_content_specials=parse_content_specials, **variables
            )
        else:
            yield from (_plain(tokenizer, row) for row in some if isinstance(row, PlainText))


def _plain(tokenizer: TextTokenizer, row: PlainText) -> ChatTokens:
    boundary = boundary_id(tokenizer, row.origin)
    ids = tokenizer.encode(row.text)
    return ChatTokens(
        ids=[boundary, *ids, boundary],
        supervised=[False, *[True] * len(ids), True],
        text=row.text,
        spans=((0, len(row.text)),),
        origin=row.origin,
    )
