"""Killed at random and started again: the same end?

    python benchmarks/safety_kills.py [--kills 50]

Cleaning: drawings of three classes with copies, a photo in two classes and broken files, by two processes; the whole process group is
killed (SIGKILL), one to three times for each trial, and then cleaning runs to its end. Downloading: 300 addresses of a local web of
which a fifth is broken. All files must be the same, byte for byte, hidden ones too. Sundays: a real training of one epoch, fewer kills
because each takes half a minute; after each the model in use must answer. For Linux and macOS.
"""
import multiprocessing, os, random, shutil, signal, sys, tempfile, time
from collections import Counter
from dataclasses import replace
from datetime import date
from pathlib import Path

from common import record, root
from fastcore.script import call_parse
from PIL import Image, ImageOps
from sneaker_classifier import update
from sneaker_classifier.clean import clean_images
from sneaker_classifier.files import write_whole
from sneaker_classifier.predict import SneakerClassifier
from sneaker_classifier.samples import draw_shoe, make_samples
from sneaker_classifier.scrape import DownloadReport
from sneaker_classifier.settings import load_settings

def mess(raw):
    "Raw pictures of every fate"
    make_samples(raw, ['adidas_superstar', 'puma_suede', 'nike_air_force_1'], n=16, size=400)
    for i in range(6):
        with Image.open(raw/'puma_suede'/f'{i:04d}.jpg') as im:
            im.resize((200, 200)).save(raw/'puma_suede'/f'small_{i}.png')
            if i<2: ImageOps.mirror(im).save(raw/'adidas_superstar'/f'mirror_{i}.webp')
    for i in range(3): (raw/'nike_air_force_1'/f'half_{i}.jpg').write_bytes((raw/'puma_suede'/f'{i:04d}.jpg').read_bytes()[:2000])

def started(work):
    "Work in a process group of its own"
    def alone():
        os.setsid()
        work()
    p = multiprocessing.get_context('fork').Process(target=alone)
    p.start()
    return p

def start(raw, out): return started(lambda: clean_images(raw, out, workers=2, progress=False))

def contents(out): return {p.relative_to(out).as_posix():p.read_bytes() for p in out.rglob('*') if p.is_file()}

def stage(out):
    "How far a run that was killed had come"
    if not any(out.glob('*/*.jpg')): return 'before the first picture'
    if not (out/'.records.csv').is_file(): return 'while pictures were cleaned and compared'
    if not (out/'items.csv').is_file(): return 'while pictures were put in place'
    return 'when all tables were there'

def killed(run, seconds):
    "Kill a process group some seconds after its start, unless it is done by then: was it?"
    run.join(seconds)
    if run.exitcode is not None: return False
    # Before its first step a process has no group of its own yet.
    try: os.killpg(run.pid, signal.SIGKILL)
    except ProcessLookupError: run.kill()
    run.join()
    return True

def killed_once(raw, out, seconds, rng, stages):
    if killed(start(raw, out), rng.uniform(0, seconds)): stages[stage(out)] += 1

def cleaning(d, kills, rng):
    "A row about cleaning"
    stages,trials,same = Counter(),0,0
    mess(d/'raw')
    started = time.perf_counter()
    start(d/'raw', d/'peace').join()
    seconds,expected = time.perf_counter()-started,contents(d/'peace')
    while stages.total()<kills:
        for _ in range(rng.randint(1, 3)): killed_once(d/'raw', d/'out', seconds, rng, stages)
        last = start(d/'raw', d/'out')
        last.join()
        trials,same = trials+1,same+(last.exitcode==0 and contents(d/'out')==expected)
        shutil.rmtree(d/'out')
    return dict(what=f'cleaning, {stages.total()} kills: trials that end the same', ours=same, unit='', peer='all', theirs=trials,
        remark=', '.join(f'{n} {where}' for where,n in stages.most_common()))

def downloading(d, kills):
    "A row about downloading"
    sys.path.insert(0, str(root/'tests'))
    from test_scrape import killed_runs
    runs = list(killed_runs(d, kills, 300))
    same = sum(whole==cut for whole,cut in runs)
    return dict(what=f'downloading, {kills} kills: trials that end the same', ours=same, unit='', peer='all', theirs=len(runs))

def a_sunday(found, out):
    "A Sunday on which the search finds the drawings in a folder"
    def scrape(raw, *args, **kw):
        for o in found.glob('*/*.jpg'): write_whole(raw/o.relative_to(found), o.read_bytes())
        return [DownloadReport(o.name, found=24, new=24) for o in found.iterdir()]
    update.scrape,settings = scrape,load_settings()
    small = replace(settings.training, epochs=1, detail=64, size=64, predict_size=64, batch_size=16)
    places = update.Places(*(out/o for o in ('models', 'raw', 'clean', 'feedback')))
    return started(lambda: update.update(places, replace(settings, training=small), today=date(2026, 11, 29)))

def outcome(out):
    "What a Sunday leaves, but for files that hold the time"
    timed = 'model.json', 'MODEL_CARD.md', 'sneaker_model.pkl', '.lock'
    return {k:v for k,v in contents(out/'models').items() if Path(k).name not in timed}

def answers(models, shoe):
    return not SneakerClassifier.load(update.folder_of(models, update.current_name(models))).predict(shoe).error

def sundays(d, kills, rng):
    "Rows about Sundays"
    make_samples(d/'found', n=24, size=192)
    began = time.perf_counter()
    a_sunday(d/'found', d/'out').join()
    seconds,expected,shoe = time.perf_counter()-began,outcome(d/'out'),draw_shoe('puma_suede', 1)
    done = answered = trials = same = 0
    while done<kills:
        shutil.rmtree(d/'out')
        for _ in range(rng.randint(1, 3)):
            # What is done already is not done again, so a later run may end before it is killed.
            if not killed(a_sunday(d/'found', d/'out'), rng.uniform(0, seconds)): break
            done,answered = done+1,answered+answers(d/'out'/'models', shoe)
        else: a_sunday(d/'found', d/'out').join()
        trials,same = trials+1,same+(outcome(d/'out')==expected)
    return [dict(what=f'Sundays, {done} kills: trials that end the same', ours=same, unit='', peer='all', theirs=trials),
        dict(what=f'Sundays, {done} kills: times that the model in use answered', ours=answered, unit='', peer='all', theirs=done)]

@call_parse
def main(
    kills:int=50, # Of each kind; thirty for Sundays
    seed:int=0    # Of the random instants
):
    a,b,c = (tempfile.TemporaryDirectory() for _ in range(3))
    with a,b,c:
        rows = [cleaning(Path(a.name), kills, random.Random(seed)), downloading(Path(b.name), kills)]
        record('safety_kills', rows+sundays(Path(c.name), min(kills, 30), random.Random(seed)))
