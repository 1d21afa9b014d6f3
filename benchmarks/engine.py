"""The engine beside the bare limit and beside fastai: python benchmarks/engine.py [FOLDER_OF_PHOTOS] [--model FOLDER]

Without a folder it draws JPEGs of 1,000 pixels. `--only` picks one part: one, many, options, start or fastai.
A bare limit does what has to be done and nothing else: Pillow unpacks the photo to the size of the network's input (the same reduced decoding,
the same resampling), ONNX Runtime runs on the tensor. No checks, no turning, no profiles, no names."""
import argparse, json, os, statistics, subprocess, sys, time
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from itertools import cycle, islice
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import onnxruntime as ort
from PIL import Image, ImageOps

from sneaker_classifier import SneakerClassifier
from sneaker_classifier.samples import draw_shoe

here = Path(__file__).resolve().parent
bundled = here.parent/'sneaker_classifier/models/sneakers'


def drawn(folder, n=8, side=1000):
    "JPEGs of drawn shoes, with the grain that a camera adds"
    rng = np.random.default_rng(0)
    for i in range(n):
        shoe = draw_shoe(('nike_air_force_1', 'nike_court_vision', 'adidas_superstar', 'puma_suede')[i%4], seed=i, size=side//2).resize((side, side), Image.Resampling.BICUBIC)
        grain = rng.normal(0, 6, (side, side, 3))
        Image.fromarray((np.asarray(shoe)+grain).clip(0, 255).astype(np.uint8)).save(folder/f'{i}.jpg', quality=90)


def session(model, cores=0, **config):
    options = ort.SessionOptions()
    options.intra_op_num_threads = cores
    for name,value in config.items():
        if hasattr(options, name): setattr(options, name, value)
        else: options.add_session_config_entry(name.replace('__', '.'), value)
    return ort.InferenceSession(str(model/'model.onnx'), options, providers=['CPUExecutionProvider'])


def bare_square(file, size):
    im = Image.open(file)
    im.draft(None, (3*size, 3*size))
    shape = [round(size*o/max(im.size)) for o in im.size]
    return np.asarray(ImageOps.pad(im.resize(shape, Image.Resampling.BICUBIC, reducing_gap=3), (size, size), color='white'))


def alternate(ways, rounds):
    "Seconds of each way, taken in turns so that whatever else the machine does falls on all alike"
    times = {name:[] for name in ways}
    for f in ways.values(): f(0)
    for i in range(rounds):
        for name,f in ways.items():
            start = time.perf_counter()
            f(i)
            times[name].append(time.perf_counter()-start)
    return times


def table(head, rows):
    print('\n| '+' | '.join(head)+' |\n|'+'---|'*len(head))
    for row in rows: print('| '+' | '.join(map(str, row))+' |')


def ms(times): return f'{1e3*statistics.median(times):.1f}',f'{1e3*min(times):.1f}'


def ratio(a, b):
    "Median of the ratios of neighbours in time"
    return statistics.median(x/y for x,y in zip(a, b))


def one(files, model, rounds=100):
    "One photo: ours, and the bare limit with the same session options"
    clf = SneakerClassifier.load(model)
    size,name = clf.card['size'],clf._input
    net = session(model, session__force_spinning_stop='1')
    ready = {f:bare_square(f, size)[None] for f in files}
    at = lambda i: files[i%len(files)]
    t = alternate(dict(ours=lambda i: clf.predict(at(i)), bare=lambda i: net.run(['logits'], {name:bare_square(at(i), size)[None]}),
        decode=lambda i: bare_square(at(i), size), network=lambda i: net.run(['logits'], {name:ready[at(i)]})), rounds)
    table(['one photo', 'median ms', 'fastest ms', 'times bare'], [
        ['`predict`', *ms(t['ours']), f"{ratio(t['ours'], t['bare']):.2f}"], ['bare', *ms(t['bare']), '1'],
        ['bare decoding alone', *ms(t['decode']), ''], ['bare network alone', *ms(t['network']), '']])


def ahead(f, items, workers, window):
    with ThreadPoolExecutor(workers) as pool:
        waiting = deque()
        for o in items:
            waiting.append(pool.submit(f, o))
            if len(waiting)>=window: yield waiting.popleft().result()
        while waiting: yield waiting.popleft().result()


def bare_many(files, model, n, batch):
    "The quickest loops we know: threads that each decode and run with one core, or threads that decode ahead of batches on all cores"
    card = json.loads((model/'model.json').read_text(encoding='utf-8'))
    size,cores = card['size'],len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count()
    net = session(model, 1 if batch==1 else 0, session__intra_op__allow_spinning='0')
    name,srcs = net.get_inputs()[0].name,islice(cycle(files), n)
    if batch==1:
        for _ in ahead(lambda f: net.run(['logits'], {name:bare_square(f, size)[None]}), srcs, cores, 4*cores): pass
        return
    squares = ahead(lambda f: bare_square(f, size), srcs, cores, 2*batch)
    while got := list(islice(squares, batch)): net.run(['logits'], {name:np.stack(got)})


def our_many(files, model, n):
    for p in SneakerClassifier.load(model).predict_many(islice(cycle(files), n)): assert not p.error


def in_process(way, folder, model, n):
    "Pictures a second and the largest memory (MB) of a process of its own"
    said = subprocess.run([sys.executable, __file__, str(folder), '--model', str(model), '--measure', way, '--n', str(n)], check=True, capture_output=True, text=True)
    return json.loads(said.stdout.splitlines()[-1])


def measure(way, files, model, n):
    import resource
    f = (lambda k: our_many(files, model, k)) if way=='ours' else (lambda k: bare_many(files, model, k, int(way)))
    f(16)
    start = time.perf_counter()
    f(n)
    # Linux counts in KB, macOS in bytes
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss/(1e6 if sys.platform=='darwin' else 1e3)
    print(json.dumps([n/(time.perf_counter()-start), memory]))


def many(folder, model, n=2000, rounds=3):
    "Many photos, and the memory after a quarter of them and after all"
    ways = dict(ours='`predict_many`', **{'1':'bare, a picture for each core', '8':'bare, batches of 8', '32':'bare, batches of 32'})
    got = {way:[] for way in ways}
    for _ in range(rounds):
        for way in ways: got[way].append(in_process(way, folder, model, n))
    speed = {way:statistics.median(o[0] for o in got[way]) for way in ways}
    best = max((o for o in ways if o!='ours'), key=speed.get)
    quarter = {way:in_process(way, folder, model, n//4)[1] for way in ways}
    table([f'{n:,} photos', 'a second, median', 'each run', f'of {ways[best]}', f'MB after {n//4:,}', f'MB after {n:,}'],
        [[ways[o], f'{speed[o]:.1f}', ', '.join(f'{a:.1f}' for a,_ in got[o]), f"{statistics.median(a[0]/b[0] for a,b in zip(got[o], got[best])):.0%}",
          f'{quarter[o]:.0f}', f'{max(b for _,b in got[o]):.0f}'] for o in ways])


def options(files, model, rounds=5):
    "What the options of a session cost or save: one picture that is ready, each option in processes of its own"
    kinds = {'as `predict`: all cores, spinning until the run ends':dict(session__force_spinning_stop='1'), "ONNX Runtime's defaults":{},
        'no spinning':dict(session__intra_op__allow_spinning='0'), 'one core, as `predict_many`':dict(cores=1, session__force_spinning_stop='1'),
        'no memory arena':dict(enable_cpu_mem_arena=False), 'no memory pattern':dict(enable_mem_pattern=False),
        'two layers at once':dict(execution_mode=1, inter_op_num_threads=2), 'basic graph optimizations':dict(graph_optimization_level=1),
        'extended graph optimizations':dict(graph_optimization_level=2), 'no graph optimizations':dict(graph_optimization_level=0)}
    got = {name:[] for name in kinds}
    for _ in range(rounds):
        for name,kind in kinds.items():
            said = subprocess.run([sys.executable, __file__, '--model', str(model), '--option', json.dumps(kind)], check=True, capture_output=True, text=True)
            got[name].append(json.loads(said.stdout.splitlines()[-1]))
    rows = [[name]+[f'{statistics.median(o):.1f}' for o in zip(*r)] for name,r in got.items()]
    table(['session', 'to open, ms', 'first run, ms', 'later runs, ms', 'processor time of a run, ms', 'memory, MB'], rows)


def option(kind, model, n=60):
    import resource
    if 'execution_mode' in kind: kind['execution_mode'] = ort.ExecutionMode.ORT_PARALLEL
    if 'graph_optimization_level' in kind: kind['graph_optimization_level'] = ort.GraphOptimizationLevel(kind['graph_optimization_level'])
    start = time.perf_counter()
    net = session(model, **kind)
    opened = time.perf_counter()-start
    side = net.get_inputs()[0].shape[1]
    square = np.random.default_rng(0).integers(0, 256, (1, side, side, 3), np.uint8)
    times,used = [],time.process_time()
    for _ in range(n):
        start = time.perf_counter()
        net.run(['logits'], {net.get_inputs()[0].name:square})
        times.append(time.perf_counter()-start)
    print(json.dumps([1e3*opened, 1e3*times[0], 1e3*statistics.median(times[1:]), 1e3*(time.process_time()-used)/n, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss/1e3]))


def beside_fastai(files, model, rounds=30):
    "One photo, beside `Learner.predict` of a ResNet34 at 224 pixels (random weights: they do not change the time)"
    import torch
    from fastai.vision.all import CategoryBlock, DataBlock, ImageBlock, Resize, vision_learner
    from torchvision.models import resnet34
    dls = DataBlock((ImageBlock, CategoryBlock(vocab=list(range(50)))), get_y=lambda f: files.index(f)%2, item_tfms=Resize(224)).dataloaders(files[:8]*4, bs=4, num_workers=0)
    learn = vision_learner(dls, resnet34, pretrained=False)
    clf = SneakerClassifier.load(model)
    at = lambda i: files[i%len(files)]
    def peer(i):
        with learn.no_bar(): learn.predict(at(i))
    t = alternate(dict(fastai=peer, ours=lambda i: clf.predict(at(i))), rounds)
    table(['one photo', 'median ms', 'fastest ms', 'times as quick'], [
        ['`predict`', *ms(t['ours']), f"{ratio(t['fastai'], t['ours']):.1f}"], [f'fastai ResNet34 at 224 ({torch.get_num_threads()} threads)', *ms(t['fastai']), '1']])


def main():
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument('photos', nargs='?')
    p.add_argument('--model', type=Path, default=bundled)
    p.add_argument('--only', choices=['one', 'many', 'options', 'start', 'fastai'])
    p.add_argument('--n', type=int, default=2000)
    p.add_argument('--rounds', type=int)
    p.add_argument('--measure', help=argparse.SUPPRESS)
    p.add_argument('--option', help=argparse.SUPPRESS)
    a = p.parse_args()
    if a.option: return option(json.loads(a.option), a.model)
    with TemporaryDirectory() as d:
        folder = Path(a.photos or d)
        if not a.photos: drawn(folder)
        files = sorted(o for o in folder.rglob('*') if o.suffix.lower() in ('.jpg', '.jpeg'))
        if a.measure: return measure(a.measure, files, a.model, a.n)
        rounds = dict(rounds=a.rounds) if a.rounds else {}
        if a.only in (None, 'one'): one(files, a.model, **rounds)
        if a.only in (None, 'fastai'): beside_fastai(files, a.model, **rounds)
        if a.only in (None, 'many'): many(folder, a.model, a.n, **rounds)
        if a.only in (None, 'options'): options(files, a.model, **rounds)
        if a.only in (None, 'start'):
            print(flush=True)
            subprocess.run([sys.executable, str(here/'start.py'), str(files[0])], check=True)


if __name__ == '__main__': main()
