"""Of what is a model sure that it should not be sure of: parts of photos, shoes far away, unknown sneakers, no sneaker at all

    python benchmarks/doubt.py PHOTOS [--unknown FOLDER] [--nothing FOLDER] [--model FOLDER]

PHOTOS has a folder for each class; those that the model has learned from are left out. Each picture of `--nothing` (cats,
texts, textures: anything without a shoe) is asked about as a whole and in twelve random parts.
"""
import argparse
from pathlib import Path

from sneaker_classifier.data import labelled_items # first: it silences a warning of torch's
import numpy as np
import pandas as pd
from PIL import ImageFilter
from sneaker_classifier.evaluate import false_certainty, not_trained_on
from sneaker_classifier.images import BadImage, fit_square, open_image
from sneaker_classifier.predict import SneakerClassifier


def part(im, rng, share):
    w,h = (round(o*share) for o in im.size)
    x,y = rng.integers(0, im.width-w+1),rng.integers(0, im.height-h+1)
    return im.crop((x, y, x+w, y+h))

def far(im, rng, share):
    "The photo so much smaller, somewhere on a blurred enlargement of itself"
    square = fit_square(im, 560)
    small = fit_square(im, round(560*share))
    x,y = rng.integers(0, 560-small.width+1, 2)
    square = square.filter(ImageFilter.GaussianBlur(40))
    square.paste(small, (int(x), int(y)))
    return square

views = {'the whole photo': (part, 1), **{f'{name} of each side': (part, share) for name,share in
    {'two thirds':2/3, 'half':1/2, 'a third':1/3, 'a fourth':1/4}.items()}, **{f'{name} as wide as the picture': (far, share) for name,share in
    {'half':1/2, 'a third':1/3, 'a fifth':1/5}.items()}}


def row(clf, items, view, share):
    rng = np.random.default_rng(0)
    answers = list(clf.predict_many(view(open_image(f), rng, share) for f in items.file))
    right,sure = np.array([p.label for p in answers])==items.label,np.array([p.sure for p in answers])
    return dict(right=right.mean(), sure=sure.mean(), sure_and_wrong=(sure & ~right).mean())

def pictures(folder, rng):
    "Each usable picture, and twelve parts of it"
    for f in sorted(folder.rglob('*')):
        try: im = open_image(f)
        except (BadImage, OSError): continue
        yield im
        for _ in range(12): yield part(im, rng, rng.uniform(0.3, 1))


if __name__=='__main__':
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('photos', type=Path)
    for o in 'unknown', 'nothing', 'model': parser.add_argument(f'--{o}', type=Path)
    args = parser.parse_args()
    clf = SneakerClassifier.load(args.model)
    items = not_trained_on(labelled_items(args.photos), clf.folder)
    print(pd.DataFrame({name:row(clf, items, *view) for name,view in views.items()}).T.round(3).to_string())
    if args.unknown: print('unknown sneakers:', false_certainty(clf, args.unknown))
    if args.nothing: print('no sneaker:', false_certainty(clf, list(pictures(args.nothing, np.random.default_rng(0)))))
