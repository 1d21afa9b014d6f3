"The page without a server, in a real browser: it answers as Python does, and keeps what it promises"
import hashlib, io, json, shutil, subprocess, tarfile, unicodedata, zipfile
from base64 import b64decode, b64encode
from dataclasses import replace
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import numpy as np
import onnx
import pytest
from conftest import absent
from local_web import LocalWeb, unknown
from made import encoded, jpeg, root
from PIL import Image
from test_app import evil_model
from test_hostile import bad

from sneaker_classifier import BadImage, Prediction, SneakerClassifier, load_settings, open_image, web
from sneaker_classifier.app import headline
from sneaker_classifier.files import SneakerError, sha256_of
from sneaker_classifier.images import fit_square, subject_box
from sneaker_classifier.samples import draw_shoe
from sneaker_classifier.settings import is_label, to_label
from sneaker_classifier.teach import known_shoes, lesson, look_at, nuisance, taught_rows
from fastcore.xml import to_xml


# The runtime: one file, or none

def packed(**files):
    "A package of npm with other contents"
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode='w:gz') as t:
        for name,data in {**{o:b'x' for o in web._parts}, **files}.items():
            info = tarfile.TarInfo(f'package/dist/{name}')
            info.size = len(data)
            t.addfile(info, io.BytesIO(data))
    return out.getvalue()

class Registry(LocalWeb):
    "A registry of npm that has one package"
    async def answer(self, host, path):
        kind,_,rest = path.strip('/').partition('/')
        if rest!=f'onnxruntime-web/-/onnxruntime-web-{web._version}.tgz': return 404, {}, b''
        if kind=='flood': return 200, {}, b'', unknown, 0, 2**16
        if kind=='cut': return 200, {}, self.files[0][:50], len(self.files[0])
        return 200, {}, self.files[0] if kind=='good' else b'something else'

@pytest.fixture
def registry(monkeypatch):
    data = packed()
    monkeypatch.setattr(web, '_sha512', b64encode(hashlib.sha512(data).digest()).decode())
    with Registry([data]) as o: yield o


def test_the_runtime_is_fetched_once(registry, tmp_path):
    for _ in range(2): assert web.runtime_files(registry.url('/good'), tmp_path)=={o:b'x' for o in web._parts}
    assert registry.asked.total()==1

    (kept,) = tmp_path.iterdir()
    kept.write_bytes(kept.read_bytes()[:-1])

    assert web.runtime_files(registry.url('/good/'), tmp_path) and registry.asked.total()==2


@pytest.mark.parametrize('kind,said', [('other', 'its sha512 differs'), ('cut', 'cannot be had'), ('gone/x', 'cannot be had')])
def test_another_runtime_is_refused(kind, said, registry, tmp_path):
    with pytest.raises(SneakerError, match=said): web.runtime_files(registry.url(f'/{kind}'), tmp_path/'cache')
    assert not (tmp_path/'cache').exists()


def test_a_flood_ends(registry, tmp_path, monkeypatch):
    monkeypatch.setattr(web, '_most_bytes', 10**6)
    with pytest.raises(SneakerError, match='its sha512 differs'): web.runtime_files(registry.url('/flood'), tmp_path)


@pytest.mark.parametrize('address', ['nonsense', 'http://[', 'file:///etc'])
def test_no_address(address, tmp_path):
    with pytest.raises(SneakerError, match='--registry'): web.runtime_files(address, tmp_path)


def test_npm_says_where(monkeypatch):
    monkeypatch.setenv('npm_config_registry', 'https://mirror.example/npm/')
    assert web.npm_registry()=='https://mirror.example/npm/'
    monkeypatch.delenv('npm_config_registry')
    monkeypatch.setattr(web.shutil, 'which', lambda name: None)
    with pytest.raises(SneakerError, match='--registry'): web.npm_registry()


# The folder

fake = {o:b'x' for o in web._parts}

def test_each_file_is_named_with_its_sha256():
    files = web.page_files(SneakerClassifier.load(), fake)
    site = json.loads(files['sw.js'].decode().partition('const site = ')[2].partition(';\n')[0])

    assert set(site['files'])=={'index.html', *files}-{'sw.js', 'model/MODEL_CARD.md'}
    assert all(hashlib.sha256(files[path]).hexdigest()==o for path,o in site['files'].items())
    assert not any(b'__' in o for path,o in files.items() if path.endswith('.html'))


def test_an_older_format_is_written_as_it_is_read(tmp_path):
    folder = evil_model(tmp_path/'old')
    card = json.loads((folder/'model.json').read_text(encoding='utf-8'))
    card.update(format=3, size=card.pop('detail'))
    (folder/'model.json').write_text(json.dumps(card), encoding='utf-8')

    written = json.loads(web.page_files(SneakerClassifier.load(folder), fake)['model/model.json'])

    assert (written['format'], written['detail'])==(4, card['size'])


def test_a_page_of_somebody_else_stays(registry, tmp_path):
    (tmp_path/'index.html').write_text('mine')
    with pytest.raises(SneakerError, match='none of ours'): web.sneaker_web(out=str(tmp_path), registry=registry.url('/good'))
    assert [o.name for o in tmp_path.iterdir()]==['index.html']


def test_modules_have_the_types_they_say(tmp_path):
    "TypeScript looks at the comments: once with the names that a page has, once with those of a worker"
    npx = shutil.which('npx') or absent('npx')
    for o in (root/'sneaker_classifier'/'web').glob('*.js'): shutil.copy(o, tmp_path)
    (tmp_path/'runtime').mkdir()
    (tmp_path/'runtime'/'ort.wasm.min.d.mts').write_text('export const env: any, Tensor: any, InferenceSession: any;')
    for lib,files in {'dom,dom.iterable':['page.js'], 'webworker':['worker.js', 'sw.js']}.items():
        flags = f'--allowJs --checkJs --strict --noEmit --target es2022 --module es2022 --moduleResolution bundler --lib es2023,{lib}'
        done = subprocess.run([npx, '-y', '-p', 'typescript@7.0.2', 'tsc', *flags.split(), *files], cwd=tmp_path,
            capture_output=True, text=True, encoding='utf-8')
        assert done.returncode==0, done.stdout+done.stderr


# In a browser

class Files(SimpleHTTPRequestHandler):
    # Windows may have other ideas of what a script is.
    extensions_map = {**SimpleHTTPRequestHandler.extensions_map, '.js':'text/javascript', '.mjs':'text/javascript'}
    def log_message(self, *args): pass
    def send_response(self, code, *args):
        super().send_response(code, *args)
        self.server.answered.append((self.path, int(code)))

class Cut(Files):
    "Stops in the middle of the network"
    def copyfile(self, source, outputfile): outputfile.write(source.read(1000) if 'model.onnx' in self.path else source.read())

class Server(ThreadingHTTPServer):
    request_queue_size = 128   # A page asks for everything at once, and a call that is not taken up waits for seconds.

class Host:
    "A server of a folder, which can be gone and come back"
    def __init__(self, folder, kind=Files): self.folder,self.kind,self.port,self.answered = folder,kind,0,[]

    def start(self):
        self.server = Server(('127.0.0.1', self.port), partial(self.kind, directory=str(self.folder)))
        self.server.answered,self.port = self.answered,self.server.server_port
        Thread(target=self.server.serve_forever, daemon=True).start()
        return self

    def stop(self):
        self.server.shutdown()
        self.server.server_close()

    @property
    def url(self): return f'http://127.0.0.1:{self.port}/'

@pytest.fixture(scope='module')
def runtime():
    try: return web.runtime_files()
    except SneakerError as e: absent(f'onnxruntime-web ({e})')

def written(clf, runtime, folder):
    for path,data in web.page_files(clf, runtime).items():
        (folder/path).parent.mkdir(parents=True, exist_ok=True)
        (folder/path).write_bytes(data)
    return folder

@pytest.fixture(scope='module')
def clf(): return SneakerClassifier.load()

@pytest.fixture(scope='module')
def host(clf, runtime, tmp_path_factory):
    host = Host(written(clf, runtime, tmp_path_factory.mktemp('site'))).start()
    yield host
    host.stop()

def opened(browser, host, **kw):
    context = browser.new_context(**kw)
    page = context.new_page()
    page.set_default_timeout(60_000)
    page.troubles,page.asked = [],[]
    context.on('request', lambda r: page.asked.append(r.url))
    page.on('pageerror', lambda e: page.troubles.append(str(e)))
    page.on('console', lambda m: page.troubles.append(m.text) if m.type=='error' else None)
    page.goto(host.url)
    return page

def ready(page): page.wait_for_selector('#status:text-is("Ready.")')

@pytest.fixture(scope='module')
def shared_page(browser, host):
    page = opened(browser, host, viewport=dict(width=1000, height=900))
    ready(page)
    yield page
    assert not [o for o in page.asked if not o.startswith(host.url)]
    page.context.close()

@pytest.fixture
def page(shared_page):
    shared_page.evaluate('document.querySelector("#answer").replaceChildren()')
    yield shared_page
    assert not shared_page.troubles

shoe = draw_shoe('puma_suede', seed=5, size=300)

def show(page, data=None, name='shoe.jpg'):
    page.set_input_files('#file', dict(name=name, mimeType='image/jpeg', buffer=data or jpeg(shoe)))
    page.wait_for_selector('#answer figure, #answer [role=alert]')
    return page.inner_text('#answer')

# Asks the page's worker without the page
ask = """async data => {
    const bytes = Uint8Array.from(atob(data), c => c.charCodeAt(0));
    self.asking ??= new Worker('worker.js', {type: 'module'});
    return new Promise(done => {
        self.asking.onmessage = ({data}) => {
            if (data.kind !== 'answer') return;
            const names = data.maps?.map(o => o.name), first = data.maps?.[0];
            const alpha = first && btoa(Array.from(first.pixels.filter((_, i) => i%4 == 3), o => String.fromCharCode(o)).join(''));
            done({error: data.error, answer: data.answer, names, alpha, width: first?.width, height: first?.height});
        };
        self.asking.postMessage({id: 1, file: new Blob([bytes]), box: null});
    });
}"""

def asked(page, data): return page.evaluate(ask, b64encode(data).decode())


def turned(how):
    exif = Image.Exif()
    exif[0x112] = how
    return jpeg(draw_shoe('adidas_superstar', seed=77, size=400).crop((0, 60, 400, 360)), exif=exif.tobytes())

def on_paper(side=1200):
    "A small shoe on much plain paper"
    im = Image.new('RGB', (side, side), (245, 244, 240))
    im.paste(draw_shoe('adidas_superstar', seed=77, size=side//3), (side//2, side//5))
    return im

def clear():
    im = draw_shoe('nike_air_force_1', seed=1, size=200).convert('RGBA')
    im.putalpha(Image.radial_gradient('L').resize((200, 200)).point(lambda o: 255-o))
    return im

grain = np.random.default_rng(0).integers(-9, 9, (2000, 3000, 3))
large = np.asarray(draw_shoe('nike_court_vision', seed=3, size=1000).resize((3000, 2000)), int)+grain
large = Image.fromarray(large.clip(0, 255).astype(np.uint8))

pictures = {**{f'turned {i}':turned(i) for i in range(1, 9)}, 'on paper':jpeg(on_paper()), 'on paper, PNG':encoded(on_paper(), 'PNG'),
    'clear':encoded(clear(), 'PNG'), 'grey':jpeg(shoe.convert('L')), 'CMYK':jpeg(shoe.convert('CMYK')), 'palette':encoded(shoe, 'GIF'),
    'WebP':encoded(shoe, 'WEBP'), 'AVIF':encoded(shoe, 'AVIF'), 'large':jpeg(large), 'large PNG':encoded(large, 'PNG', compress_level=1),
    'progressive':jpeg(large.resize((1501, 997)), progressive=True), 'long':encoded(shoe.resize((900, 120)), 'PNG'),
    'tiny':encoded(shoe.resize((17, 16)), 'PNG')}

@pytest.mark.parametrize('name', pictures)
def test_the_same_answer(name, page, clf):
    p,found = clf.predict(pictures[name]),asked(page, pictures[name])
    a = found['answer']

    # Of two that are about as likely either may come first.
    assert (a['sure'], a['brandSure'])==(p.sure, p.brand_sure) and p.scores[a['label']]>p.confidence-.03
    assert max(abs(p.scores[o['label']]-o['p']) for o in a['scores'])<.03
    assert a['box']==pytest.approx(p.box, abs=.02)

    assert found['names']==[clf.classes[o['label']].name for o in a['scores'][:3]]
    w,h = found['width'],found['height']
    spoke = np.frombuffer(b64decode(found['alpha']), np.uint8).reshape(h, w)/255
    ours = Image.fromarray(clf.evidence(pictures[name], box=p.box)).resize((w, h), Image.Resampling.BILINEAR)
    assert np.abs(spoke-np.asarray(ours)).mean()<.03


def test_squares_are_the_same_to_the_bit(page):
    call = """async ([data, width, height, margins, side]) => {
        const {fitSquare, subjectBox} = await import('./squares.js');
        const im = {width, height, data: Uint8Array.from(atob(data), c => c.charCodeAt(0))};
        const box = subjectBox(im, margins);
        return [box, btoa(Array.from(fitSquare(im, side, box).data, o => String.fromCharCode(o)).join(''))];
    }"""
    rng,margins = np.random.default_rng(0),web.numbers(SneakerClassifier.load())
    noise = [Image.fromarray(rng.integers(0, 256, (h, w, 3), np.uint8)) for w,h in ((16, 128), (41, 33), (451, 300), (640, 333))]
    for im in [*noise, on_paper(501), shoe, on_paper(1201).crop((0, 0, 1201, 700))]:
        box,square = page.evaluate(call, [b64encode(im.tobytes()).decode(), *im.size, margins, 140])
        assert tuple(box)==subject_box(im)
        assert b64decode(square)==fit_square(im, 140, subject_box(im)).tobytes()


@pytest.mark.parametrize('p', [Prediction(brand='Puma', model='Suede', confidence=.875, sure=True, brand_sure=True),
    Prediction(brand='Puma', model='Suede', confidence=.97, sure=True, brand_sure=True),
    Prediction(brand='Asics', model='Gel', brand_confidence=.97, brand_sure=True, candidates=('Gel', 'Kayano')), Prediction()])
def test_the_same_words(p, page):
    given = dict(name=p.name, brand=p.brand, confidence=p.confidence, brandConfidence=p.brand_confidence, sure=p.sure,
        brandSure=p.brand_sure, candidates=p.candidates)
    said = page.evaluate("async a => (await import('./answers.js')).headline(a)", given)
    assert f'<h2>{said["title"]}</h2>' in to_xml(headline(p)) and f'<p>{said["said"]}</p>' in to_xml(headline(p))


others = {}
for fmt in ('BMP', 'TIFF', 'ICO', 'JPEG2000', 'DDS', 'EPS', 'ICNS', 'TGA'): others[fmt] = encoded(shoe, fmt)
others |= {'PSD':b'8BPS'+bytes(40), 'QOI':b'qoif'+bytes(40), 'JXL':b'\xff\x0a'+bytes(40), 'RAW':b'FUJIFILMCCD-RAW '+bytes(40),
    'CR2':b'II*\0\x10\0\0\0CR\2\0'+bytes(40), 'MP4':b'\0\0\0\x18ftypmp42'+bytes(40), 'AVI':b'RIFF\0\0\0\0AVI '+bytes(40),
    'PDF':b'%PDF-1.7', 'ZIP':b'PK\3\4'+bytes(40), 'Ogg':b'OggS'+bytes(40), 'gzip':b'\x1f\x8b'+bytes(40), 'MKV':b'\x1aE\xdf\xa3'+bytes(40),
    'noise':bytes(range(128, 256))*4, 'control characters':b'abc\x01\x02', 'Cyrillic':'кеды '.encode()*100, 'blank':b' \n\t'*10,
    'XPM':b'/* XPM */ static char', 'WMF':b'\xd7\xcd\xc6\x9a\0\0'+bytes(40), 'half a PNG':encoded(shoe, 'PNG')[:9000],
    'half a WebP':encoded(shoe, 'WEBP')[:3000], 'half an AVIF':encoded(shoe, 'AVIF')[:3000], 'head of a JPEG':jpeg(shoe)[:4],
    'head of a PNG':encoded(shoe, 'PNG')[:12]}

@pytest.mark.parametrize('name', [*bad, *others])
def test_the_same_sentence_for_what_is_no_picture(name, page):
    data = bad[name][0] if name in bad else others[name]
    with pytest.raises(BadImage) as e: open_image(data)
    assert asked(page, data)['error']==str(e.value)


def test_larger_than_allowed(page):
    limits = load_settings().limits
    page.evaluate("""n => {
        const files = new DataTransfer(), field = document.querySelector('#file');
        files.items.add(new File([new Uint8Array(n)], 'large.jpg'));
        field.files = files.files;
        field.dispatchEvent(new Event('change'));
    }""", int(limits.max_megabytes*1e6)+1)
    page.wait_for_selector('[role=alert]')
    assert f'the file is larger than {limits.max_megabytes:g} MB' in page.inner_text('#answer')


def test_fuzzed_files_get_an_answer_or_a_sentence(page):
    rng = np.random.default_rng(0)
    for fmt in ('JPEG', 'PNG', 'WEBP', 'AVIF', 'GIF'):
        good = np.frombuffer(encoded(shoe, fmt), np.uint8)
        for _ in range(6):
            data = good.copy()
            where = rng.integers(0, len(data), rng.integers(1, 30))
            data[where] = rng.integers(0, 256, len(where))
            found = asked(page, data.tobytes())
            assert found.get('answer') or found['error'].startswith('This picture cannot be used: '), found['error']


def test_answer_evidence_and_choice(page):
    page.context.set_offline(False)
    before = len(page.asked)
    said = show(page)

    assert page.inner_text('h2') and page.asked[before:]==[]
    if page.query_selector('#answer summary'): page.click('#answer summary')
    assert '%' in page.inner_text('#answer form') and 'Where it looked' in said
    shown = '[...document.querySelectorAll(".map")].map(e => getComputedStyle(e).display != "none" && getComputedStyle(e).opacity)'
    assert page.evaluate(shown)==['0.6', False, False]

    page.locator('input[name=strength]').fill('90')
    page.locator('input[name=why]').nth(1).check()

    assert page.evaluate(shown)==[False, '0.9', False]
    assert 'mostly' in page.get_attribute('.map1', 'aria-label')


def size(page): return page.evaluate('(o => [o.width, o.height])(document.querySelector(".photo"))')

def test_box_by_mouse_and_keyboard(page):
    show(page)
    r = page.locator('figure').bounding_box()
    page.mouse.move(r['x']+r['width']*.1, r['y']+r['height']*.2)
    page.mouse.down()
    page.mouse.move(r['x']+r['width']*.6, r['y']+r['height']*.9, steps=3)
    page.mouse.up()
    page.wait_for_selector('button[name=whole]')
    assert size(page)==pytest.approx([150, 210], abs=3)

    page.click('button[name=whole]')
    page.wait_for_selector('button[name=whole]', state='detached')
    assert size(page)==[300, 300]

    page.focus('button[name=draw]')
    for key in 'Enter', 'ArrowRight', 'Shift+ArrowDown', 'Enter': page.keyboard.press(key)
    page.wait_for_selector('button[name=whole]')
    assert size(page)==pytest.approx([150, 156], abs=2)


def test_dropped_and_pasted(page):
    give = """([kind, data, text]) => {
        const t = new DataTransfer();
        if (data) t.items.add(new File([Uint8Array.from(atob(data), c => c.charCodeAt(0))], 'x.jpg', {type: 'image/jpeg'}));
        else t.setData(text, 'https://shop.example/shoe.jpg');
        const e = kind === 'drop' ? new DragEvent(kind, {dataTransfer: t, bubbles: true, cancelable: true})
            : new ClipboardEvent(kind, {clipboardData: t, bubbles: true});
        document.querySelector('h1').dispatchEvent(e);
    }"""
    for kind in 'drop', 'paste':
        page.evaluate(give, [kind, b64encode(jpeg(shoe)).decode(), ''])
        page.wait_for_selector('#answer figure')
        page.evaluate(give, [kind, '', 'text/uri-list'])
        assert 'That is an address, not a picture.' in page.inner_text('#answer [role=alert]')
        page.evaluate(give, [kind, '', 'text/plain'])
        assert 'That is not a picture.' in page.inner_text('#answer [role=alert]')


def test_camera(page):
    page.context.grant_permissions(['camera'])
    page.click('#camera')
    page.wait_for_selector('dialog[open]')
    page.wait_for_timeout(1000)
    page.click('button[name=take]')
    page.wait_for_selector('#answer figure')
    assert page.evaluate('document.querySelector("video").srcObject')is None


def test_one_camera_at_a_time(page):
    page.context.grant_permissions(['camera'])
    page.evaluate("""() => {
        const get = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices);
        self.streams = [];
        navigator.mediaDevices.getUserMedia = async o => { const found = await get(o); self.streams.push(found); return found; };
        for (let i = 0; i < 2; i++) document.querySelector('#camera').click();
    }""")
    page.wait_for_selector('dialog[open]')
    page.wait_for_timeout(500)
    page.click('button[name=close]')
    page.wait_for_selector('dialog', state='hidden')
    page.wait_for_timeout(300)
    assert page.evaluate('self.streams.flatMap(o => o.getTracks()).map(o => o.readyState)')==['ended']


def test_on_a_phone(browser, host):
    page = opened(browser, host, viewport=dict(width=360, height=740), has_touch=True, is_mobile=True)
    show(page)
    assert page.evaluate('document.documentElement.scrollWidth')<=360
    buttons = page.evaluate('[...document.querySelectorAll("button, .button")].map(o => o.getBoundingClientRect().height).filter(o => o)')
    assert min(buttons)>=44

    touch = page.context.new_cdp_session(page)
    page.tap('button[name=draw]')
    page.locator('figure').scroll_into_view_if_needed()
    r = page.locator('figure').bounding_box()
    for kind,*at in ('touchStart', .2, .2), ('touchMove', .5, .5), ('touchMove', .8, .7), ('touchEnd',):
        points = [dict(x=r['x']+r['width']*at[0], y=r['y']+r['height']*at[1])] if at else []
        touch.send('Input.dispatchTouchEvent', dict(type=kind, touchPoints=points))
    page.wait_for_selector('button[name=whole]')
    assert not page.troubles
    page.context.close()


def test_names_are_text(browser, runtime, tmp_path):
    host = Host(written(SneakerClassifier.load(evil_model(tmp_path/'evil')), runtime, tmp_path/'site')).start()
    page = opened(browser, host)
    assert '<img src=x onerror=alert(1)> <script>alert(2)</script>${alert(3)}{{alert}}' in show(page)
    page.click('#known summary')
    assert '<script>alert(2)</script>' in page.inner_text('#known') and not page.troubles

    # Even a page that let a script through would not run it, nor fetch from elsewhere.
    page.evaluate('document.body.insertAdjacentHTML("beforeend", "<img src=data:, onerror=\\"document.title=1\\">")')
    assert page.evaluate('fetch("http://localhost:9/").catch(e => "refused")')=='refused'
    assert page.title()=='Which sneaker is this?' and any('Content Security Policy' in o for o in page.troubles)
    page.context.close()
    host.stop()


@pytest.mark.parametrize('path,said', [('model/model.json', 'model/model.json'),
    *((o, 'its sha256 differs') for o in ('model/model.onnx', 'runtime/ort-wasm-simd-threaded.wasm'))])
def test_a_damaged_folder_does_not_run(path, said, browser, host, tmp_path):
    shutil.copytree(host.folder, tmp_path/'site')
    file = tmp_path/'site'/path
    if path.endswith('.json'): file.unlink()
    else: file.write_bytes(file.read_bytes()[:-1]+b'?')
    damaged = Host(tmp_path/'site').start()
    page = opened(browser, damaged)
    page.wait_for_selector('[role=alert]')
    assert said in page.inner_text('#answer')
    page.context.close()
    damaged.stop()


def test_a_connection_that_breaks_is_called_that(browser, host):
    breaking = Host(host.folder, Cut).start()
    page = opened(browser, breaking)
    page.wait_for_selector('[role=alert]')
    assert 'model/model.onnx could not be fetched: the connection is gone.' in page.inner_text('#answer')
    page.context.close()
    breaking.stop()


def test_each_file_comes_once_and_the_first_answer_waits_for_no_more_than_it_needs(browser, host, tmp_path):
    host.answered.clear()
    # The cache of a private window has no room for a network.
    context = browser.browser_type.launch_persistent_context(tmp_path, **browser.how)
    page = context.new_page()
    page.goto(host.url)
    ready(page)
    page.evaluate('navigator.serviceWorker.ready.then(() => 0)')
    came = [path.partition('?')[0][1:] for path,code in host.answered if code==200]
    assert sorted(came)==sorted(set(came)) and {'model/model.onnx', 'model/shoes.bin', 'model/split.csv'}<set(came)
    assert all(came.index('sw.js')<came.index(f'model/{o}') for o in ('shoes.bin', 'split.csv'))
    context.close()


def test_without_a_connection_and_with_another_model(browser, clf, runtime, tmp_path):
    host = Host(written(clf, runtime, tmp_path/'site')).start()
    page = opened(browser, host)
    ready(page)
    page.evaluate('navigator.serviceWorker.ready.then(() => 0)')
    host.stop()

    for _ in range(2):
        page.goto(host.url)
        page.locator('#knows', has_text=f'of {len(clf.brands)} brands').wait_for()
        assert '%' in show(page) or page.inner_text('h2')=='Not sure'

    written(SneakerClassifier.load(evil_model(tmp_path/'other')), runtime, tmp_path/'site')
    host.start()
    page.goto(host.url)
    # All of one version, until the reader asks for the other
    page.locator('#knows', has_text=f'of {len(clf.brands)} brands').wait_for()
    page.click('#newer button')
    page.locator('#knows', has_text='of 1 brands').wait_for()
    assert show(page) and len(page.evaluate('caches.keys()'))==1
    page.context.close()
    host.stop()


# Teaching

def drawn(label, n, start=0, side=160): return [draw_shoe(label, seed, side) for seed in range(start, start+n)]

def files_of(photos, name='photo'): return [dict(name=f'{name}{i}.jpg', mimeType='image/jpeg', buffer=jpeg(o)) for i,o in enumerate(photos)]

def teach(page, name, files):
    "Teach, and wait for what the page says of it"
    if not page.query_selector('#teach[open]'): page.click('#teach summary')
    page.fill('#name', name)
    page.evaluate('document.querySelector("#taught-said").textContent = "…"')
    page.set_input_files('#photos', files)
    page.wait_for_selector('#taught-said:not(:has-text("…"))')
    return page.inner_text('#taught-said')

def floats(a): return b64encode(np.ascontiguousarray(a, '<f4').tobytes()).decode()

@pytest.fixture(scope='module')
def looks(clf): return look_at(clf, {o:drawn(o, 20, side=128) for o in ('my_boot', 'my_high_top')})[0]

@pytest.fixture(scope='module')
def learned(clf):
    "A classifier, and the photos that it was taught"
    # In the order in which a page keeps them: which heap a photo lies in, when the others are asked of it, makes a small difference.
    photos = {o:sorted(map(jpeg, drawn(o, 8)), key=sha256_of) for o in ('my_boot', 'my_runner')}
    return clf.teach(photos), photos


@pytest.mark.parametrize('n,precision', [(20, .8), (5, .95)])
def test_rows_and_words_are_those_of_python(n, precision, page, clf, looks):
    known,labels = known_shoes(clf),['my_boot', 'my_high_top']
    n_features = known.features.shape[1]
    few = [o for label in labels for o in [o for o in looks if o.label==label][:n]]
    rows = taught_rows(few, np.array([labels.index(o.label) for o in few]), known, clf.card['temperature'], True, precision)
    call = """async ([given, t, temperature, known]) => {
        const {basisOf, lesson, taughtRows} = await import('./teach.js');
        const table = ([data, n]) => {
            const all = new Float32Array(Uint8Array.from(atob(data), c => c.charCodeAt(0)).buffer);
            return Array.from({length: all.length/n}, (_, i) => all.subarray(i*n, (i + 1)*n));
        };
        const [features, logits] = [given.features, given.logits].map(table), labels = ['my_boot', 'my_high_top'];
        const looks = given.labels.map((label, i) => ({label, features: features.slice(2*i, 2*i + 2), logits: logits.slice(2*i, 2*i + 2),
            plain: given.plain[i]}));
        const shoes = {features: table(known.features), logits: table(known.logits), right: known.right, along: table(known.along)};
        const rows = taughtRows(looks, labels, shoes, basisOf(shoes), temperature, t);
        const all = [...labels, ...known.labels];
        return {...rows, weights: rows.weights.map(o => [...o]), lessons: labels.map(o => lesson(o, looks, rows, all, all, t))};
    }"""
    given = dict(labels=[o.label for o in few], plain=[o.plain for o in few],
        features=[floats([o.features for o in few]), n_features], logits=[floats([o.logits for o in few]), 50])
    shoes = dict(features=[floats(known.features), n_features], logits=[floats(known.logits), 50], right=known.right.tolist(),
        along=[floats(nuisance(known).T), n_features], labels=clf.labels)
    found = page.evaluate(call, [given, {**web.teaching(clf)[0], 'precision':precision}, clf.card['temperature'], shoes])

    assert np.linalg.norm(found['weights']-rows.weights)<.02*np.linalg.norm(rows.weights)
    assert np.allclose(found['bias'], rows.bias, atol=.1)
    assert (found['push'], found['sureFrom'])==pytest.approx((rows.push, rows.sure_from), abs=.1)
    assert np.abs(np.array(found['scores'])-rows.scores).max()<.05 and (np.array(found['sure'])==rows.sure).mean()>.95
    assert (rows.sure.sum()>0)==(n==20)
    for label,o in zip(labels, found['lessons']):
        ours = lesson(label, few, rows, [*labels, *clf.labels])
        assert (o['photos'], tuple(o['advice']), tuple(map(tuple, o['takenFor'])))==(n, ours.advice, ours.taken_for)
        assert (o['found'], o['sure'])==pytest.approx((ours.found, ours.sure), abs=1.01/n)


def test_names_are_labels_in_python_too(page):
    call = """async given => {
        const {isLabel, toLabel} = await import('./teach.js');
        const letters = Array.from({length: 0x30000}, (_, i) => i).filter(i => i < 0xd800 || i > 0xdfff);
        return [letters.map(i => [i, toLabel(String.fromCodePoint(i))]).filter(o => o[1]), given.map(o => [toLabel(o), isLabel(o)])];
    }"""
    names = ['My Boot!', '  Air_Force 1', 'Straße', 'Найк 1', 'con', 'COM1', 'lpt¹', 'aux_1', 'a'*64, 'a'*65, '', '../..', 'ﬁne',
        'e\u0301cole', 'ΣΊΣΥΦΟΣ', '_', 'a__b', '运动鞋', 'My\u202eBoot']
    letters,given = page.evaluate(call, names)
    # Letters that are newer than this Python's tables are none to it.
    wrong = [(hex(i), o) for i,o in letters if unicodedata.category(chr(i))!='Cn' and to_label(o)!=o]
    assert not wrong and len(letters)>50_000
    assert given==[[to_label(o), is_label(o)] for o in names]


def test_teaching(browser, host, clf):
    page = opened(browser, host, viewport=dict(width=1000, height=900))
    ready(page)
    page.evaluate('navigator.serviceWorker.ready.then(() => 0)')   # until then files are fetched to be kept
    before = len(page.asked)
    hostile = [dict(name=f'{o}.jpg', mimeType='image/jpeg', buffer=data) for o,(data,_) in bad.items()]
    said = teach(page, 'My Boot', [*files_of(drawn('my_boot', 8)), *hostile, *files_of(drawn('my_boot', 1), 'copy')])
    for o,(data,_) in bad.items():
        with pytest.raises(BadImage) as e: open_image(data)
        assert f'{o}.jpg taught nothing: {e.value.reason.rstrip(".")}.' in said.splitlines()
    assert 'copy0.jpg taught nothing: it shows what another photo shows' in said and 'the page knows 51 models now' in said
    report = page.inner_text('#lessons')
    assert '8 photos; asked of what the others taught, ' in report and '8 photos are few' in report

    unseen = jpeg(draw_shoe('my_boot', 300, 200))
    show(page, unseen)
    assert 'My Boot' in page.inner_text('#answer form label') and page.inner_text('#knows').startswith('Knows 51 models')
    assert {o.rpartition('/')[2] for o in page.asked[before:]}<={'shoes.bin'}

    # Kept, without a connection too
    page.context.set_offline(True)
    page.reload()
    ready(page)
    show(page, unseen)
    assert 'My Boot' in page.inner_text('#answer form label')
    assert teach(page, 'my boot', files_of(drawn('my_boot', 2, 20))) and '10 photos;' in page.inner_text('#lessons')

    assert 'Give it a name first' in teach(page, '../..', files_of(drawn('my_boot', 1, 30)))
    assert 'Puma Suede is known already' in teach(page, 'Puma Suede', files_of(drawn('puma_suede', 1)))
    assert 'is a photo of My Boot already' in teach(page, 'Other', files_of(drawn('my_boot', 1)))
    teach(page, 'Other', files_of(drawn('my_runner', 2)))
    assert '2 photos so far' in page.inner_text('#lessons') and 'Knows 51' in page.inner_text('#knows')

    page.click('button[aria-label="Take back My Boot"]') # and answer no
    page.on('dialog', lambda o: o.accept())
    assert 'My Boot' in page.inner_text('#lessons')
    page.click('button[aria-label="Take back My Boot"]')
    page.wait_for_selector('#knows:has-text("Knows 50")')
    assert 'My Boot is forgotten' in page.inner_text('#taught-said') and 'My Boot' not in page.inner_text('#lessons')
    page.click('#forget')
    page.wait_for_selector('#all', state='hidden')
    assert page.evaluate('document.activeElement.localName')=='summary'
    assert not page.troubles
    page.context.close()


def test_taken_along_to_python(browser, host, clf, learned, tmp_path):
    page,(python,photos) = opened(browser, host),learned
    ready(page)
    for name,datas in photos.items():
        teach(page, name, [dict(name=f'{i}.jpg', mimeType='image/jpeg', buffer=o) for i,o in enumerate(datas)])
    with page.expect_download() as found: page.click('#folder')
    assert found.value.suggested_filename=='taught.zip'
    with zipfile.ZipFile(found.value.path()) as z:
        assert z.testzip() is None
        z.extractall(tmp_path)
    loaded = SneakerClassifier.load(tmp_path/'taught')
    onnx.checker.check_model(onnx.load(tmp_path/'taught'/'model.onnx'), full_check=True)

    assert loaded.labels==python.labels and loaded.classes==python.classes
    assert loaded.card.keys()==python.card.keys() and loaded.card['classes'][-1].keys()==python.card['classes'][-1].keys()
    mine,theirs = (dict(o.card['taught'], created='') for o in (loaded, python))
    assert mine==theirs and loaded.card['provenance'].keys()==python.card['provenance'].keys()
    split = [o.split(',')[:2] for o in (tmp_path/'taught'/'split.csv').read_text(encoding='utf-8').splitlines()]
    assert sorted(split)==sorted(o.split(',')[:2] for o in python.files['split.csv'].decode().splitlines())

    for o in [*drawn('my_boot', 4, 100), *drawn('my_runner', 4, 100), *drawn('puma_suede', 2), on_paper(600)]:
        data = jpeg(o)
        p,q,a = loaded.predict(data),python.predict(data),asked(page, data)['answer']
        assert (a['label'], a['sure'], a['brandSure'])==(p.label, p.sure, p.brand_sure) and p.label==q.label
        assert max(abs(p.scores[s['label']]-s['p']) for s in a['scores'])<.03
        assert max(abs(p.scores[k]-q.scores[k]) for k in p.scores)<.06
    assert not page.troubles
    page.context.close()


def test_a_name_comes_before_the_photos(page):
    page.evaluate('document.querySelector("#teach").open = true')
    for name,said in ('', 'Give it a name first'), ('con', 'It cannot have this name'), ('Puma Suede', 'Puma Suede is known already'):
        page.fill('#name', name)
        for button in '.drop label', '#more':
            page.evaluate('document.querySelector("#taught-said").replaceChildren()')
            page.click(button)
            assert said in page.inner_text('#taught-said') and page.evaluate('document.activeElement.id')=='name'
    page.fill('#name', 'My Boot')
    with page.expect_file_chooser(): page.click('.drop label')
    assert not page.query_selector('dialog[open]')
    page.fill('#name', '')


def test_dropped_and_pasted_where_it_is_taught(browser, host, tmp_path):
    page = opened(browser, host)
    ready(page)
    for i,o in enumerate(drawn('my_boot', 4)): (tmp_path/f'{i}.jpg').write_bytes(jpeg(o))
    cdp = page.context.new_cdp_session(page)
    def drop(onto, *paths, **item):
        box = page.locator(onto).bounding_box()
        data = dict(items=[item] if item else [], files=[str(tmp_path/o) for o in paths], dragOperationsMask=1)
        for kind in 'dragEnter', 'dragOver', 'drop':
            cdp.send('Input.dispatchDragEvent', dict(type=kind, x=box['x']+20, y=box['y']+10, data=data))
    def said(text): page.locator('#taught-said', has_text=text).wait_for()

    drop('#teach summary', '0.jpg')
    said('Give it a name first') # and the closed part opens, so that it can be read
    assert page.is_visible('#taught-said') and page.evaluate('document.activeElement.id')=='name'
    page.fill('#name', 'My Boot')
    drop('.drop', '0.jpg', '1.jpg', '2.jpg')
    said('My Boot is in use')
    drop('#lessons', '3.jpg', '0.jpg')
    said('0.jpg taught nothing: it shows what another photo shows')
    assert '4 photos;' in page.inner_text('#lessons') and not page.inner_text('#answer')
    drop('.drop', mimeType='text/plain', data='a shoe')
    said('That is not a picture.')

    page.evaluate("""data => {
        const t = new DataTransfer();
        t.items.add(new File([Uint8Array.from(atob(data), c => c.charCodeAt(0))], 'x.jpg', {type: 'image/jpeg'}));
        document.querySelector('#name').dispatchEvent(new ClipboardEvent('paste', {clipboardData: t, bubbles: true}));
    }""", b64encode(jpeg(drawn('my_boot', 1, 9)[0])).decode())
    page.wait_for_selector('#lessons:has-text("5 photos;")')
    drop('#photo', '1.jpg')
    page.wait_for_selector('#answer figure')
    assert not page.troubles
    page.context.close()


def test_what_is_begun_at_once_is_done_in_turn_and_all_of_it_is_said(browser, host):
    page = opened(browser, host)
    ready(page)
    page.click('#teach summary')
    for name in 'My Boot', 'My Runner':
        page.fill('#name', name)
        page.set_input_files('#photos', [*files_of(drawn(to_label(name), 3)), dict(name=f'{name}.txt', mimeType='image/jpeg', buffer=b'x')])
    page.wait_for_selector('#taught-said:has-text("My Runner is in use")')
    said = page.inner_text('#taught-said')
    assert all(f'{o}.txt taught nothing' in said and f'{o} is in use' in said for o in ('My Boot', 'My Runner'))

    # What is done in another tab says nothing here.
    two = page.context.new_page()
    two.goto(host.url)
    ready(two)
    teach(two, 'Other', files_of(drawn('vans_old_skool', 3)))
    page.wait_for_selector('#knows:has-text("Knows 53")')
    assert page.inner_text('#taught-said')==said
    page.context.close()


def test_a_full_device_keeps_what_it_has(browser, host):
    page = opened(browser, host, service_workers='block')
    ready(page)
    page.context.new_cdp_session(page).send('Storage.overrideQuotaForOrigin', dict(origin=host.url.rstrip('/'), quotaSize=100_000))
    photos = files_of(drawn('my_boot', 9))
    said = teach(page, 'My Boot', [dict(name='none.jpg', mimeType='image/jpeg', buffer=b'x'), *photos])
    assert 'none.jpg taught nothing' in said and 'no room' in said and 'My Boot is in use' in said
    assert 3<=int(page.inner_text('#lessons p').partition(' ')[0])<len(photos)
    page.context.close()


def test_a_store_that_does_not_open(browser, host):
    other = opened(browser, host, service_workers='block')
    ready(other)
    teach(other, 'My Boot', files_of(drawn('my_boot', 1)))
    other.evaluate("""async () => {
        const [{name}] = await indexedDB.databases();
        self.held = await new Promise(done => { indexedDB.open(name).onsuccess = e => done(e.target.result); });
        indexedDB.deleteDatabase(name); // which waits until it is let go
    }""")
    hurried = (host.folder/'kept.js').read_text(encoding='utf-8').replace('patience = 10_000', 'patience = 500')
    other.context.route('**/kept.js', lambda o: o.fulfill(body=hurried, content_type='text/javascript'))
    page = other.context.new_page()
    page.goto(host.url)
    ready(page)
    assert 'keeps nothing' in page.inner_text('#taught-said') and show(page)
    other.context.close()


def test_without_what_teaching_needs(browser, host, tmp_path):
    shutil.copytree(host.folder, tmp_path/'site')
    lacking = Host(tmp_path/'site').start()
    page = opened(browser, lacking, service_workers='block')
    ready(page)
    (tmp_path/'site'/'model'/'shoes.bin').rename(tmp_path/'shoes.bin')
    assert 'model/shoes.bin is missing' in teach(page, 'My Boot', files_of(drawn('my_boot', 3))) and show(page)
    shutil.move(tmp_path/'shoes.bin', tmp_path/'site'/'model')
    assert 'My Boot is in use' in teach(page, 'My Boot', files_of(drawn('my_boot', 3)))

    # Taught before, and without it now
    (tmp_path/'site'/'model'/'shoes.bin').unlink()
    page.reload()
    ready(page)
    assert 'model/shoes.bin is missing' in page.inner_text('#taught-said') and '3 photos' in page.inner_text('#lessons') and show(page)
    page.context.close()
    lacking.stop()


def zipped(page, folder):
    "What the page gives to take along"
    if not page.query_selector('#teach[open]'): page.click('#teach summary')
    with page.expect_download() as found: page.click('#folder')
    with zipfile.ZipFile(found.value.path()) as z: z.extractall(folder)
    return folder/'taught'

def test_taken_along_without_a_connection(browser, host, tmp_path):
    leaving = Host(host.folder).start()
    for workers in 'allow', 'block':
        page = opened(browser, leaving, service_workers=workers)
        ready(page)
        if workers=='allow': page.evaluate('navigator.serviceWorker.ready.then(() => 0)')
        teach(page, 'My Boot', files_of(drawn('my_boot', 3)))
        leaving.stop()
        if workers=='allow':
            first = zipped(page, tmp_path/'first')
            page.reload()
            ready(page)
            again = zipped(page, tmp_path/'again')
            before = (host.folder/'model'/'split.csv').read_text(encoding='utf-8').splitlines()
            for o in first,again: assert len((o/'split.csv').read_text(encoding='utf-8').splitlines())==len(before)+3
            leaving.start()
        else:
            # A browser that keeps no files says what is wanting.
            page.click('#folder')
            page.wait_for_selector('#taught-said:has-text("The list of what the network has learned from is needed")')
            leaving.start()
            assert zipped(page, tmp_path/'later').exists()
        page.context.close()
    leaving.stop()


def test_two_tabs(browser, host):
    one = opened(browser, host)
    ready(one)
    two = one.context.new_page()
    two.goto(host.url)
    for page,name in ((one, 'my_boot'), (two, 'my_runner')):
        ready(page)
        page.click('#teach summary')
        page.fill('#name', name)
    for page,name in ((one, 'my_boot'), (two, 'my_runner')): page.set_input_files('#photos', files_of(drawn(name, 5)))
    for page in one,two: page.wait_for_selector('#knows:has-text("Knows 52")')
    two.on('dialog', lambda o: o.accept())
    two.click('button[aria-label="Take back My Boot"]')
    for page in one,two: page.wait_for_selector('#knows:has-text("Knows 51")')
    assert 'My Runner' in one.inner_text('#lessons') and 'My Boot' not in one.inner_text('#lessons') and not one.troubles
    one.context.close()


def test_another_network_or_damaged_photos(browser, host, clf, tmp_path):
    shutil.copytree(host.folder, tmp_path/'site')
    changing = Host(tmp_path/'site').start()
    page = opened(browser, changing, service_workers='block')
    ready(page)
    teach(page, 'My Boot', files_of(drawn('my_boot', 4)))
    assert 'Knows 51' in page.inner_text('#knows')

    page.evaluate("""async () => {
        const [{name}] = await indexedDB.databases();
        const db = await new Promise(done => { indexedDB.open(name).onsuccess = e => done(e.target.result); });
        const photos = db.transaction('photos', 'readwrite').objectStore('photos');
        const [first] = await new Promise(done => { photos.getAll().onsuccess = e => done(e.target.result); });
        const worse = [{features: first.features.map(() => NaN)}, {features: first.features.slice(1)}, {logits: 'none'}, {plain: [1]},
            {small: null}, {id: '../x'}, {label: 'Puma!'}, {label: 'puma_suede'}, {features: null}];
        worse.forEach((o, i) => photos.put({...first, id: `${i}`.padStart(32, '0'), ...o}));
        db.close();
    }""")
    page.reload()
    ready(page)
    assert '9 photos cannot be used' in page.inner_text('#unfit') and 'Knows 51' in page.inner_text('#knows')

    model = tmp_path/'site'/'model'
    data = (model/'model.onnx').read_bytes()+b'\x12\x01x'   # the name of its producer
    card = json.loads((model/'model.json').read_text(encoding='utf-8'))
    card['sha256']['model.onnx'] = hashlib.sha256(data).hexdigest()
    (model/'model.onnx').write_bytes(data)
    (model/'model.json').write_text(json.dumps(card), encoding='utf-8')
    page.reload()
    ready(page)
    assert '13 photos cannot be used' in page.inner_text('#unfit') and 'Knows 50' in page.inner_text('#knows')
    teach(page, 'My Runner', files_of(drawn('my_runner', 3)))
    page.click('#tidy')
    page.wait_for_selector('#unfit', state='hidden')
    assert '3 photos' in page.inner_text('#lessons') and 'Knows 51' in page.inner_text('#knows')
    page.reload()
    ready(page)
    assert 'Knows 51' in page.inner_text('#knows') and page.is_hidden('#unfit')
    assert all('waiting' in o for o in page.troubles) # for a service worker
    page.context.close()
    changing.stop()


def test_a_browser_that_keeps_nothing(browser, host):
    context = browser.new_context(service_workers='block')
    page = context.new_page()
    script = (host.folder/'kept.js').read_text(encoding='utf-8').replace('indexedDB.open(', 'indexedDB.missing(')
    context.route('**/kept.js', lambda o: o.fulfill(body=script, content_type='text/javascript'))
    page.goto(host.url)
    ready(page)
    assert 'keeps nothing' in teach(page, 'My Boot', files_of(drawn('my_boot', 3)))
    assert show(page)
    context.close()


def test_a_model_taught_in_python_is_sure_as_there(browser, clf, runtime, tmp_path):
    settings = load_settings()
    bold = replace(settings, evaluation=replace(settings.evaluation, precision_when_sure=.8))
    taught = clf.teach({'my_boot':drawn('my_boot', 20, side=128)}, settings=bold).save(tmp_path/'taught')
    host = Host(written(taught, runtime, tmp_path/'site')).start()
    page = opened(browser, host)
    ready(page)
    assert page.is_hidden('#teach')
    answers = []
    for o in [*drawn('my_boot', 6, 100), *drawn('my_runner', 6, 100)]:
        p,a = taught.predict(jpeg(o)),asked(page, jpeg(o))['answer']
        assert (a['label'], a['sure'], a['brandSure'])==(p.label, p.sure, p.brand_sure)
        answers.append(p.sure)
    assert 0<sum(answers)
    page.context.close()
    host.stop()
