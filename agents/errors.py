"""Errors a person can mend in what they asked."""


class QuestionError(Exception):
    """The question cannot be researched as it stands; the message says why."""
