"The app as programs and other pages meet it: its endpoints, its guard, what it keeps and what it does not"
import errno, io, json, os, re, shutil, socket, subprocess, sys, time, tomllib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import gradio as gr
import httpx, pytest
from conftest import command, root
from gradio_client import Client, handle_file
from local_web import LocalWeb
from PIL import Image

from sneaker_classifier import SneakerClassifier, app as app_module
from sneaker_classifier.app import answer_html, build_app, card_text, known_html, launch, save_correction
from sneaker_classifier.guard import free_port, hooks, missing_hooks, only_uploads, upload_folder
from sneaker_classifier.images import sanitize
from sneaker_classifier.samples import draw_shoe
from sneaker_classifier.settings import SneakerError


def left(seconds=10):
    "What uploads have left behind; the last of it may go a moment after the answer has come"
    end = time.monotonic()+seconds
    while (files := [o for o in Path(upload_folder().name).rglob('*') if o.is_file()]) and time.monotonic()<end: time.sleep(.05)
    return files


@pytest.fixture(scope='module')
def clf(): return SneakerClassifier.load()


@pytest.fixture(scope='module')
def app(tmp_path_factory):
    app = launch(port=0, feedback=tmp_path_factory.mktemp('feedback'))
    yield app
    app.close()


@pytest.fixture(scope='module')
def client(app): return Client(app.local_url, verbose=False, httpx_kwargs=dict(timeout=120))


@pytest.fixture(scope='module')
def shoes(tmp_path_factory):
    folder = tmp_path_factory.mktemp('shoes')
    labels = 'puma_suede', 'adidas_superstar', 'nike_air_force_1', 'nike_court_vision'
    for i,label in enumerate(labels): draw_shoe(label, seed=i, size=200).save(folder/f'{i}.jpg')
    return sorted(folder.iterdir())


def test_endpoints(client, clf, shoes, tmp_path):
    assert set(client.view_api(return_format='dict')['named_endpoints'])=={'/predict', '/predict_many', '/classes'}
    assert [o['label'] for o in client.predict(api_name='/classes')]==clf.labels

    p,a = clf.predict(shoes[0]),client.predict(handle_file(shoes[0]), api_name='/predict')
    assert (a['label'], a['brand'], a['model'], a['sure'], a['error'])==(p.label, p.brand, p.model, p.sure, None)
    assert (a['brand_sure'], a['candidates'])==(p.brand_sure, list(p.candidates))
    assert a['confidence']==pytest.approx(p.confidence, abs=1e-4) and a['brand_confidence']==pytest.approx(p.brand_confidence, abs=1e-4)

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
        for i,a in pool.map(ask, range(48)):
            assert (a['error'], a['label'])==(None, want[i].label) and abs(a['confidence']-want[i].confidence)<1e-3

    assert not left() and not app.upload_file_set and not any(app.temp_file_sets)


def test_only_uploads_are_opened(client, app):
    assert 'not uploaded' in client.predict(dict(path=str(root/'README.md')), api_name='/predict')['error']

    with LocalWeb() as web:
        file = dict(path=web.url('/x.jpg'), meta=dict(_type='gradio.FileData'))
        for o in file, {**file, 'path':str(root/'README.md')}:
            r = httpx.post(f'{app.local_url}gradio_api/call/predict', json=dict(data=[o, None]))
            said = httpx.get(f"{app.local_url}gradio_api/call/predict/{r.json()['event_id']}", timeout=60).text
            assert 'event: error' in said or 'not uploaded' in said
        assert httpx.get(f"{app.local_url}gradio_api/file={web.url('/x.jpg')}").status_code==403

    assert not web.asked and (root/'README.md').is_file()


def test_guard(app):
    def status(path='', method='GET', **kw): return httpx.request(method, f'{app.local_url}{path}', **kw).status_code

    assert status()==200
    for host in 'evil.example', '127.0.0.1.evil.example', 'localhost@evil.example', '[::1]evil', '[::1':
        assert status(headers=dict(host=host))==400
    for origin in 'http://evil.example', 'null': assert status(headers=dict(origin=origin))==403
    for path in 'deep_link?session_hash=x', 'file=https://example.org/x', 'proxy=https://example.org/':
        assert status(f'gradio_api/{path}')==403
    assert status('gradio_api/queue/join', 'POST', content=b' '*1_100_000)==413
    assert status('gradio_api/upload', 'POST', files=dict(files=('x.jpg', b' '*21_000_000)))==413
    assert not left()

    headers = httpx.get(app.local_url).headers
    rules = dict(o.strip().split(' ', 1) for o in headers['content-security-policy'].split(';'))
    scripts = rules['script-src']
    assert rules['default-src']=="'self'" and 'unsafe-inline' not in scripts and 'sha256-' in scripts and 'http' not in scripts
    assert headers['x-content-type-options']=='nosniff'


def test_this_gradio_has_all_that_we_rely_on(app):
    assert missing_hooks(app)==[]
    assert {o.async_move_resource_to_block_cache for o in app.blocks.values()}=={only_uploads}
    # The environment is read: uploads go into our folder, and nothing is summed up after each call.
    assert {o.GRADIO_CACHE for o in app.blocks.values()}=={upload_folder().name}
    assert {100, 10**9}<={o for o in vars(app._queue).values() if isinstance(o, int)}


@pytest.mark.parametrize('name', [o for o in hooks if not o.startswith('app.')])
def test_a_gradio_without_one_of_them_does_not_start(clf, monkeypatch, name):
    monkeypatch.delattr(name)
    with pytest.raises(SneakerError, match=f'Gradio [0-9.]+ has no {name}, which this page relies on'): build_app(clf)


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


def disk_error(number): return OSError(number, os.strerror(number))

def assert_not_saved(folder):
    photo = sanitize(draw_shoe('puma_suede', size=100))
    with pytest.raises(SneakerError, match='puma_suede.* cannot be written'): save_correction(photo, 'puma_suede', folder)


@pytest.mark.parametrize('number', [errno.ENOSPC, errno.EACCES, errno.EPERM, errno.EROFS, errno.ENAMETOOLONG, errno.EIO])
def test_a_correction_that_cannot_be_saved(tmp_path, monkeypatch, number):
    def refuse(*args): raise disk_error(number)
    monkeypatch.setattr(os, 'replace', refuse)
    assert_not_saved(tmp_path)


@pytest.mark.parametrize('folder', ['file', 'file/feedback', 'x'*300, 'labels'])
def test_a_folder_that_is_none(tmp_path, folder):
    (tmp_path/'labels').mkdir()
    for o in 'file', 'labels/puma_suede': (tmp_path/o).write_text('mine')
    assert_not_saved(tmp_path/folder)
    assert sorted(o.name for o in tmp_path.rglob('*'))==['file', 'labels', 'puma_suede']


def test_an_upload_that_the_disk_does_not_take(app, monkeypatch):
    async def full(request, folder, *args, **kw):
        Path(folder).mkdir(parents=True)
        raise disk_error(errno.ENOSPC)
    monkeypatch.setattr('gradio.route_utils.upload_fn', full)

    r = httpx.post(f'{app.local_url}gradio_api/upload', files=dict(files=('x.jpg', b'x')))

    assert r.status_code==507 and 'cannot be written' in r.text and not any(Path(upload_folder().name).iterdir())


def evil_model(folder):
    "The bundled model, with names and a card that try to be HTML"
    shutil.copytree(SneakerClassifier.load().folder, folder, ignore=shutil.ignore_patterns('*.pkl', '*.safetensors', '*.csv'))
    card = json.loads((folder/'model.json').read_text(encoding='utf-8'))
    for c in card['classes']: c['brand'],c['model'] = '<img src=x onerror=alert(1)>','<script>alert(2)</script>${alert(3)}{{alert}}'
    card['sure_from'],card['lead_from'] = -1000,0
    # So cold that every first answer is likely
    card['temperature'] = 0.01
    (folder/'model.json').write_text(json.dumps(card), encoding='utf-8')
    text = '# A card\n\n<script>alert(4)</script><img src=x onerror=alert(5)> [x](javascript:alert(6))'
    (folder/'MODEL_CARD.md').write_text(text, encoding='utf-8')
    return folder


def test_names_are_text(tmp_path):
    evil,photo = SneakerClassifier.load(evil_model(tmp_path/'evil')),sanitize(draw_shoe('puma_suede', size=100))
    for page in known_html(evil), answer_html(evil, evil.predict(photo), photo):
        assert '<script' not in page and '<img src=x' not in page and '&lt;img src=x' in page


def test_a_header_of_yaml_is_no_part_of_the_card(tmp_path):
    for text in '---\nlicense: apache-2.0\ntags:\n- <b>\n---\n\n# Shoes', '# Shoes', '---\r\nx: 1\r\n---\r\n# Shoes':
        (tmp_path/'MODEL_CARD.md').write_bytes(text.encode())
        assert card_text(tmp_path).strip()=='# Shoes'

    for text in '# Shoes\n\n---\n\nA line\n\n---\n', '---\nno end':
        (tmp_path/'MODEL_CARD.md').write_text(text)
        assert card_text(tmp_path)==text


page = root/'sneaker_classifier'/'page'


def test_files_of_the_page_are_packaged():
    tool = tomllib.loads((root/'pyproject.toml').read_text(encoding='utf-8'))['tool']['setuptools']
    packaged = {o for pattern in tool['package-data']['sneaker_classifier'] for o in page.parent.glob(pattern)}
    assert {'app.css', 'answer.js', 'drops.js'}=={o.name for o in page.iterdir()} and set(page.iterdir())<=packaged
    assert 'recursive-include sneaker_classifier/page *' in (root/'MANIFEST.in').read_text(encoding='utf-8').splitlines()


def test_files_of_the_page_are_well_formed():
    css = re.sub(r'/\*.*?\*/', '', (page/'app.css').read_text(encoding='utf-8'), flags=re.S)
    assert css.count('{')==css.count('}') and all(o.isascii() for o in css)
    # Where there is no Node, the tests of the page in a browser notice.
    if node := shutil.which('node'):
        for o in page.glob('*.js'): assert subprocess.run([node, '--check', o], capture_output=True, text=True).stderr==''


def test_other_machines_need_a_flag():
    assert '--open-to-network' in command('app', '--host', '0.0.0.0', ok=False).stderr


@pytest.mark.parametrize('host, tabs', [('127.0.0.1', 4), ('0.0.0.0', 3)])
def test_only_people_at_this_machine_can_teach(host, tabs):
    app = launch(port=0, host=host, open_to_network=True)
    app.close()
    found = [o.label for o in app.blocks.values() if isinstance(o, gr.Tab)]
    assert len(found)==tabs and ('Teach' in found)==(tabs==4)


def started(start, folder, **env):
    "A page in a process of its own, and the address that it says it has"
    env = {**os.environ, 'PYTHONIOENCODING':'utf-8', 'TMPDIR':str(folder), 'TEMP':str(folder), **env}
    env = {k:v for k,v in env.items() if v is not None}
    run = subprocess.Popen([*map(str, start)], cwd=folder, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        text=True, encoding='utf-8')
    said = run.stdout.readline()
    url = re.match(r'Open (http://[^ ]+:\d+/) in a browser', said)
    if url: return run, url[1]
    run.kill()
    raise AssertionError(said+run.communicate()[0])


nowhere = 'http://127.0.0.1:9'
proxies = [
    dict(HTTP_PROXY=nowhere, HTTPS_PROXY=nowhere, NO_PROXY='.corp.example'),
    dict(ALL_PROXY='socks5://127.0.0.1:9', http_proxy=nowhere, no_proxy='.corp.example'),
    dict(all_proxy='socks5h://127.0.0.1:9', https_proxy='gopher://x'),
    dict(http_proxy=':::', HTTPS_PROXY='garbage', SSL_CERT_FILE='/no/such/file', SSL_CERT_DIR='/no/such')]


@pytest.mark.parametrize('env', proxies, ids=lambda o: ' '.join(o))
def test_starts_behind_any_proxy(tmp_path, env):
    run,url = started([Path(sys.executable).with_name('sneaker-app'), '--port', 0], tmp_path, **{'no_proxy':None, **env})
    try: assert httpx.get(url, trust_env=False).status_code==200
    finally: run.terminate()
    assert 'Traceback' not in run.communicate(timeout=60)[0]


def test_the_environment_stays_as_it_was(monkeypatch):
    for k,v in {**proxies[1], **proxies[3]}.items(): monkeypatch.setenv(k, v)
    before = dict(os.environ)
    launch(port=0).close()
    assert {k:os.environ.get(k) for k in before}==before


# Ports

def port_error(host='127.0.0.1', port=0):
    with pytest.raises(SneakerError) as e: free_port(host, port)
    return str(e.value)


@pytest.mark.parametrize('port', [-1, 65536, 99999, 10**20])
def test_ports_that_do_not_exist(port): assert f'There is no port {port}.' in port_error(port=port)


def test_a_port_that_is_taken():
    with socket.create_server(('127.0.0.1', 0)) as other:
        port = other.getsockname()[1]
        assert f'Port {port} is taken by another program' in port_error(port=port) and 'is taken' in port_error('localhost', port)
        with pytest.raises(SneakerError, match=f'Port {port} is taken'): launch(port=port)


@pytest.mark.parametrize('host,words', [('192.0.2.1', 'not an address of this machine'),
    ('no-such-machine.invalid', 'no machine called'), ('a..b', 'no machine called'), ('x'*70, 'no machine called'),
    ('1.2.3.4.5', 'no machine called')])
def test_hosts_that_are_not_ours(host, words): assert words in port_error(host) and host in port_error(host)


@pytest.mark.parametrize('number,words', [(errno.EACCES, 'You may not open port 80.'), (errno.EADDRINUSE, 'Port 80 is taken'),
    (errno.EADDRNOTAVAIL, 'not an address'), (errno.EAFNOSUPPORT, 'not an address'), (errno.EMFILE, 'cannot be opened')])
def test_what_the_system_says_of_a_port(monkeypatch, number, words):
    def refuse(*args, **kw): raise disk_error(number)
    monkeypatch.setattr(socket, 'create_server', refuse)
    assert words in port_error(port=80)


def test_a_machine_without_the_second_address_of_localhost(monkeypatch):
    create = socket.create_server
    def only_ipv4(address, family):
        if family!=socket.AF_INET: raise disk_error(errno.EADDRNOTAVAIL)
        return create(address, family=family)
    monkeypatch.setattr(socket, 'create_server', only_ipv4)
    both = [(socket.AF_INET6, 1, 6, '', ('::1', 0, 0, 0)), (socket.AF_INET, 1, 6, '', ('127.0.0.1', 0))]
    monkeypatch.setattr(socket, 'getaddrinfo', lambda *args, **kw: both)

    assert free_port('localhost', 0)>0


def test_a_free_port_that_another_takes_meanwhile(monkeypatch):
    serve,tried = app_module.gr.Blocks.launch,[]
    def taken_at_first(self, *args, **kw):
        tried.append(kw['server_port'])
        if len(tried)==1: raise OSError('Cannot find empty port')
        return serve(self, *args, **kw)
    monkeypatch.setattr(app_module.gr.Blocks, 'launch', taken_at_first)

    app = launch(port=0)

    assert httpx.get(app.local_url).status_code==200 and app.server_port==tried[1]
    app.close()

    tried.clear()
    with pytest.raises(SneakerError, match='is taken'): launch(port=free_port('127.0.0.1', 0))


@pytest.mark.parametrize('host', ['::1', '[::1]', 'localhost'])
def test_other_names_of_this_machine(host):
    try: app = launch(host=host, port=0)
    except SneakerError as e: assert ':' in host and 'not an address of this machine' in str(e)   # a machine without IPv6
    else:
        assert httpx.get(app.local_url).status_code==200 and app.local_url.split(':')[1] in ('//[', '//localhost')
        app.close()


def test_a_command_says_it_in_one_line():
    for port in '99999', '-1': assert len(command('app', '--port', port, ok=False).stderr.splitlines())==1


@pytest.mark.parametrize('start', [[sys.executable, root/'app.py'], [Path(sys.executable).with_name('sneaker-app')]])
def test_commands_answer_and_clean_up(start, tmp_path):
    port = free_port('127.0.0.1', 0)
    run,url = started([*start, '--port', port], tmp_path)
    try: assert url==f'http://127.0.0.1:{port}/' and httpx.get(url).status_code==200
    finally: run.terminate()

    said = run.communicate(timeout=60)[0]
    assert 'Traceback' not in said
    # Windows ends a process without telling it.
    if os.name!='nt': assert not [o for o in tmp_path.rglob('*') if o.name.startswith('sneakers-')]
