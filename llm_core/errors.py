"""Errors of the model side, each one line that names the value and the mend."""


class ModelError(Exception):
    """Something about a model that the person can mend: a name, a file, a budget."""


class ModelNotFoundError(ModelError):
    """The named model is not on this machine."""


class ModelFileError(ModelError):
    """A model file is damaged, of the wrong kind, or not the one its hash promises."""


class ContextBudgetError(ModelError):
    """A prompt does not fit the model's window; nothing is ever cut silently."""


class StructuredOutputError(ModelError):
    """A reply did not validate against its schema, also after one repair."""
