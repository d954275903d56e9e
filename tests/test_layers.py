"""Imports only go down: graphs, agents, tools, then retrievers and llm_core side by side."""

import ast
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
MAY_IMPORT = {
    "llm_core": {"llm_core"},
    "retrievers": {"retrievers"},
    "tools": {"tools", "retrievers", "llm_core"},
    "agents": {"agents", "tools", "retrievers", "llm_core"},
    "graphs": {"graphs", "agents", "tools", "retrievers", "llm_core"},
}


def imported_packages(file: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            names.add(node.module.split(".")[0])
    return names


def test_imports_only_go_down() -> None:
    wrong = [
        f"{file.relative_to(ROOT)} imports {name}"
        for package, allowed in MAY_IMPORT.items()
        for file in (ROOT / package).rglob("*.py")
        for name in sorted(imported_packages(file) & (MAY_IMPORT.keys() - allowed))
    ]
    assert not wrong, wrong


def test_agents_do_not_know_langgraph() -> None:
    wrong = [f.name for f in (ROOT / "agents").rglob("*.py") if "langgraph" in imported_packages(f)]
    assert not wrong, wrong


def test_environment_is_read_by_settings_alone() -> None:
    wrong = [
        str(file.relative_to(ROOT))
        for package in MAY_IMPORT
        for file in (ROOT / package).rglob("*.py")
        if file.name != "settings.py"
        and any(word in file.read_text(encoding="utf-8") for word in ("os.environ", "os.getenv"))
    ]
    assert not wrong, wrong
