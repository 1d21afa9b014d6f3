"The engine: shared between threads, lazy over many pictures, and the same answers when a photo is decoded at a reduced size"
import csv, io, json, os, subprocess, sys, threading, time, warnings
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from itertools import count, islice
from pathlib import Path

import numpy as np
import pytest
from conftest import command
from made import jpeg
from PIL import Image

from sneaker_classifier import BadImage, SneakerClassifier, open_image
from sneaker_classifier.images import fit_square, subject_box
from sneaker_classifier.predict import Prediction, answers_csv, find_pictures, level, small_part, tally
from sneaker_classifier.samples import draw_shoe
from sneaker_classifier.settings import SneakerError


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
        answers = clf.predict_many(shoes[i] for i in order)
        return [expected[i].label==p.label and abs(expected[i].confidence-p.confidence)<1e-4 for i,p in zip(order, answers)]

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


@pytest.mark.parametrize('among', [5, 2.5, True, [5], [None], [['puma_suede']], 'puma_suede', b'puma_suede', [], ['puma_sued'],
    np.zeros(())])
def test_what_cannot_be_among(clf, shoes, among):
    for ask in lambda: clf.predict(shoes[0], among=among), lambda: clf.predict_many(shoes, among=among):
        with pytest.raises(SneakerError) as e: ask()
        assert '\n' not in str(e.value)


@pytest.mark.parametrize('label', [5, ['puma_suede'], 'puma_sued', b'puma_suede', ''])
def test_what_cannot_be_a_label(clf, shoes, label):
    with pytest.raises(SneakerError, match='is not a label that this model knows'): clf.evidence(shoes[0], label)


def test_among_takes_any_iterable(clf, shoes):
    labels = ['puma_suede', 'vans_old_skool']
    expected = clf.predict(shoes[0], among=labels)

    def generator(items): yield from items

    for kind in tuple, set, generator, dict.fromkeys, np.array:
        assert clf.predict(shoes[0], among=kind(labels))==expected
        assert [set(p.scores) for p in clf.predict_many(shoes[:3], among=kind(labels))]==[set(labels)]*3


@pytest.mark.parametrize('srcs', ['shoe.jpg', Path('photos'), b'bytes', bytearray(b'bytes'), io.BytesIO(b'bytes'),
    Image.new('RGB', (64, 64)), np.zeros((64, 64, 3), np.uint8), np.zeros(()), 5, None, True, 2.5, print])
def test_a_single_picture_is_not_many(clf, srcs):
    with pytest.raises(SneakerError, match='predict_many takes .*pictures') as e: clf.predict_many(srcs)
    assert '\n' not in str(e.value)
    if isinstance(srcs, (str, Path)): assert 'find_pictures' in str(e.value)


def test_numbers_close_no_files(clf, tmp_path):
    "To Python a number is an open file"
    with open(tmp_path/'open.txt', 'w') as f:
        answers = list(clf.predict_many([0, 1, 2, f.fileno(), True]))
        assert all('of type' in p.error for p in answers) and len(answers)==5
        f.write('still open')

    assert (tmp_path/'open.txt').read_text()=='still open'


def test_streams_that_break_off_do_not_end_the_rest(clf, shoes):
    class Broken:
        def read(self, n): raise RuntimeError('gone')
    shut = io.BytesIO(shoes[0])
    shut.close()
    unusable = [Broken(), shut, io.StringIO('text'), np.zeros((0, 0, 3), np.uint8)]

    answers = clf.predict_many([shoes[0], *unusable, shoes[1]])

    assert [bool(p.error) for p in answers]==[False, *[True]*4, False]


def test_a_batch_of_pixels_is_many(clf):
    assert len(list(clf.predict_many(np.full((2, 64, 64, 3), 200, np.uint8))))==2


def square(src, side):
    "What the network gets to see"
    im = open_image(src, square=side)
    return fit_square(im, side, subject_box(im))


@pytest.mark.parametrize('size', [(1000, 1000), (1000, 640), (3000, 2000), (2000, 4000), (700, 99)])
@pytest.mark.parametrize('progressive', [False, True])
def test_reduced_decoding_gives_the_same_answer(clf, size, progressive):
    im = draw_shoe('nike_air_force_1', seed=size[0]//100, size=1000).resize(size)
    rng = np.random.default_rng(0)
    im = Image.fromarray((np.asarray(im, float)+rng.normal(0, 8, (*im.size[::-1], 3))).clip(0, 255).astype(np.uint8))
    data,side = jpeg(im, progressive=progressive),clf.card['detail']

    quick,whole = square(data, side),open_image(data)
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

    difference = np.asarray(square(data, 140), int)-np.asarray(fit_square(whole := open_image(data), 140, subject_box(whole)), int)

    assert np.abs(difference).mean()<1.5 and np.asarray(square(data, 140))[70, 0].min()==255


def in_shop(width, height, left, top):
    "Something on light grey, 200 pixels wide"
    im = Image.new('RGB', (width, height), 'whitesmoke')
    im.paste(draw_shoe('puma_suede', seed=1, size=200).resize((200, 100)), (left, top))
    return im


def test_plain_margins_make_no_difference(clf):
    close = in_shop(280, 180, 40, 40)
    for far in in_shop(600, 800, 300, 650), in_shop(900, 400, 350, 200):
        assert np.abs(np.asarray(square(far, 140), int)-np.asarray(square(close, 140), int)).mean()<4
        assert clf.predict(far).scores==pytest.approx(clf.predict(close).scores, abs=.03)
    assert subject_box(in_shop(900, 400, 0, 100))==pytest.approx((0, 60, 240, 240), abs=9)


def test_margins_are_the_same_when_a_large_photo_is_unpacked_the_quick_way(clf):
    data = jpeg(in_shop(600, 800, 300, 650).resize((3000, 4000)))
    assert subject_box(open_image(data, square=140))==pytest.approx(np.array(subject_box(open_image(data)))/8, abs=3)
    assert np.abs(np.asarray(square(data, 140), int)-np.asarray(square(open_image(data), 140), int)).mean()<4


def test_evidence_keeps_out_of_plain_margins(clf):
    shop = in_shop(600, 800, 300, 650)
    left,top,right,bottom = subject_box(shop)

    seen = clf.evidence(shop)

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


@pytest.mark.parametrize('box', [(0, 0, 0, 1), (.6, 0, .4, 1), (-1, 0, 1, 1), (0, 0, 1, 40), (0, 0, 1), (0, 0, 1, 1, 1), 5, None, 'left',
    ('0', '0', '1', '1'), (0, 0, float('nan'), 1), (0, 0, float('inf'), 1), (None,)*4])
def test_a_box_outside_of_the_picture_is_refused(clf, shoes, box):
    with pytest.raises(SneakerError, match='is no part of the picture'): clf.evidence(shoes[0], box=box)


def test_nothing_is_reported_to_anybody(tmp_path):
    "ONNX Runtime's telemetry keeps an identifier on the disk as soon as it is imported, unless it is switched off before"
    env = {k:v for k,v in os.environ.items() if 'TELEMETRY' not in k and k!='CI'}
    env.update({name:str(tmp_path) for name in ('HOME', 'USERPROFILE', 'LOCALAPPDATA', 'TMPDIR', 'TEMP', 'TMP', 'XDG_CACHE_HOME')})
    code = 'from sneaker_classifier import SneakerClassifier; SneakerClassifier.load()'

    subprocess.run([sys.executable, '-c', code], check=True, env=env)

    assert not list(tmp_path.rglob('*'))


@pytest.fixture
def street():
    "A shoe a fourth as wide as the picture, at the bottom right"
    im = Image.linear_gradient('L').resize((640, 640)).convert('RGB')
    im.paste(draw_shoe('adidas_superstar', seed=22, size=160), (420, 400))
    return im


def test_a_shoe_far_away_is_looked_at_again(clf, street):
    p = clf.predict(street)
    left,top,right,bottom = np.multiply(p.box, 640)

    assert p.label=='adidas_superstar' and p.confidence>=.8
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


@pytest.fixture
def folder(tmp_path, shoes):
    "Pictures in folders, and what else there may be"
    top = tmp_path/'photos'
    for name in 'b.jpg', 'a.JPG', 'named like nothing', 'more/c.jpg', 'more/deep/d.jpg', '__MACOSX/a.jpg', '.hidden/a.jpg':
        (top/name).parent.mkdir(parents=True, exist_ok=True)
        (top/name).write_bytes(shoes[0])
    for name in 'notes.txt', 'notes.jpg', 'Thumbs.db', 'desktop.ini', '._b.jpg', '.DS_Store': (top/name).write_bytes(b'no picture')
    (top/'empty.jpg').touch()
    (top/'cut.jpg').write_bytes(shoes[0][:2000])
    return top


whole = ['a.JPG', 'b.jpg', 'cut.jpg', 'more/c.jpg', 'more/deep/d.jpg', 'named like nothing']

def found(place, folder, others=None): return [Path(o).relative_to(folder).as_posix() for o in find_pictures(place, others)]


def test_a_folder_means_the_pictures_in_it(folder):
    others = []
    assert sorted(found(folder, folder, others))==whole and found(folder, folder)==found(str(folder), folder)
    assert sorted(o.name for o in others)==['empty.jpg', 'notes.jpg', 'notes.txt']
    assert list(find_pictures('shoe.jpg'))==['shoe.jpg']   # whether there is one or not

    (folder/'bare').mkdir()
    assert found(folder/'bare', folder)==[]


@pytest.mark.skipif(sys.platform=='win32', reason='links need rights there')
def test_links_in_circles_do_no_harm(folder):
    (folder/'more'/'up').symlink_to(folder, target_is_directory=True)
    (folder/'again').symlink_to(folder/'more', target_is_directory=True)
    (folder/'nowhere.jpg').symlink_to(folder/'no such file.jpg')

    names = [Path(o).name for o in find_pictures(folder)]

    assert sorted(names)==sorted([*(Path(o).name for o in whole), 'nowhere.jpg'])
    assert len(list(find_pictures(str(folder/'**'/'*.jpg'))))<20


@pytest.mark.parametrize('pattern, names', [('*.jpg', ['b.jpg', 'cut.jpg', 'empty.jpg', 'notes.jpg']), ('[ab].*', ['a.JPG', 'b.jpg']),
    ('?.jpg', ['b.jpg']), ('**/[cd].jpg', ['more/c.jpg', 'more/deep/d.jpg']), ('m*', ['more/c.jpg', 'more/deep/d.jpg']),
    ('*/*.jpg', ['more/c.jpg']), ('*.gif', []), ('a***b', []), ('[', [])])
def test_patterns(folder, pattern, names):
    got = found(str(folder/pattern), folder)
    if os.name=='nt': got = [o for o in got if o!='a.JPG' or '[' in pattern]   # where case makes no difference

    assert got==names


def test_two_stars_find_each_once(folder):
    assert sorted(found(str(folder/'**'), folder))[:2]==whole[:2]
    assert len(found(str(folder/'**'/'c.jpg'), folder))==1


def test_a_file_called_like_a_pattern(tmp_path, shoes):
    for name in 'shoe[1].jpg', 'shoe1.jpg': (tmp_path/name).write_bytes(shoes[0])
    assert [Path(o).name for o in find_pictures(tmp_path/'shoe[1].jpg')]==['shoe[1].jpg']


def test_a_huge_folder_starts_at_once(tmp_path, shoes, monkeypatch):
    for i in range(30):
        (tmp_path/f'{i:02}').mkdir()
        (tmp_path/f'{i:02}'/'shoe.jpg').write_bytes(shoes[0])
    seen,before = [],Path.iterdir
    monkeypatch.setattr(Path, 'iterdir', lambda self: seen.append(self) or before(self))

    assert Path(next(find_pictures(tmp_path))).parent.name=='00' and len(seen)==2


@pytest.mark.parametrize('place', [5, None, b'photos', ['photos']])
def test_places_are_paths(place):
    with pytest.raises(SneakerError, match='takes a path or a pattern'): find_pictures(place)


def test_command_takes_folders_and_patterns(folder):
    said = command('predict', 'photos', 'photos/[', 'photos/*.jpg', 'nothing', cwd=folder.parent).stdout.splitlines()

    assert [o.split(': ')[0].replace(os.sep, '/') for o in said[:6]]==[f'photos/{o}' for o in found(folder, folder)]
    assert 'photos/[: This picture cannot be used: no file fits this pattern.' in said
    assert 'nothing: This picture cannot be used: there is no such file.' in said
    assert said[-1].startswith('12 photos: ') and ' 6 could not be used. 3 files in folders are no pictures.' in said[-1]

    (folder.parent/'bare').mkdir()
    said = command('predict', 'bare', cwd=folder.parent, ok=False).stdout
    assert 'bare: This picture cannot be used: there are no pictures in this folder.' in said


def test_command_writes_json_and_csv(folder, clf):
    done = command('predict', 'photos', 'nothing.jpg', '--json', '--csv', 'out/answers.csv', cwd=folder.parent)

    answers = [json.loads(o) for o in done.stdout.splitlines()]
    unusable = str(Path('photos/cut.jpg')), 'nothing.jpg'
    assert [bool(o['error']) for o in answers]==[o['file'] in unusable for o in answers] and len(answers)==7
    assert {'file', 'label', 'brand', 'model', 'confidence', 'sure', 'brand_confidence', 'brand_sure', 'candidates', 'scores', 'brands',
        'error'}<=set(answers[0])

    expected = clf.predict(folder/'a.JPG')
    assert answers[0]['label']==expected.label and list(answers[0]['scores'])==list(expected.scores)
    assert '7 photos: ' in done.stderr

    table = (folder.parent/'out'/'answers.csv').read_bytes()
    assert table.startswith(b'\xef\xbb\xbf') and list((folder.parent/'out').iterdir())==[folder.parent/'out'/'answers.csv']
    rows = list(csv.DictReader(io.StringIO(table.decode('utf-8-sig'))))
    assert [(o['file'], o['brand']) for o in rows]==[(o['file'], o['brand']) for o in answers]

    last = command('predict', 'photos/b.jpg', '--csv', 'photos', cwd=folder.parent, ok=False).stderr.strip().splitlines()[-1]
    assert 'photos is a folder' in last


def test_cells_that_are_formulas_are_none():
    sure = Prediction('a', '-Brand', '+Model', .5, sure=True, brand_confidence=.75, brand_sure=True)
    answers = [sure, Prediction(error='no'), Prediction()]
    lines = answers_csv(['=1+1.jpg', '@x', 'a,"b" é.jpg'], answers).splitlines()
    assert lines[1:]==["'=1+1.jpg,'-Brand,'+Model,0.5000,yes,0.7500,yes,", "'@x,,,,,,,no", '"a,""b"" é.jpg",,,0.0000,no,0.0000,no,']

def test_three_levels_and_none():
    brand = dict(brand_confidence=.97, brand_sure=True)
    answers = [Prediction('x', 'Asics', 'Gel', .9, sure=True, **brand),
        Prediction('x', 'Asics', 'Gel', .5, **brand, candidates=('Gel', 'Kayano')),
        Prediction('x', 'Puma', 'Suede', .5, **brand, candidates=('Suede',)),
        Prediction('x', 'Puma', 'Suede', .5), Prediction(error='It is empty.')]

    assert [*map(str, answers)]==['Asics Gel (90%)', 'An Asics (97%); perhaps Gel or Kayano', 'A Puma (97%); perhaps Suede',
        'Not sure; perhaps Puma Suede', 'It is empty.']
    assert [*map(level, answers)]==['sure', 'brand', 'brand', 'not sure', 'bad']
    assert tally(Counter(map(level, answers)))=='5 photos: 1 sure, 2 sure of the brand, 1 not sure, 1 could not be used.'


def test_a_sure_model_is_of_a_sure_brand(clf, shoes):
    rng = np.random.default_rng(0)
    logits = rng.normal(-3, 2, (500, len(clf.labels)))
    answers = [*map(clf.answer, logits), *clf.predict_many(shoes)]

    assert {level(p) for p in answers}=={'sure', 'brand', 'not sure'} and all(p.brand_sure for p in answers if p.sure)
    for p in answers:
        assert p.brand_confidence==p.brands[p.brand]>=p.confidence
        assert p.candidates[0]==p.model and 1<=len(p.candidates)<=3
