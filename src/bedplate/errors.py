"""The exception tree and its exit codes.

Every error that Bedplate raises on purpose says what is wrong, where, and what to do about it. The command line turns
it into one plain message and the exit code of its class: 2 where the user can mend it, 1 where only we can, and
128 + n for signal n (130 for Ctrl-C, 143 for SIGTERM).
"""

from __future__ import annotations


class BedplateError(Exception):
    """Anything raised on purpose. `problem` says what and where; `fix`, where there is one, says what to do."""

    exit_code = 1

    def __init__(self, problem: str, fix: str | None = None) -> None:
        super().__init__(problem if fix is None else f"{problem}\n{fix}")
        self.problem = problem
        self.fix = fix


class UserError(BedplateError):
    """The user can mend it: a wrong path, key, value, file or row."""

    exit_code = 2


class RecipeError(UserError):
    """A recipe, an override or a configuration is wrong; the message names file, line and key."""


class InputError(UserError):
    """Input data is missing, empty, corrupt or hostile; the message names file, row or offset."""


class ArtefactError(UserError):
    """An artefact folder isn't what it should be: wrong kind, wrong key, newer schema, changed bytes."""


class WeightsError(UserError):
    """Weights don't fit the architecture: missing, extra, misshapen or unsupported; the message names them."""


class TokenizerError(UserError):
    """A tokenizer is broken or isn't the one that the model or the tokens were made with."""


class BusyError(UserError):
    """Another process is at work on the same folder."""


class StorageError(UserError):
    """The disk is full or can't be written."""


class InternalError(BedplateError):
    """A promise of ours is broken; the user can't mend it. Please report it."""
