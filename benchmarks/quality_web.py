"""Does the page without a server answer as Python does?

    python benchmarks/quality_web.py --photos FOLDER --full FOLDER [--model MODEL] [--browsers "chromium firefox"]

Of 200 pictures, 40 are full-size: those of FULL, and beside them some of FOLDER, enlarged to 3,000 pixels with the grain that a
camera adds. All go through the page in a browser and through `predict`. Without folders, all are drawn.
"""
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from common import bundled, record
from fastcore.script import call_parse
from PIL import Image
from web_page import browsers as known, served

from sneaker_classifier import SneakerClassifier
from sneaker_classifier.evaluate import wilson
from sneaker_classifier.predict import find_pictures
from sneaker_classifier.samples import LABELS, draw_shoe
from sneaker_classifier.web import write_page

all_of_them,full_size = 200,40

def enlarged(im, path, side=3000):
    "A picture as a camera would have taken it"
    scale,rng = side/max(im.size),np.random.default_rng(0)
    large = np.asarray(im.resize([round(scale*o) for o in im.size], Image.Resampling.BICUBIC), np.float32)
    Image.fromarray((large+rng.normal(0, 6, large.shape)).clip(0, 255).astype(np.uint8)).save(path, quality=92)
    return path

def drawn(folder, n):
    for i in range(n):
        draw_shoe(LABELS[i%len(LABELS)], seed=i, size=320).save(folder/f'{i:03}.jpg', quality=90)
        yield folder/f'{i:03}.jpg'

def gathered(folder, photos, full):
    "Paths of small pictures and of full-size ones"
    small = list(find_pictures(photos)) if photos else list(drawn(folder, all_of_them))
    small = [small[i] for i in np.random.default_rng(0).permutation(len(small))]
    large = list(islice(find_pictures(full), full_size)) if full else []
    spare = iter(small[all_of_them-full_size:]+small)
    while len(large)<full_size: large.append(enlarged(Image.open(next(spare)).convert('RGB'), folder/f'large{len(large)}.jpg'))
    return [*small[:all_of_them-full_size], *large]

def compared(browser, ask, answers, paths):
    theirs = [ask(f'/photos/{i}') for i in range(len(paths))]
    pairs = [(p, o) for p,o in zip(answers, theirs) if not (p.error or o.get('error'))]
    for p,o,path in zip(answers, theirs, paths):
        if bool(p.error)!=bool(o.get('error')): print(path, p.error, o.get('error'))
    off = np.array([max(abs(p.scores[s['label']]-s['p']) for s in o['scores']) for p,o in pairs])
    def row(what, hits):
        low,high = wilson(sum(hits), len(hits))
        return dict(what=f'{browser}: {what}', ours=100*np.mean(hits), unit='%', pictures=len(hits), low=100*low, high=100*high)
    return [row('same first answer', [p.label==o['label'] for p,o in pairs]),
        row('as sure', [(p.sure, p.brand_sure)==(o['sure'], o['brandSure']) for p,o in pairs]),
        row('no probability further off than 0.03', off<=.03),
        row('refused, or not, as in Python', [bool(p.error)==bool(o.get('error')) for p,o in zip(answers, theirs)]),
        dict(what=f'{browser}: furthest off in 95% of pictures', ours=np.quantile(off, .95), unit='', pictures=len(off))]

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
        with served(Path(d)/'site', paths) as address:
            for name in browsers.split():
                with known[name](address) as ask: rows += compared(name, ask, answers, paths)
    record('quality_web', rows)
