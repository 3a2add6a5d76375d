"""Every error of the engine that a person can meet: one sentence on what is wrong, where, and what to do.

WorkbenchError              exit code 1
├── UsageError              exit code 2: what was asked for cannot be asked for
│   └── UnknownModelError   no model of that name, folder or hub id
├── ModelFilesError         a model's files are missing, broken or do not fit each other
├── EndpointError           a server that was named does not answer, or not as expected
├── VerificationError       an exported model disagrees with the one that it was made from
└── NonFiniteError          a number that must be finite is not
"""

from __future__ import annotations


class WorkbenchError(Exception):
    """A sentence for the person; the command line exits with 1."""

    exit_code = 1


class UsageError(WorkbenchError):
    """What was asked for cannot be asked for; the command line exits with 2."""

    exit_code = 2


class UnknownModelError(UsageError):
    """No model of that name, folder or hub id."""


class ModelFilesError(WorkbenchError):
    """A model's files are missing, broken or do not fit each other."""


class EndpointError(WorkbenchError):
    """A server that the person named does not answer, or not as expected."""


class VerificationError(WorkbenchError):
    """An exported model disagrees with the one that it was made from."""


class NonFiniteError(WorkbenchError):
    """A loss, score or weight that must be finite is not."""


def is_out_of_memory(error: BaseException) -> bool:
    """Python's, CUDA's and the CPU allocator's ways to say so; torch is not imported to find out."""
    if isinstance(error, MemoryError) or type(error).__name__ in ("OutOfMemoryError", "ArrayMemoryError"):
        return True
    text = str(error)
    return isinstance(error, RuntimeError) and (
        "out of memory" in text.lower() or "can't allocate memory" in text or "not enough memory" in text
    )


def line_of(error: BaseException) -> str:
    """The first line of what an error says."""
    text = str(error).strip()
    return text.splitlines()[0][:200] if text else "no reason given"
