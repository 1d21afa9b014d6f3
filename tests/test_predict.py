"The engine: shared between threads, lazy over many pictures, and the same answers by the short way as by the long one"
import io, os, subprocess, sys, threading, time, warnings
from concurrent.futures import ThreadPoolExecutor
from itertools import count, islice

import numpy as np
import pytest
from PIL import Image

from sneaker_classifier import BadImage, SneakerClassifier, open_image
from sneaker_classifier.images import fit_square, open_square, subject_box
from sneaker_classifier.predict import small_part
from sneaker_classifier.samples import draw_shoe
from sneaker_classifier.settings import SneakerError


def jpeg(im, **kw):
    "The bytes of a JPEG"
    out = io.BytesIO()
    im.save(out, 'JPEG', quality=90, **kw)
    return out.getvalue()


@pytest.fixture(scope='module')
def clf(): return SneakerClassifier.load()


@pytest.fixture(scope='module')
def shoes():
    labels = 'nike_air_force_1', 'nike_court_vision', 'adidas_superstar', 'puma_suede'
    return [jpeg(draw_shoe(labels[i%4], seed=i, size=320)) for i in range(12)]


def counted(items, taken):
    "Pass items on and note how many were taken"
    for o in items:
        taken.append(1)
        yield o


def workers(): return [o for o in threading.enumerate() if o.name.startswith('ThreadPoolExecutor')]


def test_threads_share_a_classifier(clf, shoes):
    "Eight threads ask in different orders, some for evidence, and each gets the answer that a single one gets"
    expected,seen = [clf.predict(o) for o in shoes],[clf.evidence(o) for o in shoes]
    def ask(seed):
        for i in np.random.default_rng(seed).permutation(len(shoes)):
            p = clf.predict(shoes[i])
            assert p.label==expected[i].label and p.scores==pytest.approx(expected[i].scores, abs=1e-5)
            if i%4==0: np.testing.assert_allclose(clf.evidence(shoes[i]), seen[i], atol=1e-3)
        return True
    with ThreadPoolExecutor(8) as pool: assert all(pool.map(ask, range(8)))


def test_many_at_once(clf, shoes):
    "Several readers of predict_many at once, each over its own order"
    expected = [clf.predict(o) for o in shoes]
    def ask(seed):
        order = np.random.default_rng(seed).permutation(len(shoes))
        return [expected[i].label==p.label and abs(expected[i].confidence-p.confidence)<1e-4 for i,p in zip(order, clf.predict_many(shoes[i] for i in order))]
    with ThreadPoolExecutor(4) as pool:
        for same in pool.map(ask, range(4)): assert len(same)==len(shoes) and all(same)


def test_order_and_bad_pictures(clf, shoes):
    "One answer for each source, in order, from a generator; what cannot be used says why"
    srcs = [shoes[0], b'', 'no/such/file.jpg', shoes[1], shoes[2][:3000], None, shoes[3]]
    answers = list(clf.predict_many(o for o in srcs))
    assert [bool(o.error) for o in answers]==[False, True, True, False, True, True, False]
    assert 'empty' in answers[1].error and 'no such file' in answers[2].error and 'cut off' in answers[4].error
    for i in (0, 3, 6): assert answers[i].label==clf.predict(srcs[i]).label
    assert list(clf.predict_many([]))==[]


def test_a_slow_picture_keeps_its_place(clf, shoes):
    class Slow(io.BytesIO):
        def read(self, *args):
            time.sleep(.5)
            return super().read(*args)
    answers = list(clf.predict_many([Slow(shoes[0]), *shoes[1:]]))
    assert [o.label for o in answers]==[clf.predict(o).label for o in shoes]


def test_lazy_and_closed_early(clf, shoes):
    "Sources that never end: few are taken, nothing starts before the first answer is asked for, and closing ends the threads"
    before,taken = len(workers()),[]
    answers = clf.predict_many(counted((shoes[i%12] for i in count()), taken))
    assert not taken
    first = list(islice(answers, 3))
    assert len(first)==3 and len(workers())>before
    bound = len(taken)
    assert bound<=3+4*32
    time.sleep(.3)
    assert len(taken)==bound # a reader that rests lets the sources rest
    answers.close()
    assert len(workers())==before
    with pytest.raises(StopIteration): next(answers)


def test_what_goes_wrong_with_the_sources_is_said(clf, shoes):
    "An error of the iterable itself is no bad picture: it reaches the reader, after the answers before it, and leaves no threads"
    def broken():
        yield from shoes[:2]
        raise OSError('the disk is gone')
    before = len(workers())
    with pytest.raises(OSError, match='the disk is gone'): list(clf.predict_many(broken()))
    assert len(workers())==before


def test_progress(clf, shoes, capsys):
    "The bar counts to the number of sources where it is known, and the result is an iterator with or without it"
    answers = clf.predict_many(shoes[:3], progress=True)
    assert next(answers).label and len(list(answers))==2
    assert '3/3' in capsys.readouterr().err
    assert len(list(clf.predict_many(iter(shoes[:3]), progress=True)))==3
    assert '3/3' not in capsys.readouterr().err


def test_among_is_checked_at_once(clf, shoes):
    with pytest.raises(Exception, match='Did you mean puma_suede'): clf.predict_many(shoes, among=['puma_sued'])
    assert {o for p in clf.predict_many(shoes, among=['puma_suede', 'vans_old_skool']) for o in p.scores}=={'puma_suede', 'vans_old_skool'}


@pytest.mark.parametrize('size', [(1000, 1000), (1000, 640), (3000, 2000), (2000, 4000), (700, 99)])
@pytest.mark.parametrize('progressive', [False, True])
def test_reduced_decoding_gives_the_same_answer(clf, size, progressive):
    im = draw_shoe('nike_air_force_1', seed=size[0]//100, size=1000).resize(size)
    rng = np.random.default_rng(0)
    im = Image.fromarray((np.asarray(im, float)+rng.normal(0, 8, (*im.size[::-1], 3))).clip(0, 255).astype(np.uint8))
    data,side = jpeg(im, progressive=progressive),clf.card['size']
    quick,whole = open_square(data, side),open_image(data)
    full = whole.crop(subject_box(whole))
    full = full.resize([max(1, round(side*o/max(full.size))) for o in full.size], Image.Resampling.BICUBIC)
    left,top = [round((side-o)/2) for o in full.size]
    inner = np.asarray(quick.crop((left, top, left+full.width, top+full.height)), int)
    assert quick.size==(side, side) and np.abs(inner-np.asarray(full, int)).mean()<2
    short,long = clf.predict(data),clf.predict(open_image(data))
    assert short.label==long.label and short.scores==pytest.approx(long.scores, abs=.06)


def test_turned_and_reduced():
    "A large photo with a note to turn it is turned, whichever way it is decoded"
    exif = Image.Exif()
    exif[0x0112] = 6
    data = jpeg(draw_shoe('puma_suede', seed=1, size=1000).crop((0, 200, 1000, 900)), exif=exif)
    difference = np.asarray(open_square(data, 140), int)-np.asarray(fit_square(whole := open_image(data), 140, subject_box(whole)), int)
    assert np.abs(difference).mean()<1.5 and np.asarray(open_square(data, 140))[70, 0].min()==255


def in_shop(width, height, left, top):
    "Something on light grey, 200 pixels wide"
    im = Image.new('RGB', (width, height), 'whitesmoke')
    im.paste(draw_shoe('puma_suede', seed=1, size=200).resize((200, 100)), (left, top))
    return im


def test_plain_margins_make_no_difference(clf):
    close = in_shop(280, 180, 40, 40)
    for far in in_shop(600, 800, 300, 650), in_shop(900, 400, 350, 200):
        assert np.abs(np.asarray(open_square(far, 140), int)-np.asarray(open_square(close, 140), int)).mean()<4
        assert clf.predict(far).label==clf.predict(close).label
    assert subject_box(in_shop(900, 400, 0, 100))==pytest.approx((0, 60, 240, 240), abs=9)


def test_margins_of_a_large_photo_are_cut_off_the_short_way_too(clf):
    data = jpeg(in_shop(600, 800, 300, 650).resize((3000, 4000)))
    assert subject_box(open_image(data, square=140))==pytest.approx(np.array(subject_box(open_image(data)))/8, abs=3)
    assert np.abs(np.asarray(open_square(data, 140), int)-np.asarray(open_square(open_image(data), 140), int)).mean()<4


def test_evidence_keeps_out_of_plain_margins(clf):
    shop = in_shop(600, 800, 300, 650)
    seen = clf.evidence(shop)
    left,top,right,bottom = subject_box(shop)
    assert seen.shape==(800, 600) and seen[top:bottom, left:right].max()==1
    seen[top:bottom, left:right] = 0
    assert not seen.any()


def test_a_background_with_a_pattern_stays():
    street = Image.effect_noise((640, 480), 64).convert('RGB')
    street.paste('red', (300, 200, 340, 230))
    assert subject_box(street)==(0, 0, 640, 480)


@pytest.mark.parametrize('size', [(5000, 10), (10, 5000), (17, 16), (140, 140)])
def test_any_shape_becomes_a_square(size):
    im = Image.new('RGB', size)
    assert fit_square(im, 140, subject_box(im)).size==(140, 140)


def test_pictures_cut_off_are_refused_as_pillow_images(shoes):
    with pytest.raises(BadImage, match='cut off'): open_image(Image.open(io.BytesIO(shoes[0][:3000])))


def test_filters_of_warnings_stay(clf, shoes):
    "Threads that decode at once leave Python's warnings as they were"
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter('always')
        before = list(warnings.filters)
        list(clf.predict_many(shoes*4))
        assert warnings.filters==before
    assert not said


def test_evidence_fits_the_picture(clf, shoes):
    for size in [(320, 320), (300, 120), (120, 300)]:
        seen = clf.evidence(draw_shoe('puma_suede', seed=1, size=320).resize(size), 'puma_suede')
        assert seen.shape==size[::-1] and seen.dtype==np.float32 and seen.min()>=0 and seen.max()<=1


@pytest.mark.parametrize('box', [(0, 0, 0, 1), (.6, 0, .4, 1), (-1, 0, 1, 1), (0, 0, 1, 40)])
def test_a_box_outside_of_the_picture_is_refused(clf, shoes, box):
    with pytest.raises(SneakerError, match='is no part of the picture'): clf.evidence(shoes[0], box=box)


def test_nothing_is_reported_to_anybody(tmp_path):
    "ONNX Runtime's telemetry keeps an identifier on the disk as soon as it is imported, unless it is switched off before"
    env = {k:v for k,v in os.environ.items() if 'TELEMETRY' not in k and k!='CI'}
    env.update({name:str(tmp_path) for name in ('HOME', 'USERPROFILE', 'LOCALAPPDATA', 'TMPDIR', 'TEMP', 'TMP', 'XDG_CACHE_HOME')})
    subprocess.run([sys.executable, '-c', 'from sneaker_classifier import SneakerClassifier; SneakerClassifier.load()'], check=True, env=env)
    assert not list(tmp_path.rglob('*'))


@pytest.fixture
def street():
    "A shoe a fourth as wide as the picture, at the bottom right"
    im = Image.linear_gradient('L').resize((640, 640)).convert('RGB')
    im.paste(draw_shoe('vans_old_skool', seed=5, size=160), (420, 400))
    return im


def test_a_shoe_far_away_is_looked_at_again(clf, street):
    p = clf.predict(street)
    left,top,right,bottom = np.multiply(p.box, 640)
    assert p.label=='vans_old_skool' and p.confidence>=.8
    assert left<440 and top<420 and 540<right<left+260 and 520<bottom<top+260
    # The second look is the answer to the part alone.
    part = clf.predict(street.crop([round(o) for o in (left, top, right, bottom)]))
    assert p.scores==pytest.approx(part.scores, abs=1e-5) and p.familiarity==pytest.approx(part.familiarity, abs=1e-4)
    seen = clf.evidence(street, box=p.box)
    inside = np.zeros_like(seen, bool)
    inside[round(top):round(bottom), round(left):round(right)] = True
    assert seen[inside].max()==1 and not seen[~inside].any()


def test_where_to_look_does_not_hang_on_among(clf, street):
    among = ['puma_suede', 'adidas_superstar']
    assert clf.predict(street, among=among).box==clf.predict(street).box
    shoe = draw_shoe('puma_suede', seed=1, size=320)
    assert clf.predict(shoe, among=among).box==clf.predict(shoe).box==(0, 0, 1, 1)


@pytest.mark.parametrize('size', [(700, 700), (700, 90), (90, 700)])
def test_small_part_lies_within_the_picture(size):
    for row in range(7):
        for column in range(7):
            grid = np.zeros((7, 7), np.float32)
            grid[row, column] = 1
            box = small_part(grid, *size)
            if size==(700, 700): assert box and box[0]<=(column+.5)/7<=box[2] and box[1]<=(row+.5)/7<=box[3]
            if box: assert 0<=box[0]<box[2]<=1 and 0<=box[1]<box[3]<=1
    assert small_part(np.ones((7, 7)), *size) is None and small_part(np.full((7, 7), np.nan), *size) is None
