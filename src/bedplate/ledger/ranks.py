"""Several processes on one artefact: those that `torchrun` starts. Rank 0 makes it; the others follow what it says.

They talk through the key-value store that torchrun offers to all of its processes, so that no rank has to be in a
collective while another reads documents for an hour.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from datetime import timedelta
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bedplate.errors import InternalError
from bedplate.ledger.manifest import Resource

if TYPE_CHECKING:
    from torch.distributed import TCPStore  # type: ignore[attr-defined]

PATIENCE = timedelta(days=30)
"""How long a rank waits for another. A rank that dies is noticed by torchrun, which then ends all of them."""


@dataclass(frozen=True)
class Ranks:
    """This process among those of one torchrun, for one visit to one artefact."""

    rank: int
    count: int
    prefix: str

    @classmethod
    def visiting(cls, out: Path) -> Ranks | None:
        """The processes that are to make the artefact at `out` together; None if this one is alone."""
        if follower() is None:
            return None
        rank, count = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
        place = f"bedplate/{os.path.realpath(out)}"
        visit = _store().add(f"{place}/visits/{rank}", 1)
        return cls(rank, count, f"{place}/{visit}")

    @property
    def leads(self) -> bool:
        """Whether this process makes the artefact."""
        return self.rank == 0

    def tell(self, what: str, value: dict[str, Any]) -> None:
        """Let the others know."""
        _store().set(f"{self.prefix}/{what}", json.dumps(value))

    def hear(self, what: str) -> dict[str, Any]:
        """Wait for what another rank tells. Raises InternalError if rank 0 says that it has failed."""
        key = f"{self.prefix}/{what}"
        _store().wait([key], PATIENCE)
        value: dict[str, Any] = json.loads(_store().get(key))
        if "failed" in value:
            raise InternalError(f"rank 0 has failed: {value['failed']}")
        return value

    def tell_cost(self, figures: dict[str, Resource]) -> None:
        """What this rank's part cost."""
        self.tell(f"cost/{self.rank}", {name: figure.model_dump() for name, figure in figures.items()})

    def whole_cost(self, own: dict[str, Resource]) -> dict[str, Resource]:
        """The cost of all ranks: sums of what each used, and rank 0's own count of what all did together."""
        whole = dict(own)
        for rank in range(1, self.count):
            for name, raw in self.hear(f"cost/{rank}").items():
                if name in ("wall_s", "flops") or name not in whole:
                    continue
                figure = Resource.model_validate(raw)
                whole[name] = Resource(
                    value=whole[name].value + figure.value,
                    method=figure.method if figure.method == whole[name].method else "estimated",
                    note=whole[name].note,
                )
        return whole


def follower() -> bool | None:
    """True for a rank that follows, False for the one that leads, None where there is only one process."""
    if int(os.environ.get("WORLD_SIZE", "1")) < 2 or "MASTER_ADDR" not in os.environ or "RANK" not in os.environ:
        return None
    return int(os.environ["RANK"]) > 0


@lru_cache(maxsize=1)
def _store() -> TCPStore:
    """The one connection of this process to the store. Without torchrun's agent (plain env://), rank 0 hosts it."""
    from torch.distributed import TCPStore  # type: ignore[attr-defined]

    agent = os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True"
    return TCPStore(
        os.environ["MASTER_ADDR"],
        int(os.environ["MASTER_PORT"]),
        is_master=not agent and os.environ["RANK"] == "0",
        wait_for_workers=False,
        multi_tenant=True,
    )
