"""Does the page without a server answer as Python?

    python benchmarks/quality_web.py --photos FOLDER --full FOLDER [--model MODEL] [--browsers "chromium firefox"]

Of 200 pictures, 40 are full-size: those of FULL, and beside them some of FOLDER, enlarged to 3,000 pixels with the grain that a
camera adds. All go through the page in a browser and through `predict`. Without folders, all are drawn. Then the page is taught two
drawn shoes, five photos of each, and other drawings go through it and through the model folder that it gives to take along.
"""
import io, zipfile
from base64 import b64decode
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from common import bundled, record
from fastcore.script import call_parse
from PIL import Image
from web_page import ask, browsers as known, served, teach

from sneaker_classifier import SneakerClassifier
from sneaker_classifier.evaluate import wilson
from sneaker_classifier.predict import find_pictures
from sneaker_classifier.samples import LABELS, draw_shoe
from sneaker_classifier.web import write_page

all_of_them,full_size,lessons,of_each = 200,40,('my_boot', 'my_runner'),25

def enlarged(im, path, side=3000):
    "A picture as a camera would have taken it"
    scale,rng = side/max(im.size),np.random.default_rng(0)
    large = np.asarray(im.resize([round(scale*o) for o in im.size], Image.Resampling.BICUBIC), np.float32)
    Image.fromarray((large+rng.normal(0, 6, large.shape)).clip(0, 255).astype(np.uint8)).save(path, quality=92)
    return path

def drawn(folder, n, labels=LABELS):
    for i in range(n):
        path = folder/f'{labels[0]}{i:03}.jpg'
        draw_shoe(labels[i%len(labels)], seed=i, size=320).save(path, quality=90)
        yield path

def gathered(folder, photos, full):
    "Paths of small pictures and of full-size ones"
    small = list(find_pictures(photos)) if photos else list(drawn(folder, all_of_them))
    small = [small[i] for i in np.random.default_rng(0).permutation(len(small))]
    large = list(islice(find_pictures(full), full_size)) if full else []
    spare = iter(small[all_of_them-full_size:]+small)
    while len(large)<full_size: large.append(enlarged(Image.open(next(spare)).convert('RGB'), folder/f'large{len(large)}.jpg'))
    return [*small[:all_of_them-full_size], *large]

def compared(browser, run, answers, paths, start=0):
    theirs = [run(ask, f'/photos/{start+i}') for i in range(len(paths))]
    pairs = [(p, o) for p,o in zip(answers, theirs) if not (p.error or o.get('error'))]
    for p,o,path in zip(answers, theirs, paths):
        if bool(p.error)!=bool(o.get('error')): print(path, p.error, o.get('error'))
    off = np.array([max(abs(p.scores[s['label']]-s['p']) for s in o['scores']) for p,o in pairs])
    def row(what, hits):
        low,high = wilson(sum(hits), len(hits))
        return dict(what=f'{browser}: {what}', ours=100*np.mean(hits), unit='%', pictures=len(hits), low=100*low, high=100*high)
    return [row('same first answer', [p.label==o['label'] for p,o in pairs]),
        row('as sure', [(p.sure, p.brand_sure)==(o['sure'], o['brandSure']) for p,o in pairs]),
        row('probabilities within 0.03', off<=.03),
        row('refused, or not, as in Python', [bool(p.error)==bool(o.get('error')) for p,o in zip(answers, theirs)]),
        dict(what=f'{browser}: furthest off in 95% of pictures', ours=np.quantile(off, .95), unit='', pictures=len(off))]

def taught(browser, run, paths, start, folder):
    "Photos of which the page has learned the first few, on the page and in Python"
    few = range(start, start+5*len(lessons))
    data = run(teach, {label:[f'/photos/{i}' for i in few[k::len(lessons)]] for k,label in enumerate(lessons)})
    with zipfile.ZipFile(io.BytesIO(b64decode(data))) as z: z.extractall(folder)
    rest = paths[few.stop:]
    return compared(f'{browser}, taught', run, list(SneakerClassifier.load(folder/'taught').predict_many(rest)), rest, few.stop)[:3]

@call_parse
def main(
    photos:str=None,          # Folder of small pictures
    full:str=None,            # Folder of full-size ones
    model:str=str(bundled),   # Model folder
    browsers:str='chromium'   # Names with blanks between them: chromium, firefox
):
    with TemporaryDirectory() as d:
        for o in ('site', 'photos'): (Path(d)/o).mkdir()
        clf = SneakerClassifier.load(model)
        write_page(clf, Path(d)/'site')
        paths = gathered(Path(d)/'photos', photos, full)
        answers,rows = list(clf.predict_many(paths)),[]
        start,all_paths = len(paths),[*paths, *drawn(Path(d)/'photos', of_each*len(lessons), lessons)]
        with served(Path(d)/'site', all_paths) as address:
            for name in browsers.split():
                with known[name](address) as run:
                    rows += compared(name, run, answers, paths)+taught(name, run, all_paths, start, Path(d)/name)
    record('quality_web', rows)
