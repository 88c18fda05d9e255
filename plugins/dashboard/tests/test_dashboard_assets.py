"""The page's own files."""

from __future__ import annotations

from longshore_dashboard._assets import Assets, read_assets


def test_files_are_found_by_their_names_and_by_nothing_else() -> None:
    """Only a name that was there at the start is served: no path is ever made of what a request says."""
    assets = Assets({"index.html": b'<script src="assets/app.js">', "app.js": b"x", "vendor/lib.js": b"y" * 2000})
    assert assets.index.body == f'<script src="assets/{assets.version}/app.js">'.encode()
    assert assets.find("app.js") is not None
    found = assets.find(f"{assets.version}/vendor/lib.js")
    assert found is not None
    assert found[1]
    assert found[0].packed is not None
    for name in (
        "",
        "../app.js",
        "./app.js",
        "index.html",
        "vendor",
        "vendor/",
        f"{assets.version}/../app.js",
        "APP.JS",
    ):
        assert assets.find(name) is None, name


def test_the_version_changes_with_every_change_of_a_file() -> None:
    """What browsers keep for good is never another file's."""
    one, two = Assets({"index.html": b"", "a.js": b"1"}), Assets({"index.html": b"", "a.js": b"2"})
    assert one.version != two.version
    assert one.version == Assets({"a.js": b"1", "index.html": b""}).version


def test_the_package_has_a_page() -> None:
    """What is installed can be shown."""
    assert b"<html" in read_assets().index.body
