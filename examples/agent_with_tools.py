"""A LangChain agent with three tools, run by the local model.

python examples/agent_with_tools.py ["How often does the word goose occur?" ...]
"""

import re
import sys
from collections.abc import Sequence
from datetime import date
from pathlib import Path

from langchain.agents import create_agent
from langchain_core.messages import AIMessage, HumanMessage

from llm_core import LocalChatModel

STORIES = Path(__file__).parents[1] / "samples" / "the-adventures-of-sherlock-holmes.txt"
QUESTIONS = (
    "How often does the word goose occur?",
    "How many days are there between 1890-10-09 and 1891-05-04?",
    "What is the title of story number 7?",
)


def count_word(word: str) -> str:
    """Count how often a word occurs in the stories of Sherlock Holmes."""
    found = re.findall(r"\w+", STORIES.read_text(encoding="utf-8").lower())
    return f"The word {word} occurs {found.count(word.lower())} times."


def days_between(first: date, second: date) -> str:
    """Count the days between two dates."""
    return f"{abs((second - first).days)} days"


def story_title(number: int) -> str:
    """Look up the title of a story of Sherlock Holmes by its number."""
    titles = re.findall(r"^ *[IVX]+\. (.+)", STORIES.read_text(encoding="utf-8"), re.MULTILINE)[:12]
    return titles[number - 1] if 1 <= number <= 12 else f"There are 12 stories, no {number}th."


def main(questions: Sequence[str]) -> int:
    """Ask each question, and show the calls, their results and the answer."""
    agent = create_agent(LocalChatModel(max_tokens=80), [count_word, days_between, story_title])
    for question in questions or QUESTIONS:
        print(question)
        state = agent.invoke({"messages": [HumanMessage(question)]})
        for message in state["messages"][1:]:
            for call in message.tool_calls if isinstance(message, AIMessage) else ():
                print(f"  {call['name']}({call['args']})")
            if message.text:
                print(f"  {message.type}: {message.text}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
