"""What a network makes of photos from a source that it has never seen, and which part of training is to thank for it

    python benchmarks/elsewhere.py FOLDER SOURCE --out models/elsewhere

FOLDER has a manifest.csv (file, split, label, group, source) and the photos it names. The photos of SOURCE are left out
of training and measured on, except classes that no other source shows. First 20 epochs from ImageNet weights as the
bundled model was once trained: no degraded photos, no pictures without a shoe, no other backgrounds, classes equally
often. Then four epochs more from there as photos are learned now, and with one thing changed at a time. Each training
stays in --out and is not repeated. An hour and a quarter on two cores.
"""
import argparse, shutil
from dataclasses import replace
from pathlib import Path

from sneaker_classifier import data, train # first: it silences a warning of torch's
import numpy as np
import pandas as pd
from fastai.callback.core import Callback
from fastai.data.block import DataBlock
from fastai.vision.all import TensorImage, Transform
from sneaker_classifier.evaluate import evaluate
from sneaker_classifier.export import export_model
from sneaker_classifier.predict import SneakerClassifier
from sneaker_classifier.settings import load_settings

weighted = DataBlock.weighted_dataloaders
def drawn(power): return lambda self,rows,weights,**kw: weighted(self, rows, np.asarray(weights)**power, **kw)

class SameBackground(Transform):
    order,split_idx = 0,0
    def encodes(self, x:TensorImage): return x[:3]

# A class comes by the square root of its size; weights are 1 over that for each photo.
parts = {'without degraded photos': (data, 'Degrade', Transform), 'without pictures without a shoe': (train, 'OutlierExposure', Callback),
    'without other backgrounds': (data, 'Backdrop', SameBackground),
    'classes equally often': (DataBlock, 'weighted_dataloaders', drawn(2)), 'classes as they come': (DataBlock, 'weighted_dataloaders', drawn(0))}


def separate(folder, source, out):
    "Copy the photos to train or elsewhere, by their source"
    table = pd.read_csv(folder/'manifest.csv', dtype=str).query('split=="train"')
    away = table.source.str.contains(source, regex=False)
    known = set(table.label[~away])
    for file,label,there in zip(table.file, table.label, away):
        if label not in known: continue
        to = out/('elsewhere' if there else 'train')/label
        to.mkdir(parents=True, exist_ok=True)
        shutil.copy2(folder/file, to)
    table[~away].to_csv(out/'manifest.csv', index=False)


def trained(out, name, settings, left_out=(), **changes):
    "The model folder of a training with some parts left out; trained only once"
    folder = out/name.replace(' ', '_')
    if not (folder/'model.json').is_file():
        before = {o:getattr(*parts[o][:2]) for o in left_out}
        for o in left_out: setattr(*parts[o])
        s = replace(settings, training=replace(settings.training, **changes))
        learn,items,_ = train.train(out/'train', folder, s, out/'manifest.csv')
        export_model(learn, items, folder, s)
        for o,f in before.items(): setattr(*parts[o][:2], f)
    return SneakerClassifier.load(folder)


def row(clf, out, four):
    items = data.labelled_items(out/'elsewhere')
    report = evaluate(clf, items, progress=False)
    away,home,many = report.metrics,clf.card['metrics'],report.per_class().query('pictures>=5')
    answers,of_four = report.answers,items[items.label.isin(four)]
    told = [p.label for p in clf.predict_many(of_four.file, among=four)]
    return {'home':home['top1'], 'elsewhere':away['top1'], 'three':away['top3'], 'brand':away['brand'], 'each class':many.recall.mean(),
        'four':report.right[answers.label.isin(four)].mean(), 'told':np.mean(np.array(told)==of_four.label),
        'falsely Court Vision':((answers.predicted=='nike_court_vision') & (answers.label!='nike_court_vision')).sum(),
        'sure':away['coverage'], 'right when sure':away['precision_when_sure'], 'details sure and wrong':clf.card['details']['share']}


if __name__=='__main__':
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('folder', type=Path)
    parser.add_argument('source')
    parser.add_argument('--out', type=Path, required=True)
    args = parser.parse_args()
    if not (args.out/'train').is_dir(): separate(args.folder, args.source, args.out)
    settings = load_settings(SneakerClassifier.load().folder/'settings.ini')
    models = {'before': trained(args.out, 'before', settings, list(parts)[:4], start='imagenet', epochs=20, learning_rate=0.004)}
    more = dict(start=str(models['before'].folder), epochs=4, learning_rate=0.0015)
    for name,left_out in {'as now':[], **{o:[o] for o in parts}}.items(): models[name] = trained(args.out, name, settings, left_out, **more)
    four = list(load_settings().classes)
    print(pd.DataFrame({name:row(clf, args.out, four) for name,clf in models.items()}).T.round(3).to_string())
