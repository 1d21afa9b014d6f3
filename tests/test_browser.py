"The page in a real browser, where there is one"
import shutil

import pytest

from sneaker_classifier.app import launch
from sneaker_classifier.samples import draw_shoe

chromium = next((o for o in map(shutil.which, ('chromium', 'chromium-browser', 'google-chrome')) if o), None)
sync_api = pytest.importorskip('playwright.sync_api', reason='playwright is not installed')
pytestmark = pytest.mark.skipif(not chromium, reason='no Chromium on this machine')
flags = ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking', '--disable-component-update', '--disable-sync']


@pytest.fixture(scope='module')
def page(trained):
    app = launch(trained[0], port=7871)
    with sync_api.sync_playwright() as p:
        browser = p.chromium.launch(executable_path=chromium, args=flags)
        page = browser.new_page()
        page.asked = []
        page.on('request', lambda r: page.asked.append(r.url))
        page.goto(app.local_url)
        yield page
        browser.close()
    app.close()


def test_photo_is_answered_and_nothing_else_is_asked(page, tmp_path):
    draw_shoe('puma_suede', seed=5).save(tmp_path/'shoe.png')
    page.set_input_files('input[type=file]', tmp_path/'shoe.png')
    page.wait_for_selector('.answer h2')
    assert '%' in page.inner_text('.answer')
    foreign = [u for u in page.asked if not u.startswith(('http://127.0.0.1:7871', 'ws://127.0.0.1:7871', 'data:', 'blob:'))]
    assert not foreign


def test_text_called_jpg_gets_a_sentence(page, tmp_path):
    page.reload()
    evil = tmp_path/'notes.jpg'
    evil.write_text('<script>alert(1)</script>')
    page.set_input_files('input[type=file]', evil)
    page.wait_for_selector('.answer [role=alert]')
    assert 'This picture cannot be used: it is not a picture' in page.inner_text('.answer')
