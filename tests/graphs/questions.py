"""A file of questions in SQuAD layout, three paragraphs long."""

import json
from pathlib import Path

PARAGRAPHS = {
    "Goose": "The blue carbuncle lay in the crop of a white goose. Breckinridge sold the goose.",
    "Hat": "The hat of Mr Baker was found in the street. Its owner had foresight once.",
    "Snake": "The speckled band was a swamp adder. It came through the ventilator.",
}
QUESTIONS = [
    ("Goose", "Where did the blue carbuncle lie?", ["in the crop of a white goose"]),
    ("Hat", "Where was the hat of Mr Baker found?", ["in the street"]),
    ("Snake", "What was the speckled band?", ["a swamp adder"]),
    ("Snake", "Which zebra came through the chimney of Windsor?", []),
    ("Goose", "How much did the emerald weigh in kilograms?", []),
]


def write_questions(file: Path) -> Path:
    """Write PARAGRAPHS and QUESTIONS, one JSON object a line."""
    rows = [
        {
            "id": f"q{n}",
            "title": title,
            "context": PARAGRAPHS[title],
            "question": question,
            "answers": {"text": answers, "answer_start": [0] * len(answers)},
        }
        for n, (title, question, answers) in enumerate(QUESTIONS)
    ]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return file
