"""What tools returned, told as facts beside the question that they answer.

For models whose template knows no tools: one of 135M parameters that reads a call as JSON and
"The function returned" answers with the call again, while it answers well from facts.
"""

from collections.abc import Sequence

from llm_core.prompt import Call, Turn
from llm_core.prompt_format import ANSWER, FACT, FAILED_FACT


def with_facts(turns: Sequence[Turn], *, ask: bool = True) -> list[Turn]:
    """The conversation without calls: results follow the request that they were asked for.

    `ask` ends with the request for an answer where results came last.
    """
    told: list[Turn] = []
    calls: dict[str, Call] = {}
    for turn in turns:
        calls |= {call.id: call for call in turn.calls}
        if turn.from_tool:
            _add(told, _fact(turn, calls.get(turn.call_id)))
        elif not turn.calls:
            told.append(turn)
        elif turn.content:
            told.append(Turn(turn.role, turn.content))
    if ask and turns and turns[-1].from_tool:
        _add(told, ANSWER)
    return told


def _add(told: list[Turn], text: str) -> None:
    """Put a text behind what the person said last."""
    if told and told[-1].role == "user":
        told[-1] = Turn("user", f"{told[-1].text}\n\n{text}")
    else:
        told.append(Turn("user", text))


def _fact(result: Turn, call: Call | None) -> str:
    """One result in a line, with the arguments that brought it."""
    name = (result.tool or (call.name if call else "") or "result").replace("_", " ")
    given = ", ".join(f"{key} {value}" for key, value in call.arguments.items()) if call else ""
    subject = f"{name} ({given})" if given else name
    text = result.text if result.content is None else result.content
    return (FAILED_FACT if result.failed else FACT).format(subject=subject, text=text)
