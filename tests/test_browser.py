"The page in a real browser: what a person does with it, by mouse, finger and keyboard"
import csv, io, re, shutil
from base64 import b64encode
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image
from made import encoded
from test_app import evil_model, left

from sneaker_classifier import Prediction, SneakerClassifier
from sneaker_classifier.app import launch
from sneaker_classifier.samples import draw_shoe


@pytest.fixture(scope='module')
def feedback(tmp_path_factory): return tmp_path_factory.mktemp('feedback')


@pytest.fixture(scope='module')
def app(feedback):
    app = launch(port=0, feedback=feedback)
    yield app
    app.close()


def opened(browser, app, **kw):
    page = browser.new_page(**kw)
    page.set_default_timeout(60_000)
    page.troubles = []
    page.on('request', lambda r: None if r.url.startswith((app.local_url, 'data:', 'blob:')) else page.troubles.append(r.url))
    page.on('pageerror', lambda e: page.troubles.append(str(e)))
    page.on('dialog', lambda d: (page.troubles.append(d.message), d.dismiss()))
    # Gradio may look for a preview of a photo that has been answered and removed already.
    page.on('console', lambda m: page.troubles.append(m.text) if m.type=='error' and '/gradio_api/file=' not in m.location['url'] else None)
    page.goto(app.local_url)
    page.wait_for_selector('#photo input[type=file]', state='attached')
    return page


@pytest.fixture
def page(browser, app):
    page = opened(browser, app, viewport=dict(width=1280, height=900))
    yield page
    assert not page.troubles
    page.close()


@pytest.fixture(scope='module')
def shoe(tmp_path_factory):
    path = tmp_path_factory.mktemp('shoe')/'shoe.png'
    draw_shoe('puma_suede', seed=5, size=300).save(path)
    return path


def show(page, path):
    page.set_input_files('#photo input[type=file]', path)
    page.wait_for_selector('.result figure')

def shown(page): return page.get_attribute('.result figure > img', 'src')

def changed(page, src):
    "Wait until another picture than `src` is shown"
    page.wait_for_function('src => ![undefined, src].includes(document.querySelector(".result figure > img")?.src)', arg=src)

def maps(page):
    "The opacity of each map, or False where it is hidden"
    return page.evaluate('''[...document.querySelectorAll(".map")].map(e => {
        const s = getComputedStyle(e);
        return s.display != "none" && s.opacity;
    })''')


def test_answer_evidence_and_choice(page, shoe):
    show(page, shoe)

    assert page.inner_text('.result h2')
    if page.query_selector('.result summary'): page.click('.result summary')
    assert '%' in page.inner_text('.result form') and maps(page)==['0.6', False, False]

    page.locator('.result input[name=strength]').fill('90')
    page.locator('.result input[name=why]').nth(1).check()

    assert maps(page)==[False, '0.9', False]

    page.keyboard.press('ArrowDown')

    assert maps(page)==[False, False, '0.9']
    assert all('mostly' in o for o in page.evaluate('[...document.querySelectorAll(".map")].map(e => e.alt)'))
    assert not left()


def test_the_brand_alone(page, shoe, monkeypatch):
    "Where the brand is sure and the model is not"
    p = Prediction('asics_gel', 'Asics', 'Gel', .5, brand_confidence=.97, brand_sure=True, candidates=('Gel', 'Kayano'),
        scores={o:.25 for o in SneakerClassifier.load().labels[:4]})
    monkeypatch.setattr(SneakerClassifier, 'predict', lambda self, src: p)

    show(page, shoe)

    assert page.inner_text('.result h2')=='An Asics' and not page.locator('.result form').is_visible()
    said = page.inner_text('.result [role=status] p')
    assert said.startswith('Almost certainly the brand: 97%. Of the model I am not sure: perhaps Gel or Kayano,')


def test_camera(page):
    page.click('#photo [aria-label="Capture from camera"]')
    page.click('#photo button:has-text("Click to Access Webcam")')
    page.wait_for_function('document.querySelector("#photo video")?.readyState == 4')
    page.wait_for_timeout(1000)
    page.click('#photo [aria-label="capture photo"]')
    page.wait_for_selector('.result figure')

    assert not left()


def test_text_called_jpg_gets_a_sentence(page, tmp_path):
    evil = tmp_path/'<img src=x onerror=alert(1)>.jpg'
    evil.write_text('<script>alert(1)</script>')

    page.set_input_files('#photo input[type=file]', evil)
    page.wait_for_selector('.result [role=alert]')

    assert 'This picture cannot be used: it is not a picture' in page.inner_text('.result') and not left()


def test_box_by_mouse_and_keyboard(page, shoe):
    show(page, shoe)

    whole,r = shown(page),page.locator('.result figure').bounding_box()

    page.mouse.move(r['x']+r['width']*.1, r['y']+r['height']*.2)
    page.mouse.down()
    page.mouse.move(r['x']+r['width']*.6, r['y']+r['height']*.9, steps=3)
    page.mouse.up()
    changed(page, whole)

    size = page.evaluate('(i => [i.naturalWidth, i.naturalHeight])(document.querySelector(".result figure > img"))')
    assert size==pytest.approx([150, 210], abs=3)

    page.click('.result button[name=whole]')
    page.wait_for_selector('.result button[name=whole]', state='detached')
    assert shown(page)==whole

    page.focus('.result button[name=draw]')
    for key in 'Enter', 'ArrowRight', 'Shift+ArrowDown', 'Enter': page.keyboard.press(key)
    changed(page, whole)


def test_box_by_finger(browser, app, shoe):
    page = opened(browser, app, viewport=dict(width=390, height=844), has_touch=True, is_mobile=True)

    assert page.evaluate('document.documentElement.scrollWidth')<=390

    show(page, shoe)
    src = shown(page)

    page.tap('.result button[name=draw]')
    r = page.locator('.result figure').bounding_box()
    touch = page.context.new_cdp_session(page)

    def finger(kind, *at):
        points = [dict(x=r['x']+r['width']*x, y=r['y']+r['height']*y) for x,y in at]
        touch.send('Input.dispatchTouchEvent', dict(type=kind, touchPoints=points))

    finger('touchStart', (.2, .2))
    finger('touchMove', (.5, .5))
    finger('touchMove', (.8, .7))
    finger('touchEnd')
    changed(page, src)

    assert not page.troubles
    page.close()


def test_correction(page, shoe, feedback):
    show(page, shoe)
    page.click('text=Not right?')
    for _ in range(2):
        page.click('#really input')
        page.keyboard.type('Something')
        page.keyboard.press('Enter')
        page.click('#save')
        page.wait_for_selector('text=Thank you')

    saved = list(feedback.rglob('*.jpg'))
    assert [o.parent.name for o in saved]==['other'] and Image.open(saved[0]).size==(300, 300)
    assert 'without the time and place' in page.inner_text('main')


def test_a_correction_that_cannot_be_saved(browser, shoe, tmp_path):
    "The page says which folder and why, and the photo is still there when that is mended"
    feedback = tmp_path/'<b>data'
    feedback.write_text('a file, where a folder should be')
    app = launch(port=0, feedback=feedback)
    page = opened(browser, app)

    show(page, shoe)
    src = shown(page)
    page.click('text=Not right?')
    page.click('#really input')
    page.keyboard.type('Something')
    page.keyboard.press('Enter')
    page.click('#save')
    page.wait_for_selector('.toast-body')

    said = page.inner_text('.toast-body')
    assert f'{feedback/"other"} cannot be written' in said and 'the photo is still here' in said and shown(page)==src

    feedback.unlink()
    page.click('#save')
    page.wait_for_selector('text=Thank you')

    assert len(list(feedback.glob('other/*.jpg')))==1 and not page.troubles
    page.close()
    app.close()


def test_many_photos(page, shoe, tmp_path):
    for name in ('a.png', '=1+1.png', '<img src=x onerror=alert(1)>.png'): shutil.copy(shoe, tmp_path/name)
    (tmp_path/'notes.jpg').write_text('buy new laces')

    page.click('role=tab[name="Many photos"]')
    page.set_input_files('#files input[type=file]', sorted(tmp_path.iterdir()))
    page.wait_for_selector('#summary a')

    assert '4 photos' in page.inner_text('#summary') and '1 could not be used' in page.inner_text('#summary')

    with page.expect_download() as download: page.click('#summary a')

    assert download.value.suggested_filename=='sneakers.csv'
    rows = list(csv.DictReader(io.StringIO(Path(download.value.path()).read_text('utf-8-sig'))))
    assert {o['file'] for o in rows}=={'a.png', "'=1+1.png", '<img src=x onerror=alert(1)>.png', 'notes.jpg'}
    assert [o['file'] for o in rows if 'not a picture' in o['reason']]==['notes.jpg']

    page.locator('#answers img:visible').first.wait_for()
    page.locator('#answers th:has-text("File"):visible').first.hover()
    page.locator('#answers th:has-text("File") button:visible').last.click()
    page.click('text=Sort descending')
    page.wait_for_function('/notes.jpg[^]*a.png/.test(document.querySelector("#answers").innerText)')

    assert 'not a picture' in page.inner_text('#answers') and '<img src=x onerror=alert(1)>.png' in page.inner_text('#answers')
    assert not left()


def test_probabilities_are_percentages_that_sort_as_numbers(page, shoe, tmp_path, monkeypatch):
    chances = [.09, .551, 1., None, .1, .003, .999, .05]
    answers = [Prediction('puma_suede', 'Puma', 'Suede', o or .5, sure=o is not None) for o in chances]
    answers[-1] = replace(answers[-1], sure=False, brand_sure=True, brand_confidence=.05, candidates=('Suede', 'RS-X'))
    monkeypatch.setattr(SneakerClassifier, 'predict_many', lambda self, paths: iter(answers))
    files = [tmp_path/f'{i}.png' for i in range(len(chances))]
    for o in files: shutil.copy(shoe, o)

    page.click('role=tab[name="Many photos"]')
    page.set_input_files('#files input[type=file]', files)
    page.locator('#answers img:visible').first.wait_for()
    page.wait_for_function('/under 1%/.test(document.querySelector("#answers").innerText)')

    text = ' '.join(page.inner_text('#answers').split())
    assert ' 9% ' in text and ' 55% ' in text and ' 100% ' in text and ' 0.0' not in text and ' 0.5' not in text
    assert 'A Puma 5% perhaps Suede or RS-X' in text

    def sorted_names(order):
        page.locator('#answers th:has-text("Probability"):visible').first.hover()
        page.locator('#answers th:has-text("Probability") button:visible').last.click()
        page.click(f'text=Sort {order}')
        page.wait_for_timeout(500)
        return re.findall(r'(\d)\.png', page.inner_text('#answers'))

    up,down = sorted_names('ascending'),sorted_names('descending')

    assert [o for o in up if o!='3']==list('57041' '62') and [o for o in down if o!='3']==list('26140' '75')


def test_tables_have_light_lines_only(browser, app):
    for scheme in 'light', 'dark':
        page = opened(browser, app, color_scheme=scheme)
        page.click('role=tab[name="The model"]')
        page.wait_for_selector('.known table')
        sides = '''[...document.querySelectorAll('.known, #card')].flatMap(e => [...e.querySelectorAll('table, tr, th, td')]).flatMap(e => {
            const s = getComputedStyle(e);
            return [s.borderLeftWidth, s.borderRightWidth, s.borderBottomWidth];
        })'''

        assert set(page.evaluate(sides))=={'0px'}
        assert not page.troubles
        page.close()


@pytest.mark.parametrize('tab,field,area', [('One photo', '#photo', '.answer'), ('Many photos', '#files', '#summary')])
def test_an_address_or_text_dropped_on_a_field(page, shoe, tab, field, area):
    things = '<a id=link href="https://shop.example/shoe.jpg">shoe</a> <p id=words>a shoe</p>'
    page.evaluate("html => document.querySelector('h1').insertAdjacentHTML('afterend', html)", things)
    page.click(f'role=tab[name="{tab}"]')

    page.drag_and_drop('#link', field)
    page.wait_for_selector(f'{area} .dropped[role=alert]')
    assert page.inner_text(f'{area} .dropped')=='That is an address, not a picture. Save the picture first, then drop the file here.'

    page.evaluate('getSelection().selectAllChildren(document.querySelector("#words"))')
    page.drag_and_drop('#words', f'{field} button >> nth=0')
    page.wait_for_function('area => document.querySelector(area+" .dropped").innerText.startsWith("That is not a picture.")', arg=area)
    assert page.locator('.dropped').count()==1

    # The same photo twice: its answer is the same, and the sentence goes all the same.
    for _ in range(2):
        page.set_input_files(f'{field} input[type=file]', [shoe])
        page.wait_for_selector(f'{area} .result, {area} a')
        page.wait_for_selector('.dropped', state='detached')
        page.drag_and_drop('#link', field)
        page.wait_for_selector('.dropped')
        assert page.locator(f'{area} .result, {area} a').count()==1

    assert page.url.startswith('http://127.0.0.1')


def test_a_folder_of_photos(page, shoe, tmp_path):
    for d in 'one', 'two':
        (tmp_path/d).mkdir()
        shutil.copy(shoe, tmp_path/d/'same.png')

    page.click('role=tab[name="Many photos"]')
    page.set_input_files('input[webkitdirectory]', tmp_path)
    page.wait_for_selector('#summary a')

    assert '2 photos' in page.inner_text('#summary') and ' 0 could not be used' in page.inner_text('#summary') and not left()


def test_names_cannot_run(browser, shoe, tmp_path):
    "A model whose names and card are HTML and scripts, in a page that shows them all"
    app = launch(evil_model(tmp_path/'evil'), port=0, feedback=tmp_path/'feedback')
    page = opened(browser, app)

    show(page, shoe)
    assert '<img src=x onerror=alert(1)> <script>alert(2)</script>${alert(3)}{{alert}}' in page.inner_text('.result h2')

    page.click('text=Not right?')
    page.click('#really input')
    page.click('role=tab[name="Many photos"]')
    page.set_input_files('#files input[type=file]', [shoe])
    page.locator('#answers img:visible').first.wait_for()

    page.click('role=tab[name="The model"]')
    page.wait_for_selector('#card')
    assert '<script>alert(4)</script>' in page.inner_text('#card')
    page.wait_for_timeout(500)
    assert not page.troubles

    # Even a page that let a script through would not run it.
    page.evaluate('document.body.insertAdjacentHTML("beforeend", "<img src=data:, onerror=\\"document.title=1\\">")')
    page.wait_for_timeout(300)

    assert page.title()=='Sneaker classifier'
    page.close()
    app.close()


def test_dropped_and_pasted(page, shoe):
    data = b64encode(shoe.read_bytes()).decode()
    transfer = page.evaluate_handle('''async data => {
        const bytes = Uint8Array.from(atob(data), c => c.charCodeAt(0)), t = new DataTransfer();
        t.items.add(new File([bytes], 'dropped.png', {type: 'image/png'}));
        return t;
    }''', data)

    page.context.grant_permissions(['clipboard-read', 'clipboard-write'])
    page.evaluate('''async data => {
        const bytes = Uint8Array.from(atob(data), c => c.charCodeAt(0));
        await navigator.clipboard.write([new ClipboardItem({'image/png': new Blob([bytes], {type: 'image/png'})})]);
    }''', b64encode(encoded(draw_shoe('adidas_superstar', seed=2, size=200), 'PNG')).decode())

    def drop(): page.dispatch_event('#photo button.center', 'drop', dict(dataTransfer=transfer))
    def paste(): page.click('#photo [aria-label="Paste from clipboard"]')

    src = None
    for act in [drop, paste]*5:
        act()
        changed(page, src)
        src = shown(page)
        assert not left()
