"""What do the three starts make of four classes?

    python benchmarks/quality_starts.py FOLDER models/starts [--source SOURCE] [--known MODEL]

FOLDER has a manifest.csv. Photos of SOURCE are left out of training and measured on (*another shop*); MODEL takes the place of the
bundled model, which has learned from them. Each training stays there and is not repeated.
"""
import shutil, time
from dataclasses import replace
from pathlib import Path

from sneaker_classifier import data # first: it silences a warning of torch's
from common import photos as listed, record, root
from fastcore.script import call_parse
from quality_model import row
from sneaker_classifier.evaluate import evaluate, not_trained_on
from sneaker_classifier.export import export_model
from sneaker_classifier.predict import SneakerClassifier
from sneaker_classifier.settings import load_settings
from sneaker_classifier.train import train

def gather(table, labels, source, out):
    "Copy the photos of `labels` to photos or, those of `source`, to elsewhere; write down which belong together"
    table = table[table.label.isin(labels)]
    away = table.source.str.contains(source, regex=False) if source else table.source.isna()
    for file,label,there in zip(table.file, table.label, away):
        to = out/('elsewhere' if there else 'photos')/label
        to.mkdir(parents=True, exist_ok=True)
        shutil.copy2(file, to)
    groups = table[~away].assign(file=lambda t: [f'{label}/{Path(f).name}' for f,label in zip(t.file, t.label)])
    groups[['file', 'group']].to_csv(out/'groups.csv', index=False)

def trained(out, name, settings):
    "The model folder of a training and its seconds; trained only once"
    folder,took = out/name,out/name/'seconds.txt'
    if not took.is_file():
        began = time.perf_counter()
        learn,items,_ = train(out/'photos', folder, settings, out/'groups.csv')
        export_model(learn, items, folder, settings)
        took.write_text(f'{time.perf_counter()-began:.0f}')
    return SneakerClassifier.load(folder),took.read_text()

def rows_of(clf, start, seconds, out):
    sets = {'kept back':not_trained_on(data.labelled_items(out/'photos', out/'groups.csv'), clf.folder)}
    if (out/'elsewhere').is_dir(): sets['another shop'] = data.labelled_items(out/'elsewhere')
    for where,items in sets.items():
        report,network = evaluate(clf, items, progress=False),clf.card['provenance']['architecture']
        yield row(f'{start} ({network}), {where}: top-1', int(report.right.sum()), len(items), remark=f'{seconds} s of training')
        mean = 100*report.per_class().recall.mean()
        yield dict(what=f'{start} ({network}), {where}: mean over the classes', ours=mean, unit='%', pictures=len(items))

@call_parse
def main(
    photos:str,      # Folder with a manifest
    out:str,         # Where the models go
    source:str=None, # Part of the name of a source to leave out
    known:str=None   # Model folder that takes the place of the bundled model
):
    settings,out = load_settings(root/'settings.ini'),Path(out)
    if not (out/'photos').is_dir(): gather(listed(photos), list(settings.classes), source, out)
    # ImageNet weights of this network come in a package; those of a ResNet34 would have to be fetched.
    kinds = {'scratch':(settings.scratch, {}), 'imagenet':(settings.training, dict(architecture='tf_efficientnet_lite0')),
        'sneakers':(settings.training, {})}
    rows = []
    for start,(t,network) in kinds.items():
        begin = known if start=='sneakers' and known else start
        clf,took = trained(out, start, replace(settings, training=replace(t, start=begin, **network)))
        rows += rows_of(clf, start, took, out)
    record('quality_starts_elsewhere' if source else 'quality_starts', rows)
