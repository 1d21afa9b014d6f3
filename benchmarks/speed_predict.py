"""How close are answers to the bare limit?

    python benchmarks/speed_predict.py [--photos FOLDER] [--model MODEL]

A bare limit does what has to be done and nothing else: Pillow unpacks the photo to the size of the network's input, with the same
reduced decoding and the same resampling, and ONNX Runtime runs on the tensor. No checks, no turning, no profiles, no names. Each way
of many photos, and each start, has a process of its own. Without FOLDER, drawn JPEGs of 1,000 pixels are asked about.
"""
import json, subprocess, sys
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from itertools import cycle, islice
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import numpy as np
import onnxruntime as ort
from common import alone, bundled, by_turns, megabytes, photos as listed, ratio, record
from fastcore.script import call_parse
from PIL import Image, ImageOps

from sneaker_classifier import SneakerClassifier
from sneaker_classifier.files import usable_cores
from sneaker_classifier.samples import draw_shoe

def drawn(folder, n=8, side=1000):
    "JPEGs of drawn shoes, with the grain that a camera adds"
    rng,labels = np.random.default_rng(0),('nike_air_force_1', 'nike_court_vision', 'adidas_superstar', 'puma_suede')
    for i in range(n):
        shoe = draw_shoe(labels[i%4], seed=i, size=side//2).resize((side, side), Image.Resampling.BICUBIC)
        grain = rng.normal(0, 6, (side, side, 3))
        Image.fromarray((np.asarray(shoe)+grain).clip(0, 255).astype(np.uint8)).save(folder/f'{i}.jpg', quality=90)
    return sorted(map(str, folder.glob('*.jpg')))

def session(model, cores=0, **config):
    options = ort.SessionOptions()
    options.intra_op_num_threads = cores
    for name,value in config.items(): options.add_session_config_entry(name.replace('__', '.'), value)
    return ort.InferenceSession(str(Path(model)/'model.onnx'), options, providers=['CPUExecutionProvider'])

def bare_square(file, size):
    im = Image.open(file)
    im.draft(None, (3*size, 3*size))
    shape = [round(size*o/max(im.size)) for o in im.size]
    return np.asarray(ImageOps.pad(im.resize(shape, Image.Resampling.BICUBIC, reducing_gap=3), (size, size), color='white'))

def network(model, **kw):
    "A function of a batch, and the side of its squares"
    net = session(model, **kw)
    given = net.get_inputs()[0]
    return lambda squares: net.run(['logits'], {given.name:squares}), given.shape[1]

def one(files, model, rounds=100):
    clf,(ask,side) = SneakerClassifier.load(model),network(model, session__force_spinning_stop='1')
    def at(i): return files[i%len(files)]
    t = by_turns(dict(ours=lambda i: clf.predict(at(i)), bare=lambda i: ask(bare_square(at(i), side)[None])), rounds)
    ours,bare = (1e3*median(t[o]) for o in ('ours', 'bare'))
    said = f"median of the ratios {ratio(t['ours'], t['bare']):.2f}"
    return dict(what='one photo, `predict`', ours=ours, unit='ms', peer='bare', theirs=bare, remark=said)

def beside_fastai(files, model, rounds=30):
    "`Learner.predict` of a ResNet34 at 224 pixels; random weights do not change the time"
    from fastai.vision.all import CategoryBlock, DataBlock, ImageBlock, Resize, vision_learner
    from torchvision.models import resnet34
    block = DataBlock((ImageBlock, CategoryBlock(vocab=[0, 1])), get_y=lambda f: files.index(f)%2, item_tfms=Resize(224))
    learn = vision_learner(block.dataloaders(files[:8]*4, bs=4, num_workers=0), resnet34, pretrained=False)
    clf = SneakerClassifier.load(model)
    def peer(i):
        with learn.no_bar(): learn.predict(files[i%len(files)])
    t = by_turns(dict(ours=lambda i: clf.predict(files[i%len(files)]), peer=peer), rounds)
    ours,fastai = (1e3*median(t[o]) for o in ('ours', 'peer'))
    return dict(what='one photo, `predict`', ours=ours, unit='ms', peer='`Learner.predict`, ResNet34', theirs=fastai)

def ahead(f, items, workers, window):
    with ThreadPoolExecutor(workers) as pool:
        waiting = deque()
        for o in items:
            waiting.append(pool.submit(f, o))
            if len(waiting)>=window: yield waiting.popleft().result()
        while waiting: yield waiting.popleft().result()

def bare_many(files, model, n, batch):
    "The quickest loops we know: threads that each decode and run on one core, or that decode ahead of batches on all cores"
    ask,side = network(model, cores=1 if batch==1 else 0, session__intra_op__allow_spinning='0')
    cores,srcs = usable_cores(),islice(cycle(files), n)
    if batch==1: return deque(ahead(lambda f: ask(bare_square(f, side)[None]), srcs, cores, 4*cores), maxlen=0)
    squares = ahead(lambda f: bare_square(f, side), srcs, cores, 2*batch)
    while got := list(islice(squares, batch)): ask(np.stack(got))

def our_many(files, model, n):
    for p in SneakerClassifier.load(model).predict_many(islice(cycle(files), n)): assert not p.error

ways = {'ours':our_many, **{f'bare, batches of {b}':lambda *args, b=b: bare_many(*args, b) for b in (1, 8, 32)}}

def measure(way, files, model, n):
    ways[way](files, model, 16)
    seconds, = by_turns({way:lambda i: ways[way](files, model, n if i else 8)}, 1)[way]
    print(json.dumps([n/seconds, megabytes()]))

def many(files, model, n=2000, rounds=3):
    with TemporaryDirectory() as d:
        (Path(d)/'files.json').write_text(json.dumps(files))
        got = {way:[] for way in ways}
        for _ in range(rounds):
            for way in ways:
                got[way].append(alone(__file__, '--measured', way, '--files', Path(d)/'files.json', '--model', model, '--n', n))
    speed = {way:median(o[0] for o in runs) for way,runs in got.items()}
    held = {way:max(o[1] for o in runs) for way,runs in got.items()}
    return [dict(what=f'{n:,} photos, `predict_many`', ours=speed['ours'], unit='a second', peer=way, theirs=speed[way],
        remark=f"at most {held['ours']:.0f} MB beside {held[way]:.0f}") for way in ways if way!='ours']

ours_from_start = 'from sneaker_classifier import SneakerClassifier; print(SneakerClassifier.load(r"{model}").predict(r"{photo}"))'
bare_from_start = '''
import numpy as np, onnxruntime as ort
from PIL import Image
net = ort.InferenceSession(r"{model}/model.onnx", providers=["CPUExecutionProvider"])
im = Image.open(r"{photo}").convert("RGB").resize(net.get_inputs()[0].shape[1:3], Image.Resampling.BICUBIC)
print(net.run(["logits"], {{"pictures": np.asarray(im)[None]}})[0].argmax())'''

def from_start(photo, model, rounds=15):
    codes = [o.format(photo=photo, model=model) for o in (ours_from_start, bare_from_start)]
    def started(code): return lambda _: subprocess.run([sys.executable, '-c', code], check=True, stdout=subprocess.DEVNULL)
    t = by_turns(dict(zip(('ours', 'bare'), map(started, codes))), rounds)
    return dict(what='from starting Python to the first answer', ours=median(t['ours']), unit='s', peer='bare', theirs=median(t['bare']))

@call_parse
def main(
    photos:str=None,      # Folder with a manifest; the photos that the model kept back are asked about
    model:str=str(bundled), # Model folder
    n:int=2000,           # How many photos are many
    measured:str=None,    # For its own use: the way that this process measures
    files:str=None        # For its own use: a list of files
):
    if measured: return measure(measured, json.loads(Path(files).read_text()), model, n)
    with TemporaryDirectory() as d:
        shoes = drawn(Path(d))
        rows = [o|dict(what='a drawing of 1,000 pixels, `predict`') for o in (one(shoes, model), beside_fastai(shoes, model))]
        if photos:
            from sneaker_classifier.data import picture_id, read_split
            split,table = read_split(Path(model)),listed(photos)
            shoes = list(table.file[table.file.map(picture_id).isin(split.id[split.is_valid])])
            rows = [one(shoes, model), beside_fastai(shoes, model), *rows]
        record('speed_predict', [*rows, *many(shoes, model, n), from_start(shoes[0], model)])
