"""What each of the three starts makes of the four starting classes, with the settings as they come

    python benchmarks/three_starts.py FOLDER --out models/starts [--source SOURCE] [--known MODEL] [--start scratch imagenet sneakers]

FOLDER has a manifest.csv (file, split, label, group, source) and the photos it names. Photos of SOURCE are left out of
training and measured on (*elsewhere*); MODEL takes the place of the bundled one, which has learned from them. *Each class*
is the mean over the classes. Each training stays in --out and is not repeated.
"""
import argparse, shutil, time
from dataclasses import replace
from pathlib import Path

from sneaker_classifier import data, train # first: it silences a warning of torch's
import pandas as pd
from sneaker_classifier.evaluate import evaluate, not_trained_on
from sneaker_classifier.export import export_model
from sneaker_classifier.predict import SneakerClassifier
from sneaker_classifier.settings import load_settings


def gather(folder, labels, source, out):
    "Copy the photos of `labels` to photos or, those of `source`, to elsewhere; a table of those to train on"
    rows = pd.read_csv(folder/'manifest.csv', dtype=str).query('split=="train" and label in @labels')
    away = rows.source.str.contains(source, regex=False) if source else rows.source.isna()
    for file,label,there in zip(rows.file, rows.label, away):
        to = out/('elsewhere' if there else 'photos')/label
        to.mkdir(parents=True, exist_ok=True)
        shutil.copy2(folder/file, to)
    rows[~away].to_csv(out/'manifest.csv', index=False)

def trained(photos, groups, folder, settings):
    "The model folder of a training and its seconds; trained only once"
    took = folder/'seconds.txt'
    if not took.is_file():
        began = time.perf_counter()
        learn,items,_ = train.train(photos, folder, settings, groups)
        export_model(learn, items, folder, settings)
        took.write_text(f'{time.perf_counter()-began:.0f}')
    return SneakerClassifier.load(folder),took.read_text()

def shares(clf, items, name):
    report = evaluate(clf, items, progress=False)
    return {f'{name} photos':len(items), name:report.metrics['top1'], f'{name} interval':report.metrics['top1_interval'], f'{name} each class':report.per_class().recall.mean()}

def row(clf, seconds, out):
    found = shares(clf, not_trained_on(data.labelled_items(out/'photos', out/'manifest.csv'), clf.folder), 'home')
    if (out/'elsewhere').is_dir(): found.update(shares(clf, data.labelled_items(out/'elsewhere'), 'elsewhere'))
    return found|{'seconds':seconds}


if __name__=='__main__':
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('folder', type=Path)
    parser.add_argument('--out', type=Path, required=True)
    for o in 'source', 'known': parser.add_argument(f'--{o}')
    parser.add_argument('--start', nargs='+', default=['scratch', 'imagenet', 'sneakers'])
    args = parser.parse_args()
    settings,out = load_settings(Path(__file__).parent.parent/'settings.ini'),args.out
    if not (out/'photos').is_dir(): gather(args.folder, list(settings.classes), args.source, out)
    found = {}
    for start in args.start:
        t = settings.scratch if start=='scratch' else settings.training
        changes = dict(scratch=dict(architecture='resnet34'), imagenet=dict(architecture='tf_efficientnet_lite0'), sneakers={})[start]
        s = replace(settings, training=replace(t, start=args.known if start=='sneakers' and args.known else start, **changes))
        found[start] = row(*trained(out/'photos', out/'manifest.csv', out/start, s), out)
    print(pd.DataFrame(found).T.to_string())
