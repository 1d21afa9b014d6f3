"Inputs that are no pictures, or more than a picture: one clear sentence each, through Python, the command line and the app"
import io, struct
from dataclasses import replace

import numpy as np
import pytest
from conftest import command
from gradio_client import Client, handle_file
from local_web import svg
from made import encoded, huge_png
from PIL import Image
from pillow_heif import encode

from sneaker_classifier import BadImage, SneakerClassifier, load_settings, open_image, safe_name, sanitize
from sneaker_classifier.app import launch
from sneaker_classifier.samples import draw_shoe


def _file(im, fmt, **kw):
    if fmt!='HEIF': return encoded(im, fmt, **kw)
    out = io.BytesIO()
    encode(im.mode, im.size, im.tobytes(), out, **kw)
    return out.getvalue()

shoe = draw_shoe('puma_suede', size=200)
wide_heif = _file(shoe, 'HEIF').replace(struct.pack('>II', 200, 200), struct.pack('>II', 20_000, 20_000))

# The bytes of each, and words that the error has
bad = dict(
    text=(b'I am not a picture', 'not a picture, but text'),
    empty=(b'', 'empty'),
    truncated=(_file(shoe, 'JPEG')[:3000], 'cut off'),
    bomb=(huge_png(20_000, 20_000, rows=20_000), 'more pixels than'),
    svg=(svg, 'an SVG drawing'),
    html=(b'<html><script>alert(1)</script></html>', 'not a picture, but a web page'),
    tiff=(_file(shoe, 'TIFF'), 'it is a TIFF; save it as JPEG'),
    wide_heif=(wide_heif, '20,000 × 20,000 pixels'),
    half_heif=(_file(shoe, 'HEIF')[:1500], 'cut off'),
    speck=(_file(shoe.resize((3, 3)), 'PNG'), 'only 3 × 3'),
    thread=(_file(shoe.resize((2000, 20)), 'PNG'), 'one side'))


@pytest.fixture(scope='module')
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp('bad')
    for name,(data,_) in bad.items(): (folder/f'{name}.jpg').write_bytes(data)
    return folder


@pytest.fixture(scope='module')
def clf(trained): return SneakerClassifier.load(trained[0])


@pytest.fixture(scope='module')
def app(trained):
    app = launch(trained[0], port=0)
    yield Client(app.local_url, verbose=False, httpx_kwargs=dict(timeout=120))
    app.close()


@pytest.mark.parametrize('name', bad)
def test_python(name, files, clf):
    for src in (lambda: files/f'{name}.jpg', lambda: bad[name][0], lambda: io.BytesIO(bad[name][0])):
        with pytest.raises(BadImage, match=bad[name][1]) as e: clf.predict(src())
        assert '\n' not in str(e.value)
        with pytest.raises(BadImage, match=bad[name][1]): sanitize(src())


def test_command_line(files, trained):
    paths = sorted(files.iterdir())
    done = command('predict', *paths, '--model', trained[0], ok=False)
    for path,line in zip(paths, done.stdout.splitlines()): assert path.name in line and bad[path.stem][1] in line
    assert f'{len(bad)} could not be used' in done.stdout


@pytest.mark.parametrize('name', bad)
def test_app(name, files, app):
    answer = app.predict(handle_file(files/f'{name}.jpg'), api_name='/predict')
    assert bad[name][1] in answer['error'] and '\n' not in answer['error'] and not answer['label']


def test_app_answers(app, clf, tmp_path):
    shoe.save(tmp_path/'shoe.png')
    answer,p = app.predict(handle_file(tmp_path/'shoe.png'), api_name='/predict'),clf.predict(shoe)
    assert (answer['label'], answer['error'], len(answer['scores']))==(p.label, None, len(clf.labels))


@pytest.mark.parametrize('array', [np.zeros((50, 50), np.uint8), np.zeros((50, 50, 3), np.float32), np.zeros((50, 50, 4), np.uint8)])
def test_arrays_of_another_kind(array, clf):
    with pytest.raises(BadImage, match='array must be of uint8'): clf.predict(array)


@pytest.mark.parametrize('src', ['no/such.jpg', '.', None, 3.5, 'a\0b.jpg'])
def test_no_file(src):
    with pytest.raises(BadImage): open_image(src)


def test_larger_than_allowed():
    small = replace(load_settings().limits, max_megabytes=0.01)
    with pytest.raises(BadImage, match='larger than 0.01 MB'): open_image(_file(shoe.resize((600, 600)), 'PNG'), small)


@pytest.mark.parametrize('mode', ['1', 'L', 'LA', 'P', 'RGB', 'RGBA', 'CMYK', 'I;16'])
def test_every_kind_of_colour(mode):
    grey = Image.new('L', (32, 32), 200)
    if mode=='I;16': im = Image.fromarray(np.full((32, 32), 200*256, np.uint16))
    elif mode=='LA': im = grey.convert('LA')
    else: im = grey.convert('RGB').convert(mode)
    fmt = 'JPEG' if mode=='CMYK' else 'PNG'

    got = open_image(_file(im, fmt))

    assert got.mode=='RGB' and abs(np.asarray(got).mean()-(255 if mode=='1' else 200))<56


@pytest.mark.parametrize('fmt', ['JPEG', 'PNG', 'WEBP', 'AVIF', 'GIF', 'MPO', 'HEIF'])
def test_every_kind_of_file(fmt, clf): assert clf.predict(_file(shoe, fmt)).label in clf.labels


def test_fuzzed_files_raise_nothing_else():
    "Flip bytes in good files of each format: it opens, or it is a BadImage"
    rng = np.random.default_rng(0)
    for fmt in ('JPEG', 'PNG', 'WEBP', 'AVIF', 'GIF', 'HEIF'):
        good = np.frombuffer(_file(shoe, fmt), np.uint8)
        for _ in range(40):
            data = good.copy()
            where = rng.integers(0, len(data), rng.integers(1, 30))
            data[where] = rng.integers(0, 256, len(where))
            try: open_image(data.tobytes())
            except BadImage: pass


@pytest.mark.parametrize('kw', [{}, dict(tile_size=64)], ids=['whole', 'tiles'])
def test_heif_cut_off_anywhere(kw):
    good,rng = _file(shoe, 'HEIF', **kw),np.random.default_rng(0)
    for n in range(0, len(good)-1, 23):
        with pytest.raises(BadImage): open_image(good[:n])

    # The table of contents, where most can go wrong
    for _ in range(300):
        data = np.frombuffer(good, np.uint8).copy()
        where = rng.integers(0, 1000, rng.integers(1, 12))
        data[where] = rng.integers(0, 256, len(where))
        try: open_image(data.tobytes())
        except BadImage: pass


@pytest.mark.parametrize('name', ['../../x.jpg', '..\\..\\x.jpg', 'C:\\Windows\\x.jpg', '/etc/passwd', 'con', 'aux.jpg', 'x\0.jpg',
    '<b>.jpg', 'a:b', 'x\u202egpj', '.', '...', ' ', 'ok. '])
def test_safe_names(name):
    safe = safe_name(name)
    assert safe and not set(safe)&set('<>:"/\\|?*\0\u202e') and safe.strip('. ')==safe and safe.lower().split('.')[0] not in ('con', 'aux')
