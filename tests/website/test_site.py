"""How pages become a site: links lead where they led in the repository, and what leads nowhere is found out."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from legged_gym_ext.errors import UserError
from legged_gym_ext.paths import ROOT
from website import __main__ as program
from website import links, markdown, staging

PAGE = """# Title

See [one](deploy.md#packets), [code `[x](y.md)`](../setup.py),
![a picture](parkour.gif "with a title") and `[no](link.md)`.

```sh
echo [no](link.md)
```

A [link over
two lines](RESULTS.md) and [out](https://example.org/a).
~~~text
[no](link.md)
```
[no](link.md)
~~~
The [last](#title).
"""


def test_links_are_found_outside_of_code_only() -> None:
    found = [(link.target, link.line) for link in markdown.links(PAGE)]
    assert found == [
        ("deploy.md#packets", 3),
        ("../setup.py", 3),
        ("parkour.gif", 4),
        ("RESULTS.md", 10),
        ("https://example.org/a", 11),
        ("#title", 17),
    ]


def test_code_is_blanked_in_its_place() -> None:
    bare = markdown.without_code(PAGE)
    assert len(bare) == len(PAGE) and bare.count("\n") == PAGE.count("\n") and "link.md" not in bare
    assert all(a in (b, " ") for a, b in zip(bare, PAGE, strict=True))


def test_links_are_changed_and_nothing_else() -> None:
    changed = markdown.with_links(PAGE, lambda link: f"<{link.target}>")
    for link in markdown.links(PAGE):
        changed = changed.replace(f"(<{link.target}>", f"({link.target}")
    assert changed == PAGE


def test_a_page_is_read_by_python_as_it_is_by_github() -> None:
    text = "Words:\n- one\n- two\n  goes on\n\n"
    text += "1. **First**\n\n   ```sh\n   x\n   ```\n\n   more\n2. second\n\nEnd.\n   not a list\n"
    expected = "Words:\n\n- one\n- two\n  goes on\n\n"
    expected += "1. **First**\n\n    ```sh\n    x\n    ```\n\n    more\n2. second\n\nEnd.\n   not a list\n"
    assert markdown.for_python(text) == expected
    fenced = "```\nwords\n- no list\n1. no\n   item\n```\n"
    assert markdown.for_python(fenced) == fenced


@pytest.mark.parametrize(
    ("name", "place"),
    [
        ("README.md", "index.md"),
        ("docs/evaluation/report.md", "evaluation/report.md"),
        ("docs/parkour.gif", "parkour.gif"),
        ("SECURITY.md", "SECURITY.md"),
        ("setup.py", "files/setup.py.md"),
        ("configs", "files/configs/index.md"),
        ("tests/doubles/README.md", "files/tests/doubles/README.md"),
    ],
)
def test_everything_has_its_place(name: str, place: str) -> None:
    assert staging.place(name) == place


def test_links_lead_to_the_same_from_anywhere() -> None:
    text, linked = staging.page_of(
        "docs/evaluation/x.md", "[a](../../setup.py) [b](../deploy.md#packets) [c](report.csv) [d](#e)"
    )
    assert text == "[a](../files/setup.py.md) [b](../deploy.md#packets) [c](report.csv) [d](#e)"
    assert linked == ["setup.py", "docs/deploy.md", "docs/evaluation/report.csv"]
    text, linked = staging.page_of(
        "CONTRIBUTING.md", "[a](docs/configuration.md#section-sim) [b](legged_gym_ext/terrain/kinds)"
    )
    assert text == "[a](configuration.md#section-sim) [b](files/legged_gym_ext/terrain/kinds/index.md)"
    assert linked == ["docs/configuration.md", "legged_gym_ext/terrain/kinds"]


@pytest.mark.parametrize("target", ["nothing.md", "../setup.txt", "../../outside.md", "../legged_gym_ext/none.py"])
def test_a_link_to_no_file_is_one_line_that_says_where_it_stands(target: str) -> None:
    with pytest.raises(UserError, match=r"^docs/x\.md:3: the link '.*' leads to no file of the repository$"):
        staging.page_of("docs/x.md", f"# X\n\n[a]({target})\n")


def test_every_link_of_every_page_leads_to_a_file() -> None:
    """The pages themselves, without making a site of them."""
    names = ["README.md", *staging._TOP_PAGES, *(str(path.relative_to(ROOT)) for path in (ROOT / "docs").rglob("*.md"))]
    linked = [name for page in names for name in staging.page_of(page, (ROOT / page).read_text("utf-8"))[1]]
    assert len(names) > 15 and len(linked) > 80


def test_pages_that_are_missing_are_left_out_of_the_navigation(tmp_path: Path) -> None:
    (tmp_path / "a.md").touch()
    nav = [{"A": "a.md"}, {"B": [{"C": "c.md"}]}, {"D": [{"E": "e.md"}, {"A": "a.md"}]}]
    assert staging.present(nav, tmp_path) == [{"A": "a.md"}, {"D": [{"A": "a.md"}]}]


def test_nothing_is_asked_to_be_loaded_from_elsewhere() -> None:
    settings = yaml.safe_load(staging.SETTINGS.read_text("utf-8"))
    assert settings["theme"]["font"] is False
    assert settings["extra_css"] == [staging.STYLE.name] and "extra_javascript" not in settings
    assert "//" not in staging.STYLE.read_text("utf-8") and "@import" not in staging.STYLE.read_text("utf-8")


SITE = {
    "index.html": '<h1 id="top">x</h1><a href="a/page.html#here">1</a><a href="#top">2</a><a href="">3</a>'
    '<a href="a/">4</a>',
    "a/index.html": '<a href="../index.html">5</a><a name="old"></a><a href="#old">6</a><img src="../x.png">',
    "a/page.html": '<p id="here"><a href="/index.html">7</a><a href="https://example.org/y?z=1#a">out</a>'
    '<a href="mailto:a@b.c">m</a>',
}


def make_site(folder: Path, **more: str) -> Path:
    for name, text in (SITE | more).items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"<!doctype html><html><body>{text}</body></html>", "utf-8")
    (folder / "x.png").write_bytes(b"\0")
    return folder


def test_a_site_whose_links_lead_somewhere_is_whole(tmp_path: Path) -> None:
    found = links.check(make_site(tmp_path))
    assert (found.broken, found.external, found.internal) == ([], ["https://example.org/y?z=1#a"], 8)


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ('<a href="gone.html">', "new.html: gone.html: no such page"),
        ('<a href="a/page.html#there">', "new.html: a/page.html#there: no such place in the page"),
        ('<a href="#nowhere">', "new.html: #nowhere: no such place in the page"),
        ('<a href="../../etc/passwd">', "new.html: ../../etc/passwd: out of the site"),
        ('<img src="none.png">', "new.html: none.png: no such page"),
        (
            '<script src="https://example.org/x.js">',
            "new.html: https://example.org/x.js would be loaded from elsewhere",
        ),
        (
            '<link rel="stylesheet" href="//example.org/f.css">',
            "new.html: //example.org/f.css would be loaded from elsewhere",
        ),
        ('<img src="https://example.org/x.png">', "new.html: https://example.org/x.png would be loaded from elsewhere"),
    ],
)
def test_what_leads_nowhere_or_would_be_loaded_from_elsewhere_is_found(text: str, wrong: str, tmp_path: Path) -> None:
    assert links.check(make_site(tmp_path, **{"new.html": text})).broken == [wrong]


def test_all_pages_are_put_side_by_side(tmp_path: Path) -> None:
    count = staging.stage(tmp_path / "docs", "site")
    pages = {str(path.relative_to(tmp_path / "docs")) for path in (tmp_path / "docs").rglob("*.md")}
    assert len(pages) == count > 60
    assert {"index.md", "configuration.md", "flags.md", "reference/terrain.md", "files/constraints.txt.md"} <= pages
    settings = yaml.safe_load((tmp_path / staging.CONFIG).read_text("utf-8"))
    assert (settings["docs_dir"], settings["site_dir"]) == ("docs", "site")  # absolute ones end in a panic
    assert (tmp_path / "docs" / settings["extra_css"][0]).is_file()
    for page in pages:  # what a link of a page names is beside it
        for link in markdown.links((tmp_path / "docs" / page).read_text("utf-8")):
            target = link.target.partition("#")[0]
            if target and "://" not in target and not page.startswith("files/"):
                assert (tmp_path / "docs" / page).parent.joinpath(target).exists(), f"{page}: {target}"


def test_a_site_is_made_and_checked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    monkeypatch.setattr(staging, "stage", lambda folder, site: 3)
    monkeypatch.setattr(program, "build", lambda stage: make_site(tmp_path / "site"))
    program.main([f"--out={tmp_path}"])
    assert "3 pages, 8 links" in capsys.readouterr().out
    assert (tmp_path / program.EXTERNAL).read_text("utf-8") == "https://example.org/y?z=1#a\n"
    monkeypatch.setattr(program, "build", lambda stage: make_site(tmp_path / "site", **{"new.html": '<a href="x">'}))
    with pytest.raises(UserError, match=r"^1 links are broken: new\.html: x: no such page$"):
        program.main([f"--out={tmp_path}"])


def test_a_site_that_cannot_be_built_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd) -> None:
    monkeypatch.setattr("website.__main__.sys.executable", "/bin/false")
    with pytest.raises(UserError, match="^the site could not be built: what is above says why$"):
        program.build(tmp_path / "docs")
