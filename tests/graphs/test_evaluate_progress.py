"""Progress without a terminal: few lines, with the time left."""

from io import StringIO

from graphs.evaluate.progress import LINE_EVERY_SECONDS, _Lines, progress_bar


def test_lines_are_few_and_tell_the_time_left_of_what_this_run_did() -> None:
    err, clock = StringIO(), [0.0]
    show = _Lines(err, lambda: clock[0])
    show("ours", 10, 40)  # ten were done by an earlier run
    clock[0] = LINE_EVERY_SECONDS / 2
    show("ours", 12, 40)
    clock[0] = LINE_EVERY_SECONDS
    show("ours", 20, 40)
    show("ours", 40, 40)
    assert err.getvalue() == "ours 10/40\nours 20/40, 20 s left\nours 40/40\n"


def test_quiet_shows_nothing() -> None:
    err = StringIO()
    with progress_bar(err, quiet=True) as show:
        show("ours", 1, 2)
    assert err.getvalue() == ""
