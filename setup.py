"""Build step: the repository's root is the package, without its other root files and folders."""

from setuptools import find_packages, setup
from setuptools.command.build_py import build_py

NOT_IN_THE_WHEEL = {"setup", "conftest"}
NO_PACKAGES = [
    each
    for folder in ("tests", "experiments", "examples", "performance", "results.published")
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


setup(packages=PACKAGES, cmdclass={"build_py": BuildWithoutRootFiles})
