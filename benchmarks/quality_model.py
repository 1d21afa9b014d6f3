"""How good is a model, and of what is it wrongly sure?

    python benchmarks/quality_model.py FOLDER [--model MODEL]

FOLDER has a manifest.csv and its parts: train, elsewhere, other_models and nothing. What the model has learned is left out. Most
photos of train are of one public set, its home; *other shops* are all others, of which it may have learned some, and *elsewhere* are
shops of which it has learned few or none. Other models and pictures without a sneaker that it has not learned have, with the photos
kept back, chosen when it is sure. Details and small shoes are made of the photos of home.
"""
import numpy as np
from common import bundled, not_learned, record
from fastcore.script import call_parse
from PIL import ImageFilter
from sneaker_classifier.evaluate import evaluate, false_certainty, wilson
from sneaker_classifier.images import fit_square, open_image
from sneaker_classifier.predict import SneakerClassifier
from sneaker_classifier.settings import load_settings

def part(im, rng, share):
    w,h = (round(o*share) for o in im.size)
    x,y = rng.integers(0, im.width-w+1),rng.integers(0, im.height-h+1)
    return im.crop((x, y, x+w, y+h))

def far(im, rng, share, side=560):
    "The photo so much smaller, somewhere on a blurred enlargement of itself"
    square,small = fit_square(im, side),fit_square(im, round(side*share))
    x,y = rng.integers(0, side-small.width+1, 2)
    square = square.filter(ImageFilter.GaussianBlur(40))
    square.paste(small, (int(x), int(y)))
    return square

sizes = {'two thirds':2/3, 'half':1/2, 'a third':1/3, 'a fourth':1/4}
views = {**{f'{name} of each side':(part, share) for name,share in sizes.items()},
    **{f'a shoe {name} as wide as the picture':(far, share) for name,share in {'half':1/2, 'a third':1/3, 'a fifth':1/5}.items()}}

def row(what, k, n, **more):
    "A share with its interval"
    low,high = wilson(k, n)
    return dict(what=what, ours=100*k/n, unit='%', pictures=n, low=100*low, high=100*high, **more)

def answered(clf, items, where):
    "What it says of photos that have one of its labels"
    report = evaluate(clf, items.assign(group=items.group), progress=False)
    m,n = report.metrics,len(items)
    def share(what, name): return row(f'{where}: {what}', round(m[name]*n), n)
    def right(what, precision, k): return [row(f'{where}: right {what}', round(m[precision]*k), k)] if k else []
    return [share('top-1', 'top1'), share('among its three likeliest', 'top3'), share('brand', 'brand'), share('called sure', 'coverage'),
        *right('when sure', 'precision_when_sure', round(m['coverage']*n)), share('brand called sure', 'brand_coverage'),
        *right('brand when that is sure', 'brand_precision_when_sure', round(m['brand_coverage']*n))]

def of_four(clf, items, four, where):
    items = items[items.label.isin(four)]
    right = [np.mean([p.label for p in clf.predict_many(items.file, among=among)]==items.label) for among in (None, four)]
    return [row(f'{where}: the four classes that settings.ini starts with, {how}', round(o*len(items)), len(items)) for o,how in
        zip(right, ('among all', 'when it knows that it is one of these'))]

def made(clf, items, name, view, share):
    rng = np.random.default_rng(0)
    answers = list(clf.predict_many(view(open_image(f), rng, share) for f in items.file))
    right,sure = np.array([p.label for p in answers])==items.label,np.array([p.sure for p in answers])
    return [row(f'{name}: sure and wrong', int((sure & ~right).sum()), len(items)), row(f'{name}: top-1', int(right.sum()), len(items))]

def unknown(clf, items, what):
    found = false_certainty(clf, items.file)
    return [row(f'{what}, {how}called sure', found[k], found['pictures']) for how,k in (('', 'sure'), ('of a brand ', 'brand_sure'))]

@call_parse
def main(
    photos:str,             # Folder with a manifest
    model:str=str(bundled)  # Model folder
):
    clf = SneakerClassifier.load(model)
    train,elsewhere,*strange = (not_learned(photos, o, model) for o in ('train', 'elsewhere', 'other_models', 'nothing'))
    at_home = train.source==train.source.mode()[0]
    home,away = train[at_home],train[~at_home]
    four = [o for o in load_settings().classes if o in clf.labels]
    rows = []
    for where,items in {'home':home, 'other shops':away.query('view!="sole" and view!="detail"'), 'elsewhere, whole shoes':
            elsewhere.query('view=="whole"')}.items(): rows += [*answered(clf, items, where), *of_four(clf, items, four, where)]
    hard = {"sellers' phone photos":away.query('kind=="phone"'), 'from above or behind':away.query('angle=="top_or_back"')}
    for what,items in hard.items(): rows += answered(clf, items, what)[:4:3]
    for items,what in zip(strange, ('sneakers of other models', 'pictures without a sneaker')): rows += unknown(clf, items, what)
    for name,view in views.items(): rows += made(clf, home, name, *view)
    record('quality_model', rows)
