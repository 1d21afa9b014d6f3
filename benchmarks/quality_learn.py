"""When is training worth more than teaching?

    python benchmarks/quality_learn.py FOLDER models/learn [--draws 3]

FOLDER has a manifest.csv. Some photos of each of four models that a network cannot name are taught, and trained with the settings as
they are; the photos asked are of other groups. Each training stays in models/learn and is not repeated. The first network is the bundled
one. (It has learned half of these photos as nothing that is known, and would be trained on none of them. So training starts from a copy
that does not say so: both ways have the same weights.) Of the models that it cannot name there are few photos. So a second, smaller one
learns all but four hidden ones, chosen by chance among those of many photos. Forty minutes on two cores.
"""
import json, shutil, time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
from common import bundled, photos as listed, record, root
from fastcore.script import call_parse
from quality_source import copied, short
from quality_teach import drawn, models
from sneaker_classifier.export import export_model
from sneaker_classifier.files import sha256_of
from sneaker_classifier.predict import SneakerClassifier
from sneaker_classifier.settings import load_settings
from sneaker_classifier.train import train

few,many = (5, 10, 20),(20, 50, 100)   # of more than 20 photos there are too few models that the bundled network cannot name
least = 125                            # photos of a class that is left out

def with_names(folder):
    "Photos whose model is known and outside of what the network can name"
    name_of = {label:name for name,labels in models.items() for label in labels}
    table = listed(folder, 'other_models')
    return table[table.label.isin(name_of)].assign(model=lambda t: t.label.map(name_of)).reset_index(drop=True)

def forgetful(folder):
    "A copy of the bundled model that does not say what it has learned"
    if not folder.is_dir():
        shutil.copytree(bundled, folder)
        (folder/'split.csv').write_bytes(b'id,is_valid,print\n')
        card = json.loads((folder/'model.json').read_text(encoding='utf-8'))
        card['sha256']['split.csv'] = sha256_of(folder/'split.csv')
        (folder/'model.json').write_text(json.dumps(card), encoding='utf-8')
    return str(folder)

def left_out(folder, out):
    "A network from ImageNet that four classes were hidden from, and the photos of these"
    table,settings = listed(folder),load_settings(bundled/'settings.ini')
    n = table.label.value_counts()
    hidden = table.label.isin(np.random.default_rng(0).choice(sorted(n.index[n>=least]), 4, replace=False))
    if not (out/'MODEL_CARD.md').is_file():
        copied(pd.concat(listed(folder, o) for o in ('other_models', 'nothing')), out/'unknown', 'source')
        settings = replace(settings, training=replace(settings.training, **short))
        learn,items,_ = train(table[~hidden], out, settings, unknown=out/'unknown')
        export_model(learn, items, out, settings)
    return SneakerClassifier.load(out),table[hidden].assign(model=lambda t: t.label).reset_index(drop=True)

def taught(clf, photos):
    began = time.perf_counter()
    return clf.teach(photos, beside=False), time.perf_counter()-began

def trained(photos, out, settings):
    "The model of a training, made only once, and its seconds"
    took = out/'seconds.txt'
    if not took.is_file():
        began = time.perf_counter()
        items = pd.DataFrame([(o, label, o) for label,files in photos.items() for o in files], columns=['file', 'label', 'group'])
        learn,items,_ = train(items, out, settings)
        export_model(learn, items, out, settings)
        took.write_text(f'{time.perf_counter()-began:.0f}')
    return SneakerClassifier.load(out),float(took.read_text())

def found(clf, table, parts):
    "Mean over the models of the share that is named rightly"
    return np.mean([np.mean([p.label==name for p in clf.predict_many(table.file[asked])]) for name,(_,asked) in parts.items()])

def compared(clf, table, ns, what, draws, out, settings):
    "Rows of how much is found when so many photos of each are taught, and when they are trained"
    for n in ns:
        shares,seconds = [],[]
        for i in range(draws):
            parts = drawn(table, n, 'group', np.random.default_rng(i))
            chosen = {name:list(table.file[t]) for name,(t,_) in parts.items()}
            ways = taught(clf, chosen),trained(chosen, out/f'{n}_{i}', settings)
            shares.append([found(o, table, parts) for o,_ in ways])
            seconds.append([s for _,s in ways])
        (teach,fit),(quick,slow) = 100*np.mean(shares, 0),np.mean(seconds, 0)
        yield dict(what=f'{n} photos of each of 4 {what}: found', ours=teach, unit='%', peer='trained', theirs=fit,
            remark=f'mean of {draws} draws; {quick:.1f} s beside {slow:.0f} s')

@call_parse
def main(
    photos:str,  # Folder with a manifest
    out:str,     # Where the models go
    draws:int=3
):
    out,settings = Path(out),load_settings(root/'settings.ini')
    def start(folder): return replace(settings, training=replace(settings.training, start=str(folder)))
    rows = [*compared(SneakerClassifier.load(), with_names(photos), few, 'models', draws, out, start(forgetful(out/'start')))]
    clf,table = left_out(photos, out/'without')
    rows += compared(clf, table, many, 'hidden classes', draws, out/'left_out', start(clf.folder))
    record('quality_learn', rows)
