"The commands, from labelled photos to an answer, and what they say when something is wrong"
import json, os, re, shutil, signal, subprocess, sys, time, tomllib
from importlib import import_module
from pathlib import Path

import pytest
from conftest import command, root
from made import changed_settings

from sneaker_classifier import SneakerClassifier, commands
from sneaker_classifier.files import one_at_a_time
from sneaker_classifier.samples import draw_shoe, make_samples


def test_train_then_ask(trained, photos, tmp_path):
    out,done = trained
    names = {'model.onnx', 'model.json', 'MODEL_CARD.md', 'model.safetensors', 'sneaker_model.pkl', 'split.csv', 'validation.npz',
        'squares'}

    assert {o.name for o in out.iterdir() if o.name!='.lock'}==names
    for bad in ('notes.jpg', 'empty.png'): assert bad in done.stdout
    assert '80 pictures of 4 classes, 2 left out' in done.stdout

    clf = SneakerClassifier.load(out)
    assert clf.labels==['adidas_superstar', 'nike_air_force_1', 'nike_court_vision', 'puma_suede']
    assert clf.brands==['Adidas', 'Nike', 'Puma']

    draw_shoe('puma_suede', seed=999).save(tmp_path/'shoe.png')
    said = command('predict', tmp_path/'shoe.png', '--model', out, cwd=tmp_path).stdout
    assert str(clf.predict(tmp_path/'shoe.png')) in said


def test_learns(trained, tmp_path):
    fresh = make_samples(tmp_path, n=15, size=64, seed=7)
    answers = SneakerClassifier.load(trained[0]).predict_many(sorted(fresh.rglob('*.jpg')))
    right = [p.label==f.parent.name for p,f in zip(answers, sorted(fresh.rglob('*.jpg')))]
    assert sum(right)/len(right)>0.4 # 0.25 would be guessing


def test_evaluate_leaves_out_what_was_trained_on(trained, photos):
    said = command('evaluate', '--data', photos, '--model', trained[0]).stdout
    assert '16 pictures measured; 64 that it was trained on and 2 that cannot be used left out' in said
    assert 'Nike Air Force 1' in said


def test_split_is_recorded_with_the_model(trained):
    card = json.loads((trained[0]/'model.json').read_text(encoding='utf-8'))
    assert card['provenance']['pictures']=={'train':64, 'validation':16, 'brand_only':0, 'unknown':0}
    assert card['metrics']['pictures']==16


@pytest.mark.parametrize('args, words', [
    (('train', '--data', 'nowhere', '--out', 'x'), 'nowhere is not a folder'),
    (('predict', 'photo.jpg', '--model', 'nowhere'), 'nowhere is not a model folder'),
    (('evaluate', '--data', 'nowhere'), 'nowhere is not a folder'),
    (('app', '--model', 'nowhere'), 'nowhere is not a model folder')])
def test_one_clear_line(args, words, tmp_path):
    done = command(*args, cwd=tmp_path, ok=False)
    last = done.stderr.strip().splitlines()[-1]
    assert words in last


def test_wrong_setting_stops_a_command(quick_settings, photos, tmp_path):
    changed_settings(tmp_path/'settings.ini', quick_settings, training=dict(epochs='eight'))
    done = command('train', '--data', photos, '--out', tmp_path/'m', cwd=tmp_path, ok=False)
    assert "[training] epochs = 'eight' cannot be used. It should be a whole number from 1 to 1000." in done.stderr
    assert not (tmp_path/'m').exists()


@pytest.mark.skipif(os.name=='nt', reason='Windows has no such folder names')
def test_folder_names_do_no_harm(tmp_path, one_epoch):
    photos = make_samples(tmp_path/'photos', n=6, size=64)
    evil = photos/'<img src=x onerror=alert(1)>'
    shutil.copytree(photos/'puma_suede', evil)
    draw_shoe('karhu_fusion', seed=1, size=64).save(evil/'0000.jpg')
    out = tmp_path/'model'

    command('train', '--data', photos, '--out', out, '--settings', one_epoch)

    assert 'img_src_x_onerror_alert_1' in SneakerClassifier.load(out).labels
    assert not any('<' in f.read_text(encoding='utf-8') for f in out.glob('*.[jc]s*'))

    shutil.copytree(photos/'puma_suede', photos/'con')
    done = command('train', '--data', photos, '--out', out, '--settings', one_epoch, ok=False)
    assert "The folder 'con' cannot be a label" in done.stderr


on_unix = pytest.mark.skipif(os.name=='nt', reason='Windows sends Ctrl-C to all programs of a console at once')
script = """
import gc, sys, time
from fastcore.script import call_parse
from tqdm.auto import tqdm
from sneaker_classifier.commands import command

class Tidies:
    def __del__(self):
        print('deaf', flush=True)
        time.sleep(60)

@call_parse
@command('Stopped. {what} is safe.')
def main(what:str): # What to do
    try:
        if what=='swallow':
            o = Tidies()
            del o
        if what=='bar': bar = tqdm(total=9)
        print('started', flush=True)
        if what=='end': return
        if what=='missing': import no_such_library
        if what=='system': open('no/such/file')
        if what=='bug': 1/0
        time.sleep(60)
    finally:
        if what=='linger': time.sleep(60)
"""

def started(args, **kw):
    args = [*map(str, args)]
    return subprocess.Popen(args, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True, **kw)

def press(process, until='', wait=0., signals=(signal.SIGINT,)):
    "What a program says in all, and its exit code, when it gets signals once it has said `until`; or after `wait` seconds"
    said = b''
    while until.encode() not in said and (new := process.stdout.read1(1)): said += new
    for o in signals:
        time.sleep(wait)
        os.killpg(process.pid, o)
    return (said+process.communicate(timeout=60)[0]).decode(errors='replace'), process.returncode

def check_stopped(said, code, expected=130):
    assert code==expected and 'Traceback' not in said, said
    last = said.strip().splitlines()[-1]
    assert last.startswith('Stopped') and said.count('Stopped')==1, said
    return last

def exe(name): return Path(sys.executable).with_name(f'sneaker-{name}')


@pytest.fixture
def small_command(tmp_path):
    path = tmp_path/'small.py'
    path.write_text(script, encoding='utf-8')
    return sys.executable, path


@on_unix
@pytest.mark.parametrize('what, until, signals, code', [
    ('work', 'started', [signal.SIGINT], 130), ('work', 'started', [signal.SIGTERM], 143),
    ('work', 'started', [getattr(signal, 'SIGHUP', None)], 129), ('linger', 'started', [signal.SIGINT]*2, 130),
    ('linger', 'started', [signal.SIGTERM, signal.SIGINT], 130), ('swallow', 'deaf', [signal.SIGINT], 130),
    ('bar', 'started', [signal.SIGINT], 130)])
def test_whatever_stops_it_a_command_ends_in_one_line(what, until, signals, code, small_command):
    start = time.monotonic()
    said,exit_code = press(started([*small_command, what], cwd=root), until, 0.2, signals)
    assert check_stopped(said, exit_code, code)==f'Stopped. {what} is safe.'
    assert time.monotonic()-start<20


@on_unix
def test_what_is_started_to_go_on_goes_on(small_command):
    process = started([*small_command, 'end'], cwd=root, preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN))
    said,code = press(process, wait=0.01, signals=[signal.SIGHUP]*5)
    assert (said.strip(), code)==('started', 0)


@pytest.mark.parametrize('what, code, words', [('end', 0, 'started'), ('missing', 1, 'no_such_library is not installed'),
    ('bug', 1, 'ZeroDivisionError'), ('system', 1, 'no/such/file cannot be used: there is no such file or folder.')])
def test_other_ways_to_end(what, code, words, small_command):
    done = subprocess.run([*small_command, what], cwd=root, capture_output=True, text=True)
    assert done.returncode==code and words in done.stdout+done.stderr and ('Traceback' in done.stderr)==(what=='bug')


def test_commands_start_where_nothing_is_loaded_yet():
    scripts = tomllib.loads((root/'pyproject.toml').read_text(encoding='utf-8'))['project']['scripts']
    for name,place in scripts.items():
        name = name.removeprefix('sneaker-')
        assert place==f'sneaker_classifier.commands:{name}' and callable(getattr(commands, name))
        safe = getattr(import_module(f'sneaker_classifier.{commands._rooms.get(name, name)}'), f'sneaker_{name}').safe
        assert re.match(r'Stopped\b', safe.format(out='models/mine', models='models'))

    code = 'import sys; before = set(sys.modules); import sneaker_classifier.commands; print(*set(sys.modules)-before)'
    loaded = subprocess.run([sys.executable, '-c', code], cwd=root, capture_output=True, text=True, check=True).stdout.split()
    assert not [o for o in loaded if o.startswith(('fastcore', 'numpy', 'torch', 'asyncio', 'gradio'))]


@on_unix
@pytest.mark.parametrize('wait', [0.3, 0.6]) # Python itself needs 0.05 s to start, in which nobody hears Ctrl-C but itself
@pytest.mark.parametrize('name', ['scrape', 'clean', 'train', 'evaluate', 'predict', 'app'])
def test_stopped_while_it_loads(name, wait, photos, tmp_path):
    args = dict(clean=['--data', photos], train=['--data', photos, '--out', 'm'], evaluate=['--data', photos],
        predict=sorted(photos.rglob('*.jpg'))*20, app=['--port', '7931'])
    env = dict(os.environ, DDGS_PROXY='http://127.0.0.1:9') # where a search finds nothing, and goes on
    check_stopped(*press(started([exe(name), *args.get(name, [])], cwd=tmp_path, env=env), wait=wait))


@pytest.fixture(scope='module')
def one_epoch(quick_settings, tmp_path_factory):
    return changed_settings(tmp_path_factory.mktemp('one')/'settings.ini', quick_settings, training=dict(epochs=1))


@on_unix
def test_training_stopped_at_every_stage_goes_on(photos, one_epoch, tmp_path):
    "While photos are opened, in the epoch, and while the model is exported, of which nothing may be lost"
    args = [exe('train'), '--data', photos, '--out', tmp_path/'m', '--settings', one_epoch]

    for until,stop,code in [('Opening', signal.SIGINT, 130), ('Epoch 1', signal.SIGTERM, 143)]:
        last = check_stopped(*press(started(args), until, signals=[stop]), code)
        assert last==f'Stopped. Finished epochs are safe in {tmp_path/"m"}; start again with the same settings to go on.'
        assert not list(tmp_path.rglob('*.part'))

    process = started(args)
    while process.poll() is None and not list((tmp_path/'m').glob('unfinished-*-0001.pth')): time.sleep(0.01)
    check_stopped(*press(process, wait=0.5))
    assert list((tmp_path/'m').glob('unfinished-*')) and not (tmp_path/'m'/'model.json').exists()

    done = command(*args[0].name.split('-')[1:], *args[1:])
    assert 'Epoch 1/1' not in done.stdout and 'pictures kept back' in done.stdout
    assert not list((tmp_path/'m').glob('unfinished-*')) and (tmp_path/'m'/'model.json').exists()


@on_unix
@pytest.mark.parametrize('stop, code', [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_cleaning_stopped_goes_on_and_its_workers_are_quiet(stop, code, tmp_path):
    make_samples(tmp_path/'raw', n=60, size=64)
    args = ['--data', tmp_path/'raw', '--out', tmp_path/'clean']
    last = check_stopped(*press(started([exe('clean'), *args, '--workers', 2]), 'Cleaning', signals=[stop]), code)
    assert f'safe in {tmp_path/"clean"}' in last and not list(tmp_path.rglob('*.part'))
    assert '240 pictures came in' in command('clean', *args).stdout


@on_unix
def test_predicting_stopped(tmp_path):
    files = sorted(make_samples(tmp_path, n=100, size=64).rglob('*.jpg'))
    said,code = press(started([exe('predict'), *files]), 'Looking')
    check_stopped(said, code)


def test_a_reader_who_leaves_is_no_mistake(tmp_path):
    files = sorted(make_samples(tmp_path, n=2, size=64).rglob('*.jpg'))
    for env in ({}, dict(PYTHONUNBUFFERED='1')):
        process = subprocess.Popen([exe('predict'), *files], stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=dict(os.environ, **env))
        process.stdout.close()
        assert (process.stderr.read(), process.wait())==(b'', 141)


@pytest.mark.skipif(not os.path.exists('/dev/full'), reason='only Linux has a file that is always full')
def test_output_that_cannot_be_written(tmp_path):
    draw_shoe('puma_suede').save(tmp_path/'shoe.png')
    with open('/dev/full', 'w') as full:
        done = subprocess.run([exe('predict'), tmp_path/'shoe.png'], stdout=full, stderr=subprocess.PIPE, text=True)
    assert (done.returncode, done.stderr.strip())==(1, 'The system refuses: the disk is full.')


@pytest.mark.parametrize('page', ['cp1251', 'cp437', 'cp874', 'ascii'])
def test_old_code_pages(page, tmp_path):
    "Letters that they lack, and names that are no text at all"
    photos = make_samples(tmp_path/'photos', ['puma_suede', 'adidas_superstar'], n=2, size=64)
    (photos/'puma_suede'/'Größe × 鞋.jpg').write_text('no picture')
    if sys.platform=='linux': Path(os.fsdecode(os.fsencode(photos)+b'/puma_suede/\xe9\xff.jpg')).write_text('no picture')
    env = dict(os.environ, PYTHONIOENCODING=page)

    for args in (['predict', *sorted(photos.rglob('*.jpg'))], ['clean', '--data', photos, '--out', tmp_path/'clean']):
        done = subprocess.run([exe(args[0]), *args[1:]], env=env, capture_output=True)
        assert b'Error' not in done.stderr and done.returncode==0, done.stderr
        assert b'it is not a picture' in done.stdout

    dropped = (tmp_path/'clean'/'dropped.csv').read_text(encoding='utf-8')
    assert dropped.count('it is not a picture')==(2 if sys.platform=='linux' else 1)


@pytest.mark.parametrize('name, out', [('train', 'a file'), *(('clean', o) for o in ('a file', 'a file/deeper', 'x'*300)),
    pytest.param('clean', '/proc/nope', marks=pytest.mark.skipif(sys.platform!='linux', reason='only Linux has /proc'))])
def test_a_place_that_cannot_be_written_to(name, out, photos, quick_settings, tmp_path):
    (tmp_path/'a file').touch()
    done = command(name, '--data', photos, '--out', out, '--settings', quick_settings, cwd=tmp_path, ok=False)
    assert re.fullmatch(r'.*cannot be written: .*\. Choose .*\.', done.stderr.strip()), done.stderr
    assert [o.name for o in tmp_path.iterdir()]==['a file']


@pytest.mark.parametrize('name', ['train', 'clean', 'scrape'])
def test_one_run_at_a_time(name, photos, quick_settings, tmp_path):
    data = [] if name=='scrape' else ['--data', photos]
    with one_at_a_time(tmp_path/'out'):
        done = command(name, *data, '--out', tmp_path/'out', '--settings', quick_settings, ok=False)
    assert 'Another run is at work in' in done.stderr.splitlines()[-1]


held_signal = """
import signal
from sneaker_classifier.commands import held

def hear(*_): print('heard')

signal.signal(signal.SIGTERM, hear)
with held():
    signal.raise_signal(signal.SIGTERM)
    print('started')
print('on')
"""

def test_signals_wait_while_workers_start():
    done = subprocess.run([sys.executable, '-c', held_signal], cwd=root, capture_output=True, text=True)
    assert done.stdout.split()==['started', 'heard', 'on']
