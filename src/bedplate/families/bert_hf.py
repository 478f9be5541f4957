"""Hugging Face's `config.json` of the BERT family, read and written."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from bedplate.families.bert_config import BertConfig
from bedplate.families.family_config import refuse

_FIELDS = tuple(BertConfig.model_fields)
# What must have these values, or be absent: anything else would be other mathematics.
_ONLY: Mapping[str, tuple[Any, ...]] = {
    "position_embedding_type": ("absolute",),
    "is_decoder": (False,),
    "add_cross_attention": (False,),
    "is_encoder_decoder": (False,),
    "pruned_heads": ({},),
    "embedding_size": (),
}
# Say nothing about the mathematics of an encoder's forward pass: the head, the file, the way of computing.
_HARMLESS = {
    "architectures", "torch_dtype", "dtype", "transformers_version", "use_cache", "initializer_range",
    "gradient_checkpointing", "classifier_dropout", "chunk_size_feed_forward", "tie_word_embeddings", "bos_token_id",
    "eos_token_id", "sep_token_id", "cls_token_id", "id2label", "label2id", "num_labels", "problem_type", "return_dict",
    "output_attentions", "output_hidden_states", "tokenizer_class", "transformers.js_config", "directionality",
    "pooler_fc_size", "pooler_num_attention_heads", "pooler_num_fc_layers", "pooler_size_per_head", "pooler_type",
    "layer_norm_epsilon", "model_max_length", "finetuning_task", "task_specific_params",
}  # fmt: skip


def read_config(found: Mapping[str, Any], where: str) -> BertConfig:
    """config.json's content -> BertConfig. Raises WeightsError naming the key that can't be honoured."""
    for key, allowed in _ONLY.items():
        if found.get(key) is not None and found[key] not in allowed:
            raise refuse(
                where,
                f"{key}={found[key]!r} isn't supported",
                f"Supported: {', '.join(map(repr, allowed))}." if allowed else "Models with this key aren't supported.",
            )
    unknown = {
        k: v
        for k, v in found.items()
        if k not in {*_FIELDS, *_ONLY} | _HARMLESS and not k.startswith("_") and v not in (None, False, [], {})
    }
    if unknown:
        raise refuse(
            where,
            f"unknown keys that may change the mathematics: {', '.join(f'{k}={v!r}' for k, v in unknown.items())}",
            "Remove them if they change nothing; otherwise this model isn't supported yet.",
        )
    fields = {k: found[k] for k in _FIELDS if k in found and (found[k] is not None or k == "pad_token_id")}
    try:
        return BertConfig.model_validate(fields)
    except ValidationError as error:
        problems = "; ".join(f"{'.'.join(map(str, e['loc'])) or 'config'}: {e['msg']}" for e in error.errors())
        raise refuse(where, problems, "Take the config.json that belongs to these weights.") from error


def write_config(c: BertConfig) -> dict[str, Any]:
    """BertConfig -> config.json's content."""
    return {"architectures": ["BertModel"], **c.model_dump(), "position_embedding_type": "absolute"}
