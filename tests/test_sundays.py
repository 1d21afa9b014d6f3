"Sundays: what is learned, what waits, which model takes over; cut off anywhere, with a full disk, without a network"
import configparser, errno, re, threading, zlib
from collections import Counter
from dataclasses import replace
from datetime import date
from functools import partial

import pandas as pd
import pytest
from conftest import command
from made import jpeg, root

from sneaker_classifier import update as sundays
from sneaker_classifier.app import report_text, save_correction
from sneaker_classifier.clean import clean_images, write_table
from sneaker_classifier.data import file_print, met_before, picture_id, read_split
from sneaker_classifier.files import SneakerError, WriteError, one_at_a_time, write_whole
from sneaker_classifier.images import with_pictures
from sneaker_classifier.predict import SneakerClassifier, bundled
from sneaker_classifier.samples import draw_shoe
from sneaker_classifier.scrape import DownloadReport
from sneaker_classifier.settings import load_settings
from sneaker_classifier.update import (Places, compare, current_name, folder_of, read_sundays, schedule_for, sneaker_update, update,
    use_model)

settings = load_settings()
classes = {o:settings.classes[o] for o in ('nike_air_force_1', 'puma_suede')}
settings = replace(settings, classes=classes)
challenger = sundays._challenger   # before it is replaced


def networks_of(folder):
    for o in 'model.json', 'model.onnx': write_whole(folder/o, (bundled/o).read_bytes())


class World:
    "A search engine, and networks that are as good as we say, in place of those that take minutes"
    def __init__(self, tmp_path):
        self.places = Places(*(tmp_path/o for o in ('models', 'raw', 'clean', 'feedback')))
        self.finds,self.good,self.day = {},set(),0

    def scrape(self, raw, settings, **kw):
        reports = []
        for label,pictures in self.finds.items():
            new = 0
            for name,data in pictures.items():
                if not (raw/label/name).is_file(): new += bool(write_whole(raw/label/name, data))
            reports.append(DownloadReport(label, found=len(pictures), new=new, known=len(pictures)-new))
        return reports

    def train(self, places, begun, items, settings):
        out = places.models/begun['name']
        if (out/'MODEL_CARD.md').is_file(): return
        before = folder_of(places.models, begun['before'])
        networks_of(out)
        met = met_before(items, before, settings.limits).before
        new = pd.DataFrame(dict(id=items.file.map(picture_id), print=items.file.map(file_print),
            is_valid=items.kept | (met=='kept') | (met=='') & items.id_is_fifth))
        write_table(out/'split.csv', pd.concat([new, read_split(before)]).drop_duplicates('id'))
        write_whole(out/'MODEL_CARD.md', 'a card')

    def named(self, clf, kept, labels):
        "A good network is right, another takes all for a Suede"
        return list(kept.label) if clf.folder.name in self.good else ['puma_suede']*len(kept)

    def sunday(self, **kw):
        self.day += 7
        return update(self.places, settings, today=date.fromordinal(date(2026, 11, 1).toordinal()+self.day), **kw)

    @property
    def models(self): return self.places.models


def shoes(seeds, name='{}.jpg', label=None):
    return {name.format(i):jpeg(draw_shoe(label or 'nike_air_force_1', i, 96)) for i in seeds}

def some(seeds): return dict(nike_air_force_1=shoes(seeds), puma_suede=shoes(seeds, label='puma_suede'))


def make_world(tmp_path, monkeypatch):
    w,incoming = World(tmp_path),sundays.incoming
    monkeypatch.setattr(sundays, 'scrape', w.scrape)
    monkeypatch.setattr(sundays, 'clean_images', partial(clean_images, workers=1, progress=False))
    # Which pictures a training keeps back depends on them alone here.
    def marked(*args): return incoming(*args).assign(id_is_fifth=lambda t: t.raw.map(lambda o: zlib.crc32(o.encode())%3==0))
    monkeypatch.setattr(sundays, 'incoming', marked)
    monkeypatch.setattr(sundays, 'doubts', lambda clf, items: items.raw.str.contains('wrong').map({True:'adidas_superstar', False:''}))
    monkeypatch.setattr(sundays, '_challenger', w.train)
    monkeypatch.setattr(sundays, '_named', w.named)
    # One that has met nothing: to look whether each picture is among six thousand takes a second for 24.
    networks_of(w.models/'start')
    write_table(w.models/'start'/'split.csv', pd.DataFrame(columns=['id', 'is_valid', 'print']))
    write_whole(w.models/'current', 'start')
    w.finds = some(range(12))
    w.good = {'2026-11-08-01'}
    return w

@pytest.fixture
def world(tmp_path, monkeypatch): return make_world(tmp_path, monkeypatch)


# What becomes of a Sunday

def test_a_better_model_takes_over_and_a_worse_one_does_not(world):
    first = world.sunday()
    assert first['outcome']=='better' and current_name(world.models)=='2026-11-08-01' and first['found']==24

    second = world.sunday()
    assert second['outcome']=='nothing new' and not (world.models/'2026-11-15-01').exists()

    world.finds = some(range(12, 20))
    third = world.sunday()
    assert third['outcome']=='not better' and current_name(world.models)=='2026-11-08-01'
    assert 'Nike Air Force 1 got clearly worse' in third['why'] and 'stays in use' in third['why']

    table = read_sundays(world.models)
    assert list(table.outcome)==['better', 'nothing new', 'not better'] and table.name.is_unique
    assert SneakerClassifier.load(world.models).folder.name=='2026-11-08-01'


def test_what_is_kept_back_stays_so_even_if_its_model_was_refused(world):
    world.sunday()
    world.finds = some(range(12, 24))
    world.sunday()
    kept = sundays._kept_ids(world.models)
    assert kept>set(read_split(world.models/'2026-11-08-01').query('is_valid').id)

    world.finds = some(range(24, 30))
    world.sunday()
    assert kept<=set(read_split(world.models/'2026-11-22-01').query('is_valid').id)


def test_the_report_tells_what_came_and_shows_what_flipped(world):
    row = world.sunday()
    out = world.models/row['name']
    text,page = ((out/f'report.{o}').read_text(encoding='utf-8') for o in ('md', 'html'))

    for part in 'What came in', 'Scores', 'The Sundays', 'Changed their answer': assert f'## {part}' in text
    assert row['why'] in text and 'Nike Air Force 1: named Puma Suede before, Nike Air Force 1 now.' in text
    assert '| Puma Suede | 12 | 12 | 0 |' in text and page.count('<img src="data:image/jpeg')>=2 and '<table>' in page

    shown = report_text(SneakerClassifier.load(world.models))
    assert shown.count('](data:image/jpeg')==page.count('<img') and '](flipped/' not in shown


def test_pictures_of_a_text_are_put_in_and_nothing_else(tmp_path):
    (tmp_path/'a').mkdir()
    write_whole(tmp_path/'secret.jpg', jpeg(draw_shoe('puma_suede', 1, 64)))
    write_whole(tmp_path/'a'/'b.jpg', b'no picture')
    for o in '../secret.jpg', (tmp_path/'secret.jpg').as_posix(), 'b.jpg', 'c.jpg', 'https://shop.example/x.jpg':
        assert with_pictures(f'x ![y]({o}) z', tmp_path/'a')=='x  z'


# What is odd waits

def test_wrong_labels_wait_and_so_does_their_class(world):
    world.sunday()
    wrong = shoes(range(50, 53), '{}_wrong.jpg')
    world.finds = dict(puma_suede={**shoes(range(60, 64), label='puma_suede'), **wrong}, nike_air_force_1=shoes(range(60, 64)))
    row = world.sunday()
    waits = pd.read_csv(world.models/'waiting.csv')
    assert row['waiting']==len(waits)==7 and set(waits.label)=={'puma_suede'}
    assert list(waits.why[:3])==['the model in use is sure that it is another']*3
    assert set(waits.why[3:])=={'the model in use is sure that 3 of 7 new pictures of this class show another'}


def test_a_class_flooded_with_copies_waits(world):
    world.sunday()
    same = draw_shoe('puma_suede', 70, 96)
    world.finds = dict(puma_suede={f'{q}.jpg':jpeg(same, q) for q in range(60, 80)})
    row = world.sunday()
    assert row['outcome']=='nothing new' and 'for all that is new waits' in row['why'] and row['waiting']==1
    assert pd.read_csv(world.models/'waiting.csv').why[0]=='19 copies came with 1 new pictures of this class'
    assert current_name(world.models)=='2026-11-08-01'


def test_what_waits_goes_on_waiting_until_somebody_decides(world):
    world.sunday()
    world.finds = dict(puma_suede=shoes([70, 71], '{}_wrong.jpg', 'puma_suede'))
    world.sunday()
    assert world.sunday()['waiting']==2

    rows = [dict(raw='puma_suede/70_wrong.jpg', decision='keep', label='puma_suede', when='now'),
        dict(raw='puma_suede/71_wrong.jpg', decision='drop', label='puma_suede', when='now')]
    write_table(world.places.clean/'decisions.csv', pd.DataFrame(rows))
    row = world.sunday()
    assert (row['found'], row['waiting'], row['outcome'])==(1, 0, 'not better')


def test_a_correction_waits_for_a_person_and_leaves_with_its_file(world):
    world.sunday()
    path = save_correction(jpeg(draw_shoe('puma_suede', 80, 200)), 'puma_suede', world.places.feedback)
    row = world.sunday()
    assert row['waiting']==1 and pd.read_csv(world.models/'waiting.csv').why[0]=='a correction that nobody has looked at'

    path.unlink()
    assert world.sunday()['found']==0 and not list(world.places.raw.rglob(f'{path.name}'))


# Cut off anywhere

def state(w):
    "All that a Sunday leaves, without the places and times that differ from run to run"
    files = sorted(o.relative_to(w.models).as_posix() for o in w.models.rglob('*') if o.is_file() and o.name!='.lock')
    texts = [(w.models/o).read_text(encoding='utf-8').replace(w.models.parent.as_posix(), '') for o in files if o.endswith(('.csv', '.md'))]
    return files, texts, current_name(w.models)

@pytest.fixture(scope='module')
def undisturbed(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        w = make_world(tmp_path_factory.mktemp('undisturbed'), patch)
        w.sunday()
        return state(w)


steps = 'scrape _note _take_corrections clean_images incoming doubts waiting _challenger kept_answers compare write_report _end'.split()

@pytest.mark.parametrize('step', steps)
def test_cut_off_after_any_step_it_goes_on(world, undisturbed, step, monkeypatch):
    whole = getattr(sundays, step)
    def cut(*args, **kw):
        whole(*args, **kw)
        raise KeyboardInterrupt
    monkeypatch.setattr(sundays, step, cut)
    with pytest.raises(KeyboardInterrupt): world.sunday()
    SneakerClassifier.load(folder_of(world.models, current_name(world.models)))

    monkeypatch.setattr(sundays, step, whole)
    world.day = 0
    # When all was done but for ending, a week later another begins.
    if step!='_end': world.sunday()
    assert state(world)==undisturbed


def test_a_full_disk_at_any_file_leaves_a_model_in_use_and_is_gone_on_from(world, undisturbed, monkeypatch):
    import sneaker_classifier.files as files
    whole = files.os.fsync
    for n in range(1, 200):
        left = [n]
        def sync(fd):
            left[0] -= 1
            if not left[0]: raise OSError(errno.ENOSPC, 'No space left on device')
            whole(fd)
        monkeypatch.setattr(files.os, 'fsync', sync)
        world.day = 0
        try: world.sunday()
        except WriteError as e: assert 'the disk is full' in str(e)
        else: break
        SneakerClassifier.load(folder_of(world.models, current_name(world.models)))
    assert n>5 and state(world)==undisturbed


def test_what_only_training_needs_goes_even_after_a_cut(tmp_path):
    out = tmp_path/'2026-11-08-01'
    for o in 'MODEL_CARD.md', 'unfinished-ab-0001.pth', 'squares/photos.npy': write_whole(out/o, '')
    challenger(Places(tmp_path), dict(name=out.name, before='sneakers'), None, settings)
    assert [o.name for o in out.iterdir()]==['MODEL_CARD.md']


@pytest.mark.parametrize('reports,said', [
    ([], 'No search gave any result'),
    ([DownloadReport('puma_suede', found=9, failed=Counter({'it does not answer':9}))], 'Is this machine online')])
def test_without_a_network_nothing_changes(world, monkeypatch, reports, said):
    world.sunday()
    before = state(world)
    monkeypatch.setattr(sundays, 'scrape', lambda *args, **kw: reports)
    with pytest.raises(SneakerError, match=said): world.sunday()
    assert state(world)==before


def test_what_cannot_be_trained_is_said_and_the_next_sunday_begins_anew(world, monkeypatch):
    def fail(places, begun, *args):
        write_whole(places.models/begun['name']/'half', 'half')
        raise SneakerError('Too few different pictures of puma_suede.')
    with monkeypatch.context() as m:
        m.setattr(sundays, '_challenger', fail)
        with pytest.raises(SneakerError, match='Too few'): world.sunday()
    assert not (world.models/'under_way.json').exists() and not (world.models/'2026-11-08-01').exists()
    world.day = 0
    assert world.sunday()['outcome']=='better'


def test_two_at_once_are_refused(world):
    said = []
    def other():
        try: world.sunday()
        except SneakerError as e: said.append(str(e))
    with one_at_a_time(world.models):
        t = threading.Thread(target=other)
        t.start()
        t.join()
    assert said and 'Another run is at work' in said[0]


@pytest.mark.parametrize('text', ['', '[]', '{"name":"../x","before":"sneakers"}', '{"name":"2026-11-08-01"}',
    '{"name":"2026-11-08-01","before":"gone"}', '{"name":1,"before":"sneakers"}'])
def test_a_damaged_note_is_refused_and_left_alone(world, text):
    write_whole(world.models/'under_way.json', text)
    with pytest.raises(SneakerError, match='Remove it'): world.sunday()
    assert (world.models/'under_way.json').read_text(encoding='utf-8')==text


# Better by more than chance

def answers(before, after, label='a'):
    return pd.DataFrame(dict(label=label, group=[str(i) for i in range(len(before))], before=before, after=after))

def test_better_means_more_than_chance():
    assert compare(answers([False]*10+[True]*30, [True]*40)).better
    assert not compare(answers([False]*2+[True]*30, [True]*30+[False]*2)).better
    assert not compare(answers([True]*40, [True]*40)).better
    one_group = answers([False]*10+[True]*30, [True]*40).assign(group=['g']*10+[str(i) for i in range(30)])
    assert not compare(one_group).better


def test_a_class_that_got_clearly_worse_keeps_the_old_model():
    worse = answers([True]*10, [False]*6+[True]*4, 'b').assign(group=[f'b{i}' for i in range(10)])
    v = compare(pd.concat([answers([False]*90+[True]*10, [True]*100), worse]))
    assert v.low>0 and v.worse==('b',) and not v.better


# The command

def test_back_to_another_model(world):
    world.sunday()
    sneaker_update(models=str(world.models), use='sneakers')
    assert current_name(world.models)=='sneakers'
    assert 'Did you mean 2026-11-08-01?' in command('update', '--models', world.models, '--use', '2026-11-08', ok=False).stderr
    for name in '../raw', '', 'current':
        with pytest.raises(SneakerError, match='There is no model'): use_model(world.models, name)
    assert current_name(world.models)=='sneakers'


def test_a_dry_run_writes_nothing(tmp_path, capsys):
    sneaker_update(**{o:str(tmp_path/o) for o in ('models', 'raw', 'clean', 'feedback')}, dry_run=True)
    said = capsys.readouterr().out
    assert 'sneakers is in use' in said and 'Puma Suede' in said and not list(tmp_path.iterdir())


def test_schedules_are_what_their_systems_read(monkeypatch, tmp_path):
    odd = tmp_path/'my shoes 100%'
    odd.mkdir()
    monkeypatch.chdir(odd)
    assert re.search(r"^0 6 \* \* 0 cd '.*my shoes 100\\%' && ", schedule_for('cron'), re.M)

    units = configparser.ConfigParser(interpolation=None, strict=False)
    units.read_string(schedule_for('systemd'))
    assert units['Service']['WorkingDirectory'].endswith('my shoes 100%%') and units['Timer']['OnCalendar']=='Sun 06:00'
    assert '/SC WEEKLY /D SUN' in schedule_for('windows')

    ours = ''.join(o.read_text(encoding='utf-8') for o in (root/'.github'/'workflows').glob('*.yml'))
    pins = re.findall(r'uses: (\S+)@(\w+)', schedule_for('github'))
    assert len(pins)==4 and all(len(pin)==40 for _,pin in pins)
    assert all(f'{action}@{pin}' in ours for action,pin in pins if action in ours)

    with pytest.raises(SneakerError, match='Did you mean cron'): schedule_for('crom')
