"""What becomes of a task whose process came to an end: an error in a form that can be sent, or another attempt."""

from __future__ import annotations

import traceback
from dataclasses import replace

from bedplate.data.engine.journal import TOO_LONG, Place, forget_places
from bedplate.data.engine.tasks import Job, execute, is_done
from bedplate.errors import BedplateError, InternalError

Answer = tuple[type[BedplateError], str, str | None] | None
"""None: the job is done. Else the error's class, problem and fix; an exception itself may not survive the way."""


def attempt(job: Job) -> Answer:
    """Do a job in a worker, and say how it went."""
    try:
        execute(job)
    except BedplateError as error:
        return type(error), error.problem, error.fix
    except OSError as error:
        return InternalError, f"{job.target}: {error}", None
    except Exception:
        return InternalError, f"{job.target}: {traceback.format_exc()}", None
    return None


def after_death(job: Job, place: Place | None, how: str) -> Job | InternalError | None:
    """What to do about a job whose process is gone: do this one in its stead; give up; or nothing, as it was done
    before it could say so. place: where it was, as its journal says."""
    if is_done(job.target):
        return None
    forget_places(job.target)
    advice = job.advice.learn(place, how)
    if advice is not None:
        return replace(job, advice=advice)
    deaths = job.advice.deaths + 1
    fix = "raise patience_s" if how == TOO_LONG else "run fewer workers, or give the machine more memory"
    return InternalError(
        f"{job.target.parent.name}, task {job.task.number}: its worker {how}; it was tried {deaths} times",
        f"If nothing is wrong with the documents, {fix}. The same command goes on where this one ended.",
    )
