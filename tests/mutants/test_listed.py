"""The listed mutations can be made, and their tests are there. Whether those notice them, `make mutants` tries."""

from __future__ import annotations

from pathlib import Path

import pytest
from listed import LISTED, Mutation, noticed_by
from modules import MODULES

from legged_gym_ext.paths import ROOT


@pytest.mark.parametrize("mutation", LISTED, ids=lambda mutation: mutation.what)
def test_what_is_changed_is_there_and_so_are_the_tests(mutation: Mutation) -> None:
    assert mutation.old in (ROOT / mutation.path).read_text("utf-8")
    assert mutation.old != mutation.new
    for test in mutation.tests:
        path, name = test.split("::")
        assert f"def {name}(" in (ROOT / path).read_text("utf-8")


def test_modules_and_their_tests_are_there() -> None:
    for module, tests in MODULES.items():
        assert (ROOT / "legged_gym_ext" / f"{module}.py").is_file()
        assert tests
        for test in tests:
            path, _, name = test.partition("::")
            assert f"def {name}" in (ROOT / path).read_text("utf-8")


def test_a_mutation_is_noticed_or_not_and_taken_back(tmp_path: Path) -> None:
    (tmp_path / "test_code.py").write_text(
        "import code_here\n\ndef test_it():\n    assert code_here.value == 1\n", "utf-8"
    )
    (tmp_path / "code_here.py").write_text("value = 1\nother = 2\n", "utf-8")

    def tried(old: str, new: str, test: str = "test_code.py") -> list[str]:
        return noticed_by(Mutation("", "code_here.py", old, new, (test,)), tmp_path)

    assert tried("value = 1", "value = 3") == ["test_it"]
    assert tried("other = 2", "other = 3") == []
    assert (tmp_path / "code_here.py").read_text("utf-8") == "value = 1\nother = 2\n"
    with pytest.raises(ValueError, match="has no"):
        tried("value = 2", "value = 3")
    with pytest.raises(ValueError, match="did not run"):
        tried("value = 1", "value = 3", test="test_nothing.py")
