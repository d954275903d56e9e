import pytest

from llm_core.packing import Branch, groups, passes, side_by_side


def test_each_row_stands_behind_the_prefix_and_its_own_branch():
    branches = [(0, Branch([5, 6, 7], 2)), (1, Branch([8, 9], 2))]
    [part] = passes(branches, 10, 100, 100)
    rows = part.rows
    assert rows.tokens == [5, 6, 8]
    assert rows.positions == [10, 11, 10]
    assert rows.columns == [10, 11, 12]
    assert rows.prefixes == [10] * 3 and rows.starts == [10, 10, 12] and rows.slots == [0] * 3
    assert (part.reads, part.targets, part.owners) == ([0, 1, 2], [6, 7, 9], [0, 0, 1])


def test_a_long_branch_goes_on_in_the_next_pass():
    branches = [(0, Branch(list(range(10)), 3)), (1, Branch([1, 2, 3], 3))]
    parts = list(passes(branches, 4, 4, 100))
    assert [part.rows.tokens for part in parts] == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 1, 2]]
    assert [row for part in parts for row in part.rows.columns] == list(range(4, 15))
    assert [t for part in parts for t in part.targets] == [7, 8, 9, 2, 3]
    assert parts[2].rows.starts == [4, 13, 13]


def test_a_pass_never_reads_more_rows_than_allowed():
    parts = list(passes([(0, Branch(list(range(100)), 99))], 4, 1000, 16))
    assert max(len(part.reads) for part in parts) == 16
    assert [t for part in parts for t in part.targets] == list(range(1, 100))


def test_branches_that_the_prefix_alone_predicts_need_no_pass():
    assert list(passes([(0, Branch([3], 1)), (1, Branch([4], 1))], 9, 10, 10)) == []


def test_groups_hold_as_many_rows_as_fit_and_a_longer_branch_alone():
    branches = [Branch(list(range(n)), 1) for n in (4, 4, 30, 2, 2)]
    assert [[n for n, _ in group] for group in groups(branches, 6)] == [[0, 1], [2], [3, 4]]


def test_sequences_side_by_side_go_on_where_each_of_them_is():
    rows, reads = side_by_side([([7], 20), ([8, 9], 3)])
    assert rows.tokens == [7, 8, 9] and rows.slots == [0, 1, 1]
    assert rows.positions == rows.columns == [20, 3, 4]
    assert rows.prefixes == rows.starts == [0, 0, 0] and reads == [0, 2]


@pytest.mark.parametrize(("tokens", "scored"), [([1, 2], 0), ([1, 2], 3), ([], 0)])
def test_a_branch_scores_some_of_its_own_tokens(tokens, scored):
    with pytest.raises(ValueError, match="cannot score"):
        Branch(tokens, scored)
