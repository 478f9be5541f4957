"""LoRA as PEFT stores it: `adapter_config.json` and `adapter_model.safetensors`, written and read.

    write_peft(folder, model, delta, base_name=None)
    delta = read_peft(folder, model, trainable=False)       # attaches it to model.net, in place

Keys are `base_model.model.<path in Hugging Face's layout>.lora_A.weight` and `.lora_B.weight`; what a model's paths are
called is the family's weight table. Users of adapters call `bedplate.deltas.adapter`, which also checks the base.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from bedplate.deltas.lora import A, B, LoraConfig, LoraDelta, LoraLinear, attach
from bedplate.deltas.names import (
    Adaptable,
    check_adaptable,
    inverted,
    laid_out_otherwise,
    module_paths,
    parameter_spellings,
    passed_over,
    path_spellings,
)
from bedplate.deltas.peft_config import CONFIG, PeftSettings, read_peft_config, write_peft_config
from bedplate.deltas.replaced import Replaced
from bedplate.errors import InputError, WeightsError
from bedplate.families.model import read_json, write_json
from bedplate.families.registry import is_encoder

WEIGHTS = "adapter_model.safetensors"
_PREFIX = "base_model.model."
_PARTS = {"lora_A": A, "lora_B": B}
_FLOATS = (torch.float32, torch.bfloat16, torch.float16, torch.float64)


def write_peft(folder: Path, model: Adaptable, delta: LoraDelta, *, base_name: str | None = None) -> None:
    """Write a folder that PEFT and vLLM load. Raises WeightsError for an adapter that also replaces parameters, as some
    made elsewhere do: those are merged instead; and for deltas of maps that the base's files hold joined with others.
    """
    check_adaptable(model, delta.layers)
    if delta.replaced.parameters():
        names = ", ".join(delta.replaced.parameters())
        raise WeightsError(f"the adapter also replaces {names}", "Merge it into its base, and share the result.")
    folder.mkdir(parents=True, exist_ok=True)
    paths = module_paths(model)
    config = _said_by_path(delta, paths)
    task = "FEATURE_EXTRACTION" if is_encoder(model.config.model_type) else "CAUSAL_LM"
    targets = _ends([paths[p] for p in delta.layers], list(paths.values()))
    write_json(folder / CONFIG, write_peft_config(config, targets, base=base_name, task_type=task))
    tensors = {
        f"{_PREFIX}{paths[path]}.{part}.weight": getattr(layer, leaf).detach().cpu().contiguous()
        for path, layer in delta.layers.items()
        for part, leaf in _PARTS.items()
    }
    write_tensors(folder / WEIGHTS, tensors)


def write_tensors(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """A safetensors file that everybody may read whom the umask lets."""
    save_file(dict(tensors), path, metadata={"format": "pt"})
    # The library makes its files readable by their owner alone.
    plain = path.with_name(f"{path.name}.mode")
    plain.touch()
    path.chmod(plain.stat().st_mode)
    plain.unlink()


def _said_by_path(delta: LoraDelta, paths: Mapping[str, str]) -> LoraConfig:
    """The configuration that says each layer's rank and scale in Hugging Face's names."""
    config = delta.config
    ranks = {paths[path]: layer.lora_a.shape[0] for path, layer in delta.layers.items()}
    scales = {paths[path]: layer.scale for path, layer in delta.layers.items()}
    if all(config.rank_of(p) == r and config.scale_of(p, r) == scales[p] for p, r in ranks.items()):
        return config
    alphas = {p: scales[p] * (r**0.5 if config.rslora else r) for p, r in ranks.items()}
    return replace(
        config,
        rank_pattern={re.escape(p): r for p, r in ranks.items() if r != config.rank},
        alpha_pattern={re.escape(p): a for p, a in alphas.items() if a != config.alpha},
    )


def _ends(chosen: Sequence[str], every: Sequence[str]) -> list[str]:
    """The shortest usual ends of paths that mean the chosen ones and no other: names where they are the last part of
    one kind of module ("q_proj"), what follows the block's number where they aren't ("output.dense"), else paths."""

    def inside(path: str) -> str:
        return re.split(r"\.\d+\.", path)[-1]

    kinds: dict[str, set[str]] = {}
    for path in every:
        kinds.setdefault(path.rpartition(".")[2], set()).add(inside(path))
    ends = sorted({last if len(kinds[last := p.rpartition(".")[2]]) == 1 else inside(p) for p in chosen})
    met = {p for p in every if any(p == end or p.endswith(f".{end}") for end in ends)}
    return ends if met == set(chosen) else sorted(chosen)


@dataclass
class _Found:
    """The names of a file's tensors by what they are: factors by (our path, leaf), whole parameters by our name ("="
    before it: a copy under the other name that a tied weight has), and modules that nothing here is computed with."""

    factors: dict[tuple[str, str], str] = field(default_factory=dict)
    whole: dict[str, str] = field(default_factory=dict)
    passed_over: list[str] = field(default_factory=list)


def read_peft(folder: Path, model: Adaptable, *, trainable: bool = False) -> tuple[LoraDelta, list[str]]:
    """Attach the LoRA in a PEFT folder to `model.net`, in place; it and what should be said of it.

    trainable: in fp32 and with gradients, to go on training; else in the base's dtype, as it is computed. Raises
    WeightsError for what isn't supported or doesn't fit the model, InputError for a missing or damaged file; the model
    is then as it was.
    """
    settings = read_peft_config(read_json(folder / CONFIG), str(folder / CONFIG))
    path = weights_file(folder)
    tensors = read_tensors(path)
    found = _sorted(tensors, model, path)
    _check_complete(found, settings, model, path)
    _check_shapes(found, settings, model, tensors, path)
    whole = _whole(found, model, tensors, path)
    spelt = module_paths(model)
    ranks = {ours: tensors[key].shape[0] for (ours, leaf), key in found.factors.items() if leaf == A}
    delta = attach(model.net, settings.lora, ranks, lambda p: settings.lora.scale_of(spelt[p], ranks[p]))
    delta.replaced = Replaced(model.net, {n: _as(t, model.net.get_parameter(n), trainable) for n, t in whole.items()})
    for (ours, leaf), key in found.factors.items():
        layer: LoraLinear = delta.layers[ours]
        value = _as(tensors[key], layer.weight, trainable)
        setattr(layer, leaf, torch.nn.Parameter(value.to(layer.weight.device)))
    for parameter in delta.parameters().values():
        parameter.requires_grad_(trainable)
    notes = [f"{folder}: {p} isn't part of this model's computation; its delta is left out" for p in found.passed_over]
    return delta, notes


def _as(tensor: Tensor, base: Tensor, trainable: bool) -> Tensor:
    return tensor.to(torch.float32 if trainable else base.dtype).contiguous()


def weights_file(folder: Path) -> Path:
    """The adapter's safetensors file. Raises WeightsError where there is only a pickle, InputError where nothing is."""
    path = folder / WEIGHTS
    if path.is_file():
        return path
    pickled = folder / "adapter_model.bin"
    if pickled.is_file():
        raise WeightsError(
            f"{pickled}: a pickle, which can run code when it is read",
            "Ask for safetensors, or convert it yourself where you trust the file.",
        )
    raise InputError(f"{folder}: no {WEIGHTS}", "Give an adapter's folder as PEFT writes it.")


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Every tensor of a safetensors file. Raises InputError for a damaged file, WeightsError for quantised numbers."""
    try:
        with safe_open(path, framework="pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (no mapping)
    except Exception as error:  # the library raises its own class for each fault of a header
        raise InputError(f"{path}: not readable as safetensors: {error}", "Copy or download it again.") from error
    for name, tensor in tensors.items():
        if tensor.dtype not in _FLOATS:
            raise WeightsError(f"{path}: {name} is stored as {tensor.dtype}", "Take the adapter unquantised.")
    return tensors


def _sorted(tensors: Iterable[str], model: Adaptable, where: Path) -> _Found:
    modules, parameters = inverted(path_spellings(model)), inverted(parameter_spellings(model))
    copies = {
        f"={kept}": model.family.table(model.config).pairs([copy], model.config.num_hidden_layers)[copy]
        for copy, kept in _tied(model).items()
    }
    copied = inverted(copies)
    otherwise = inverted(laid_out_otherwise(model))
    found, unknown = _Found(), []
    for key in tensors:
        name = key.removeprefix(_PREFIX)
        match = re.fullmatch(r"(.*)\.(lora_[AB])\.weight", name)
        plain = name.replace(".base_layer.", ".")
        if name == key:
            unknown.append(key)
        elif (match[1] if match else plain.rpartition(".")[0]) in otherwise:
            raise WeightsError(
                f"{where}: {key}: {model.config.model_type} stores this map joined with others or turned round, and "
                "deltas on such aren't supported",
                "Merge it into its base with PEFT itself (merge_and_unload), and import the result.",
            )
        elif match and match[1] in modules:
            found.factors[modules[match[1]], _PARTS[match[2]]] = key
        elif passed_over(model, owner := match[1] if match else plain.rpartition(".")[0]):
            found.passed_over.append(owner)
        elif "lora_embedding_" in name or (match and f"{match[1]}.weight" in {**parameters, **copied}):
            raise WeightsError(
                f"{where}: {key}: deltas on embeddings and heads aren't supported",
                "Merge it into its base with PEFT itself.",
            )
        elif plain in parameters:
            found.whole[parameters[plain]] = key
        elif plain in copied:
            found.whole[copied[plain]] = key
        else:
            unknown.append(key)
    if unknown:
        raise WeightsError(
            f"{where}: nothing in this model is called {_some(unknown)}",
            "Take the adapter's own base; heads that classify belong to other libraries' models.",
        )
    found.passed_over = sorted(set(found.passed_over))
    return found


def _tied(model: Adaptable) -> Mapping[str, str]:
    tied: Mapping[str, str] = model.family.tied(model.config)
    return tied


def _check_complete(found: _Found, settings: PeftSettings, model: Adaptable, where: Path) -> None:
    """Every module that the configuration names has both factors, and no other has any."""
    spelt = path_spellings(model)
    present = {path for path, _ in found.factors}
    chosen = {path for path, spellings in spelt.items() if any(settings.chooses(s) for s in spellings)}
    halves = [f"{spelt[p][0]}.{part}" for p in present for part, x in _PARTS.items() if (p, x) not in found.factors]
    names = {theirs: ours for ours, s in parameter_spellings(model).items() for theirs in s[:1]}
    saved = {ours for theirs, ours in names.items() if settings.saves(theirs.rpartition(".")[0])}
    if settings.bias == "all":
        saved |= {ours for ours in names.values() if ours.endswith(".bias")}
    elif settings.bias == "lora_only":
        saved |= {f"{path}.bias" for path in chosen if f"{path}.bias" in names.values()}
    theirs_of = {ours: theirs for theirs, ours in names.items()}
    missing = [spelt[p][0] for p in sorted(chosen - present)] + halves
    missing += [theirs_of[ours] for ours in sorted(saved - found.whole.keys())]
    extra = [spelt[p][0] for p in sorted(present - chosen)]
    if missing:
        raise WeightsError(f"{where}: {CONFIG} names what the file lacks: {_some(missing)}", "Copy it again.")
    if extra:
        raise WeightsError(
            f"{where}: deltas that {CONFIG} doesn't name: {_some(extra)}", "Take the file that belongs to it."
        )
    if not found.factors and not found.whole:
        raise WeightsError(f"{where}: no delta for this model in it", "Take the adapter's own base.")


def _check_shapes(
    found: _Found, settings: PeftSettings, model: Adaptable, tensors: Mapping[str, Tensor], where: Path
) -> None:
    spelt = module_paths(model)
    misshapen = []
    for (path, leaf), key in found.factors.items():
        rank, base = settings.lora.rank_of(spelt[path]), model.net.get_submodule(path)
        wanted = (rank, base.in_features) if leaf == A else (base.out_features, rank)
        if tuple(tensors[key].shape) != wanted:
            misshapen.append(f"{key} is {list(tensors[key].shape)}, not {list(wanted)}")
    for name, key in found.whole.items():
        wanted = tuple(model.net.get_parameter(name.removeprefix("=")).shape)
        if tuple(tensors[key].shape) != wanted:
            misshapen.append(f"{key} is {list(tensors[key].shape)}, not {list(wanted)}")
    if misshapen:
        raise WeightsError(
            f"{where}: the adapter doesn't fit the model: {_some(misshapen)}", "Take the adapter's own base."
        )


def _whole(found: _Found, model: Adaptable, tensors: Mapping[str, Tensor], where: Path) -> dict[str, Tensor]:
    """Whole parameters by our names. Of tied ones only copies of the base's own are taken, which change nothing."""
    shared = {f"{mark}{kept}" for kept in _tied(model).values() for mark in ("", "=")}
    for name in shared & found.whole.keys():
        own = model.net.get_parameter(name.removeprefix("="))
        if not torch.equal(tensors[found.whole[name]].to(own.dtype), own.detach().cpu()):
            raise WeightsError(
                f"{where}: {found.whole[name]} replaces a weight that this base uses as embedding and as head, of "
                "which PEFT would replace only one",
                "Merge it into its base with PEFT itself, with tie_word_embeddings=false.",
            )
    return {name: tensors[key] for name, key in found.whole.items() if name not in shared}


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:6]) + (f" and {len(names) - 6} more" if len(names) > 6 else "")
