"Builds README.md and the documentation site, in _docs, with pip-installed tools alone: python docs.py"
import shutil
from pathlib import Path

from nbconvert import MarkdownExporter
from nbdev.quarto import refresh_quarto_yml
from nbdev.serve import proc_nbs
from smalldocs.cli import main as smalldocs


def readme():
    "The text of README.md, made from the front page's notebook"
    return MarkdownExporter().from_filename('nbs/index.ipynb')[0]


if __name__ == '__main__':
    Path('README.md').write_text(readme(), encoding='utf-8', newline='\n')
    refresh_quarto_yml()
    proc_nbs()
    smalldocs(['render', '_proc'])
    shutil.rmtree('_docs', ignore_errors=True)
    shutil.move('_proc/_docs', '_docs')
