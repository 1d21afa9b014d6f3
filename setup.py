"Copies settings.ini into the built package, as its defaults. All other packaging is in pyproject.toml."
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py


class BuildWithSettings(build_py):
    def run(self):
        super().run()
        if not self.editable_mode:
            self.copy_file('settings.ini', str(Path(self.build_lib, 'sneaker_classifier', 'settings.ini')))


setup(cmdclass=dict(build_py=BuildWithSettings))
