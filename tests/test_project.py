"What is generated is in step with what it is generated from, and the two halves stay apart"
import re, shutil, subprocess, sys
from pathlib import Path

import pytest
from fastcore.nbio import read_nb
from conftest import needs, root

notebooks = sorted(o for o in (root/'nbs').rglob('*.ipynb') if '.ipynb_checkpoints' not in o.parts)


@pytest.mark.parametrize('path', notebooks, ids=lambda p: p.stem)
def test_notebook_runs(path):
    nbdev_test = Path(sys.executable).with_name('nbdev-test')
    done = subprocess.run([nbdev_test, path], cwd=root, capture_output=True, text=True, encoding='utf-8')
    assert done.returncode==0, done.stdout+done.stderr


def test_modules_are_in_step(tmp_path):
    copy = tmp_path/'project'
    shutil.copytree(root, copy, ignore=lambda d,names: [o for o in names if Path(d)==root and o not in
        ('nbs', 'sneaker_classifier', 'pyproject.toml', 'settings.ini')] + ['models', '__pycache__'])
    before = {f.name:f.read_text(encoding='utf-8') for f in (copy/'sneaker_classifier').glob('*.py')}

    subprocess.run([Path(sys.executable).with_name('nbdev-export')], cwd=copy, check=True, capture_output=True)

    after = {f.name:f.read_text(encoding='utf-8') for f in (copy/'sneaker_classifier').glob('*.py')}
    assert [name for name in after if before.get(name)!=after[name]]==[]


@pytest.fixture
def docs(monkeypatch):
    monkeypatch.chdir(root)
    monkeypatch.syspath_prepend(root)
    return needs('docs')

def test_readme_is_in_step(docs): assert docs.readme()==(root/'README.md').read_text(encoding='utf-8')


def test_page_of_benchmarks_is_in_step(monkeypatch):
    monkeypatch.syspath_prepend(root/'benchmarks')
    report = needs('report')
    page = report.page()
    assert page==(root/'benchmarks'/'README.md').read_text(encoding='utf-8') and report.words(page)<=900


@pytest.mark.parametrize('path', notebooks, ids=lambda p: p.stem)
def test_notebooks_open_in_colab(path, docs):
    below_title = read_nb(path).cells[1:3]
    assert tuple(o.source for o in below_title)==docs.colab_cells(path)


@pytest.mark.parametrize('path', notebooks, ids=lambda p: p.stem)
def test_no_widget_is_left_without_a_kernel(path, docs):
    nb = read_nb(path)
    assert 'widgets' not in nb.metadata
    assert not any(docs.is_widget(out) for o in nb.cells if o.cell_type=='code' for out in o.outputs)


@pytest.mark.parametrize('path', notebooks, ids=lambda p: p.stem)
def test_each_picture_says_what_is_on_it(path):
    def needs_text(data):
        return any(o.startswith('image/') for o in data) or re.search(r'<img(?![^>]*\balt=)', ''.join(data.get('text/html', '')))

    shows = [o.source for o in read_nb(path).cells if o.cell_type=='code' and any(needs_text(out.get('data', {})) for out in o.outputs)]
    assert [o[:80] for o in shows if not re.match(r'#\| fig-alt: "(\S+ ){4,}\S+"\n', o)]==[]


@pytest.mark.parametrize('path', notebooks, ids=lambda p: p.stem)
def test_jupyter_need_not_ask_which_kernel(path): assert read_nb(path).metadata['kernelspec']['name']=='python3'


def test_where_the_repository_lives_is_said_once(docs):
    files = [o for o in (root/'CITATION.cff', *root.glob('*.md'), *root.glob('.github/**/*.*'), root/'docs.py') if o.name!='README.md']
    said = {o.name:o.read_text(encoding='utf-8') for o in files}
    said |= {o.name:'\n'.join(c.source for c in read_nb(o).cells[3:]) for o in notebooks}
    assert [name for name,text in said.items() if docs.get_config().git_url in text]==[]


def test_nothing_is_skipped_in_ci(monkeypatch):
    monkeypatch.delenv('CI', raising=False)
    with pytest.raises(pytest.skip.Exception, match='no_such_module'): needs('no_such_module')

    monkeypatch.setenv('CI', 'true')
    with pytest.raises(pytest.fail.Exception, match='no_such_module'): needs('no_such_module')

    # There is one way to skip a test for want of something, in conftest.py.
    words = 'importor'+'skip', 'pytest.'+'skip('
    assert [f.name for f in (root/'tests').glob('test_*.py') if any(o in f.read_text(encoding='utf-8') for o in words)]==[]


def test_ci_runs_the_command_of_the_readme():
    command = 'python -m pip install -e ".[dev]" && python -m pytest'
    for file in ('README.md', '.ci/run'): assert command in (root/file).read_text(encoding='utf-8').splitlines()


def _loaded(code):
    "Modules loaded by `code` in a fresh Python"
    code = f'{code}\nimport sys; print(*sys.modules)'
    done = subprocess.run([sys.executable, '-c', code], cwd=root, capture_output=True, text=True, check=True)
    return set(done.stdout.splitlines()[-1].split())


def test_nothing_is_loaded_before_it_is_used():
    assert not {'numpy', 'onnxruntime', 'PIL', 'torch'} & _loaded('import sneaker_classifier')


def test_shop_window_never_loads_the_workshop():
    code = 'import sneaker_classifier.app; from sneaker_classifier import SneakerClassifier as S; import numpy as np;' \
        'print(S.load().predict(np.full((64,64,3), 200, np.uint8)))'
    assert not {'torch', 'fastai', 'timm', 'sklearn', 'fastprogress'} & _loaded(code)


def test_bundled_model():
    from sneaker_classifier import SneakerClassifier, load_settings
    folder = root/'sneaker_classifier'/'models'/'sneakers'
    clf,recipe = SneakerClassifier.load(),load_settings(folder/'settings.ini')

    assert clf.labels==sorted(recipe.classes) and len(clf.labels)==50
    assert [clf.classes[o].name for o in clf.labels]==[recipe.classes[o].name for o in clf.labels]
    # A copy of the Learner may lie there after training; it is neither checked in nor packaged.
    assert sum(f.stat().st_size for f in folder.iterdir() if f.suffix!='.pkl')<30e6
    assert clf.card['metrics']['top1']>0.75
