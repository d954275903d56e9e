"""Errors a person can mend, and what stops a run from outside."""

from agents.errors import QuestionError
from llm_core.errors import ModelError
from retrievers.errors import RetrievalError


class UserError(Exception):
    """Something in the command that the person can mend; one line naming the value and the mend."""


class ThreadError(UserError):
    """The thread is unknown, held by another process, or works on another question."""


class StateFileError(UserError):
    """The file that keeps the runs cannot be opened or written."""


class OutputError(UserError):
    """The answer cannot be written where it should go."""


class ServedModelError(UserError):
    """The server of a model cannot be reached, or refused a call."""


class RunCancelledError(Exception):
    """The person stopped the run; what is finished is kept."""


EXPECTED_ERRORS = (UserError, QuestionError, ModelError, RetrievalError)
