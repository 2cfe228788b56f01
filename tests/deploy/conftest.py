"""Until all parts of the package are there: an export copies them."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from legged_gym_ext.deploy import folder


@pytest.fixture(autouse=True, scope="session")
def _parts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        if not folder.CPP.is_dir():
            cpp: Path = tmp_path_factory.mktemp("cpp")
            (cpp / "main.cpp").write_text("int main() {}\n")
            patch.setattr(folder, "CPP", cpp)
        yield
