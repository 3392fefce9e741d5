"""docs/faults.md has a row for each fault that is tested, as its test describes it."""

from tests.production.table import HEAD, TABLE, faults


def test_the_table_has_a_row_for_each_fault() -> None:
    text = TABLE.read_text()

    assert text.startswith(HEAD)
    assert [line.rpartition(" | ")[0] + " |" for line in text.removeprefix(HEAD).splitlines()] == list(
        faults().values()
    )
