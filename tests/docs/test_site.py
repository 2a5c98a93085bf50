"""The documentation as a site: strict, complete, and without anything from elsewhere."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.docs.pages import ROOT


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, as `make site` builds it."""
    folder = tmp_path_factory.mktemp("site")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(folder)],
        cwd=ROOT,
        env={
            **os.environ,
            "NO_MKDOCS_2_WARNING": "1",
            "http_proxy": "http://127.0.0.1:1",
            "https_proxy": "http://127.0.0.1:1",
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


def test_every_page_is_there(site: Path) -> None:
    for page in (ROOT / "docs").rglob("*.md"):
        name = page.relative_to(ROOT / "docs").as_posix()
        made = re.sub(r"README\.md$", "index.html", name).removesuffix(".md")
        assert (site / (made if made.endswith(".html") else f"{made}.html")).exists(), name


def test_nothing_is_loaded_from_elsewhere(site: Path) -> None:
    for page in site.rglob("*.html"):
        text = page.read_text("utf-8")
        loaded = re.findall(r"<(?:script|link|img|iframe)\b[^>]*?\b(?:src|href)=\"(https?://[^\"]+)", text)
        assert [one for one in loaded if 'rel="canonical"' not in one] == [], page.name


def test_makefile_builds_it_the_same_way() -> None:
    recipe = (ROOT / "Makefile").read_text().partition("\nsite:")[2].partition("\n\n")[0]
    assert "mkdocs build --strict" in recipe
    assert "build/" in (ROOT / ".gitignore").read_text()


def test_asked_pages_are_in_the_navigation() -> None:
    text = (ROOT / "mkdocs.yml").read_text()
    for page in (
        "quick-start", "concepts", "internal-traces", "configuration", "high-availability", "upgrade",
        "backup", "from-hatchet", "troubleshooting",
    ):  # fmt: skip
        assert f": {page}.md" in text
