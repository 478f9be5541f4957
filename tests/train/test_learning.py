"""The rows that an objective is given, beside what the released tokenizer makes of a text."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from runs import MODEL

from bedplate.console import Console
from bedplate.data.tokenize import TOKENIZE, TokenizeConfig
from bedplate.data.tokens import TokenSet
from bedplate.data.train_tokenizer import TRAIN_TOKENIZER, TrainTokenizerConfig
from bedplate.ledger import open_artefact, produce
from bedplate.train.architecture import with_vocabulary
from bedplate.train.config import PretrainConfig
from bedplate.train.learning import learning

SHAPE = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 48}


@pytest.mark.parametrize(
    ("family", "options"),
    [("bert", {"kind": "wordpiece", "vocabulary": 300}), ("esm", {"kind": "characters", "specials": "esm"})],
)
def test_an_encoder_learns_from_whole_texts(tmp_path: Path, tokens: Path, family: str, options: dict) -> None:
    """Each document of a row is the tokenizer's ids of a text, [CLS] and [SEP] shown and never asked for."""
    corpus = open_artefact(tokens.parent / "corpus", "corpus")
    quiet = Console.quiet()
    made = produce(
        TRAIN_TOKENIZER, TrainTokenizerConfig(**options), {"corpus": corpus}, tmp_path / "tokenizer", name="tokenizer",
        console=quiet,
    )  # fmt: skip
    inputs = {"corpus": corpus, "tokenizer": made}
    found = TokenSet.open(
        produce(TOKENIZE, TokenizeConfig(), inputs, tmp_path / "tokens", name="tokens", console=quiet)
    )
    tokenizer = found.tokenizer()
    architecture = {**SHAPE, "model_type": family} | ({"position_embedding_type": "rotary"} if family == "esm" else {})
    config = PretrainConfig(**MODEL | {"architecture": architecture, "length": 512})
    model = with_vocabulary(
        config.architecture, 512, vocab_size=tokenizer.vocab_size, pad_token_id=0, mask_token_id=tokenizer.mask_id,
        head="masked",
    )  # fmt: skip
    rows = learning(config, found, tokenizer, model).data.rows.rows(0, 8)
    texts = {tuple(found.document("train", i).tolist()) for i in range(len(found.documents("train")))}
    around = {tokenizer.cls_id, tokenizer.sep_id}
    seen = 0
    for tokens_of, targets, segments, keep in zip(
        *(rows[k] for k in ("tokens", "targets", "segments", "keep")), strict=True
    ):
        assert not around & set(targets[keep].tolist())
        shown = np.isin(targets, list(around))
        np.testing.assert_array_equal(tokens_of[shown], targets[shown])
        for number in range(1, segments.max()):  # the first and the last may be cut by the row's edges
            begin, *text, end = targets[segments == number].tolist()
            assert (begin, end) == (tokenizer.cls_id, tokenizer.sep_id)
            assert tuple(text) in texts
            seen += 1
    assert seen > 5
