"The app as programs and other pages meet it: its endpoints, its guard, what it keeps and what it does not"
import io, json, os, shutil, socket, subprocess, sys, time
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import httpx, pytest
from conftest import command, root
from gradio_client import Client, handle_file
from PIL import Image

from sneaker_classifier import Prediction, SneakerClassifier
from sneaker_classifier.app import _upload_folder, answer_html, answers_csv, known_html, launch, save_correction
from sneaker_classifier.images import sanitize
from sneaker_classifier.samples import draw_shoe


def free_port():
    with socket.socket() as s:
        s.bind(('127.0.0.1', 0))
        return s.getsockname()[1]

def left(seconds=10):
    "What uploads have left behind; the last of it may go a moment after the answer has come"
    end = time.monotonic()+seconds
    while (files := [o for o in Path(_upload_folder().name).rglob('*') if o.is_file()]) and time.monotonic()<end: time.sleep(.05)
    return files

@pytest.fixture(scope='module')
def clf(): return SneakerClassifier.load()

@pytest.fixture(scope='module')
def app(tmp_path_factory):
    app = launch(port=free_port(), feedback=tmp_path_factory.mktemp('feedback'))
    yield app
    app.close()

@pytest.fixture(scope='module')
def client(app): return Client(app.local_url, verbose=False, httpx_kwargs=dict(timeout=120))

@pytest.fixture(scope='module')
def shoes(tmp_path_factory):
    folder = tmp_path_factory.mktemp('shoes')
    for i,label in enumerate(('puma_suede', 'adidas_superstar', 'nike_air_force_1', 'nike_court_vision')): draw_shoe(label, seed=i, size=200).save(folder/f'{i}.jpg')
    return sorted(folder.iterdir())


def test_endpoints(client, clf, shoes, tmp_path):
    assert set(client.view_api(return_format='dict')['named_endpoints'])=={'/predict', '/predict_many', '/classes'}
    assert [o['label'] for o in client.predict(api_name='/classes')]==clf.labels
    p,a = clf.predict(shoes[0]),client.predict(handle_file(shoes[0]), api_name='/predict')
    assert (a['label'], a['brand'], a['model'], a['sure'], a['error'])==(p.label, p.brand, p.model, p.sure, None) and abs(a['confidence']-p.confidence)<1e-4
    assert set(client.predict(handle_file(shoes[0]), among=clf.labels[:2], api_name='/predict')['scores'])==set(clf.labels[:2])
    assert 'Did you mean' in client.predict(handle_file(shoes[0]), among=['puma_sued'], api_name='/predict')['error']
    bad = tmp_path/'bad.jpg'
    bad.write_text('no picture')
    many = client.predict([*map(handle_file, shoes), handle_file(bad)], api_name='/predict_many')
    assert [o['label'] for o in many[:4]]==[clf.predict(o).label for o in shoes] and 'not a picture' in many[4]['error']
    assert not left()


def test_many_clients_with_the_same_photos(app, clf, shoes):
    "Gradio would give equal uploads one file, and the first to be answered would take it from the others"
    want = [clf.predict(o) for o in shoes]
    clients = [Client(app.local_url, verbose=False, httpx_kwargs=dict(timeout=120)) for _ in range(8)]
    def ask(i): return i%4, clients[i%8].predict(handle_file(shoes[i%4]), api_name='/predict')
    with ThreadPoolExecutor(8) as pool:
        for i,a in pool.map(ask, range(48)): assert (a['error'], a['label'])==(None, want[i].label) and abs(a['confidence']-want[i].confidence)<1e-3
    assert not left() and not app.upload_file_set and not any(app.temp_file_sets)


def test_only_uploads_are_opened(client, app):
    assert 'not uploaded' in client.predict(dict(path=str(root/'README.md')), api_name='/predict')['error']
    asked = []
    class Web(BaseHTTPRequestHandler):
        def do_GET(self): asked.append(self.path); self.send_error(404)
        do_HEAD = do_GET
    web = ThreadingHTTPServer(('127.0.0.1', 0), Web)
    Thread(target=web.serve_forever, daemon=True).start()
    url = f'http://127.0.0.1:{web.server_port}/x.jpg'
    file = dict(path=url, meta=dict(_type='gradio.FileData'))
    for o in file, {**file, 'path':str(root/'README.md')}:
        r = httpx.post(f'{app.local_url}gradio_api/call/predict', json=dict(data=[o, None]))
        said = httpx.get(f"{app.local_url}gradio_api/call/predict/{r.json()['event_id']}", timeout=60).text
        assert 'event: error' in said or 'not uploaded' in said
    assert httpx.get(f'{app.local_url}gradio_api/file={url}').status_code==403
    web.shutdown()
    assert not asked and (root/'README.md').is_file()


def test_guard(app):
    def status(path='', method='GET', **kw): return httpx.request(method, f'{app.local_url}{path}', **kw).status_code
    assert status()==200
    for headers in dict(host='evil.example'), dict(origin='http://evil.example'), dict(origin='null'): assert status(headers=headers)==403
    for path in 'deep_link?session_hash=x', 'file=https://example.org/x', 'proxy=https://example.org/': assert status(f'gradio_api/{path}')==403
    assert status('gradio_api/queue/join', 'POST', content=b' '*1_100_000)==413
    assert status('gradio_api/upload', 'POST', files=dict(files=('x.jpg', b' '*21_000_000)))==413
    assert not left()
    headers = httpx.get(app.local_url).headers
    rules = dict(o.strip().split(' ', 1) for o in headers['content-security-policy'].split(';'))
    assert rules['default-src']=="'self'" and 'unsafe-inline' not in rules['script-src'] and 'sha256-' in rules['script-src'] and 'http' not in rules['script-src']
    assert headers['x-content-type-options']=='nosniff'


def test_nothing_of_gradio_goes_out(app):
    page = httpx.get(app.local_url).text
    assert app.share is False and not app.analytics_enabled and not app.run_history and 'fonts.googleapis' not in page
    assert app.server_name=='127.0.0.1'
    assert httpx.get(f'{app.local_url}monitoring').status_code!=200


def test_corrections(tmp_path):
    exif = Image.Exif()
    exif[0x010e] = '<script>alert(1)</script>'
    photo = io.BytesIO()
    draw_shoe('puma_suede', size=300).save(photo, 'JPEG', exif=exif)
    first,again = (save_correction(photo.getvalue(), 'puma_suede', tmp_path) for _ in range(2))
    assert first==again and [o.relative_to(tmp_path).as_posix() for o in tmp_path.glob('*/*')]==[f'puma_suede/{first.name}']
    assert b'script' not in first.read_bytes() and first.read_bytes()==sanitize(photo.getvalue())
    assert save_correction(photo.getvalue(), 'other', tmp_path).parent.name=='other' and not first.exists()


def test_spreadsheets_get_no_formulas():
    names = ['=1+1.jpg', '+1.jpg', '-1.jpg', '@x.jpg', 'a,"b".jpg', 'é.jpg']
    lines = answers_csv(names, [Prediction(error='no')]*len(names)).splitlines()[1:]
    assert lines==["'=1+1.jpg,,,,,no", "'+1.jpg,,,,,no", "'-1.jpg,,,,,no", "'@x.jpg,,,,,no", '"a,""b"".jpg",,,,,no', 'é.jpg,,,,,no']


def evil_model(folder):
    "The bundled model, with names and a card that try to be HTML"
    shutil.copytree(SneakerClassifier.load().folder, folder, ignore=shutil.ignore_patterns('*.pkl', '*.safetensors', '*.csv'))
    card = json.loads((folder/'model.json').read_text(encoding='utf-8'))
    for c in card['classes']: c['brand'],c['model'] = '<img src=x onerror=alert(1)>','<script>alert(2)</script>${alert(3)}{{alert}}'
    card['sure_from'] = -1000
    # So cold that every first answer is likely
    card['temperature'] = 0.01
    (folder/'model.json').write_text(json.dumps(card), encoding='utf-8')
    (folder/'MODEL_CARD.md').write_text('# A card\n\n<script>alert(4)</script><img src=x onerror=alert(5)> [x](javascript:alert(6))', encoding='utf-8')
    return folder


def test_names_are_text(tmp_path):
    evil,photo = SneakerClassifier.load(evil_model(tmp_path/'evil')),sanitize(draw_shoe('puma_suede', size=100))
    for page in known_html(evil), answer_html(evil, evil.predict(photo), photo): assert '<script' not in page and '<img src=x' not in page and '&lt;img src=x' in page


def test_other_machines_need_a_flag():
    assert '--open-to-network' in command('app', '--host', '0.0.0.0', ok=False).stderr


@pytest.mark.parametrize('start', [[sys.executable, root/'app.py'], [Path(sys.executable).with_name('sneaker-app')]])
def test_commands_answer_and_clean_up(start, tmp_path):
    port = free_port()
    env = dict(os.environ, PYTHONIOENCODING='utf-8', TMPDIR=str(tmp_path), TEMP=str(tmp_path))
    run = subprocess.Popen([*map(str, start), '--port', str(port)], cwd=tmp_path, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, encoding='utf-8')
    try:
        assert f'http://127.0.0.1:{port}' in run.stdout.readline()
        assert httpx.get(f'http://127.0.0.1:{port}/').status_code==200
    finally: run.terminate()
    said = run.communicate(timeout=60)[0]
    assert 'Traceback' not in said
    # Windows ends a process without telling it.
    if os.name!='nt': assert not [o for o in tmp_path.rglob('*') if o.name.startswith('sneakers-')]
