"""Build step: the repository's root is the package, without its other root files and folders."""

import re
from configparser import ConfigParser
from pathlib import Path

from setuptools import find_packages, setup
from setuptools.command.build_py import build_py

NOT_IN_THE_WHEEL = {"setup", "conftest"}
NO_PACKAGES = [
    each
    for folder in ("tests", "experiments", "examples", "performance", "docs", "results.published")
    for each in (folder, f"{folder}.*")
]
PACKAGES = ["prunebench", *(f"prunebench.{name}" for name in find_packages(exclude=NO_PACKAGES))]


class BuildWithoutRootFiles(build_py):
    """``build_py`` that takes setup.py and conftest.py for what they are: no modules of ours."""

    def find_package_modules(self, package, package_dir):
        modules = super().find_package_modules(package, package_dir)
        if package != "prunebench":
            return modules
        return [found for found in modules if found[1] not in NOT_IN_THE_WHEEL]


_CODE = re.compile(r"(```.*?```)", re.DOTALL)
_LINK = re.compile(r"(!?)\[((?:[^\[\]]|\[[^\]]*\])*)\]\((?!https?:)([^)\s]+)\)")


def readable_elsewhere(text: str, url: str) -> str:
    """A page of the checkout for where there is no checkout beside it.

    Links and pictures lead to ``url``, the project's repository; where that is not known, the words
    of links stay and pictures go.
    """

    def led(link: re.Match) -> str:
        mark, words, target = link.groups()
        if not url or target.startswith("#"):
            return "" if mark else words
        return f"{mark}[{words}]({url.rstrip('/')}/{'raw' if mark else 'blob'}/HEAD/{target})"

    parts = _CODE.split(text)
    return "".join(part if part.startswith("```") else _LINK.sub(led, part) for part in parts)


def long_description() -> str:
    """The README as package indexes show it."""
    root = Path(__file__).parent
    settings = ConfigParser()
    settings.read(root / "setup.cfg", encoding="utf-8")
    readme = (root / "README.md").read_text(encoding="utf-8")
    return readable_elsewhere(readme, settings["metadata"].get("url", ""))


if __name__ == "__main__":
    setup(
        packages=PACKAGES,
        cmdclass={"build_py": BuildWithoutRootFiles},
        long_description=long_description(),
    )
