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

from bedplate.deltas.lora import A, B, LoraConfig, LoraDelta, attach
from bedplate.deltas.names import Adaptable, inverted, owner, parameter_lines, passed_over, unused_modules
from bedplate.deltas.peft_config import CONFIG, PeftSettings, read_peft_config, write_peft_config
from bedplate.deltas.places import Joined, Place, check_adaptable, places, unsayable
from bedplate.deltas.replaced import Replaced
from bedplate.errors import InputError, WeightsError
from bedplate.families.model import read_json, write_json
from bedplate.families.registry import is_encoder, is_encoder_decoder
from bedplate.families.weights import Line

WEIGHTS = "adapter_model.safetensors"
_PREFIX = "base_model.model."
_PARTS = {"lora_A": A, "lora_B": B}
_FLOATS = (torch.float32, torch.bfloat16, torch.float16, torch.float64)


def write_peft(folder: Path, model: Adaptable, delta: LoraDelta, *, base_name: str | None = None) -> None:
    """Write a folder that PEFT and vLLM load. Raises WeightsError for an adapter that also replaces parameters, as some
    made elsewhere do: those are merged instead; and for deltas of maps that no such folder can say.
    """
    check_adaptable(model, delta.layers)
    if delta.replaced.parameters():
        names = ", ".join(delta.replaced.parameters())
        raise WeightsError(f"the adapter also replaces {names}", "Merge it into its base, and share the result.")
    folder.mkdir(parents=True, exist_ok=True)
    every = places(model)
    chosen = [place for place in every if not delta.layers.keys().isdisjoint(place.ours)]
    joined = {place.path: place.joined(delta.layers) for place in chosen}
    targets = _ends(list(joined), [*(place.path for place in every), *unused_modules(model)])
    said = write_peft_config(
        _said_by_path(delta.config, joined),
        targets,
        base=base_name,
        task_type=_task_type(model),
        fan_in_fan_out=any(place.turned for place in chosen),
    )
    write_json(folder / CONFIG, said)
    tensors = {
        f"{_PREFIX}{path}.{part}.weight": tensor
        for path, one in joined.items()
        for part, tensor in (("lora_A", one.a), ("lora_B", one.b))
    }
    write_tensors(folder / WEIGHTS, tensors)


def _task_type(model: Adaptable) -> str | None:
    """None for an encoder with a head: PEFT knows no such task as a masked head's, and for a classifier's it would
    look for the head's weights, which are the base's, in the adapter."""
    if is_encoder(model.config.model_type):
        return None if getattr(model.config, "head", None) else "FEATURE_EXTRACTION"
    return "SEQ_2_SEQ_LM" if is_encoder_decoder(model.config.model_type) else "CAUSAL_LM"


def write_tensors(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """A safetensors file that everybody may read whom the umask lets."""
    save_file(dict(tensors), path, metadata={"format": "pt"})
    # The library makes its files readable by their owner alone.
    plain = path.with_name(f"{path.name}.mode")
    plain.touch()
    path.chmod(plain.stat().st_mode)
    plain.unlink()


def _said_by_path(config: LoraConfig, joined: Mapping[str, Joined]) -> LoraConfig:
    """The configuration that says each map's rank and scale in Hugging Face's names."""
    ranks = {path: len(one.a) for path, one in joined.items()}
    scales = {path: one.scale for path, one in joined.items()}
    if all(config.rank_of(p) == r and config.scale_of(p, r) == scales[p] for p, r in ranks.items()):
        return config
    alphas = {p: scales[p] * (r**0.5 if config.rslora else r) for p, r in ranks.items()}
    return replace(
        config,
        rank_pattern={key: int(value) for key, value in _patterns(ranks, config.rank).items()},
        alpha_pattern=_patterns(alphas, config.alpha),
    )


def _patterns(values: Mapping[str, float], usual: float) -> dict[str, float]:
    """Patterns that give each path its value: its last name where all of that name have the same, else all of it."""
    kinds: dict[str, set[float]] = {}
    for path, value in values.items():
        kinds.setdefault(path.rpartition(".")[2], set()).add(value)
    return {
        re.escape(last if len(kinds[last := path.rpartition(".")[2]]) == 1 else path): value
        for path, value in values.items()
        if value != usual
    }


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
    """The names of a file's tensors by what they are: factors by (a map's path as we write it, leaf), whole parameters
    by the name that we write, copies under the other name that a tied weight has by our parameter, and modules that
    nothing here is computed with. spelt: the path as we write it -> as the file has it."""

    factors: dict[tuple[str, str], str] = field(default_factory=dict)
    whole: dict[str, str] = field(default_factory=dict)
    copies: dict[str, str] = field(default_factory=dict)
    passed_over: list[str] = field(default_factory=list)
    spelt: dict[str, str] = field(default_factory=dict)


def read_peft(folder: Path, model: Adaptable, *, trainable: bool = False) -> tuple[LoraDelta, list[str]]:
    """Attach the LoRA in a PEFT folder to `model.net`, in place; it and what should be said of it.

    A delta of a map that is several here gives each its own copy of A and its rows of B. trainable: in fp32 and with
    gradients, to go on training; else in the base's dtype, as it is computed. Raises WeightsError for what isn't
    supported or doesn't fit the model, InputError for a missing or damaged file; the model is then as it was.
    """
    settings = read_peft_config(read_json(folder / CONFIG), str(folder / CONFIG))
    path = weights_file(folder)
    tensors = read_tensors(path)
    every = {place.path: place for place in places(model)}
    found = _sorted(tensors, model, every, path)
    _check_complete(found, settings, model, every, path)
    _check_shapes(found, settings, model, every, tensors, path)
    whole = _whole(found, model, tensors, path)
    factors, scales = {}, {}
    for name in dict.fromkeys(name for name, _ in found.factors):
        a, b = tensors[found.factors[name, A]], tensors[found.factors[name, B]]
        for ours, rows in every[name].parted(b).items():
            factors[ours] = a, rows
            scales[ours] = settings.lora.scale_of(found.spelt[name], len(a))
    delta = attach(model.net, settings.lora, {ours: len(a) for ours, (a, _) in factors.items()}, scales.__getitem__)
    delta.replaced = Replaced(model.net, {n: _as(t, model.net.get_parameter(n), trainable) for n, t in whole.items()})
    for ours, pair in factors.items():
        layer = delta.layers[ours]
        for leaf, tensor in zip((A, B), pair, strict=True):
            value = _as(tensor, layer.weight, trainable).to(layer.weight.device)
            # Each its own: what stands for several maps is trained apart, and a saved file has no views in it.
            setattr(layer, leaf, torch.nn.Parameter(value.clone()))
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


def _sorted(tensors: Iterable[str], model: Adaptable, every: Mapping[str, Place], where: Path) -> _Found:
    modules = inverted({path: place.theirs for path, place in every.items()})
    lines, table = parameter_lines(model), model.family.table(model.config)
    parameters = inverted({line.theirs[0]: [n for (n,) in line.spellings] for line in lines if len(line.theirs) == 1})
    tied = table.pairs(_tied(model), model.config.num_hidden_layers)
    copied = inverted({kept: tied[copy] for copy, kept in _tied(model).items()})
    several = {n for line in lines if len(line.theirs) > 1 for spelling in line.spellings for n in spelling}
    otherwise = {owner(n) for n in several} | {owner(line.theirs[0]) for line in unsayable(model)}
    found, unknown = _Found(), []
    for key in tensors:
        name = key.removeprefix(_PREFIX)
        match = re.fullmatch(r"(.*)\.(lora_[AB])\.weight", name)
        plain = name.replace(".base_layer.", ".")
        module = match[1] if match else owner(plain)
        if name == key:
            unknown.append(key)
        elif module in otherwise:
            raise WeightsError(
                f"{where}: {key}: {model.config.model_type} holds this map as a part of another kind (experts), and "
                "deltas on such aren't supported",
                "Merge it into its base with PEFT itself (merge_and_unload), and import the result.",
            )
        elif match and module in modules:
            found.factors[modules[module], _PARTS[match[2]]] = key
            found.spelt[modules[module]] = module
        elif passed_over(model, module):
            found.passed_over.append(module)
        elif "lora_embedding_" in name or (match and f"{module}.weight" in {**parameters, **copied}):
            raise WeightsError(
                f"{where}: {key}: deltas on embeddings and heads aren't supported",
                "Merge it into its base with PEFT itself.",
            )
        elif plain in parameters:
            found.whole[parameters[plain]] = key
        elif plain in copied:
            found.copies[copied[plain]] = key
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


def _check_complete(
    found: _Found, settings: PeftSettings, model: Adaptable, every: Mapping[str, Place], where: Path
) -> None:
    """Every module that the configuration names has both factors, and no other has any."""
    present = {path for path, _ in found.factors}
    chosen = {path for path, place in every.items() if any(settings.chooses(s) for s in place.theirs)}
    halves = [f"{p}.{part}" for p in present for part, leaf in _PARTS.items() if (p, leaf) not in found.factors]
    names = [line.theirs[0] for line in parameter_lines(model)]
    saved = {name for name in names if settings.saves(owner(name))}
    if settings.bias == "all":
        saved |= {name for name in names if name.endswith(".bias")}
    elif settings.bias == "lora_only":
        saved |= {f"{path}.bias" for path in chosen if f"{path}.bias" in names}
    missing = [p for p in every if p in chosen - present] + halves + sorted(saved - found.whole.keys())
    extra = [p for p in every if p in present - chosen]
    if missing:
        raise WeightsError(f"{where}: {CONFIG} names what the file lacks: {_some(missing)}", "Copy it again.")
    if extra:
        raise WeightsError(
            f"{where}: deltas that {CONFIG} doesn't name: {_some(extra)}", "Take the file that belongs to it."
        )
    if not found.factors and not found.whole and not found.copies:
        raise WeightsError(f"{where}: no delta for this model in it", "Take the adapter's own base.")


def _check_shapes(
    found: _Found,
    settings: PeftSettings,
    model: Adaptable,
    every: Mapping[str, Place],
    tensors: Mapping[str, Tensor],
    where: Path,
) -> None:
    shapes: dict[str, tuple[int, ...]] = {}
    for (path, leaf), key in found.factors.items():
        rank, place = settings.lora.rank_of(found.spelt[path]), every[path]
        width = model.net.get_submodule(place.ours[0]).in_features
        shapes[key] = (rank, width) if leaf == A else (sum(place.sizes), rank)
    for line in parameter_lines(model):
        if line.theirs[0] in found.whole:
            shapes[found.whole[line.theirs[0]]] = _their_shape(line, model)
    shapes |= {key: tuple(model.net.get_parameter(kept).shape) for kept, key in found.copies.items()}
    misshapen = [
        f"{key} is {list(tensors[key].shape)}, not {list(wanted)}"
        for key, wanted in shapes.items()
        if tuple(tensors[key].shape) != wanted
    ]
    if misshapen:
        raise WeightsError(
            f"{where}: the adapter doesn't fit the model: {_some(misshapen)}", "Take the adapter's own base."
        )


def _their_shape(line: Line, model: Adaptable) -> tuple[int, ...]:
    own = [torch.empty(model.net.get_parameter(name).shape, device="meta") for name in line.ours]
    return tuple(line.written(own)[0].shape)


def _whole(found: _Found, model: Adaptable, tensors: Mapping[str, Tensor], where: Path) -> dict[str, Tensor]:
    """Whole parameters by our names. Of tied ones only copies of the base's own are taken, which change nothing."""
    values: dict[str, Tensor] = {}
    keys: dict[str, str] = {}
    for line in parameter_lines(model):
        if (key := found.whole.get(line.theirs[0])) is not None:
            values |= dict(zip(line.ours, line.read([tensors[key]]), strict=True))
            keys |= dict.fromkeys(line.ours, key)
    shared = set(_tied(model).values())
    copies = [(name, keys[name], values.pop(name)) for name in shared & values.keys()]
    for name, key, value in [*copies, *((name, key, tensors[key]) for name, key in found.copies.items())]:
        own = model.net.get_parameter(name)
        if not torch.equal(value.to(own.dtype), own.detach().cpu()):
            raise WeightsError(
                f"{where}: {key} replaces a weight that this base uses as embedding and as head, of which PEFT would "
                "replace only one",
                "Merge it into its base with PEFT itself, with tie_word_embeddings=false.",
            )
    return values


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:6]) + (f" and {len(names) - 6} more" if len(names) > 6 else "")
