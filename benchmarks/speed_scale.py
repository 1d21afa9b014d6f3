"""Does Ray name pictures as quickly as one machine?

    python benchmarks/speed_scale.py [--n 5000] [--photos FOLDER]

Both name `n` pictures (drawn ones of 400 pixels, or photos below FOLDER, again and again under other names) on the same cores, turn by
turn. Starting is left out: what a run about 1,000 of them takes, in which all workers start, is taken off. Memory is the most that a
process has held, of Ray's that of the largest worker. In another run a worker is killed once a tenth is done. In the last part each
picture takes five milliseconds and nothing is decoded, so that parts and what Ray hands about are all there is besides; it is timed from
the first work to the last, and the goal is the same time for a picture whatever their number.
"""
import os, shutil, tempfile, time
from itertools import cycle, islice
from pathlib import Path
from statistics import median

import pandas as pd
import psutil
from common import alone, by_turns, megabytes, record
from fastcore.script import call_parse
from sneaker_classifier import scale
from sneaker_classifier.predict import SneakerClassifier
from sneaker_classifier.samples import make_samples

few = 1_000   # pictures: enough for each core to have a part, so that all workers start

def many(folder, n, photos, d):
    "A folder of `n` pictures"
    files = sorted(o for o in Path(photos or make_samples(Path(d)/'drawn', n=25, size=400)).rglob('*') if o.is_file())
    folder.mkdir()
    for i,o in enumerate(islice(cycle(files), n)): shutil.copy(o, folder/f'{i:06d}{o.suffix}')
    return folder

def named(places, out, engine):
    shutil.rmtree(out, ignore_errors=True)
    scale.score(places, out, engine, progress=False)

def answers(out): return pd.read_parquet(out).sort_values('file').reset_index(drop=True)

class Weighed(scale._Answers):
    "Answers, and the memory of the worker"
    def __call__(self, part): return super().__call__(part) and megabytes()

def weights(places):
    clf = SneakerClassifier.load()
    parts = list(scale.parts_of(places).values())
    return max(mb for _,mb in scale.spread(parts, Weighed, *scale._how_to_open(clf)))

def beside(d, folder, start, n, rounds):
    "Rows about speed and memory"
    ways = {f'{engine} {what}':lambda _, e=engine, p=p: named([p], d/f'{e}.parquet', e)
        for engine in scale.engines for what,p in dict(few=start, all=folder).items()}
    t = {name:median(o) for name,o in by_turns(ways, rounds).items()}
    local,ray = ((n-few)/(t[f'{o} all']-t[f'{o} few']) for o in scale.engines)
    same = answers(d/'local.parquet').equals(answers(d/'ray.parquet'))
    memory = {k:alone(__file__, '--weigh', f'{o} {p}') for o in scale.engines for k,p in {(o, 'few'):start, (o, 'all'):folder}.items()}
    return [dict(what=f'{n:,} pictures named on Ray, after start-up', ours=ray, unit='a second', peer='this machine alone', theirs=local,
        remark=f"answers {'identical' if same else 'DIFFERENT'}"),
        dict(what='start of Ray and its workers', ours=t['ray few']-few/ray, unit='s', peer='this machine alone',
            theirs=t['local few']-few/local),
        *(dict(what=f'memory of a process, {o}', ours=memory[o, 'all'], unit='MB', peer=f'for {few:,} pictures', theirs=memory[o, 'few'])
            for o in scale.engines)]

def a_worker_killed(d, folder, n):
    "A row about a worker that is killed once a tenth is done"
    write,killed,done = scale.write_whole,[],[]
    def written(path, data):
        done.append(path)
        if not killed and len(done)>len(scale.parts_of([folder]))/10:
            killed.append(next(o for o in psutil.Process().children(recursive=True) if 'MapWorker' in ' '.join(o.cmdline())))
            killed[0].kill()
        return write(path, data)
    scale.write_whole = written
    try: named([folder], d/'killed.parquet', 'ray')
    finally: scale.write_whole = write
    lost = n-len(pd.merge(answers(d/'killed.parquet'), answers(d/'local.parquet')))
    return dict(what='answers lost or changed after a worker was killed', ours=lost, unit='', peer='pictures', theirs=n)

class Simulated:
    "Work of so many seconds a picture: when it began and ended"
    def __init__(self, each): self.each = each
    def __call__(self, part):
        start = time.time()
        time.sleep(self.each*part.n)
        return start, time.time()

def simulated(sizes=(1_000, 10_000, 100_000), each=.005):
    "Rows about the time for a picture, by their number"
    took = {}
    with scale.running_ray():
        for n in sizes:
            names = [(f'{i:09d}'.encode(), 0, 0) for i in range(n)]
            parts = [scale._part('', names[i:i+scale._mean]) for i in range(0, n, scale._mean)]
            starts,ends = zip(*(o for _,o in scale.spread(parts, Simulated, each)))
            took[n] = 1e3*(max(ends)-min(starts))/n
    return [dict(what=f'{n:,} pictures, simulated', ours=took[n], unit='ms each', peer=f'{sizes[0]:,} pictures', theirs=took[sizes[0]])
        for n in sizes]

@call_parse
def main(
    n:int=5000,       # Pictures
    photos:str=None,  # Folder of photos; drawn pictures if not given
    rounds:int=3,     # Turns of each way
    weigh:str=None    # For its own use: the engine and the pictures whose memory this process measures
):
    os.environ['RAY_worker_niceness'] = '0'   # Workers would give way to everything else on this machine.
    if weigh:
        engine,place = weigh.split(' ', 1)
        with tempfile.TemporaryDirectory() as d:
            if engine=='ray': return print(weights([place]))
            named([place], Path(d)/'out', engine)
            return print(megabytes())
    with tempfile.TemporaryDirectory() as d:
        d = Path(d)
        folder,start = many(d/'all', n, photos, d),many(d/'few', few, photos, d)
        record('speed_scale', [*beside(d, folder, start, n, rounds), a_worker_killed(d, folder, n), *simulated()])
