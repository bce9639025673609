"""Programs are built once, from what the modules pin, by a Go that is new enough."""

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from node import build, toolchain
from node.layout import Layout, RefusedError


@pytest.mark.parametrize(
    ("text", "want"),
    [
        pytest.param("go version go1.26.8 linux/amd64", (1, 26, 8), id="what `go version` prints"),
        pytest.param("go version go1.27 linux/arm64", (1, 27, 0), id="a release without a patch number"),
        pytest.param("go version go1.28rc1 linux/amd64", (1, 28, 0), id="a release candidate"),
        pytest.param("go 1.26.6", (1, 26, 6), id="the line of a go.mod"),
        pytest.param("command not found", None, id="no Go at all"),
    ],
)
def test_go_version(text: str, want: tuple[int, ...] | None) -> None:
    assert toolchain.parse_go_version(text) == want


def test_the_newest_go_that_any_module_asks_for_is_required(tmp_path: Path) -> None:
    old, new = tmp_path / "old.mod", tmp_path / "new.mod"
    old.write_text("module a\n\ngo 1.9.3\n")
    new.write_text("module b\n\ngo 1.26.6\n\nrequire x v1.2.3\n")
    assert toolchain.required([old, new]) == (1, 26, 6)


def sources(folder: Path, **files: str) -> Path:
    folder.mkdir()
    for name, content in files.items():
        (folder / name).write_text(content)
    return folder


def test_the_same_sources_have_the_same_key_wherever_they_lie(tmp_path: Path) -> None:
    one, two = sources(tmp_path / "one", a="x", b="y"), sources(tmp_path / "two", b="y", a="x")
    assert build.cache_key(one, "x86_64") == build.cache_key(two, "x86_64")


@pytest.mark.parametrize(
    ("files", "machine", "recipe"),
    [
        pytest.param({"a": "z"}, "x86_64", "1", id="other content"),
        pytest.param({"b": "x"}, "x86_64", "1", id="another name"),
        pytest.param({"a": "x", "b": ""}, "x86_64", "1", id="one more file"),
        pytest.param({"a": "x"}, "aarch64", "1", id="another machine"),
        pytest.param({"a": "x"}, "x86_64", "2", id="another way of building"),
    ],
)
def test_what_changes_the_programs_changes_the_key(
    tmp_path: Path, files: dict[str, str], machine: str, recipe: str
) -> None:
    former = build.cache_key(sources(tmp_path / "former", a="x"), "x86_64", "1")
    assert build.cache_key(sources(tmp_path / "now", **files), machine, recipe) != former


def test_the_version_stamp_is_what_the_module_pins() -> None:
    pinned = build.kubernetes_version((build.SOURCES / "kubernetes" / "go.mod").read_text())
    assert f"gitVersion={pinned}" in " ".join(build.MODULES[0].flags())
    with pytest.raises(RefusedError, match="does not require"):
        build.kubernetes_version("module empty\n")


def test_two_builders_at_once_build_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    built: list[Path] = []

    def slowly(_: Layout, folder: Path) -> None:
        built.append(folder)
        time.sleep(0.2)
        folder.mkdir(parents=True)

    monkeypatch.setattr(build, "_build", slowly)
    layout = Layout(state=tmp_path / "state", cache=tmp_path / "cache")
    with ThreadPoolExecutor(2) as pool:
        folders = list(pool.map(lambda _: build.ensure(layout), range(2)))
    assert built == [folders[0]]
    assert folders[0] == folders[1]


def test_progress_counts_downloads_and_packages(capsys: pytest.CaptureFixture[str]) -> None:
    kept = build.progress("runtime", ["go: downloading a v1\n", "a/b\n", "a/c\n"])
    assert len(kept) == 3
    assert "runtime: 2 packages compiled" in capsys.readouterr().err
