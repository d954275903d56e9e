"""The file that keeps the runs: names, leases, and what may come out of it."""

import sqlite3
from pathlib import Path

import pytest
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer

from agents.notes import Intake, PassageRef
from graphs.errors import StateFileError, ThreadError
from graphs.persistence import RunStore, check_thread_id, serializer
from graphs.research import build_research_graph
from tests.fakes import ScriptedTeam


def test_only_the_types_of_the_state_are_rebuilt() -> None:
    permissive = JsonPlusSerializer(allowed_msgpack_modules=True)
    known = permissive.dumps_typed(Intake(question="q"))
    other = permissive.dumps_typed(PassageRef(id="p"))
    assert serializer().loads_typed(known) == Intake(question="q")
    assert not isinstance(serializer().loads_typed(other), PassageRef)


def test_the_last_run_is_the_highest_number_of_its_own_name(tmp_path: Path) -> None:
    with RunStore(tmp_path / "s") as store:
        graph = build_research_graph(ScriptedTeam(), store.saver)
        for name in ("ask-a-2", "ask-a-10", "ask-ab-99", "ask-a-x", "ask_a-50"):
            graph.invoke({"question": "q"}, {"configurable": {"thread_id": name}})
        assert store.last_run("ask-a") == 10
        assert store.last_run("ask-none") == 0


def test_a_shown_answer_is_remembered_until_its_thread_is_deleted(tmp_path: Path) -> None:
    with RunStore(tmp_path / "s") as store:
        store.mark_shown("t")
        store.mark_shown("t")
    with RunStore(tmp_path / "s") as store:
        assert store.was_shown("t") and not store.was_shown("u")
        store.delete("t")
        assert not store.was_shown("t")


def test_a_thread_is_held_once_and_free_again_afterwards(tmp_path: Path) -> None:
    with RunStore(tmp_path / "s") as one, RunStore(tmp_path / "s") as two:
        with one.lease("t"):
            with pytest.raises(ThreadError, match="another process"), two.lease("t"):
                raise AssertionError("held twice")
            with two.lease("other"):
                assert True
        with two.lease("t"):
            assert (tmp_path / "s.leases").is_dir()


def test_leases_do_not_follow_a_thread_name_out_of_their_folder(tmp_path: Path) -> None:
    with RunStore(tmp_path / "in" / "s") as store, store.lease("../../out"):
        assert {p.parent.name for p in tmp_path.rglob("*.lock")} == {"s.leases"}


def test_a_database_of_something_else_is_refused(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "s") as db:
        db.execute("CREATE TABLE shown (something TEXT)")
        db.execute("CREATE TABLE checkpoints (other TEXT)")
    with pytest.raises(StateFileError, match="--state"), RunStore(tmp_path / "s") as store:
        store.last_run("ask")


def test_thread_ids_are_plain_names() -> None:
    assert check_thread_id("ask-12:a@b_c.d") == "ask-12:a@b_c.d"
    with pytest.raises(ThreadError, match="a/b"):
        check_thread_id("a/b")
    with pytest.raises(ThreadError):
        check_thread_id("line\n")
