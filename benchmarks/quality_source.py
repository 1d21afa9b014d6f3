"""What does a network make of photos from a source that it has never seen, and which part of training is to thank for it?

    python benchmarks/quality_source.py FOLDER SOURCE models/source

FOLDER has a manifest.csv. The photos of SOURCE are left out of training and measured on, except classes that no other source shows.
First ten epochs from ImageNet weights: no degraded photos, no pictures without a shoe, no other backgrounds, classes equally often. Then
three epochs more from there as photos are learned now, and with one thing changed at a time. All at 128 pixels, which tells differences
in half the time of 160. Each training stays there and is not repeated. Fifty minutes on two cores.
"""
from dataclasses import replace
from pathlib import Path
from unittest.mock import patch

from sneaker_classifier import data, train # first: it silences a warning of torch's
import numpy as np
from common import photos as listed, record
from fastai.callback.core import Callback
from fastai.data.block import DataBlock
from fastai.vision.all import TensorImage, Transform
from fastcore.script import call_parse
from quality_model import row
from quality_starts import gather, trained
from sneaker_classifier.evaluate import evaluate
from sneaker_classifier.predict import SneakerClassifier
from sneaker_classifier.settings import load_settings

weighted = DataBlock.weighted_dataloaders
def drawn(power): return lambda self,rows,weights,**kw: weighted(self, rows, np.asarray(weights)**power, **kw)

class SameBackground(Transform):
    order,split_idx = 0,0
    def encodes(self, x:TensorImage): return x[:3]

# A class comes by the square root of its size; weights are 1 over that for each photo.
parts = {'without degraded photos':(data, 'Degrade', Transform), 'without pictures without a shoe':(train, 'OutlierExposure', Callback),
    'without other backgrounds':(data, 'Backdrop', SameBackground), 'classes equally often':(DataBlock, 'weighted_dataloaders', drawn(2)),
    'classes in their numbers':(DataBlock, 'weighted_dataloaders', drawn(0))}

def without(out, name, settings, left_out, **changes):
    "The model of a training with some parts left out"
    patches = [patch.object(*parts[o]) for o in left_out]
    for o in patches: o.start()
    try: return trained(out, name.replace(' ', '_'), replace(settings, training=replace(settings.training, **changes)))[0]
    finally:
        for o in patches: o.stop()

def rows_of(clf, name, items, four):
    report,n = evaluate(clf, items, progress=False),len(items)
    of_four = items[items.label.isin(four)]
    among = [p.label for p in clf.predict_many(of_four.file, among=four)]
    sure,right = report.answers.sure,report.right
    return [row(f'{name}: top-1', int(right.sum()), n, peer='at home', theirs=100*clf.card['metrics']['top1']),
        row(f'{name}: the four classes, when it knows that it is one of these', int((np.array(among)==of_four.label).sum()), len(of_four)),
        row(f'{name}: right when sure', int(right[sure].sum()), int(sure.sum()), remark=f'sure of {sure.mean():.0%}')]

@call_parse
def main(
    photos:str, # Folder with a manifest
    source:str, # Part of the name of the source to leave out
    out:str     # Where the models go
):
    out,table = Path(out),listed(photos)
    away = table.source.str.contains(source, regex=False)
    if not (out/'photos').is_dir(): gather(table, set(table.label[~away]), source, out)
    settings = load_settings(SneakerClassifier.load().folder/'settings.ini')
    small = dict(size=128, predict_size=168)
    first = dict(start='imagenet', epochs=10, learning_rate=0.004)
    models = {'ten epochs from ImageNet':without(out, 'before', settings, list(parts)[:4], **small, **first)}
    more = dict(start=str(out/'before'), epochs=3, learning_rate=0.0015)
    for name,left_out in {'three epochs more':[], **{o:[o] for o in parts}}.items():
        models[name] = without(out, name, settings, left_out, **small, **more)
    items,four = data.labelled_items(out/'elsewhere'),list(load_settings().classes)
    record('quality_source', [o for name,clf in models.items() for o in rows_of(clf, name, items, four)])
