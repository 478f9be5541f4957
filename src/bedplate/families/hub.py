"""Models from the Hugging Face hub: a name and a revision become a commit, and a commit a folder on this machine.

Only what can't run code is fetched: safetensors, JSON, templates, the card and the licence.
"""

from __future__ import annotations

import errno
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bedplate.errors import InputError, StorageError, WeightsError

PREFIX = "hub:"
WANTED = ("*.safetensors", "*.json", "*.jinja", "README.md", "LICENSE*")
# Folders hold other formats of the same weights; but sentence encoders say how they pool in 1_Pooling/config.json.
UNWANTED = ("[!0-9]*/*", "[0-9][!_]*/*", "*/*.safetensors", "*/*/*", "*.bin", "*.pt")
_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")
_COMMIT = re.compile(r"[0-9a-f]{40}")


def is_hub_id(text: str) -> bool:
    """Whether `text` is shaped like `organisation/model`."""
    return _HUB_ID.fullmatch(text) is not None


def hub_id(source: str, revision: str | None = None, *, plain: bool = False) -> str | None:
    """The `organisation/model` that a source is on the hub, or None where it is a path.

    It is on the hub if it says so, `hub:organisation/model`, or if nothing here is called so and there is a revision;
    with `plain` also where there isn't even a folder `organisation`. A mistyped path must not become a question to the
    hub. Raises InputError for `hub:` before anything else.
    """
    if source.startswith(PREFIX):
        named = source.removeprefix(PREFIX)
        if not is_hub_id(named):
            raise InputError(f"{source}: no model on the hub is called so", f"Write {PREFIX}organisation/model.")
        return named
    path = Path(source)
    if path.exists() or not is_hub_id(source):
        return None
    return source if revision is not None or (plain and not path.parent.exists()) else None


def is_commit(text: str) -> bool:
    """Whether `text` is a full commit, which can't come to mean something else."""
    return _COMMIT.fullmatch(text) is not None


def pin(repository: str, revision: str | None) -> str:
    """The commit that a branch, tag or commit of a repository is now ("main" where None).

    Raises InputError if the hub, the repository or the revision can't be reached; WeightsError if it holds no
    safetensors.
    """
    from huggingface_hub import HfApi

    with _hub_errors(repository, revision):
        info = HfApi().model_info(repository, revision=revision)
    files = {sibling.rfilename for sibling in info.siblings or ()}
    if not any("/" not in name and name.endswith(".safetensors") for name in files):
        held = [kind for kind in ("bin", "pt", "pth", "gguf") if any(name.endswith(f".{kind}") for name in files)]
        raise WeightsError(
            f"{repository}: no safetensors on the hub" + (f", only .{', .'.join(held)}" if held else ""),
            "Download a GGUF and import the file. Pickled weights (.bin, .pt) can run code and are not read: "
            "choose a revision with safetensors.",
        )
    if info.sha is None:
        raise InputError(f"{repository}: the hub names no commit for revision {revision or 'main'}", "Give a commit.")
    return info.sha


def fetch(repository: str, commit: str) -> Path:
    """The folder of a commit, downloaded unless it is in the cache. Raises InputError if that fails."""
    from huggingface_hub import snapshot_download

    with _hub_errors(repository, commit):
        folder = snapshot_download(
            repository, revision=commit, allow_patterns=list(WANTED), ignore_patterns=list(UNWANTED)
        )
    return Path(folder)


@contextmanager
def _hub_errors(repository: str, revision: str | None) -> Iterator[None]:
    from huggingface_hub import errors

    try:
        yield
    except errors.GatedRepoError as error:
        raise InputError(
            f"{repository}: gated on the hub", f"Accept its terms at {_page(repository)} and log in: hf auth login"
        ) from error
    except errors.RevisionNotFoundError as error:
        raise InputError(f"{repository}: no revision {revision!r} on the hub", f"See {_page(repository)}") from error
    except errors.RepositoryNotFoundError as error:
        raise InputError(
            f"{repository}: no such local path, and no such model on the hub",
            "Check the name. A private one needs: hf auth login",
        ) from error
    except OSError as error:
        if error.errno == errno.ENOSPC:
            raise StorageError(
                f"{repository}: the disk is full: {error}", "Free some space, or set HF_HOME."
            ) from error
        raise InputError(
            f"{repository}: the hub can't be reached: {error}", "Check the connection and try again."
        ) from error
    except Exception as error:  # HTTP clients raise classes of their own for timeouts and dropped connections
        raise InputError(
            f"{repository}: the hub can't be reached: {error}", "Check the connection and try again."
        ) from error


def _page(repository: str) -> str:
    from huggingface_hub import constants

    return f"{constants.ENDPOINT}/{repository}"
