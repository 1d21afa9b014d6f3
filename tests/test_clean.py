"Cleaning: every raw file accounted for, hostile files, copies, decisions, and a run that is stopped at any instant"
import io, os, random, shutil, subprocess, sys, time
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from conftest import command
from made import jpeg
from PIL import Image, ImageOps

from sneaker_classifier import clean, review
from sneaker_classifier.clean import clean_images
from sneaker_classifier.copies import Prints, find_groups, fingerprint, near_pairs
from sneaker_classifier.predict import SneakerClassifier
from sneaker_classifier.samples import draw_shoe, make_samples
from sneaker_classifier.settings import SneakerError, load_settings
from test_hostile import bad


def contents(folder, hidden=False):
    return {p.relative_to(folder).as_posix():p.read_bytes() for p in folder.rglob('*')
        if p.is_file() and (hidden or not any(o.startswith('.') for o in p.relative_to(folder).parts))}


@pytest.fixture(scope='module')
def raw(tmp_path_factory):
    "Two classes of drawings; copies, a photo in both classes, every hostile file, and odd places and names"
    raw = make_samples(tmp_path_factory.mktemp('data')/'raw', ['adidas_superstar', 'puma_suede'], n=6, size=160)
    shoe = Image.open(raw/'puma_suede'/'0000.jpg')
    (raw/'puma_suede'/'small.jpg').write_bytes(jpeg(shoe.resize((90, 90))))
    (raw/'puma_suede'/'same.jpg').write_bytes((raw/'puma_suede'/'0001.jpg').read_bytes())
    ImageOps.mirror(Image.open(raw/'puma_suede'/'0002.jpg')).save(raw/'adidas_superstar'/'mirror.png')
    for name,(data,_) in bad.items():
        if name!='bomb': (raw/'puma_suede'/f'{name}.jpg').write_bytes(data)
    (raw/'puma_suede'/'näher, (b).png').write_bytes(jpeg(draw_shoe('puma_suede', 50, 100)))
    (raw/'puma_suede'/'more').mkdir()
    (raw/'puma_suede'/'more'/'deep.jpg').write_bytes(jpeg(shoe))
    (raw/'stray.jpg').write_bytes(jpeg(shoe))
    (raw/'con').mkdir()
    (raw/'con'/'x.jpg').write_bytes(jpeg(shoe))
    line = '{"url": "http://a.example/1", "status": "new", "sha256": "%s"}' % images_sha(raw/'puma_suede'/'0000.jpg')
    (raw/'downloads.jsonl').write_text(line+'\n{"url": "http://torn', encoding='utf-8')
    return raw

def images_sha(path):
    import hashlib
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.fixture(scope='module')
def cleaned(raw, tmp_path_factory):
    out = tmp_path_factory.mktemp('out')/'clean'
    return out, clean_images(raw, out, workers=2, progress=False)


def test_every_file_is_accounted_for(raw, cleaned):
    out,report = cleaned

    files = {p.relative_to(raw).as_posix() for p in raw.rglob('*') if p.is_file()}-{'downloads.jsonl'}
    items,dropped = pd.read_csv(out/'items.csv', keep_default_na=False),pd.read_csv(out/'dropped.csv', keep_default_na=False)

    assert set(items.raw)|set(dropped.file)==files and len(items)+len(dropped)==len(files)
    assert {k for k in contents(out) if k.endswith('.jpg')}==set(items.file)
    assert report.table.to_numpy().sum()==len(files)

    reasons = dropped.set_index('file').reason
    for name,(_,why) in bad.items():
        if name!='bomb': assert why in reasons[f'puma_suede/{name}.jpg']
    assert 'cannot be a label' in reasons['con/x.jpg'] and 'outside' in reasons['stray.jpg']
    # The first folder is the class, whatever lies below it: this is a copy of another photo of the class.
    assert reasons['puma_suede/more/deep.jpg']=='a copy'


def test_copies_and_groups(cleaned):
    _,report = cleaned
    dropped,items = report.dropped.set_index('file'),report.items.set_index('raw')

    assert dropped.of['puma_suede/small.jpg']==items.file['puma_suede/0000.jpg']
    assert sum(o in items.index for o in ('puma_suede/0001.jpg', 'puma_suede/same.jpg'))==1
    assert items.group['adidas_superstar/mirror.png']==items.group['puma_suede/0002.jpg'] and report.shared==2
    assert items.source['puma_suede/0000.jpg']=='http://a.example/1'


def test_clean_pictures_are_clean(tmp_path):
    "Turned upright, on white, in sRGB, small, and with nothing in the file but the picture"
    exif = Image.Exif()
    exif[0x0112] = 6
    exif.get_ifd(0x8825)[1] = 'N'
    folder = tmp_path/'raw'/'puma_suede'
    folder.mkdir(parents=True)
    (folder/'a.jpg').write_bytes(jpeg(draw_shoe('puma_suede', 1, 400).resize((3000, 1500)), exif=exif, comment=b'at home')+b'<script>')
    draw_shoe('puma_suede', 2, 200).save(folder/'b.mpo', 'MPO', save_all=True, append_images=[draw_shoe('puma_suede', 3, 200)])
    for i,fmt in enumerate(('GIF', 'WEBP', 'AVIF')): draw_shoe('puma_suede', 10+i, 200).save(folder/f'c.{fmt.lower()}')

    report = clean_images(tmp_path/'raw', tmp_path/'clean', workers=1, progress=False)

    assert len(report.items)==5
    for file in report.items.file:
        data = (tmp_path/'clean'/file).read_bytes()
        with Image.open(io.BytesIO(data)) as im:
            assert im.format=='JPEG' and im.mode=='RGB' and not set(im.info)-{'jfif', 'jfif_version', 'jfif_unit', 'jfif_density'}
        assert b'script' not in data and b'at home' not in data and data.endswith(b'\xff\xd9')

    row = report.items.set_index('raw').loc['puma_suede/a.jpg']
    assert (row.width, row.height)==(512, 1024)


def test_stopped_at_every_write(raw, cleaned, tmp_path, monkeypatch):
    "Interrupt the n-th rename, for many n, and start again: always the same result"
    expected,real = contents(cleaned[0]),os.replace
    def run(stop, out):
        count = iter(range(10**6))
        def rename(a, b):
            if next(count)==stop: raise KeyboardInterrupt
            real(a, b)
        monkeypatch.setattr(os, 'replace', rename)
        try: clean_images(raw, out, workers=1, progress=False)
        except KeyboardInterrupt: return True
        finally: monkeypatch.setattr(os, 'replace', real)

    stop = 0
    while run(stop, tmp_path/str(stop)):
        run(stop//2, tmp_path/str(stop))
        clean_images(raw, tmp_path/str(stop), workers=1, progress=False)
        assert contents(tmp_path/str(stop))==expected
        stop += 3

    assert stop>20


def test_killed(raw, cleaned, tmp_path):
    "A process that is killed, with its workers still running, and started again"
    code = """if __name__=="__main__":
        import sys
        from sneaker_classifier.clean import clean_images
        print("ready", flush=True)
        clean_images(sys.argv[1], sys.argv[2], workers=2, progress=False)"""

    for i in range(4):
        p = subprocess.Popen([sys.executable, '-c', code, raw, tmp_path/'clean'], stdout=subprocess.PIPE)
        p.stdout.readline()
        time.sleep(random.Random(i).uniform(0, .5))
        p.kill()
        p.wait()

    clean_images(raw, tmp_path/'clean', workers=2, progress=False)

    assert contents(tmp_path/'clean')==contents(cleaned[0])


def test_workers_end_with_the_process_that_was_killed():
    code = """if __name__=="__main__":
        import os, time
        from concurrent.futures import ProcessPoolExecutor
        from sneaker_classifier.clean import _end_with_parent
        pool = ProcessPoolExecutor(2, initializer=_end_with_parent)
        for o in [pool.submit(os.getpid) for _ in range(2)]: o.result()
        for _ in range(2): pool.submit(time.sleep, 300)
        print("ready", flush=True)
        time.sleep(300)"""

    p = subprocess.Popen([sys.executable, '-c', code], stdout=subprocess.PIPE)
    p.stdout.readline()
    p.kill()

    # The workers have this pipe too: it ends when the last of them has.
    assert p.communicate(timeout=30)[0]==b''


def test_again_changes_nothing(raw, cleaned):
    before = contents(cleaned[0], hidden=True)
    clean_images(raw, cleaned[0], workers=2, progress=False)
    assert contents(cleaned[0], hidden=True)==before


def test_other_limits(raw, cleaned, tmp_path):
    "Under other limits everything is made anew, and nothing is left of before"
    out = tmp_path/'clean'
    shutil.copytree(cleaned[0], out)
    settings = load_settings()
    settings = replace(settings, limits=replace(settings.limits, keep_side=64))

    report = clean_images(raw, out, settings, workers=2, progress=False)
    assert report.items[['width', 'height']].max().max()==64

    clean_images(raw, out, workers=2, progress=False)
    assert contents(out)==contents(cleaned[0])


def test_decisions_outlive_cleaning(raw, cleaned, tmp_path):
    out = tmp_path/'clean'
    shutil.copytree(cleaned[0], out)
    decisions = [dict(raw='puma_suede/0000.jpg', decision='move', label='adidas_superstar', when=''),
        dict(raw='puma_suede/0003.jpg', decision='drop', label='puma_suede', when='')]
    clean.write_table(out/'decisions.csv', pd.DataFrame(decisions))

    report = clean_images(raw, out, workers=1, progress=False)

    items,dropped = report.items.set_index('raw'),report.dropped.set_index('file')
    assert items.label['puma_suede/0000.jpg']=='adidas_superstar' and dropped.reason['puma_suede/0003.jpg']=='dropped by hand'
    assert dropped.of['puma_suede/small.jpg']==items.file['puma_suede/0000.jpg']   # the copy went with it
    assert {k for k in contents(out) if k.endswith('.jpg')}==set(items.file)

    (out/'decisions.csv').unlink()
    clean_images(raw, out, workers=1, progress=False)
    assert contents(out)==contents(cleaned[0])


def test_raw_file_that_is_gone(raw, tmp_path):
    "The clean copy of a raw file that was deleted is put aside, not deleted"
    shutil.copytree(raw, tmp_path/'raw')
    clean_images(tmp_path/'raw', tmp_path/'clean', workers=1, progress=False)

    sha = images_sha(tmp_path/'raw'/'puma_suede'/'0004.jpg')
    (tmp_path/'raw'/'puma_suede'/'0004.jpg').unlink()
    clean_images(tmp_path/'raw', tmp_path/'clean', workers=1, progress=False)

    assert not (tmp_path/'clean'/'puma_suede'/f'{sha}.jpg').exists() and (tmp_path/'clean'/'.aside'/f'{sha}.jpg').is_file()


def test_mistakes(tmp_path):
    for raw,out,words in [('none', 'clean', 'not a folder'), ('.', 'clean', 'lies in')]:
        with pytest.raises(SneakerError, match=words): clean_images(tmp_path/raw, tmp_path/out, progress=False)
    (tmp_path/'raw').mkdir()
    with pytest.raises(SneakerError, match='no pictures'): clean_images(tmp_path/'raw', tmp_path/'clean', progress=False)
    with pytest.raises(SneakerError, match='cleaned'): review.review(tmp_path/'clean', pd.DataFrame(columns=review._suspect_columns))


def test_command(raw, trained, tmp_path):
    done = command('clean', '--data', raw, '--out', tmp_path/'clean', '--model', trained[0])
    assert 'pictures came in' in done.stdout and (tmp_path/'clean'/'suspects.csv').is_file()
    assert 'not a folder' in command('clean', '--data', tmp_path/'none', '--out', tmp_path/'x', ok=False).stderr


def test_groups_of_edited_copies():
    "Every kind of edit that is promised, on drawings; strangers stay strangers"
    shoes = [draw_shoe(label, i, 240) for label in ('adidas_superstar', 'puma_suede', 'nike_air_force_1') for i in range(5)]
    edits = [lambda im: im, lambda im: Image.open(io.BytesIO(jpeg(im, 30))), lambda im: im.resize((100, 100)), ImageOps.mirror,
        lambda im: im.crop((6, 6, 234, 234)), lambda im: ImageOps.expand(im, 20, 'black')]

    found = find_groups(Prints.of([fingerprint(edit(im)) for im in shoes for edit in edits])).copy()

    groups = found['copy'].to_numpy().reshape(len(shoes), len(edits))
    assert (groups==groups[:,:1]).mean()>.97 and len(set(groups[:,0]))>=len(shoes)-1


def test_with_features_turned_and_hard_cut_photos_share_a_group():
    "And strangers hardly do"
    shoes = [draw_shoe(f'model_{o}', 3, 240) for o in 'abcdefghijklmnopqrst']
    edits = [lambda im: im, lambda im: im.rotate(4, Image.Resampling.BICUBIC, fillcolor=im.getpixel((0, 0))),
        lambda im: im.rotate(-5, Image.Resampling.BICUBIC, fillcolor=im.getpixel((0, 0))), lambda im: im.crop((14, 20, 230, 226))]
    pictures = [edit(im) for im in shoes for edit in edits]
    prints = Prints.of([fingerprint(o) for o in pictures])

    features = np.array([*SneakerClassifier.load().features_many(pictures)])
    without,found = (find_groups(prints, o) for o in (None, features))

    groups,before = (o['group'].to_numpy().reshape(len(shoes), len(edits)) for o in (found, without))
    assert (groups==groups[:,:1]).mean()>=.8>(before==before[:,:1]).mean()+.1 and len(set(groups[:,0]))>=len(shoes)-1
    assert found['copy'].equals(without['copy'])


def test_grey_and_recoloured_are_kept_together_not_dropped():
    shoe = draw_shoe('puma_suede', 4, 240)
    swapped = Image.merge('RGB', shoe.split()[::-1])
    found = find_groups(Prints.of([fingerprint(o) for o in (shoe, ImageOps.grayscale(shoe).convert('RGB'), swapped)]))
    assert found['group'].nunique()==1 and found['copy'].nunique()>1


def test_pairs_in_a_crowd_that_looks_alike():
    "Ten thousand hashes of a few bits' difference, as of shoes on white, take no longer and lose no copy"
    rng = np.random.default_rng(0)
    hashes = np.full((10_000, 28), 0x5a5a5a5a00000000, np.uint64)^rng.integers(0, 2**24, (10_000, 1), np.uint64)
    hashes[1::2] = hashes[::2]

    start = time.perf_counter()
    pairs = near_pairs(hashes)

    assert len(pairs)<=6*len(hashes) and time.perf_counter()-start<60
    found = set(map(tuple, pairs[:,:2]))
    assert all((i, i+1) in found for i in range(0, len(hashes), 2))


@pytest.mark.parametrize('rare', [False, True])
def test_wrong_labels_rank_first(tmp_path, rare):
    "Also beside a class with too few pictures to learn from"
    raw = make_samples(tmp_path/'raw', n=20, size=160)
    if rare:
        (raw/'rare').mkdir()
        draw_shoe('nike_court_vision', seed=99, size=160).save(raw/'rare'/'0.jpg')
    for i in range(4): os.replace(raw/'puma_suede'/f'{i:04d}.jpg', raw/'adidas_superstar'/f'wrong_{i}.jpg')
    clean_images(raw, tmp_path/'clean', workers=1, progress=False)

    suspects = review.find_suspects(tmp_path/'clean', progress=False)

    at = suspects.index[suspects.raw.str.contains('wrong')]
    assert np.median(at)<len(suspects)*.25
