"""The JSON files of a model folder."""

import json
from pathlib import Path
from typing import Any

from llm_core.errors import ModelFileError


def read_json(path: Path) -> dict[str, Any]:
    """The object that a JSON file holds; raises `ModelFileError` where there is none."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ModelFileError(
            f"{path} cannot be read ({error.strerror}); copy the whole model folder"
        ) from error
    except (ValueError, RecursionError) as error:
        raise ModelFileError(f"{path} is not valid JSON ({error}); copy it again") from error
    if not isinstance(content, dict):
        raise ModelFileError(f"{path} is not a JSON object; copy it again")
    return content
