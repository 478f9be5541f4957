"""PEFT's `adapter_config.json` of a LoRA, read and written: what changes the mathematics is honoured or refused.

The keys are those of PEFT 0.21's `LoraConfig`. A key that isn't known here and says anything is refused by name.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from bedplate.deltas.lora import LoraConfig
from bedplate.errors import InputError, WeightsError

CONFIG = "adapter_config.json"

# About training, about where it came from, about other processes: nothing in what an adapter computes.
_HARMLESS = {
    "auto_mapping", "base_model_name_or_path", "revision", "inference_mode", "task_type", "peft_version",
    "megatron_config", "megatron_core", "runtime_config", "eva_config", "loftq_config", "corda_config",
    "lora_ga_config", "ensure_weight_tying", "qalora_group_size",
    # Tells how a base stores its maps, which the base's own file says: PEFT itself puts a wrong one right.
    "fan_in_fan_out",
}  # fmt: skip
_HANDLED = {
    "peft_type", "r", "lora_alpha", "lora_dropout", "use_rslora", "rank_pattern", "alpha_pattern", "target_modules",
    "exclude_modules", "modules_to_save", "bias", "layers_to_transform", "layers_pattern", "init_lora_weights",
}  # fmt: skip
_REFUSED = {
    "use_dora": "DoRA normalises the merged weights, which isn't supported",
    "lora_bias": "a bias on B isn't supported",
    "alora_invocation_tokens": "an adapter that begins at a certain token isn't supported",
    "trainable_token_indices": "single rows of an embedding aren't supported",
    "layer_replication": "layers that are used twice aren't supported",
    "target_parameters": "deltas on parameters that aren't linear maps aren't supported",
    "use_qalora": "QA-LoRA pools its inputs, which isn't supported",
    "use_bdlora": "block-diagonal factors aren't supported",
    "arrow_config": "routing among adapters isn't supported",
    "kasa_config": "KaSA changes the base and has a diagonal of its own, which isn't supported",
    "monteclora_config": "sampled factors aren't supported",
}
# Inits that leave the base as it is; the others take away from it what A and B begin with.
_INITS = (True, False, None, "gaussian", "eva", "orthogonal", "mica")


@dataclass(frozen=True)
class PeftSettings:
    """A LoRA as its folder describes it. targets, excluded: a regular expression for a whole path, or ends of paths;
    "all-linear" in lower case is all. layers: numbers of the blocks that get one, all where None."""

    lora: LoraConfig
    targets: str | tuple[str, ...]
    excluded: str | tuple[str, ...] = ()
    layers: tuple[int, ...] | None = None
    layer_names: tuple[str, ...] = ()
    modules_to_save: tuple[str, ...] = ()
    bias: Literal["none", "all", "lora_only"] = "none"

    def chooses(self, path: str) -> bool:
        """Whether the linear map at a path has a delta, by PEFT's own rules."""
        if self.excluded and _meets(self.excluded, path):
            return False
        if any(re.match(rf"(^|.*\.){m}($|\..*)", path) for m in self.modules_to_save):
            return False
        if isinstance(self.targets, str):
            return self.targets == "all-linear" or re.fullmatch(self.targets, path) is not None
        if path in self.targets:
            return True
        return _meets(self.targets, path) and (self.layers is None or self._layer(path) in self.layers)

    def saves(self, module: str) -> bool:
        """Whether a module's own parameters are stored whole: "norm" also means "input_layernorm", as PEFT has it."""
        return module.endswith(self.modules_to_save)

    def _layer(self, path: str) -> int | None:
        if not self.layer_names:
            found = re.match(r".*?\.[^.]*\.(\d+)\.", path)
            return int(found[1]) if found else None
        for name in self.layer_names:
            if found := re.match(rf"(?:^|.*?\.){name}\.(\d+)\.", path):
                return int(found[1])
        return None


def _meets(ends: str | tuple[str, ...], path: str) -> bool:
    if isinstance(ends, str):
        return re.fullmatch(ends, path) is not None
    return any(path == end or path.endswith(f".{end}") for end in ends)


def read_peft_config(found: Mapping[str, Any], where: str) -> PeftSettings:
    """The content of adapter_config.json. Raises WeightsError naming a key that can't be honoured, InputError naming
    one whose value makes no sense."""
    kind = found.get("peft_type")
    if kind != "LORA":
        raise WeightsError(f"{where}: peft_type {kind!r} isn't supported", "Supported: LORA.")
    for key, why in _REFUSED.items():
        if found.get(key) not in (None, False, [], {}):
            raise WeightsError(f"{where}: {key}={found[key]!r}: {why}", "Merge it into its base with PEFT itself.")
    known = _HARMLESS | _HANDLED | _REFUSED.keys()
    unknown = {k: v for k, v in found.items() if k not in known and v not in (None, False, [], {})}
    if unknown:
        raise WeightsError(
            f"{where}: unknown keys that may change the mathematics: "
            + ", ".join(f"{k}={v!r}" for k, v in unknown.items()),
            "Remove them if they change nothing; otherwise this adapter isn't supported yet.",
        )
    if (init := found.get("init_lora_weights", True)) not in _INITS:
        raise WeightsError(
            f"{where}: init_lora_weights={init!r} takes away from the base's weights what the adapter begins with",
            "Save it with PEFT's path_initial_model_for_weight_conversion, which makes a plain LoRA of it.",
        )
    try:
        return _settings(found, where)
    except re.error as error:
        raise InputError(f"{where}: a pattern is no regular expression: {error}", "Take an undamaged copy.") from error


def _settings(found: Mapping[str, Any], where: str) -> PeftSettings:
    values = _Values(found, where)
    lora = LoraConfig(
        rank=values.whole("r", 8),
        alpha=values.number("lora_alpha", 8),
        dropout=values.number("lora_dropout", 0.0),
        rslora=bool(found.get("use_rslora")),
        rank_pattern={k: int(v) for k, v in values.table("rank_pattern").items()},
        alpha_pattern=values.table("alpha_pattern"),
    )
    targets = values.names("target_modules")
    bias: Any = found.get("bias") or "none"
    if bias not in ("none", "all", "lora_only"):
        raise InputError(f"{where}: bias={bias!r}", "PEFT knows none, all and lora_only.")
    if not targets:
        raise InputError(f"{where}: no target_modules", "Take an undamaged copy.")
    if isinstance(targets, str) and targets.lower() == "all-linear":
        targets = "all-linear"
    settings = PeftSettings(
        lora=lora,
        targets=targets,
        excluded=values.names("exclude_modules"),
        layers=values.numbers("layers_to_transform"),
        layer_names=_tuple(values.names("layers_pattern")),
        modules_to_save=_tuple(values.names("modules_to_save")),
        bias=bias,
    )
    settings.chooses("")  # the patterns compile, or say why not
    lora.rank_of(""), lora.scale_of("", 1)
    return settings


def _tuple(names: str | tuple[str, ...]) -> tuple[str, ...]:
    return (names,) if isinstance(names, str) else names


class _Values:
    """Values of a JSON object, checked."""

    def __init__(self, found: Mapping[str, Any], where: str) -> None:
        self._found, self._where = found, where

    def number(self, key: str, default: float) -> float:
        value = self._found.get(key, default)
        return float(self._checked(key, value, isinstance(value, int | float) and not isinstance(value, bool)))

    def whole(self, key: str, default: int) -> int:
        value = self._found.get(key, default)
        return int(self._checked(key, value, isinstance(value, int) and not isinstance(value, bool)))

    def table(self, key: str) -> dict[str, float]:
        value = self._found.get(key) or {}
        sound = isinstance(value, dict) and all(isinstance(v, int | float) for v in value.values())
        return dict(self._checked(key, value, sound))

    def numbers(self, key: str) -> tuple[int, ...] | None:
        """One number or several; None where absent."""
        value = self._found.get(key)
        listed = value if isinstance(value, list) else [] if value is None else [value]
        whole = all(isinstance(v, int) and not isinstance(v, bool) for v in listed)
        return tuple(self._checked(key, listed, whole)) or None

    def names(self, key: str) -> str | tuple[str, ...]:
        """A pattern, or names; none where absent."""
        value = self._found.get(key) or ()
        listed = isinstance(value, list | tuple) and all(isinstance(v, str) for v in value)
        checked = self._checked(key, value, isinstance(value, str) or listed)
        return checked if isinstance(checked, str) else tuple(checked)

    def _checked(self, key: str, value: Any, sound: bool) -> Any:
        if not sound:
            raise InputError(f"{self._where}: {key}={value!r} makes no sense", "Take an undamaged copy.")
        return value


def write_peft_config(
    lora: LoraConfig, targets: Sequence[str], *, base: str | None, task_type: str | None, fan_in_fan_out: bool = False
) -> dict[str, Any]:
    """The content of adapter_config.json that PEFT, vLLM and others read. targets: ends of paths; fan_in_fan_out: the
    base stores its maps as [in, out]."""
    return {
        "peft_type": "LORA",
        "task_type": task_type,
        "base_model_name_or_path": base,
        "revision": None,
        "inference_mode": True,
        "r": lora.rank,
        "lora_alpha": int(lora.alpha) if float(lora.alpha).is_integer() else lora.alpha,
        "lora_dropout": lora.dropout,
        "use_rslora": lora.rslora,
        "use_dora": False,
        "target_modules": list(targets),
        "exclude_modules": None,
        "rank_pattern": dict(lora.rank_pattern),
        "alpha_pattern": {k: int(a) if float(a).is_integer() else a for k, a in lora.alpha_pattern.items()},
        "modules_to_save": None,
        "layers_to_transform": None,
        "layers_pattern": None,
        "bias": "none",
        "fan_in_fan_out": fan_in_fan_out,
        "init_lora_weights": True,
    }
