"""docs/faults.md has a row for each fault that is tested, as its test describes it."""

from tests.production.table import HEAD, TABLE, faults


def test_the_table_has_a_row_for_each_fault() -> None:
    text = TABLE.read_text()
    rows = text.removeprefix(HEAD).splitlines()

    assert text.startswith(HEAD)
    assert [f"{row.rpartition(' | ')[0]} |" for row in rows] == list(faults().values())
