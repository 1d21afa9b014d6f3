"""Killed at random instants and started again: is the end the same as if nothing had happened?

    python benchmarks/safety_kills.py [--kills 50]

Cleaning: drawings of three classes with copies, a photo in two classes and broken files, by two processes; the whole process group is
killed (SIGKILL), one to three times for each trial, and then cleaning runs to its end. Downloading: 300 addresses of a local web of
which a fifth is broken. All files must be the same, byte for byte, hidden ones too. For Linux and macOS.
"""
import multiprocessing, os, random, shutil, signal, sys, tempfile, time
from collections import Counter
from pathlib import Path

from common import record, root
from fastcore.script import call_parse
from PIL import Image, ImageOps
from sneaker_classifier.clean import clean_images
from sneaker_classifier.samples import make_samples

def mess(raw):
    "Raw pictures of every fate"
    make_samples(raw, ['adidas_superstar', 'puma_suede', 'nike_air_force_1'], n=16, size=400)
    for i in range(6):
        with Image.open(raw/'puma_suede'/f'{i:04d}.jpg') as im:
            im.resize((200, 200)).save(raw/'puma_suede'/f'small_{i}.png')
            if i<2: ImageOps.mirror(im).save(raw/'adidas_superstar'/f'mirror_{i}.webp')
    for i in range(3): (raw/'nike_air_force_1'/f'half_{i}.jpg').write_bytes((raw/'puma_suede'/f'{i:04d}.jpg').read_bytes()[:2000])

def start(raw, out):
    "Cleaning in a process group of its own"
    def work():
        os.setsid()
        clean_images(raw, out, workers=2, progress=False)
    p = multiprocessing.get_context('fork').Process(target=work)
    p.start()
    return p

def contents(out): return {p.relative_to(out).as_posix():p.read_bytes() for p in out.rglob('*') if p.is_file()}

def stage(out):
    "How far a run that was killed had come"
    if not any(out.glob('*/*.jpg')): return 'before the first picture'
    if not (out/'.records.csv').is_file(): return 'while pictures were cleaned and compared'
    if not (out/'items.csv').is_file(): return 'while pictures were put in place'
    return 'when all tables were there'

def killed_once(raw, out, seconds, rng, stages):
    run = start(raw, out)
    run.join(rng.uniform(0, seconds))
    if run.exitcode is not None: return
    # Before its first step a process has no group of its own yet.
    try: os.killpg(run.pid, signal.SIGKILL)
    except ProcessLookupError: run.kill()
    run.join()
    stages[stage(out)] += 1

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

@call_parse
def main(
    kills:int=50, # Of each kind
    seed:int=0    # Of the random instants
):
    with tempfile.TemporaryDirectory() as a, tempfile.TemporaryDirectory() as b:
        record('safety_kills', [cleaning(Path(a), kills, random.Random(seed)), downloading(Path(b), kills)])
