"""Build step: the repository's root is the package, so its other root files are left out."""

from setuptools import setup
from setuptools.command.build_py import build_py

NOT_IN_THE_WHEEL = {"setup", "conftest"}


class BuildWithoutRootFiles(build_py):
    """``build_py`` that takes setup.py and conftest.py for what they are: no modules of ours."""

    def find_package_modules(self, package, package_dir):
        modules = super().find_package_modules(package, package_dir)
        if package != "prunebench":
            return modules
        return [found for found in modules if found[1] not in NOT_IN_THE_WHEEL]


setup(cmdclass={"build_py": BuildWithoutRootFiles})
