"""What a sentence encoder does around its net, in the files of sentence-transformers: `modules.json`,
`1_Pooling/config.json`, `sentence_bert_config.json`, `config_sentence_transformers.json`.

Spellings of its releases 2 to 6 are read; the oldest is written, which all of them read.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, get_args

from bedplate.errors import InputError, WeightsError
from bedplate.families.model import read_json, write_json
from bedplate.nn.encoder_heads import Pooling

MODULES, POOLING, TRANSFORMER = "modules.json", "1_Pooling/config.json", "sentence_bert_config.json"
SETTINGS = "config_sentence_transformers.json"
_LEGACY_MODES = {
    "pooling_mode_cls_token": "cls",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_mean_sqrt_len_tokens": "mean_sqrt_len_tokens",
    "pooling_mode_weightedmean_tokens": "weightedmean",
    "pooling_mode_lasttoken": "lasttoken",
}
# sentence-transformers says in tokenizer_config.json what older releases said in sentence_bert_config.json; a tokenizer
# without a limit says 10^30.
_UNLIMITED = 10**9


@dataclass(frozen=True)
class SentenceSettings:
    """How texts become vectors.

    pooling: the mean of a text's token vectors, or the vector of its first token. normalise: to length 1.
    max_length: tokens that are read of a text, special ones included. lower_case: texts are lower-cased before the
    tokenizer sees them (which may lower-case by itself). stated: False where the folder says nothing of pooling, and
    the mean is a guess. other: the content of config_sentence_transformers.json, kept as it is.
    """

    pooling: Pooling = "mean"
    normalise: bool = False
    max_length: int = 512
    lower_case: bool = False
    stated: bool = True
    other: Mapping[str, Any] = field(default_factory=dict)


def read_settings(folder: Path, positions: int) -> SentenceSettings:
    """What a folder says; positions: the longest sequence that its model can read.

    A BERT folder that sentence-transformers didn't write says nothing: the mean, not normalised, as that library then
    does. Raises WeightsError for a module, pooling or prompt that isn't supported, naming file and key.
    """
    transformer = read_json(folder / TRANSFORMER, required=False)
    other = read_json(folder / SETTINGS, required=False)
    if other.get("default_prompt_name") is not None:
        raise WeightsError(
            f"{folder / SETTINGS}: default_prompt_name={other['default_prompt_name']!r}: a prompt before every text "
            "isn't supported",
            "Set it to null, and write the prompt before your texts.",
        )
    length = _max_length(folder, transformer, positions)
    lower = transformer.get("do_lower_case", False) is True
    if not (folder / MODULES).is_file():
        return SentenceSettings("mean", False, length, lower, stated=False, other=other)
    pooling_path, normalise = _read_modules(folder)
    return SentenceSettings(_read_pooling(folder / pooling_path / "config.json"), normalise, length, lower, other=other)


def write_settings(folder: Path, settings: SentenceSettings, width: int) -> None:
    """Write the files that `read_settings` and every release of sentence-transformers read. width: of a vector."""
    kinds = ["Transformer", "Pooling", *(["Normalize"] if settings.normalise else [])]
    paths = ["", "1_Pooling", "2_Normalize"]
    modules = [
        {"idx": i, "name": str(i), "path": path, "type": f"sentence_transformers.models.{kind}"}
        for i, (kind, path) in enumerate(zip(kinds, paths, strict=False))
    ]
    write_json(folder / MODULES, modules)
    (folder / POOLING).parent.mkdir(exist_ok=True)
    modes = {key: mode == settings.pooling for key, mode in _LEGACY_MODES.items()}
    write_json(folder / POOLING, {"word_embedding_dimension": width, **modes, "include_prompt": True})
    write_json(folder / TRANSFORMER, {"max_seq_length": settings.max_length, "do_lower_case": settings.lower_case})
    if settings.other:
        write_json(folder / SETTINGS, settings.other)


def sentence_files(folder: Path) -> list[Path]:
    """The files that say how a folder embeds, beside those of every model."""
    named = [folder / name for name in (MODULES, TRANSFORMER, SETTINGS)]
    return [f for f in (*named, *sorted(folder.glob("[0-9]_*/config.json"))) if f.is_file()]


def _max_length(folder: Path, transformer: Mapping[str, Any], positions: int) -> int:
    said = transformer.get("max_seq_length")
    where = folder / TRANSFORMER
    if said is None:
        where = folder / "tokenizer_config.json"
        said = read_json(where, required=False).get("model_max_length")
        if said is None or (isinstance(said, int | float) and said >= _UNLIMITED):
            return positions
        said = min(said, positions) if isinstance(said, int) else said
    if isinstance(said, bool) or not isinstance(said, int) or not 2 < said <= positions:
        raise WeightsError(
            f"{where}: texts of {said!r} tokens, where the model has {positions} positions",
            f"Say a whole number from 3 to {positions}.",
        )
    return said


def _read_modules(folder: Path) -> tuple[str, bool]:
    """Where the pooling is described, and whether vectors are normalised."""
    where = folder / MODULES
    try:
        found = json.loads(where.read_text(encoding="utf-8"))
        modules = [(str(m["type"]), str(m["path"])) for m in found]
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise InputError(f"{where}: not a list of modules: {error}", "Copy or download it again.") from error
    kinds = [kind.rpartition(".")[2] for kind, _ in modules]
    ours = all(kind.startswith("sentence_transformers.") for kind, _ in modules)
    if not ours or kinds not in (["Transformer", "Pooling"], ["Transformer", "Pooling", "Normalize"]):
        raise WeightsError(
            f"{where}: the modules {', '.join(kind for kind, _ in modules) or '(none)'} aren't supported",
            "Supported: sentence_transformers' Transformer, Pooling and then perhaps Normalize.",
        )
    (_, root), (_, pooling) = modules[0], modules[1]
    if root not in ("", ".") or not _plain(pooling):
        raise WeightsError(
            f"{where}: modules in {root!r} and {pooling!r}",
            "Supported: the Transformer in the folder itself, and the Pooling in a folder of its own inside it.",
        )
    return pooling, len(modules) == 3


def _plain(path: str) -> bool:
    """Whether it names a folder directly inside another."""
    return len(PurePosixPath(path).parts) == 1 and path not in (".", "..") and "\\" not in path


def _read_pooling(where: Path) -> Pooling:
    found = read_json(where)
    mode: Any = found.get("pooling_mode")
    if mode is None:
        named = [mode for key, mode in _LEGACY_MODES.items() if found.get(key) is True]
        mode = named or ["mean"]
    modes: Sequence[Any] = mode if isinstance(mode, list) else [mode]
    for known in get_args(Pooling):
        if list(modes) == [known]:
            pooling: Pooling = known
            return pooling
    raise WeightsError(
        f"{where}: pooling {' and '.join(map(str, modes))} isn't supported",
        f"Supported: {', '.join(get_args(Pooling))}.",
    )
