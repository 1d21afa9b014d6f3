"Every photo counted, and none counted wrongly: what is new, what was learned, folders, tables and names"
import csv, io, os, sys

import numpy as np
import pandas as pd
import pytest
from conftest import command
from made import changed_settings, saved_anew
from PIL import Image, ImageDraw, ImageOps

from sneaker_classifier import review
from sneaker_classifier.clean import clean_images
from sneaker_classifier.copies import Familiar, Prints, find_groups, fingerprint, picture_print
from sneaker_classifier.data import OpenSquare, file_print, labelled_items, learned_by, met_before, open_all, picture_id, split_items
from sneaker_classifier.evaluate import evaluate
from sneaker_classifier.export import _split
from sneaker_classifier.files import SneakerError
from sneaker_classifier.images import sanitize
from sneaker_classifier.predict import SneakerClassifier
from sneaker_classifier.samples import draw_shoe, make_samples
from sneaker_classifier.settings import is_label, to_label
from sneaker_classifier.train import train


def table_of(**counts):
    "Items of so many pictures of each label"
    rows = [(f'{label}{i}', label, f'{label}{i}') for label,n in counts.items() for i in range(n)]
    return pd.DataFrame(rows, columns=['file', 'label', 'group'])


# What is new is learned

def test_of_new_pictures_about_a_fifth_is_kept_back():
    "On top of 4,000 and of 80, and in a fifth class"
    for old,new in (1000, 140), (20, 10):
        items = table_of(a=old+new, b=old, c=old, d=old, e=new)
        number = items.file.str[1:].astype(int)
        met = (number<old) & (items.label!='e')
        split = split_items(items, learned=met & (number%5>0), kept=met & (number%5==0))

        assert not split.is_valid[met & (number%5>0)].any() and split.is_valid[met & (number%5==0)].all()
        for label in 'a', 'e':
            share = split.is_valid[~met & (items.label==label)].mean()
            assert .1<=share<=.3, (old, label, share)


def test_one_photo_more_each_time():
    "It is learned, and what was kept back stays so"
    items = table_of(a=20, b=20)
    split = split_items(items)

    kept = set(split.file[split.is_valid])
    for i in range(20, 30):
        more = table_of(a=i+1, b=20)
        split = split_items(more, learned=more.file.isin(items.file) & ~more.file.isin(kept), kept=more.file.isin(kept))
        assert kept<=set(split.file[split.is_valid])
        assert f'a{i}' in set(split.file[~split.is_valid])
        items,kept = more,set(split.file[split.is_valid])


def test_a_sunday_of_two_new_photos_of_each_class():
    items = table_of(**{f'class_{chr(97+i)}':12 for i in range(20)})
    old = items.groupby('label').cumcount()<10
    split = split_items(items, learned=old & (items.groupby('label').cumcount()<8), kept=old & (items.groupby('label').cumcount()>=8))
    assert .1<=split.is_valid[~old].mean()<=.3


def test_a_class_that_nothing_would_be_learned_of_is_refused():
    items = table_of(a=20, b=20, c=10)
    met = items.label.isin(['a', 'b'])
    with pytest.raises(SneakerError, match='Nothing would be learned of c'): split_items(items, learned=met, kept=items.label=='c')
    with pytest.raises(SneakerError, match='Too few different pictures of c: at least 5'): split_items(items[:43], learned=met[:43])


def test_groups_are_not_torn_apart_by_what_was_learned():
    items = table_of(a=20, b=20)
    items['group'] = items.label+(items.file.str[1:].astype(int)//2).astype(str)
    split = split_items(items, learned=items.file=='a0', kept=items.file.isin(['b0', 'a1']))
    assert (split.groupby('group').is_valid.nunique()==1).all()
    assert not split.is_valid[split.file=='a1'].any() and split.is_valid[split.file=='b1'].all()


# What was learned is known again

def framed(im): return ImageOps.expand(im, round(.03*max(im.size)), 'navy')
def cropped(im): return im.crop((round(.03*im.width), 0, im.width, round(.97*im.height)))
def reduced(im): return im.resize([round(.7*o) for o in im.size], Image.Resampling.LANCZOS)

edits = dict(again=lambda im: saved_anew(im, 60), reduced=lambda im: saved_anew(reduced(im)), framed=lambda im: saved_anew(framed(im)),
    cropped=lambda im: saved_anew(cropped(im)), cleaned=lambda im: Image.open(io.BytesIO(sanitize(im))).convert('RGB'),
    mirrored=lambda im: saved_anew(ImageOps.mirror(im)))


def test_learned_photos_are_known_again_and_new_ones_are_not():
    labels = 'nike_air_force_1', 'adidas_superstar', 'puma_suede'
    shoes = [draw_shoe(label, seed, 160) for label in labels for seed in range(12)]
    known = Familiar([picture_print(o) for o in shoes])

    for name,edit in edits.items():
        right = [i in known.find(edit(im)) for i,im in enumerate(shoes)]
        assert np.mean(right)>=.97, (name, np.mean(right))

    new = [draw_shoe(label, seed, 160) for label in (*labels, 'nike_court_vision') for seed in range(100, 125)]
    assert np.mean([len(known.find(o))>0 for o in new])<=.01


@pytest.fixture
def model(tmp_path):
    "A folder with a split.csv of ten drawings, and the items"
    photos = make_samples(tmp_path/'photos', ['puma_suede', 'nike_court_vision'], n=5, size=120)
    items = labelled_items(photos)
    rows = pd.DataFrame(dict(id=items.file.map(picture_id), is_valid=[i%5==0 for i in range(10)], print=items.file.map(file_print)))
    (tmp_path/'model').mkdir()
    rows.to_csv(tmp_path/'model'/'split.csv', index=False)
    return tmp_path/'model', items


def test_after_cleaning_a_picture_is_still_known(model, tmp_path):
    folder,items = model
    clean_images(tmp_path/'photos', tmp_path/'clean', workers=1, progress=False)
    met = met_before(labelled_items(tmp_path/'clean'), folder)
    assert (met.by=='looks').all() and met.before.value_counts().to_dict()==dict(learned=8, kept=2)
    assert (met_before(items, folder).by=='file').all()


def test_an_old_split_still_works(model):
    folder,items = model
    pd.read_csv(folder/'split.csv')[['id', 'is_valid']].to_csv(folder/'split.csv', index=False)
    assert learned_by(items, folder).sum()==8


@pytest.mark.parametrize('damage', ['x', '!!!!', 'QUJD'])
def test_damaged_prints_are_refused(model, damage):
    folder,items = model
    pd.read_csv(folder/'split.csv').assign(print=damage, id='0'*32).to_csv(folder/'split.csv', index=False)
    with pytest.raises(SneakerError, match='split.csv is damaged'): met_before(items, folder)


def test_both_commands_say_what_they_know_already(trained, photos, quick_settings, tmp_path):
    out,_ = trained
    again = tmp_path/'again'
    for f in sorted(photos.glob('*/0*.jpg')):
        (again/f.parent.name).mkdir(parents=True, exist_ok=True)
        saved_anew(Image.open(f).convert('RGB')).save(again/f.parent.name/f.name, quality=92)

    said = command('evaluate', '--model', out, '--data', again)
    text = said.stdout+said.stderr
    assert 'by their looks' in text and '0 known by their file' in text

    for i in range(10):
        (again/'karhu_fusion').mkdir(exist_ok=True)
        draw_shoe('karhu_fusion', i, 64).save(again/'karhu_fusion'/f'{i}.png')
    settings = changed_settings(tmp_path/'settings.ini', quick_settings, training=dict(start=out.as_posix(), epochs=1))

    said = command('train', '--data', again, '--out', tmp_path/'more', '--settings', settings).stdout
    split = pd.read_csv(tmp_path/'more'/'split.csv')
    new = split[split.id.isin([picture_id(f) for f in (again/'karhu_fusion').iterdir()])]
    assert 'which are not measured' in said and new.is_valid.sum()==2 and len(new)==10


# Tables

def write_groups(path, files):
    pd.DataFrame(dict(file=files, group=[i//2 for i in range(len(files))])).to_csv(path, index=False)


@pytest.mark.parametrize('change', [
    lambda o: o.replace('/', '\\'), lambda o: f'C:\\photos\\{o}'.replace('/', '\\'), lambda o: f'/mnt/disk/{o}', lambda o: o[:-3]+'JPG',
    lambda o: f'./{o}'])
def test_tables_of_groups_from_another_machine_fit(tmp_path, change):
    photos = make_samples(tmp_path/'photos', ['puma_suede', 'nike_court_vision'], n=10, size=48)
    files = sorted(o.relative_to(photos).as_posix() for o in photos.glob('*/*'))
    write_groups(tmp_path/'groups.csv', [change(o) for o in files])

    items = labelled_items(photos, tmp_path/'groups.csv')
    assert items.group.tolist()==[str(i//2) for i in range(20)]
    assert (split_items(items).groupby('group').is_valid.nunique()==1).all()


def test_tables_of_groups_that_fit_little_are_refused(tmp_path):
    photos = make_samples(tmp_path/'photos', ['puma_suede', 'nike_court_vision'], n=10, size=48)
    files = sorted(o.relative_to(photos).as_posix() for o in photos.glob('*/*'))

    for wrong in [f'other/{i}.jpg' for i in range(20)], files[:9], []:
        write_groups(tmp_path/'groups.csv', wrong)
        with pytest.raises(SneakerError, match='of the 20 pictures'): labelled_items(photos, tmp_path/'groups.csv')

    write_groups(tmp_path/'groups.csv', files[:10])
    assert labelled_items(photos, tmp_path/'groups.csv').group.nunique()==5+10


def test_files_of_one_name_in_two_places_keep_their_own_groups(tmp_path):
    photos = make_samples(tmp_path/'a'/'photos', ['puma_suede', 'nike_court_vision'], n=5, size=48)
    labels = 'puma_suede', 'nike_court_vision'
    rows = [(f'{top}/photos/{label}/{i:04d}.jpg', f'{top}{label}{i}') for top in 'ab' for label in labels for i in range(5)]
    pd.DataFrame(rows, columns=['file', 'group']).to_csv(tmp_path/'groups.csv', index=False)
    assert labelled_items(photos, tmp_path/'groups.csv').group.str.startswith('a').all()


@pytest.mark.parametrize('name, column, value', [
    ('decisions.csv', 'label', '../../../outside'), ('decisions.csv', 'label', ''), ('decisions.csv', 'decision', 'burn'),
    ('.records.csv', 'sha', '../../x'), ('.records.csv', 'label', '/tmp'), ('items.csv', 'file', '../../secret.jpg'),
    ('suspects.csv', 'guesses', '../up')])
def test_tables_from_somebody_else_lead_nowhere(tmp_path, name, column, value):
    make_samples(tmp_path/'raw', ['puma_suede', 'nike_court_vision'], n=3, size=48)
    out = tmp_path/'clean'
    clean_images(tmp_path/'raw', out, workers=1, progress=False)
    decision = dict(raw='puma_suede/0000.jpg', decision='move', label='nike_court_vision', when='')
    pd.DataFrame([decision]).to_csv(out/'decisions.csv', index=False)
    suspect = dict(raw='puma_suede/0000.jpg', label='puma_suede', suspicion=1., guesses='nike_court_vision', why='')
    pd.DataFrame([suspect]).to_csv(out/'suspects.csv', index=False)
    table = pd.read_csv(out/name, dtype=str, keep_default_na=False)
    table.loc[0, column] = value
    table.to_csv(out/name, index=False)
    before = {o for o in tmp_path.rglob('*')}

    with pytest.raises(SneakerError, match=f'{column} in its line 2'):
        if name=='decisions.csv': clean_images(tmp_path/'raw', out, workers=1, progress=False)
        elif name=='items.csv': review.find_suspects(out, progress=False)
        else: review.review(out)
    assert {o for o in tmp_path.rglob('*')}-{out/'.lock'}==before-{out/'.lock'}


def test_decisions_about_nothing_are_said(tmp_path):
    make_samples(tmp_path/'raw', ['puma_suede', 'nike_court_vision'], n=3, size=48)
    (tmp_path/'clean').mkdir()
    decision = dict(raw='puma_suede/gone.jpg', decision='drop', label='', when='')
    pd.DataFrame([decision]).to_csv(tmp_path/'clean'/'decisions.csv', index=False)

    report = clean_images(tmp_path/'raw', tmp_path/'clean', workers=1, progress=False)
    assert '1 decisions are about pictures that are not there, such as puma_suede/gone.jpg' in str(report)


# Folders and names

def test_labels_of_other_alphabets_stay_apart(tmp_path):
    names = ['Найк 1', 'Пума 1', 'ナイキ', 'プーマ', 'Näher', 'Naher', 'नाइकी', 'नाइका']
    labels = [to_label(o) for o in names]
    assert len(set(labels))==len(names) and all(map(is_label, labels))
    for o in names:
        make_samples(tmp_path/'x', ['puma_suede'], n=1, size=48)
        os.renames(tmp_path/'x'/'puma_suede', tmp_path/'raw'/o)

    report = clean_images(tmp_path/'raw', tmp_path/'clean', workers=1, progress=False)

    assert set(report.items.label)==set(labels)
    assert set(labelled_items(tmp_path/'clean').label)==set(labels)


@pytest.mark.parametrize('two', [('C++', 'C#'), ('Air Max 1', 'Air Max: 1'), ('a!', 'a')])
def test_two_folders_never_become_one_class_in_silence(tmp_path, two):
    for o in two: (tmp_path/'raw'/o).mkdir(parents=True)
    for o in two: draw_shoe('puma_suede', size=48).save(tmp_path/'raw'/o/'1.png')
    for f in (lambda: labelled_items(tmp_path/'raw'), lambda: clean_images(tmp_path/'raw', tmp_path/'clean', progress=False)):
        with pytest.raises(SneakerError) as e: f()
        assert all(repr(o) in str(e.value) for o in two)


def test_two_spellings_of_one_name_are_one_class(tmp_path):
    for o in ('Puma_Suede', 'puma suede', 'PUMA-Suede'): (tmp_path/o).mkdir()
    for o in tmp_path.iterdir(): draw_shoe('puma_suede', size=48).save(o/'1.png')
    assert set(labelled_items(tmp_path).label)=={'puma_suede'}


def test_folders_at_any_depth_and_what_systems_leave(tmp_path):
    raw = make_samples(tmp_path/'raw', ['puma_suede', 'nike_court_vision'], n=3, size=48)
    for o in ('2024/may/x.jpg', '2024/y.jpg'):
        (raw/'puma_suede'/o).parent.mkdir(parents=True, exist_ok=True)
        draw_shoe('puma_suede', len(o), 48).save(raw/'puma_suede'/o)
    left = 'puma_suede/Thumbs.db', 'desktop.ini', 'puma_suede/2024/._x.jpg', '__MACOSX/puma_suede/._1.jpg', 'nike_court_vision/.DS_Store'
    for o in left:
        (raw/o).parent.mkdir(parents=True, exist_ok=True)
        (raw/o).write_bytes(b'\0')

    report = clean_images(raw, tmp_path/'clean', workers=1, progress=False)

    assert set(report.items.raw)>={'puma_suede/2024/may/x.jpg', 'puma_suede/2024/y.jpg'} and not len(report.dropped)
    assert str(report).count('systems leave behind')==1 and '5 files that systems leave behind' in str(report)

    items = labelled_items(raw)
    assert len(items)==8 and len(items.attrs['left_out'])==5


@pytest.mark.skipif(sys.platform=='win32', reason='links need rights there')
def test_links(tmp_path):
    "A class on another disk is followed, also by cleaning; what leads back up is said"
    raw = make_samples(tmp_path/'raw', ['puma_suede'], n=3, size=48)
    make_samples(tmp_path/'disk', ['nike_court_vision'], n=3, size=48)
    (raw/'nike_court_vision').symlink_to(tmp_path/'disk'/'nike_court_vision')
    (raw/'puma_suede'/'up').symlink_to(raw)
    (raw/'puma_suede'/'gone.jpg').symlink_to(tmp_path/'nothing')

    report = clean_images(raw, tmp_path/'clean', workers=1, progress=False)

    assert report.items.label.value_counts().to_dict()==dict(puma_suede=3, nike_court_vision=3)
    reasons = report.dropped.set_index('file').reason
    assert 'leads back up' in reasons['puma_suede/up'] and 'not there' in reasons['puma_suede/gone.jpg']

    items = labelled_items(raw)
    assert len(items)==len(evaluate(SneakerClassifier.load(), items, progress=False).answers)==6
    used,_ = open_all(items, OpenSquare(32), tmp_path/'squares')
    assert len(_split(used.assign(is_valid=False), None))==6


def test_a_folder_that_cannot_be_read_is_said(tmp_path, monkeypatch):
    raw = make_samples(tmp_path/'raw', ['puma_suede', 'nike_court_vision'], n=3, size=48)
    real = os.scandir
    def scandir(path):
        if str(path).endswith('puma_suede'): raise PermissionError(13, 'Permission denied', str(path))
        return real(path)
    monkeypatch.setattr(os, 'scandir', scandir)

    for f in (lambda: labelled_items(raw), lambda: clean_images(raw, tmp_path/'clean', workers=1, progress=False)):
        with pytest.raises(SneakerError, match='puma_suede cannot be read: the system does not allow it'): f()


@pytest.mark.parametrize('kind, words', [
    ('loose', 'outside the folders'), ('broken', 'is not a picture'), ('halves', 'one half of a split')])
def test_nothing_to_use_is_one_sentence(tmp_path, kind, words):
    raw = tmp_path/'raw'
    if kind=='loose': (make_samples(tmp_path/'x', ['puma_suede'], n=3, size=48)/'puma_suede').rename(raw)
    if kind=='broken':
        for label in ('a', 'b'):
            (raw/label).mkdir(parents=True)
            for i in range(6): (raw/label/f'{i}.jpg').write_bytes(b'no picture %d'%i)
    if kind=='halves':
        for half in ('train', 'valid'): make_samples(raw/half, ['puma_suede', 'nike_court_vision'], n=2, size=48)

    said = command('clean', '--data', raw, '--out', tmp_path/'clean', ok=False).stderr
    assert words in said.strip().splitlines()[-1], said
    with pytest.raises(SneakerError, match=words): train(raw, tmp_path/'m')
    if kind!='halves': assert len(pd.read_csv(tmp_path/'clean'/'dropped.csv'))==(3 if kind=='loose' else 12)


@pytest.mark.skipif(sys.platform!='linux', reason='other systems have no such names')
def test_a_name_that_is_no_text_loses_nothing(tmp_path):
    raw = make_samples(tmp_path/'raw', ['puma_suede', 'nike_court_vision'], n=3, size=48)
    os.rename(raw/'puma_suede'/'0001.jpg', os.path.join(os.fsencode(raw/'puma_suede'), b'caf\xe9.jpg'))

    report = clean_images(raw, tmp_path/'clean', workers=1, progress=False)

    assert len(report.items)==6 and 'puma_suede/caf\\udce9.jpg' in set(report.items.raw)
    assert list(csv.DictReader(open(tmp_path/'clean'/'items.csv', encoding='utf-8')))

    items = labelled_items(raw)
    assert len(items)==len(evaluate(SneakerClassifier.load(), items, progress=False).answers)==6
    used,_ = open_all(items, OpenSquare(32), tmp_path/'squares')
    assert len(_split(used.assign(is_valid=False), None))==6


# Other colours are no copies

def recoloured(im, box, colour):
    im = im.copy()
    ImageDraw.Draw(im).ellipse(box, fill=colour)
    return im


def test_another_colour_in_a_small_part_is_no_copy_and_stays_in_the_group():
    shoe = draw_shoe('adidas_superstar', 2, 240)
    heels = [recoloured(shoe, (30, 120, 70, 165), o) for o in ((30, 120, 60), (30, 40, 140), (170, 30, 40))]
    pictures = [o for heel in heels for o in (heel, saved_anew(heel, 60), saved_anew(reduced(heel)))]
    found = find_groups(Prints.of([fingerprint(o) for o in pictures]))
    assert found['copy'].tolist()==sorted(found['copy']) and found['copy'].nunique()==3 and found['group'].nunique()==1


def test_chains_do_not_lead_to_another_colour():
    "Twelve shades from red to blue, each as near to its neighbours as a copy is"
    shoe = draw_shoe('adidas_superstar', 2, 240)
    shades = [recoloured(shoe, (20, 100, 90, 175), (150-8*i, 60, 60+8*i)) for i in range(12)]
    copies = find_groups(Prints.of([fingerprint(o) for o in shades]))['copy'].to_numpy()
    assert copies[0]!=copies[-1] and len(set(copies))<12


def test_brightness_is_no_other_colour():
    from PIL import ImageEnhance
    shoe = draw_shoe('puma_suede', 4, 240)
    changes = (.8, 1.25), (1.2, .75) # of contrast, and of brightness
    changed = [ImageEnhance.Brightness(ImageEnhance.Contrast(shoe).enhance(c)).enhance(b) for c,b in changes]
    pictures = [shoe, *map(saved_anew, changed)]
    assert find_groups(Prints.of([fingerprint(o) for o in pictures]))['copy'].nunique()==1
