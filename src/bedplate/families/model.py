"""`Model`: modules, configuration and tokenizer together; loaded from and saved to Hugging Face folders."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor, nn

from bedplate.codecs.foreign import read_foreign
from bedplate.codecs.text import TextTokenizer
from bedplate.config.nearest import nearest
from bedplate.errors import InputError, TokenizerError, WeightsError
from bedplate.families.building import build_empty, check_parts
from bedplate.families.checkpoint import Checkpoint, stored_dtype, write_checkpoint
from bedplate.families.family_config import FamilyConfig
from bedplate.families.registry import C, Family, N, family_of
from bedplate.machine.choose import choose_device
from bedplate.nn.cache import Cache, KVCache
from bedplate.nn.decoder import Decoder
from bedplate.nn.mask import Mask
from bedplate.nn.parameters import parameter_table

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


class Model:
    """A language model that can be asked: config, net (the modules), tokenizer (None where the folder has none) and
    generation (the content of generation_config.json)."""

    def __init__(
        self,
        config: FamilyConfig,
        net: Decoder,
        tokenizer: TextTokenizer | None = None,
        generation: Mapping[str, Any] | None = None,
    ) -> None:
        self.config, self.net, self.tokenizer = config, net, tokenizer
        self.generation = dict(generation or {})

    @property
    def family(self) -> Family[Any, Decoder]:
        return family_of(self.config.model_type, "config")

    @property
    def device(self) -> torch.device:
        return self.net.embed.weight.device

    @property
    def dtype(self) -> torch.dtype:
        """What activations are computed in."""
        return self.net.compute_dtype or self.net.embed.weight.dtype

    @property
    def head_weight(self) -> Tensor:
        """[vocabulary, width]."""
        return self.net.head_weight

    def hidden(
        self,
        tokens: Tensor,
        *,
        positions: Tensor | None = None,
        mask: Mask | None = None,
        cache: Cache | None = None,
    ) -> Tensor:
        """tokens [B, T] int64 -> last hidden states [B, T, width], normed and ready for the head.

        Raises InputError for more tokens than the model has learned positions.
        """
        if positions is None:
            check_length(tokens.shape[1] + (0 if cache is None else cache.length), self.net.longest)
        states: Tensor = self.net(tokens, positions=positions, mask=mask, cache=cache)
        return states

    def __call__(
        self,
        tokens: Tensor,
        *,
        positions: Tensor | None = None,
        mask: Mask | None = None,
        cache: Cache | None = None,
    ) -> Tensor:
        """tokens [B, T] int64 -> logits [B, T, vocabulary] fp32. For long inputs ask for `hidden` and take the head
        where it is needed."""
        return self.logits(self.hidden(tokens, positions=positions, mask=mask, cache=cache))

    def logits(self, hidden: Tensor) -> Tensor:
        """hidden [..., width] -> [..., vocabulary] fp32."""
        return self.net.readout.logits(hidden)

    def new_cache(self, capacity: int = 0) -> KVCache:
        """An empty cache with room for `capacity` positions; it grows when it must."""
        return self.net.new_cache(capacity)

    def parameter_count(self) -> int:
        """Every number that is stored, a tied head counted once."""
        return sum(p.numel() for p in self.net.parameters())

    def save(self, folder: str | Path, *, dtype: torch.dtype | None = None) -> None:
        """Write a folder that `load`, transformers and vLLM read: config, safetensors, tokenizer, generation config.

        dtype: what the weights are stored in, as they are where None.
        """
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        own = {n: p.detach() if dtype is None else p.detach().to(dtype) for n, p in self.net.named_parameters()}
        tensors = self.family.table(self.config).stored(own, self.config.num_hidden_layers)
        write_checkpoint(folder, tensors)
        stored = str(stored_dtype(tensors)).removeprefix("torch.")
        # transformers 5 reads dtype, 4 torch_dtype.
        write_json(folder / "config.json", self.config.to_hf() | {"dtype": stored, "torch_dtype": stored})
        write_json(folder / "generation_config.json", self.generation or generation_of(self.config))
        if self.tokenizer is not None:
            self.tokenizer.save(folder)

    @classmethod
    def load(cls, folder: str | Path, *, dtype: str | torch.dtype | None = None, device: str = "auto") -> Self:
        """Read a model folder. dtype: as stored where None. Raises the errors of `load`."""
        folder = Path(folder)
        config = read_config(folder)
        family = family_of(config.model_type, str(folder))
        config = family.held(config, Checkpoint(folder).shapes)
        net, _ = load_net(folder, family, config, dtype=dtype, device=device)
        tokenizer = read_tokenizer(folder)
        if tokenizer is not None:
            check_tokenizer(tokenizer, config, str(folder))
        return cls(config, net, tokenizer, read_generation(folder / "generation_config.json", config))


def check_length(length: int, longest: int | None) -> None:
    """Raises InputError for more tokens in a row than a model has positions; None: as many as one likes."""
    if longest is not None and length > longest:
        raise InputError(f"{length} tokens in a row, where the model has {longest} positions", "Cut the text.")


def load_net(
    folder: Path,
    family: Family[C, N],
    config: C,
    *,
    dtype: str | torch.dtype | None = None,
    device: str = "auto",
) -> tuple[N, dict[str, Tensor]]:
    """The modules with the folder's weights, in evaluation mode; and the tensors that the family carries beside them,
    by the names they are written under. Raises as `load`."""
    checkpoint, layers = Checkpoint(folder), config.num_hidden_layers
    check_parts(config, checkpoint.shapes, str(folder))
    net = build_empty(family, config, str(folder / "config.json"))
    shapes = {name: tuple(p.shape) for name, p in net.named_parameters()}
    tied = family.tied(config)
    table = family.table(config)
    matching = table.match(shapes, checkpoint.shapes, layers, str(folder), tied)
    for copy, kept in table.copies(checkpoint.shapes, layers, tied).items():
        _check_copy(checkpoint, copy, matching.names[kept])
    place = torch.device(choose_device(device).name)  # type: ignore[arg-type]
    wanted, states = _dtype(dtype), state_names(net)

    def kept_dtype(name: str, stored: torch.dtype) -> torch.dtype:
        # What balances experts is added to scores in fp32: in 16 bits its small steps would be lost.
        return stored if wanted is None or name in states else wanted

    def read(names: Mapping[str, str]) -> Iterator[tuple[str, Tensor]]:
        return ((n, _unquantised(names[n], t, folder)) for n, t in checkpoint.read(names))

    fill(net, ((n, t.to(device=place, dtype=kept_dtype(n, t.dtype))) for n, t in matching.read(read)))
    carried = ((n, t.to(device=place, dtype=wanted or t.dtype)) for n, t in read(table.kept(checkpoint.shapes)))
    return net.eval(), dict(carried)


def load(path: str | Path, *, dtype: str | torch.dtype | None = None, device: str = "auto") -> Model:
    """The model in a folder: an artefact of kind model, run or release, or any Hugging Face folder.

    dtype: "float32", "bfloat16" or "float16"; as stored where None. device: auto, cpu, cuda, mps.
    Raises InputError (no such folder, broken file), WeightsError (weights or config that don't fit) and
    TokenizerError (more tokens than the embedding has rows).
    """
    return Model.load(model_folder(path), dtype=dtype, device=device)


def model_folder(path: str | Path) -> Path:
    """The Hugging Face folder that `path` means: itself, or the `model/` inside a run."""
    path = Path(path)
    for folder in (path, path / "model"):
        if (folder / "config.json").is_file():
            return folder
    if not path.exists():
        raise InputError(
            f"{path}: no such folder{nearest_sibling(path)}",
            "Give a model's folder, or bring one in: bedplate import SRC OUT",
        )
    raise InputError(f"{path}: no config.json in it, so not a model", "Give a model's folder in Hugging Face layout.")


def nearest_sibling(path: Path) -> str:
    """The end of an error about a path that isn't there: "; nearest: runs/quickstart", or nothing."""
    there = next((parent for parent in path.parents if parent.is_dir()), path)
    try:
        near = nearest(path.relative_to(there).parts[0], [entry.name for entry in there.iterdir()])
    except (OSError, ValueError, IndexError):
        return ""
    return f"; nearest: {there / near}" if near else ""


def read_config(folder: Path) -> FamilyConfig:
    """The configuration of a model folder."""
    found = read_json(folder / "config.json")
    family = family_of(found.get("model_type"), str(folder / "config.json"))
    return family.read_config(found, str(folder / "config.json"))


def fill(net: nn.Module, tensors: Iterable[tuple[str, Tensor]]) -> None:
    """Put tensors in the place of a net's parameters (built on the meta device); all of them."""
    left, states = dict(net.named_parameters()), state_names(net)
    for name, tensor in tensors:
        owner, _, leaf = name.rpartition(".")
        trains = tensor.is_floating_point() and name not in states
        setattr(net.get_submodule(owner), leaf, torch.nn.Parameter(tensor, trains))
        del left[name]
    if left:
        raise InputError(f"no values for {', '.join(left)}")


def state_names(net: nn.Module) -> set[str]:
    """The parameters that are never trained: what an objective sets between steps, and constants."""
    return {name for name, info in parameter_table(net).items() if info.role == "state"}


def _check_copy(checkpoint: Checkpoint, copy: str, kept: str) -> None:
    """Raises WeightsError if the copy of a tied weight isn't equal to the one that the model keeps."""
    stored = dict(checkpoint.read({copy: copy, kept: kept}))
    if not torch.equal(stored[copy].float(), stored[kept].float()):
        raise WeightsError(
            f"{checkpoint.folder}: the configuration ties {copy} to {kept}, but the file holds two that differ",
            "Set tie_word_embeddings to false in config.json if the head was trained apart, or remove the wrong one.",
        )


def _unquantised(name: str, tensor: Tensor, folder: Path) -> Tensor:
    if tensor.dtype not in (*DTYPES.values(), torch.float64):
        raise WeightsError(
            f"{folder}: {name} is stored as {tensor.dtype}: quantised numbers mean nothing without their scales",
            "Take the model's unquantised weights.",
        )
    return tensor


def _dtype(name: str | torch.dtype | None) -> torch.dtype | None:
    if isinstance(name, str) and name not in DTYPES:
        raise InputError(f"dtype={name}: no such number format here", f"Use one of {', '.join(DTYPES)}.")
    return DTYPES[name] if isinstance(name, str) else name


def read_tokenizer(folder: Path) -> TextTokenizer | None:
    """The tokenizer in a model's folder: its `tokenizer.json`, what an older file says where there is none, or None.
    Raises TokenizerError for one that is broken or of a class whose rules aren't known."""
    return TextTokenizer.load(folder) if (folder / "tokenizer.json").is_file() else read_foreign(folder)


def check_tokenizer(tokenizer: TextTokenizer, config: FamilyConfig, where: str) -> None:
    """Raises TokenizerError if a token has no row in the embedding."""
    if tokenizer.vocab_size > config.vocab_size:
        raise TokenizerError(
            f"{where}: the tokenizer has {tokenizer.vocab_size} tokens and the model {config.vocab_size} rows",
            "Take the tokenizer that belongs to this model.",
        )


def read_generation(path: Path, config: FamilyConfig) -> dict[str, Any]:
    """The content of generation_config.json, its tokens checked; nothing where there is none."""
    found = read_json(path, required=False)
    for key in ("bos_token_id", "eos_token_id", "pad_token_id", "decoder_start_token_id", "forced_bos_token_id"):
        said = found.get(key)
        if said is None or (key == "pad_token_id" and said == -1):  # -1: as the first conversions of Llama said it
            continue
        for token in said if key == "eos_token_id" and isinstance(said, list) else [said]:
            if isinstance(token, bool) or not isinstance(token, int) or not 0 <= token < config.vocab_size:
                raise InputError(
                    f"{path}: {key} is {said!r}, where the model has tokens 0 to {config.vocab_size - 1}",
                    "Take an undamaged copy, or correct it.",
                )
    return found


def generation_of(config: FamilyConfig) -> dict[str, Any]:
    hf = config.to_hf()
    return {k: hf[k] for k in ("bos_token_id", "eos_token_id", "pad_token_id") if hf[k] is not None}


def read_json(path: Path, *, required: bool = True) -> dict[str, Any]:
    """The object in a JSON file; empty where there is no file and none is required. Raises InputError."""
    if not path.is_file() and not required:
        return {}
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{path}: not readable as JSON: {error}", "Copy or download it again.") from error
    if not isinstance(found, dict):
        raise InputError(f"{path}: not a JSON object", "Copy or download it again.")
    return found


def write_json(path: Path, content: Mapping[str, Any] | Sequence[Any]) -> None:
    """Write JSON as people read it."""
    path.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
