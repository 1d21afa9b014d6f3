"""What do the three starts make of four classes?

    python benchmarks/quality_starts.py FOLDER models/starts

FOLDER has a manifest.csv. *Other shops* are whole shoes from its part elsewhere, from shops of which training, also that of the
bundled model, had few photos or none. Each training stays there and is not repeated.
"""
import shutil, time
from dataclasses import replace
from pathlib import Path

from sneaker_classifier import data # first: it silences a warning of torch's
from common import bundled, not_learned, photos as listed, record, root
from fastcore.script import call_parse
from quality_model import row
from sneaker_classifier.evaluate import evaluate, not_trained_on
from sneaker_classifier.export import export_model
from sneaker_classifier.predict import SneakerClassifier
from sneaker_classifier.settings import load_settings
from sneaker_classifier.train import train

def gather(table, out):
    "Copy photos into a folder for each label, and write down which belong together"
    for file,label in zip(table.file, table.label):
        (out/'photos'/label).mkdir(parents=True, exist_ok=True)
        shutil.copy2(file, out/'photos'/label)
    groups = table.assign(file=lambda t: [f'{label}/{Path(f).name}' for f,label in zip(t.file, t.label)])
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

def rows_of(clf, start, seconds, out, away):
    sets = {'kept back':not_trained_on(data.labelled_items(out/'photos', out/'groups.csv'), clf.folder), 'other shops':away}
    for where,items in sets.items():
        report,network = evaluate(clf, items, progress=False),clf.card['provenance']['architecture']
        yield row(f'{start} ({network}), {where}: top-1', int(report.right.sum()), len(items), remark=f'{seconds} s of training')
        mean = 100*report.per_class().recall.mean()
        yield dict(what=f'{start} ({network}), {where}: mean over the classes', ours=mean, unit='%', pictures=len(items))

@call_parse
def main(
    photos:str, # Folder with a manifest
    out:str     # Where the models go
):
    settings,out = load_settings(root/'settings.ini'),Path(out)
    def of_four(table): return table[table.label.isin(list(settings.classes))]
    if not (out/'photos').is_dir(): gather(of_four(listed(photos)), out)
    away = of_four(not_learned(photos, 'elsewhere', bundled)).query('view=="whole"')
    # ImageNet weights of this network come in a package; those of a ResNet34 would have to be fetched.
    kinds = {'scratch':(settings.scratch, {}), 'imagenet':(settings.training, dict(architecture='tf_efficientnet_lite0')),
        'sneakers':(settings.training, {})}
    rows = []
    for start,(t,network) in kinds.items():
        clf,took = trained(out, start, replace(settings, training=replace(t, start=start, **network)))
        rows += rows_of(clf, start, took, out, away)
    record('quality_starts', rows)
