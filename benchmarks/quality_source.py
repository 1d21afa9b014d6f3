"""What helps with photos from sources never seen?

    python benchmarks/quality_source.py FOLDER models/source [--lite2 WEIGHTS]

FOLDER has a manifest.csv. A network from ImageNet learns for six epochs, at 128 pixels: with all parts of training, and without one at a
time. Sellers' phone photos and every third source, but for the largest, are left out and measured on, and so are other sources of
sneakers and things that it does not know. With a file of its ImageNet weights, EfficientNet-Lite2 learns the same. Each training stays
there and is not repeated. An hour on two cores, and half an hour more for Lite2.
"""
import shutil
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from unittest.mock import patch

from sneaker_classifier import data, train # first: it silences a warning of torch's
import pandas as pd
from common import photos as listed, record
from fastai.callback.core import Callback
from fastai.vision.all import Transform
from fastcore.script import call_parse
from quality_model import row
from sneaker_classifier.evaluate import evaluate, false_certainty
from sneaker_classifier.export import export_model
from sneaker_classifier.predict import SneakerClassifier
from sneaker_classifier.settings import load_settings

class Untouched(Transform): order = 1

class MadeOnly(train.OutlierExposure):
    def __init__(self, dl=None): super().__init__()

gentle = dict(data.augmentation, max_rotate=15, max_warp=0.1)
short = dict(architecture='tf_efficientnet_lite0', start='imagenet', epochs=6, second_cycle=0, detail=160, size=128, predict_size=168)
parts = {'light and noise':{(data, 'Camera'):Untouched}, 'turning and tilting more':{(data, 'augmentation'):gentle},
    'real pictures of the unknown':{(train, 'OutlierExposure'):MadeOnly}, 'growing':{(train, 'Grow'):Callback}}

def copied(table, to, group):
    "Copies of the photos, in a folder for each label, and which of them belong together"
    for file,label in zip(table.file, table.label):
        (to/label).mkdir(parents=True, exist_ok=True)
        shutil.copy2(file, to/label)
    files = [f'{label}/{Path(f).name}' for f,label in zip(table.file, table.label)]
    pd.DataFrame(dict(file=files, group=table[group])).to_csv(to/'items.csv', index=False)

def gather(folder, out):
    "Photos to learn from, those left out, and what is unknown"
    table = listed(folder)
    sources = table.source.value_counts().index   # the largest is the public set that most photos are of
    phone = table.kind=='phone'
    away = phone | table.source.isin(sources[1::3])
    copied(table[~away], out/'photos', 'group')
    kinds = {'phones':phone, 'other shops':away & ~phone & (table['view']=='whole')}
    for name,which in kinds.items(): copied(table[which], out/name, 'group')
    copied(pd.concat(listed(folder, o) for o in ('other_models', 'nothing')), out/'unknown', 'source')

def trained(out, name, settings, changes):
    "The model of a training in which some things are others"
    folder = out/name.replace(' ', '_')
    if not (folder/'MODEL_CARD.md').is_file():
        with ExitStack() as stack:
            for (where,what),new in changes.items(): stack.enter_context(patch.object(where, what, new))
            learn,items,_ = train.train(out/'photos', folder, settings, unknown=out/'unknown')
            export_model(learn, items, folder, settings)
    return SneakerClassifier.load(folder)

def rows_of(clf, name, out):
    "Right at first, right when sure, and sure of what it does not know"
    m = clf.card['metrics']
    yield row(f'{name}, kept back: top-1', round(m['top1']*m['pictures']), m['pictures'])
    for where in ('phones', 'other shops'):
        report = evaluate(clf, data.labelled_items(out/where), progress=False)
        sure,right = report.answers.sure,report.right
        yield row(f'{name}, {where}: top-1', int(right.sum()), len(right))
        yield row(f'{name}, {where}: right when sure', int(right[sure].sum()), int(sure.sum()), remark=f'sure of {sure.mean():.0%}')
    halves = train.unknown_halves(data.labelled_items(out/'unknown'), clf.card['provenance']['seed'])
    strange = halves[halves.is_valid].assign(nothing=lambda t: t.label.isin(clf.nothing))
    for nothing,items in strange.groupby('nothing'):
        found = false_certainty(clf, items.file)
        yield row(f"{name}, {'no sneaker' if nothing else 'other models'}: called sure", found['sure'], found['pictures'])

@call_parse
def main(
    photos:str, # Folder with a manifest
    out:str,    # Where the models go
    lite2:str=None # ImageNet weights of tf_efficientnet_lite2, a .safetensors file
):
    out,nothing = Path(out),set(listed(photos, 'nothing').label)
    if not (out/'photos').is_dir(): gather(photos, out)
    settings = load_settings(SneakerClassifier.load().folder/'settings.ini')
    larger = [('EfficientNet-Lite2', dict(architecture='tf_efficientnet_lite2', start=lite2), {})] if lite2 else []
    rows = []
    for name,other,changes in [('everything', {}, {}), *larger, *((f'without {o}', {}, changes) for o,changes in parts.items())]:
        clf = trained(out, name, replace(settings, training=replace(settings.training, **short|other)), changes)
        clf.nothing = nothing
        rows += rows_of(clf, name, out)
    record('quality_source', rows)
