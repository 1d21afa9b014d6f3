"The review page: in Python, and in a real JupyterLab and Notebook in a real browser"
import os, socket, subprocess, sys, time
import urllib.request
from contextlib import suppress

import nbformat
import pandas as pd
import pytest
from conftest import needs

from sneaker_classifier.clean import clean_images
from sneaker_classifier.review import _suspect_columns, review
from sneaker_classifier.samples import make_samples

labels = ['adidas_superstar', 'puma_suede']


@pytest.fixture
def clean(tmp_path):
    "A clean folder of two classes and a ranking: the first picture of each class first"
    make_samples(tmp_path/'raw', labels, n=4, size=120)
    clean_images(tmp_path/'raw', tmp_path/'clean', workers=1, progress=False)
    other = dict(zip(labels, reversed(labels)))
    rows = [(f'{label}/{i:04d}.jpg', label, 1-i/10, other[label], 'looks like another class') for i in range(4) for label in labels]
    pd.DataFrame(rows, columns=_suspect_columns).to_csv(tmp_path/'clean'/'suspects.csv', index=False)
    return tmp_path/'clean'


def state(clean):
    "What the files say: decisions in order, and the file of each kept raw picture"
    path = clean/'decisions.csv'
    decided = pd.read_csv(path) if path.is_file() else pd.DataFrame(columns=['raw', 'decision', 'label'])
    items = pd.read_csv(clean/'items.csv')
    assert {p.relative_to(clean).as_posix() for p in clean.glob('[a-z]*/*.jpg')}==set(items.file)
    assert len(items)+len(pd.read_csv(clean/'dropped.csv'))==8
    return [(o.raw, o.decision, o.label) for o in decided.itertuples()], items.set_index('raw').file


def test_decide_and_undo(clean):
    before = {p.name:p.read_bytes() for p in (clean/'items.csv', clean/'dropped.csv')}
    page = review(clean)
    first = page.current

    page.decide('drop')
    page.decide('move', 'adidas_superstar')
    page.decide('keep')
    decided,files = state(clean)

    assert decided==[(first, 'drop', 'adidas_superstar'), ('puma_suede/0000.jpg', 'move', 'adidas_superstar'),
        ('adidas_superstar/0001.jpg', 'keep', 'adidas_superstar')]
    assert first not in files and files['puma_suede/0000.jpg'].startswith('adidas_superstar/')

    page = review(clean)            # as after a crash

    assert len(page.waiting)==5

    for _ in range(3): page.undo()

    assert page.current==first and not state(clean)[0]
    assert before=={p.name:p.read_bytes() for p in (clean/'items.csv', clean/'dropped.csv')}

    page.undo()                     # nothing left to take back


def test_other_class_forgets_nothing(clean):
    "fastai's cleaner forgets its flags when another class is shown"
    page = review(clean)

    page.decide('drop')
    page._shown.value = 'puma_suede'
    page.decide('drop')
    page._shown.value = 'adidas_superstar'

    assert [o[1] for o in state(clean)[0]]==['drop', 'drop'] and page.current=='adidas_superstar/0001.jpg'

    page._shown.value = ''
    assert len(page.waiting)==6


def test_keyboard(clean):
    "Each key counts once, whether keys come one by one or several at once"
    page = review(clean)

    page._keys.value = 'k'
    page._keys.value = 'kd1x'

    decided,_ = state(clean)
    assert [o[1:] for o in decided]==[('keep', 'adidas_superstar'), ('drop', 'puma_suede'), ('move', 'puma_suede')]

    page._keys.value = 'kd1xu'
    assert len(state(clean)[0])==2

    page._keys.value = 'kd'         # emptying the field is no decision
    page._keys.value = ''
    assert len(state(clean)[0])==2


def test_undo_a_decision_about_a_picture_that_is_gone(clean):
    pd.DataFrame([dict(raw='puma_suede/gone.jpg', decision='drop', label='puma_suede', when='')]).to_csv(clean/'decisions.csv', index=False)
    page = review(clean)

    page.undo()

    assert not state(clean)[0] and page.current=='adidas_superstar/0000.jpg'


def test_to_the_end(clean):
    page = review(clean)
    for _ in range(10): page.decide('keep')
    assert page.current is None and len(state(clean)[0])==8 and 'All looked at' in page._about.value


def test_names_are_escaped(clean):
    raw = clean.parent/'raw'
    evil = 'puma_suede/&lt;img onerror=alert(1)&gt; & \'.jpg'
    os.rename(raw/'puma_suede'/'0000.jpg', raw/'puma_suede'/evil.split('/')[1])
    clean_images(raw, clean, workers=1, progress=False)
    suspects = pd.read_csv(clean/'suspects.csv').replace('puma_suede/0000.jpg', evil).assign(why='<script>alert(1)</script>')

    page = review(clean, suspects)
    page.decide('keep')

    assert '<script' not in page._about.value and '&amp;lt;img' in page._about.value


@pytest.fixture(params=['jupyterlab', 'notebook'])
def notebook(request, clean, tmp_path):
    "JupyterLab or Notebook with a notebook that shows the page: its address"
    needs(request.param)
    nb = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("from sneaker_classifier.review import review\nreview('clean')")],
        metadata=dict(kernelspec=dict(name='python3', display_name='Python 3', language='python')))
    (tmp_path/'review.ipynb').write_text(nbformat.writes(nb), encoding='utf-8')

    with socket.socket() as s:
        s.bind(('127.0.0.1', 0))
        port = s.getsockname()[1]

    folders = dict(JUPYTER_CONFIG_DIR=str(tmp_path/'config'), JUPYTER_RUNTIME_DIR=str(tmp_path/'run'), IPYTHONDIR=str(tmp_path/'ipython'))
    options = ['--no-browser', '--allow-root', f'--port={port}', '--ip=127.0.0.1', '--IdentityProvider.token=shoe',
        f'--ServerApp.root_dir={tmp_path}', '--LabApp.news_url=', '--check_for_updates_class=jupyterlab.NeverCheckForUpdate']
    with open(tmp_path/'server.log', 'wb') as log:
        server = subprocess.Popen([sys.executable, '-m', request.param, *options], cwd=tmp_path, env={**os.environ, **folders},
            stdout=log, stderr=log)

    url = f'http://127.0.0.1:{port}'
    for _ in range(240):
        try:
            urllib.request.urlopen(f'{url}/api?token=shoe', timeout=2)
            break
        except OSError: time.sleep(.5)

    yield f"{url}/{dict(jupyterlab='lab/tree', notebook='notebooks')[request.param]}/review.ipynb?token=shoe"
    server.terminate()
    server.wait(120)


def test_in_a_browser(browser, notebook, clean, tmp_path):
    "Click, type, move, undo, reload: what was decided is still there"
    from playwright.sync_api import TimeoutError

    def run_cell(page):
        page.wait_for_selector('.jp-Notebook .jp-CodeCell', timeout=90_000)
        page.wait_for_selector('.jp-Notebook-ExecutionIndicator[data-status=idle]', timeout=90_000, state='attached')
        # A key pressed before the page listens is lost: then the cell's number stays empty. But a cell that is run twice makes a
        # second page, which knows less.
        asked = "/\\S/.test(document.querySelector('.jp-CodeCell .jp-InputPrompt').textContent.replace(/[[\\]:]/g, ''))"
        for _ in range(30):
            page.click('.jp-Notebook .jp-CodeCell .cm-content')
            page.keyboard.press('Shift+Enter')
            with suppress(TimeoutError):
                page.wait_for_function(asked, timeout=3_000)
                break
        page.wait_for_selector('button:has-text("Keep (k)")', timeout=90_000)

    def decided(n):
        "The decisions, as soon as there are `n`"
        for _ in range(100):
            # Between a click and its last write the tables and the folders may differ for an instant.
            try:
                if len(state(clean)[0])==n: return state(clean)[0]
            except AssertionError: pass
            time.sleep(.1)
        raise AssertionError(f'{state(clean)[0]} instead of {n} decisions')

    page = browser.new_page(viewport=dict(width=1280, height=900))
    page.goto(notebook)
    run_cell(page)
    page.wait_for_function("document.querySelector('.jp-OutputArea img')?.naturalWidth>0")

    page.click('button:has-text("Drop (d)")')
    assert decided(1)[-1][1]=='drop'

    page.click('button:has-text("Move to")')
    assert decided(2)[-1]==('puma_suede/0000.jpg', 'move', 'adidas_superstar')

    field = page.locator('.jp-OutputArea input[type=text]').first
    field.click()
    page.keyboard.type('kd', delay=150)
    assert [o[1] for o in decided(4)]==['drop', 'move', 'keep', 'drop']

    page.click('button:has-text("Undo (u)")')
    decided(3)
    page.screenshot(path=os.environ.get('REVIEW_SCREENSHOT', tmp_path/'review.png'))

    page.reload()
    run_cell(page)
    page.wait_for_selector('text=5 to look at')

    assert [o[1] for o in decided(3)]==['drop', 'move', 'keep']

    page.click('button:has-text("Undo (u)")')
    decided(2)
    page.close()
