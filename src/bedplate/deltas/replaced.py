"""Parameters of a net that stand in the place of its base's, which they leave as they are."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from torch import Tensor, nn


class Replaced:
    """Names in a net -> own parameters that stand there, and the base's that stood there before."""

    def __init__(self, net: nn.Module | None = None, values: Mapping[str, Tensor] | None = None) -> None:
        """Put `values` in the place of the parameters of these names; the base's own tensors aren't touched."""
        self._places: dict[str, tuple[nn.Module, str, nn.Parameter]] = {}
        for name, value in (values or {}).items():
            assert net is not None
            path, _, leaf = name.rpartition(".")
            owner = net.get_submodule(path)
            before: nn.Parameter = getattr(owner, leaf)
            setattr(owner, leaf, nn.Parameter(value.detach().to(before.device)))
            self._places[name] = owner, leaf, before

    def parameters(self) -> dict[str, nn.Parameter]:
        """Name in the net -> the parameter that stands there instead of the base's."""
        return {name: getattr(owner, leaf) for name, (owner, leaf, _) in self._places.items()}

    @contextmanager
    def disabled(self) -> Iterator[None]:
        """Inside, the base's own parameters stand in their places."""
        standing = self.parameters()
        for owner, leaf, before in self._places.values():
            setattr(owner, leaf, before)
        try:
            yield
        finally:
            for name, (owner, leaf, _) in self._places.items():
                setattr(owner, leaf, standing[name])
